"""Several machines as one swarm, coordinated through a Redis of their own choice: who takes part, when it starts, what
came of it.

    swarm:RUN:here    members, in the order in which they came: the first leads
    swarm:RUN:start   when second 0 is, seconds since 1970; written by the leader once all are here
    swarm:RUN:told    what each machine gathered, compressed JSON

Machines' clocks must agree to within a fraction of a second (NTP does that): bots come by them. Every key expires.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from typing import Protocol

import redis.asyncio

from loadtest.swarm.gathered import Gathered

TTL_S = 3600
POLL_S = 0.1
COME_S = 300.0
TELL_S = 300.0
TOLD_BYTES_MAX = 256 << 20


class MachinesFailed(Exception):
    """The others did not come, or did not tell."""


class Machines(Protocol):
    """Who takes part. `index` 0 leads: it makes the chaos, watches the server and writes the result."""

    @property
    def index(self) -> int:
        """Which one this is, from 0."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def name(self) -> str:
        """Of this machine's processes."""

    async def start(self, ahead_s: float) -> float:
        """Wait for everybody. Returns when second 0 is, seconds since 1970."""

    async def gather(self, mine: Gathered) -> Gathered | None:
        """Everybody's, for the leader; None for the others."""


class Alone:
    """One machine."""

    index, count, name = 0, 1, "bots"

    async def start(self, ahead_s: float) -> float:
        """Soon."""
        return time.time() + ahead_s

    async def gather(self, mine: Gathered) -> Gathered | None:
        """There is nobody else."""
        return mine


class Together:
    """One of `count` machines of a run."""

    def __init__(self, url: str, run: str, count: int, come_s: float = COME_S) -> None:
        self._index, self._count = -1, count
        self._redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(url, socket_timeout=10)
        self._key = f"swarm:{run}"
        self._come_s = come_s

    @property
    def index(self) -> int:
        """In the order in which they came; -1 before."""
        return self._index

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @property
    def name(self) -> str:
        """Of this machine's processes."""
        return f"machine-{self.index}-bots"

    async def start(self, ahead_s: float) -> float:
        """Wait for everybody. Raises MachinesFailed where somebody does not come, or there is one too many."""
        here = int(await self._redis.incr(f"{self._key}:here"))
        await self._redis.expire(f"{self._key}:here", TTL_S)
        self._index = here - 1
        if here > self.count:
            raise MachinesFailed(f"this is machine {here} of a run with {self.count}")
        deadline = time.monotonic() + self._come_s
        while time.monotonic() < deadline:
            if self.index == 0 and int(await self._redis.get(f"{self._key}:here") or 0) >= self.count:
                await self._redis.set(f"{self._key}:start", repr(time.time() + ahead_s), ex=TTL_S)
            start = await self._redis.get(f"{self._key}:start")
            if start is not None:
                return float(start)
            await asyncio.sleep(POLL_S)
        raise MachinesFailed(f"not all {self.count} machines came within {self._come_s:.0f} s")

    async def gather(self, mine: Gathered) -> Gathered | None:
        """Everybody's, added up, for the leader. Raises MachinesFailed."""
        if self.index != 0:
            body = zlib.compress(json.dumps(mine.to_plain()).encode())
            if len(body) > TOLD_BYTES_MAX:
                raise MachinesFailed(f"what this machine gathered has {len(body)} bytes")
            await self._redis.hset(f"{self._key}:told", str(self.index), body)
            await self._redis.expire(f"{self._key}:told", TTL_S)
            await self._redis.aclose()
            return None
        deadline = time.monotonic() + TELL_S
        while time.monotonic() < deadline:
            told = await self._redis.hgetall(f"{self._key}:told")
            if len(told) >= self.count - 1:
                for theirs in told.values():
                    assert isinstance(theirs, bytes)
                    mine.add(Gathered.from_plain(json.loads(zlib.decompress(theirs))))
                await self._redis.delete(*(f"{self._key}:{part}" for part in ("here", "start", "told")))
                await self._redis.aclose()
                return mine
            await asyncio.sleep(POLL_S)
        raise MachinesFailed(f"not all {self.count} machines told what they gathered")
