"""How much longer a tick lasts while there is more to do than time for it. Pure: time is an argument, in seconds.

    hot      ticks begin late, or gateways lag behind: for `HOT_S` without a break, the tick gets longer by a step, or
             by two where it is twice as bad
    cool     neither: after a while, the tick gets shorter by a step. Where that is regretted soon, the while doubles
    between  it stays as it is

All shards of a worker share the pace, as they share its core. What it slows is the world, evenly: clients are told in
every head, so that motion on screen, timers and the due ticks of inputs slow down with it. Nothing is skipped.
"""

from __future__ import annotations

FACTORS = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
HOT_S = 0.5
COOL_S_MIN, COOL_S_MAX = 3.0, 30.0
REGRET_S = 5.0
"""A step down that is followed by one up within this long was one too many."""
LATE_PART, LAG_PART = 0.5, 1.0
"""Of an interval: ticks that begin so late, gateways so far behind, are what is called hot."""
COOL_PART = 0.35
"""Of what is called hot."""


class Pace:
    """The pace of one worker's ticks, and how well they keep it. Shared by all its shards."""

    def __init__(self) -> None:
        self.factor = 1.0
        """How much longer an interval is than the title's."""
        self._late_part = 0.0
        self._ticks = 0

    def began(self, late_ns: int, interval_ns: int) -> None:
        """A tick began so late."""
        self._late_part += late_ns / interval_ns
        self._ticks += 1

    def take_late_part(self) -> float:
        """Mean lateness of the ticks since this was last asked, in intervals; 0 where there were none."""
        late_part = self._late_part / self._ticks if self._ticks else 0.0
        self._late_part, self._ticks = 0.0, 0
        return late_part


class Dilation:
    """Decides the pace. `factor_max` 1 never lets time stretch."""

    def __init__(self, factor_max: float) -> None:
        self._factors = [factor for factor in FACTORS if factor <= factor_max] or [1.0]
        self._step = 0
        self._hot_since_s: float | None = None
        self._cool_since_s: float | None = None
        self._cool_s = COOL_S_MIN
        self._shortened_s = float("-inf")

    @property
    def factor(self) -> float:
        """How long a tick is to last, in the title's intervals."""
        return self._factors[self._step]

    def look(self, late_part: float, lag_part: float, now_s: float) -> float:
        """Ticks begin `late_part` of an interval late, the worst gateway is `lag_part` behind. Call a few times a
        second. Returns the factor.
        """
        heat = max(late_part / LATE_PART, lag_part / LAG_PART)
        self._hot_since_s = None if heat < 1 else now_s if self._hot_since_s is None else self._hot_since_s
        self._cool_since_s = None if heat > COOL_PART else now_s if self._cool_since_s is None else self._cool_since_s
        if self._hot_since_s is not None and now_s - self._hot_since_s >= HOT_S:
            self._longer(2 if heat >= 2 else 1, now_s)
        elif self._cool_since_s is not None and now_s - self._cool_since_s >= self._cool_s:
            self._shorter(now_s)
        return self.factor

    def _longer(self, steps: int, now_s: float) -> None:
        self._hot_since_s = now_s
        if now_s - self._shortened_s <= REGRET_S:
            self._cool_s = min(2 * self._cool_s, COOL_S_MAX)
        self._step = min(self._step + steps, len(self._factors) - 1)

    def _shorter(self, now_s: float) -> None:
        self._cool_since_s = now_s
        if self._step:
            self._step -= 1
            self._shortened_s = now_s
        else:
            self._cool_s = COOL_S_MIN
