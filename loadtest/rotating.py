"""Every kind of Redis connection that a process holds, at work while the passwords change; and what that cost."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import RedisError

from overworld.errors import StoreError
from overworld.store.credentials import RotatingCredentials
from overworld.store.group_commit import GroupCommit
from overworld.store.ports import AppendRequest, Grant, Role
from overworld.store.redis_client import ask, open_redis
from overworld.store.redis_connection import StoreConnection
from overworld.store.redis_directory import RedisDirectory
from overworld.store.redis_ownership import RedisOwnership

WORLD = "rotation"
CHANNEL = "news"
BEAT_S = 0.002


@dataclass
class Toll:
    """What was called, and what it cost."""

    calls: int = 0
    failed: list[str] = field(default_factory=list)
    appends: int = 0
    news_sent: int = 0
    news_heard: int = 0
    subscriber_closed: int = 0
    slowest_s: float = 0.0
    stalls_s: list[float] = field(default_factory=list)
    """How late each beat of the event loop was."""

    async def count(self, call: Awaitable[Any]) -> Any:
        """Wait for a call; a failure is noted, not raised."""
        began_s = time.monotonic()
        self.calls += 1
        try:
            return await call
        except StoreError as error:
            self.failed.append(str(error))
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)


class Holder:
    """One process's Redis connections: the client's pool or cluster nodes, append lanes, a subscriber, idle ones."""

    def __init__(self, url: str, credentials: RotatingCredentials, *, cluster: bool, subscriber_port: int) -> None:
        self.toll = Toll()
        self._url = url
        self._credentials = credentials
        self._cluster = cluster
        self._subscriber_port = subscriber_port
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.client = await open_redis(self._url, cluster=self._cluster, credentials=self._credentials)
        self.group = GroupCommit(self.client)
        self.ownership = RedisOwnership(self.client, self.group, WORLD, write_timeout_s=5.0)
        self.directory = RedisDirectory(self.client)
        await self._fill()
        self._news = Redis.from_pool(
            ConnectionPool(StoreConnection, port=self._subscriber_port, protocol=3, rotation=self._credentials)
        )
        self._listener = self._news.pubsub()
        await self._listener.subscribe(CHANNEL)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self._listener.aclose()  # type: ignore[no-untyped-call]
        await self._news.aclose()
        await self.group.close()
        await self.client.aclose()

    async def _fill(self) -> None:
        """Open more connections than the load will use: the rest stays idle."""
        await asyncio.gather(*(self.directory.flags(f"world-{n}") for n in range(24)))

    def start(self, shards: int = 8) -> None:
        """Begin the load."""
        works: list[Callable[[], Awaitable[None]]] = [self._beat, self._publish, self._listen]
        works += [self._announce, self._announce]
        self._tasks = [asyncio.create_task(work()) for work in works]  # type: ignore[arg-type]
        self._tasks += [asyncio.create_task(self._append(shard)) for shard in range(shards)]

    async def stop(self) -> None:
        """End the load."""
        for task in self._tasks:
            task.cancel()
        done = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for outcome in done:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                self.toll.failed.append(repr(outcome))

    # ------------------------------------------------------------ the load

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self.toll.stalls_s.append(max(0.0, loop.time() - due_s))

    async def _announce(self) -> None:
        while True:
            await self.toll.count(self.directory.announce(Role.WORKER, "w", "127.0.0.1:1", {"shards": 1}))
            await self.toll.count(self.directory.owners(WORLD, range(8)))
            await asyncio.sleep(0.02)

    async def _append(self, shard: int) -> None:
        seen = await self.ownership.look(shard)
        nonce = hashlib.blake2b(b"%d %f" % (shard, time.monotonic()), digest_size=16).digest()
        grant = await self.ownership.acquire(shard, seen, "127.0.0.1:1", 0, nonce)
        assert isinstance(grant, Grant)
        tick, chain = grant.head.tick, grant.head.chain
        while True:
            after = hashlib.blake2b(chain + b"%d" % tick, digest_size=16).digest()
            request = AppendRequest(tick, chain, tick + 1, after, tick, b"x" * 500)
            answer = await self.toll.count(self.ownership.append(grant, request))
            if answer is not None:
                assert answer.appended, answer
                tick, chain = tick + 1, after
                self.toll.appends += 1
            await asyncio.sleep(0.025)

    async def _publish(self) -> None:
        client: Any = self.client
        while True:
            await self.toll.count(ask("publish", lambda: client.publish(CHANNEL, b"x")))
            self.toll.news_sent += 1
            await asyncio.sleep(0.05)

    async def _listen(self) -> None:
        while True:
            try:
                message = await self._listener.get_message(ignore_subscribe_messages=True, timeout=0.2)
            except RedisError:
                # The server has closed the subscriber: it connects and subscribes again.
                self.toll.subscriber_closed += 1
                await asyncio.sleep(0.1)
                continue
            self.toll.news_heard += message is not None
