"""Shards that nobody looks at: when they stop ticking, when they leave memory, and what brings them back.

    awake       ticks. Idle while nobody is attached, watches, travels here or is inside, and the title lets it be
    asleep      idle for `sleep_s`: runs no tick, keeps its state and its lease
    away        asleep for `leave_s` more: its state is saved and dropped; the lease is kept

An attach, a watch or a message of another shard wakes it at once. Messages that were not handed over are found by a
sweep every `look_s`. Time stands still for who sleeps: its ticks go on where they ended, and so do its moments.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from overworld.shard.core import ShardCore
from overworld.worker.sweeps import Counted, Sweeper


@dataclass(frozen=True)
class RestLimits:
    """Times in seconds. `sleep_s` 0: shards never sleep."""

    sleep_s: float = 0.0
    leave_s: float = 60.0
    look_s: float = 3.0


class Rest:
    """How long a shard has been idle. Pure: time is an argument, in seconds, monotonic."""

    def __init__(self, limits: RestLimits, now_s: float) -> None:
        self._limits = limits
        self._busy_s = now_s

    def busy(self, now_s: float) -> None:
        """Somebody needs it."""
        self._busy_s = now_s

    def sleeps(self, now_s: float) -> bool:
        """True where it need not tick."""
        return self._limits.sleep_s > 0 and now_s - self._busy_s >= self._limits.sleep_s

    def leaves(self, now_s: float) -> bool:
        """True where it need not be in memory."""
        return self.sleeps(now_s) and now_s - self._busy_s >= self._limits.sleep_s + self._limits.leave_s


class Doorbell:
    """Waits for whatever wakes a shard, and looks into the outboxes of others now and then."""

    def __init__(self, look_s: float) -> None:
        self._look_s = look_s
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake it."""
        self._rung.set()

    async def wait(self, sweeper: Sweeper, counters: Counted, over: Callable[[], bool]) -> bool:
        """Wait until somebody rings (True), or until `over` (False); `over` is looked at whenever it rings too, and at
        least every `look_s`.
        """
        loop = asyncio.get_running_loop()
        while not over():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._rung.wait()
            if self._rung.is_set():
                self._rung.clear()
                return not over()
            sweeper.after_tick(counters, loop.time())
        return False


@dataclass(frozen=True)
class Counters:
    """What a sweep asks of a shard's state, kept while the state itself is away."""

    applied: dict[int, int]

    @classmethod
    def of(cls, core: ShardCore) -> Counters:
        """As the state has them now."""
        neighbours = core.shard.neighbours
        return cls(dict(zip(neighbours.ids.tolist(), neighbours.received.tolist(), strict=True)))

    def received(self, from_shard: int) -> int:
        """Number of the last message of that shard that was applied; 0 where none was."""
        return self.applied.get(from_shard, 0)

    def knows(self, shard: int) -> bool:
        """True where messages have passed between the two."""
        return shard in self.applied
