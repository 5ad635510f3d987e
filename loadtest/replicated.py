"""A cluster whose Redis has a replica, and can fail over to it.

Every process reaches Redis through a door of its own: a proxy at an address that never changes, as production has one.
Which server is behind it is decided door by door, so a promoted replica and the old primary can be in use at once: a
split brain.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from redis.asyncio import Redis

from loadtest.cluster import Cluster, Shape
from loadtest.processes import Process, guard, release
from overworld.errors import StoreUnavailable
from overworld.store.local_redis import LocalRedis
from tests.parts.ports import free_port
from tests.parts.redis import command
from tests.store.proxy import FaultProxy

SYNC_MS_MAX = 30_000


class ReplicatedCluster(Cluster):
    """`redis` is the server that counts. One failover: `promote`, `move` door by door, `retire`, `add_replica`."""

    def __init__(self, folder: Path, shape: Shape, *, doors: bool = True) -> None:
        """`doors`: False for runs that measure latency and do not fail over."""
        super().__init__(folder, shape)
        self.replica: LocalRedis | None = None
        self._retired: LocalRedis | None = None
        self._servers = 0
        names = [f"worker-{i}" for i in range(shape.workers)] + [f"gateway-{i}" for i in range(shape.gateways)]
        self.doors = {name: FaultProxy(self.redis_port) for name in names} if doors else {}

    # ------------------------------------------------------------ servers

    async def start_stores(self) -> None:
        """As everywhere, and the replica."""
        await super().start_stores()
        await self.add_replica()

    async def start_redis(self) -> None:
        """Start the primary (again), on the same port and files."""
        if not self._servers:
            self._servers = 1
            for door in self.doors.values():
                await door.__aenter__()
            self.redis.folder = self.folder / "redis-0"
        await self._run(self.redis, self.redis.folder, self.redis_port)

    async def add_replica(self) -> None:
        """Start another server that follows the primary; returns once it has all of it."""
        assert self.replica is None
        replica = LocalRedis()
        await self._run(replica, self.folder / f"redis-{self._servers}", free_port(), replica_of=self.redis.port)
        self._servers += 1
        self.replica = replica
        async with Redis.from_url(self.redis_url) as client:
            _ = await client.set("followed", self._servers)
            assert await client.wait(1, SYNC_MS_MAX) == 1, f"the replica does not follow; see {replica.log}"

    async def promote(self) -> None:
        """The replica follows nobody any more, and counts from now on. The old primary lives, and does not know."""
        assert self.replica is not None
        assert self._retired is None
        assert await command(self.replica.port, "REPLICAOF", "NO", "ONE") == b"+OK"
        self._retired, self.redis, self.replica = self.redis, self.replica, None
        self.redis_port = self.redis.port

    def move(self, names: Iterable[str]) -> None:
        """These processes lose their connections, and reach the server that counts from now on."""
        for name in names:
            self.doors[name].target_port = self.redis_port
            self.doors[name].cut_all()

    def retire(self) -> None:
        """`kill -9` of the old primary."""
        assert self._retired is not None
        release(self._retired.pid)
        self._retired.kill()
        self._retired = None

    def end(self) -> None:
        """Kill whatever runs, stores too."""
        super().end()
        for server in (self.replica, self._retired):
            if server is not None:
                with contextlib.suppress(StoreUnavailable):
                    release(server.pid)
                server.kill()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        for door in self.doors.values():
            await door.__aexit__(None, None, None)

    async def _run(self, server: LocalRedis, folder: Path, port: int, replica_of: int | None = None) -> None:
        await server.start(folder, port, appendonly=True, replica_of=replica_of, options=self.shape.redis_options)
        guard(server.pid)

    # ------------------------------------------------------------ processes

    def _process(self, role: str, name: str, own: Mapping[str, str]) -> Process:
        url = self.doors[name].url if self.doors else self.redis_url
        return super()._process(role, name, {**own, "OVERWORLD_REDIS_URL": url})
