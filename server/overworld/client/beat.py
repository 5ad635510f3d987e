"""When the ticks of one shard happen, in local time. Pure: times are arguments, in seconds.

Ticks never arrive early, so the least late ones of the last seconds tell the true beat; how late the others are is the
jitter. The length of a tick is the server's to say (time dilation): the beat slows down with it.
"""

from __future__ import annotations

import math
from collections import deque

from overworld.client.mirror import LightMirror

PARTS = 256
"""A tick's parts in which clients draw: whole ones, so that a server can be told exactly what was drawn."""
_WINDOW = 64
"""Ticks whose lateness is remembered: about three seconds at 20 Hz."""
_PAUSE_S = 0.4
"""A tick later than this is no jitter: the shard paused or moved, and the timeline starts anew."""
_DRIFT_S = 0.00025
"""How far a tick may move the timeline towards later arrivals: far above a quartz's drift, far below what shows."""
_FORGOTTEN_S = 60.0


def moment(tick: float) -> int:
    """The whole part of a tick, in 256ths of ticks, that is drawn at this tick."""
    return math.floor(tick * PARTS)


class TickBeat:
    """The timeline of one shard's ticks as they arrive here."""

    def __init__(self) -> None:
        self.interval_s = 0.05
        self._tick = 0
        self._at = 0.0
        """Local time at which `_tick` arrives when nothing delays it."""
        self._started = False
        self._late: deque[float] = deque(maxlen=_WINDOW)
        self._held: float | None = None

    @property
    def started(self) -> bool:
        """True once a tick came."""
        return self._started

    def observe(self, tick: int, tick_interval_us: int, now: float) -> bool:
        """A tick arrived, and says how long it lasts: until the next. True where the timeline had to start anew: the
        first tick, a pause, a long loss.
        """
        if self._held is not None:
            # How late ticks were before says nothing about those after.
            self.release(now)
            self._late.clear()
        # By what the tick before said of itself.
        expected = self._at + (tick - self._tick) * self.interval_s
        self.interval_s = tick_interval_us / 1_000_000
        late = now - expected
        if not self._started or abs(late) > _PAUSE_S:
            self._started, self._tick, self._at = True, tick, now
            self._late.clear()
            return True
        self._tick, self._at = tick, expected
        self._late.append(late)
        least = min(self._late)
        self._shift(least if least < 0 else min(least, _DRIFT_S))
        return False

    def hold(self, now: float) -> None:
        """The server says that the world stands still: time stands with it, until a tick comes or `release`."""
        if self._held is None:
            self._held = now

    def release(self, now: float) -> None:
        """The world goes on from where it stood."""
        if self._held is not None:
            self._at += max(0.0, now - self._held)
            self._held = None

    def time(self, now: float) -> float:
        """The local time that counts for the world: it stands while the world does."""
        return now if self._held is None else min(now, self._held)

    def tick_at(self, now: float) -> float:
        """The tick that arrives now when nothing delays it, with its fraction."""
        return self._tick + (now - self._at) / self.interval_s

    def time_of(self, tick: float) -> float:
        """Local time at which a tick arrives when nothing delays it."""
        return self._at + (tick - self._tick) * self.interval_s

    @property
    def jitter_s(self) -> float:
        """The lateness that 19 of 20 ticks stay below."""
        ordered = sorted(self._late)
        return max(0.0, ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]) if ordered else 0.0

    @property
    def jitter_max_s(self) -> float:
        """The greatest lateness remembered."""
        return max(0.0, *self._late) if self._late else 0.0

    def _shift(self, by_s: float) -> None:
        if by_s:
            self._at += by_s
            self._late = deque((late - by_s for late in self._late), maxlen=_WINDOW)


class Beats(dict[int, TickBeat]):
    """The timelines of all shards a client hears of, by shard. Give it every applied frame, once."""

    def __init__(self) -> None:
        super().__init__()
        self.fresh: dict[int, bool] = {}
        """The shards whose ticks the newest frame completed: True where the timeline had to start anew."""
        self._ticks: dict[int, tuple[int, int]] = {}
        self._welcomes = 0

    def frame(self, mirror: LightMirror, now: float) -> None:
        """A frame has been applied: note the ticks it completed. Time dilation is in them. After a Welcome all begin
        anew: another socket's times are its own.
        """
        assert mirror.contract is not None
        if mirror.welcomes != self._welcomes:
            self._welcomes = mirror.welcomes
            self._ticks.clear()
            self.clear()
        self.fresh = {}
        for shard, at in mirror.ticks.items():
            if self._ticks.get(shard) != at:
                self._ticks[shard] = at
                interval_us = mirror.tick_intervals_us.get(shard, mirror.contract.tick_interval_us)
                self.fresh[shard] = self.setdefault(shard, TickBeat()).observe(at[1], interval_us, now)

    def stand(self, shard: int, stalled: bool, now: float) -> None:
        """While a shard stands still, so does all that is drawn of it."""
        beat = self.get(shard)
        if beat is not None:
            if stalled:
                beat.hold(now)
            else:
                beat.release(now)

    def purge(self, mirror: LightMirror, now: float) -> None:
        """Forget the shards that have not been heard of for a minute."""
        for shard, beat in list(self.items()):
            if now - beat.time_of(mirror.ticks.get(shard, (0, 0))[1]) > _FORGOTTEN_S:
                del self[shard]
