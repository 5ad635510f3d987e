"""How much longer a tick lasts while there is more to do than time for it. Pure: time is an argument, in seconds.

    hot      ticks begin late, or gateways lag behind, for `HOT_S` and without getting better: the tick gets longer by
             an eighth, by half where it is four times as bad
    cool     neither, for `COOL_S`: the tick gets as much shorter as leaves the busiest process `BUSY_MAX` of its time
    between  it stays as it is

What a shorter tick will cost is foretold from how busy the processes are now: twice the ticks, twice the work. Some of
the work does not grow with ticks, so that this errs on the safe side; where processes share a core it may err on the
other, and time stretches again at once. The busyness that was foretold there, less a tenth, is then the most that is
allowed, for `BELIEF_S_MIN`, and for twice as long each time it happens again. A forecast that came true for a second is
not to blame for what comes later: more to do is no mistake.

All shards of a worker share the pace, as they share its core. What it slows is the world, evenly: clients are told in
every head, so that motion on screen, timers and the due ticks of inputs slow down with it. Nothing is skipped.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

NOTCHES = 16
"""Factors are whole sixteenths."""
HOT_S = 0.5
COOL_S = 0.5
REGRET_S = 90.0
"""A step down that is followed by one up within this long was one too many."""
LATE_PART, LAG_PART = 0.5, 1.0
"""Of an interval: ticks that begin so late, gateways so far behind, are what is called hot."""
COOL_PART = 0.35
"""Of what is called hot."""
EASING_PART = 0.05
"""Of an interval: heat that falls by so much from look to look is a backlog that is being worked off."""
LONGER_MIN, LONGER_MAX = 1.125, 1.5
SHORTER_MAX = 1.25
"""How many times longer, or shorter, a tick may get at once."""
SHORTER_MIN = 1.06
"""How many times shorter a tick must get to be worth a change."""
BUSY_MAX = 0.85
"""How much of its time a process may need after a step down. Above it, and not hot, nothing changes."""
BELIEF_S_MIN, BELIEF_S_MAX = 15.0, 240.0
BELIEF_PART, BELIEF_MIN = 0.9, 0.25
TRUE_PART = 1.1
"""How many times busier than foretold still counts as foretold."""
LOOKS = 4
"""How many looks the busyness is a mean of."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at a worker showed. Ticks began `late_part` of an interval late, in the mean; the worst gateway is
    `lag_part` intervals behind; `busy`: of the process that is busiest, 0 to 1.
    """

    late_part: float
    lag_part: float
    busy: float

    @property
    def heat(self) -> float:
        """1 and above is called hot."""
        return max(self.late_part / LATE_PART, self.lag_part / LAG_PART)


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


class Ceiling:
    """How busy a process may be after a step down: `BUSY_MAX`, or less for as long as that is known to be too much."""

    def __init__(self) -> None:
        self._part = BUSY_MAX
        self._until_s = float("-inf")
        self._belief_s = BELIEF_S_MIN / 2

    def part(self, now_s: float) -> float:
        """Now."""
        return self._part if now_s < self._until_s else BUSY_MAX

    def regret(self, foretold: float, now_s: float) -> None:
        """A step down that was to make a process so busy was too much."""
        if now_s >= self._until_s + self._belief_s:
            self._part, self._belief_s = BUSY_MAX, BELIEF_S_MIN / 2
        # A belief that has just run out, and is found to be true again, is believed at once.
        self._part = max(BELIEF_MIN, min(BELIEF_PART * min(foretold, self.part(now_s)), self._part))
        self._belief_s = min(2 * self._belief_s, BELIEF_S_MAX)
        self._until_s = now_s + self._belief_s


class Dilation:
    """Decides the pace. `factor_max` 1 never lets time stretch."""

    def __init__(self, factor_max: float) -> None:
        self._factor_max = factor_max
        self._ceiling = Ceiling()
        self._hot_since_s: float | None = None
        self._cool_since_s: float | None = None
        self._before: Seen | None = None
        self._busy: deque[float] = deque(maxlen=LOOKS)
        self._shortened_s = float("-inf")
        self._foretold = 0.0
        self._settled, self._came_true = True, False
        self.factor = 1.0
        """How long a tick is to last, in the title's intervals."""

    def look(self, seen: Seen, now_s: float) -> float:
        """Decide anew. Call a few times a second. Returns the factor."""
        heat = seen.heat
        self._hot_since_s = None if heat < 1 else now_s if self._hot_since_s is None else self._hot_since_s
        self._cool_since_s = None if heat > COOL_PART else now_s if self._cool_since_s is None else self._cool_since_s
        self._busy.append(seen.busy)
        if len(self._busy) == LOOKS and not self._settled:
            self._settled, self._came_true = True, self._mean_busy() <= TRUE_PART * self._foretold
        if self._hot_since_s is not None and now_s - self._hot_since_s >= HOT_S:
            if not self._eases(seen):
                self._longer(heat, now_s)
        elif self._cool_since_s is not None and now_s - self._cool_since_s >= COOL_S:
            self._shorter(now_s)
        self._before = seen
        return self.factor

    def _eases(self, seen: Seen) -> bool:
        """True where what is hot gets better by itself: longer ticks would come too late to help."""
        return self._before is not None and all(
            part < limit or part <= before - EASING_PART
            for part, before, limit in (
                (seen.late_part, self._before.late_part, LATE_PART),
                (seen.lag_part, self._before.lag_part, LAG_PART),
            )
        )

    def _longer(self, heat: float, now_s: float) -> None:
        if now_s - self._shortened_s <= REGRET_S and not self._came_true:
            self._ceiling.regret(self._foretold, now_s)
            self._shortened_s = float("-inf")
        times = min(max(1 + heat / 8, LONGER_MIN), LONGER_MAX)
        self._become(min(math.ceil(self.factor * times * NOTCHES) / NOTCHES, self._factor_max))
        self._hot_since_s = now_s

    def _shorter(self, now_s: float) -> None:
        busy = self._mean_busy()
        fits = self.factor * busy / self._ceiling.part(now_s)
        factor = max(1.0, math.ceil(max(fits, self.factor / SHORTER_MAX) * NOTCHES) / NOTCHES)
        if self.factor < SHORTER_MIN * factor:
            return
        self._foretold = busy * self.factor / factor
        self._shortened_s = self._cool_since_s = now_s
        self._become(factor)
        self._settled = self._came_true = False

    def _mean_busy(self) -> float:
        return sum(self._busy) / len(self._busy)

    def _become(self, factor: float) -> None:
        """What was seen until now was another pace."""
        if factor != self.factor:
            self._busy.clear()
        self.factor = factor
