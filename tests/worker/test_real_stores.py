"""Workers on a real Redis and a directory: restarts, outages and faults of the store itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from overworld.game import contract_of
from overworld.settings import WorkerSettings
from overworld.shard.core import ShardCore
from overworld.store.blob_directory import DirectoryBlobs
from overworld.store.group_commit import GroupCommit
from overworld.store.local_redis import LocalRedis
from overworld.store.ports import CommitLevel, CommitPolicy, Ownership
from overworld.store.redis_client import open_redis
from overworld.store.redis_directory import RedisDirectory
from overworld.store.redis_ownership import RedisOwnership
from overworld.store.snapshots import SnapshotStore
from overworld.wire.v1 import client_pb2
from overworld.worker.recovery import recover
from overworld.worker.service import Worker
from overworld.worker.takeover import Stores
from tests.parts.redis import RedisFactory
from tests.shard.meadow import Meadow
from tests.worker.cluster import KEY, Gateway, running, until

pytestmark = pytest.mark.asyncio

ALL = [0, 1, 2, 3]


@dataclass
class Parts:
    """One process's stores."""

    ownership: Ownership
    directory: RedisDirectory
    shelf: SnapshotStore


class World:
    """A meadow on real stores."""

    def __init__(self, url: str, blobs: Path) -> None:
        self.url = url
        self.blobs = blobs
        self.title = Meadow()
        self.contract = contract_of(self.title, "test", seed=7)
        self._stack = contextlib.AsyncExitStack()

    async def parts(self, level: CommitLevel = CommitLevel.L1) -> Parts:
        client = await open_redis(self.url)
        self._stack.push_async_callback(client.aclose)
        group = GroupCommit(client)
        self._stack.push_async_callback(group.close)
        ownership = RedisOwnership(client, group, "test", CommitPolicy(level), write_timeout_s=1.0)
        return Parts(ownership, RedisDirectory(client), SnapshotStore(DirectoryBlobs(self.blobs), "test"))

    async def worker(self, name: str, level: CommitLevel = CommitLevel.L1, **more: Any) -> Worker:
        parts = await self.parts(level)
        given = {
            "http_port": 0,
            "port": 0,
            "lease_ttl_s": 0.6,
            "start_wait_s": 0.1,
            "snapshot_interval_s": 0.5,
            "balance": False,
            **more,
        }
        settings = WorkerSettings(name=name, **given)
        stores = Stores(parts.ownership, parts.shelf)
        worker = Worker(settings, self.contract, self.title, stores, parts.directory, KEY)
        self._stack.push_async_callback(worker.kill)
        await worker.start()
        return worker

    async def gateway(self, worker: Worker, shard: int) -> Gateway:
        """A gateway with one session on a shard."""
        gateway = Gateway(self.contract)
        self._stack.callback(gateway.close)
        link = await gateway.dial(worker.address)
        gateway.attach(link, shard, 5, 50)
        await until(lambda: gateway.joined(shard, 5), "the session joined")
        return gateway

    async def replayed(self, shard: int) -> ShardCore:
        """What snapshot and journal say."""
        parts = await self.parts()
        head = await parts.ownership.look(shard)
        assert head is not None

        def new_core() -> ShardCore:
            return ShardCore(self.contract, self.title, shard)

        return (await recover(new_core, shard, head, parts.ownership, parts.shelf)).core

    async def close(self) -> None:
        await self._stack.aclose()


@pytest_asyncio.fixture
async def server(redis_factory: RedisFactory) -> LocalRedis:
    return await redis_factory.start(appendonly=True)


@pytest_asyncio.fixture
async def world(server: LocalRedis, tmp_path: Path) -> AsyncIterator[World]:
    made = World(server.url, tmp_path / "blobs")
    yield made
    await made.close()


def gapless(gateway: Gateway, shard: int) -> bool:
    ticks = [o.tick for o in gateway.of(shard)]
    return ticks == list(range(ticks[0], ticks[0] + len(ticks)))


async def test_a_world_goes_on_where_an_orderly_stop_left_it(world: World) -> None:
    first = await world.worker("first")
    await until(lambda: running(first) == ALL, "all shards run")
    gateway = await world.gateway(first, 2)
    gateway.walk(gateway.links[first.address], 2, 5, 1)
    await until(lambda: gateway.acked(2, 5) == 1, "an input was acked")
    core = first._hosts[2].core
    assert core is not None
    assert await first.stop()
    left_at, left = core.tick, core.digest()
    assert (await world.replayed(2)).digest() == left
    second = await world.worker("second")
    await until(lambda: running(second) == ALL, "all shards run again")
    found = second._hosts[2].core
    assert found is not None
    assert found.tick >= left_at
    assert found.shard.players.last_seq.tolist() == [1]
    assert second._hosts[2].epoch == 2


async def test_a_crashed_workers_shards_are_taken_over_with_everything_that_was_released(world: World) -> None:
    a = await world.worker("a")
    await until(lambda: running(a) == ALL, "all shards run")
    gateway = await world.gateway(a, 1)
    await until(lambda: len(gateway.of(1)) > 15, "ticks are released")
    released = max(o.tick for o in gateway.of(1))
    await a.kill()
    b = await world.worker("b")
    await until(lambda: running(b) == ALL, "the other runs them")
    core = b._hosts[1].core
    assert core is not None
    assert core.tick >= released
    assert core.shard.players.session.tolist() == [5]
    await b.stop()
    assert (await world.replayed(1)).digest() == core.digest()


async def test_redis_killed_and_started_again_costs_a_pause_and_nothing_else(
    world: World, server: LocalRedis, redis_factory: RedisFactory
) -> None:
    worker = await world.worker("w", ticks_held_max=10)
    await until(lambda: running(worker) == ALL, "all shards run")
    gateway = await world.gateway(worker, 1)
    await until(lambda: len(gateway.of(1)) > 5, "ticks are released")
    server.kill()
    await until(lambda: (1, client_pb2.Notice.CODE_STALLED) in gateway.notices, "players are told")
    released = max(o.tick for o in gateway.of(1))
    await redis_factory.restart(server, appendonly=True)
    await until(lambda: (1, client_pb2.Notice.CODE_RESUMED) in gateway.notices, "it goes on by itself")
    await until(lambda: max(o.tick for o in gateway.of(1)) > released + 10, "and ticks on")
    assert gapless(gateway, 1)
    assert {o.epoch for o in gateway.of(1)} == {1}
    core = worker._hosts[1].core
    assert core is not None
    assert await worker.stop()
    assert (await world.replayed(1)).digest() == core.digest()


async def test_a_redis_that_lost_its_newest_second_is_repaired_by_the_owner(
    world: World, server: LocalRedis, redis_factory: RedisFactory
) -> None:
    """Without its append-only file the server comes back empty: the owner begins a new journal at a snapshot."""
    worker = await world.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    gateway = await world.gateway(worker, 1)
    await until(lambda: len(gateway.of(1)) > 10, "ticks are released")
    server.kill()
    for file in (server.folder / "appendonlydir").iterdir():
        file.unlink()
    await redis_factory.restart(server, appendonly=True)
    released = max(o.tick for o in gateway.of(1))
    await until(lambda: max(o.tick for o in gateway.of(1)) > released + 20, "it goes on")
    assert gapless(gateway, 1)
    assert max(o.epoch for o in gateway.of(1)) == 2
    core = worker._hosts[1].core
    assert core is not None
    assert await worker.stop()
    assert (await world.replayed(1)).digest() == core.digest()


async def test_a_stalled_redis_stalls_the_world_and_fences_nobody(world: World, server: LocalRedis) -> None:
    a = await world.worker("a", ticks_held_max=8)
    b = await world.worker("b", ticks_held_max=8)
    await until(lambda: sorted(running(a) + running(b)) == ALL, "all shards run")
    shard = running(a)[0]
    gateway = await world.gateway(a, shard)
    server.pause()
    await until(lambda: (shard, client_pb2.Notice.CODE_STALLED) in gateway.notices, "players are told")
    server.resume()
    await until(lambda: (shard, client_pb2.Notice.CODE_RESUMED) in gateway.notices, "it goes on")
    released = max(o.tick for o in gateway.of(shard))
    await until(lambda: max(o.tick for o in gateway.of(shard)) > released + 10, "and ticks on")
    assert gapless(gateway, shard)
    assert {o.epoch for o in gateway.of(shard)} == {1}


async def test_at_level_2_nothing_is_released_without_a_replica(redis_factory: RedisFactory, tmp_path: Path) -> None:
    primary = await redis_factory.start()
    replica = await redis_factory.start_replica(primary)
    world = World(primary.url, tmp_path / "blobs")
    try:
        worker = await world.worker("w", CommitLevel.L2)
        await until(lambda: running(worker) == ALL, "all shards run")
        gateway = await world.gateway(worker, 1)
        await until(lambda: len(gateway.of(1)) > 5, "ticks are released")
        replica.pause()
        await until(lambda: (1, client_pb2.Notice.CODE_STALLED) in gateway.notices, "players are told")
        replica.resume()
        await until(lambda: (1, client_pb2.Notice.CODE_RESUMED) in gateway.notices, "it goes on")
        assert gapless(gateway, 1)
    finally:
        await world.close()
