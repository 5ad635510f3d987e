"""When a shard's next tick is due. Pure: time is an argument, in nanoseconds of any monotonic clock.

Tick n is due at origin + n * interval, so an error of one tick never enters the next: the clock does not drift. A
shard that falls far behind does not race to catch up (each late tick would make the next one later still): the origin
is shifted and the ticks that were not run are counted as time lost.
"""

from __future__ import annotations

CATCH_UP_TICKS_MAX = 3
"""Ticks that may run back to back after a delay; a longer delay shifts the origin."""


class TickClock:
    """The drift-free clock of one shard.

    `phase` (0 <= phase < 1) is the part of an interval by which this shard's ticks stand after the full one: shards
    of a worker get different phases, so that their steps and appends do not come all at once. `overdue`: the first tick
    should have run by now (a shard whose owner died): it is due at once, those after it by the phase.
    """

    def __init__(self, interval_us: int, phase: float, now_ns: int, *, overdue: bool = False) -> None:
        assert interval_us > 0
        assert 0 <= phase < 1
        self._interval_ns = interval_us * 1000
        self._origin_ns = now_ns - now_ns % self._interval_ns + int(phase * self._interval_ns)
        if self._origin_ns < now_ns:
            self._origin_ns += self._interval_ns
        self._overdue = overdue
        if overdue:
            self._origin_ns -= self._interval_ns
        self._ticks = 0
        self.skipped_ticks = 0
        """Whole ticks by which the origin was shifted, ever."""

    @property
    def interval_us(self) -> int:
        """Length of an interval now."""
        return self._interval_ns // 1000

    def stretch(self, interval_us: int) -> None:
        """Intervals are this long from now on: the next tick is due one after the last."""
        assert interval_us > 0
        before_ns, self._interval_ns = self._interval_ns, interval_us * 1000
        self._origin_ns += self._ticks * before_ns + self._interval_ns - before_ns
        self._ticks = 0

    @property
    def due_ns(self) -> int:
        """When the next tick is due."""
        return self._origin_ns + self._ticks * self._interval_ns

    def wait_ns(self, now_ns: int) -> int:
        """How long until the next tick is due; 0 where it is due or late."""
        return max(0, self.due_ns - now_ns)

    def begin_tick(self, now_ns: int) -> int:
        """A tick starts now. Returns by how many nanoseconds it is late (never negative); 0 for one that was overdue
        from the beginning: that says nothing of how this worker keeps up.
        """
        late_ns = 0 if self._overdue else max(0, now_ns - self.due_ns)
        self._overdue = False
        if late_ns > CATCH_UP_TICKS_MAX * self._interval_ns:
            self.skip(now_ns)
        self._ticks += 1
        return late_ns

    def skip(self, now_ns: int) -> int:
        """Give up the ticks that should have run by now (after a pause of the shard). Returns how many."""
        missed = max(0, (now_ns - self.due_ns) // self._interval_ns)
        self._origin_ns += missed * self._interval_ns
        self.skipped_ticks += missed
        return missed
