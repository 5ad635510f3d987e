"""The newest states of one entity, and where it is between and beyond them. Pure: times are arguments, in seconds.

A track holds what is drawn: x and y of what moves, and the columns that wrap (angles), which turn the short way round.
The same rule as in `clients/js/src/interpolate.js`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from overworld.client.beat import TickBeat, moment
from overworld.client.contract import KindLayout
from overworld.client.prediction import short_way

HISTORY_TICKS = 16
EXTRAPOLATED_S_MAX = 0.5
"""After so long without a new state an entity is drawn where it is and goes no further."""
_MELT_S = 0.07
"""How fast a wrong prediction melts away: after this time 1/e of it is left."""


@dataclass(frozen=True)
class Placed:
    """A place to draw at, position units; `vx`, `vy` in position units a tick, as told last; `angles`: each column that
    wraps, by its name. What does not move has no place: its x and y are NaN.
    """

    x: float
    y: float
    vx: float
    vy: float
    angles: dict[str, float]


class Channels:
    """What is drawn of a kind: `columns` are x and y where it moves, then those that wrap."""

    __slots__ = ("columns", "modulos", "moves", "names")

    def __init__(self, layout: KindLayout) -> None:
        self.moves = layout.moves
        self.columns = [i for i in range(layout.width) if (layout.moves and i < 2) or layout.modulos[i]]
        self.modulos = [layout.modulos[i] for i in self.columns]
        self.names = [layout.columns[i] for i in self.columns]


class State(NamedTuple):
    """What was told of one tick. `tick` has a fraction where it was told as another shard's tick. `jumped`: from the
    state before leads no straight way.
    """

    tick: float
    values: tuple[int, ...]
    vx: int
    vy: int
    jumped: bool


class Track:
    """See the module. `states`: newest last."""

    __slots__ = ("_at", "_error", "_turn", "channels", "seen_at", "shard", "states")

    def __init__(self, channels: Channels, shard: int) -> None:
        self.channels = channels
        self.shard = shard
        self.states: deque[State] = deque(maxlen=HISTORY_TICKS)
        self.seen_at = 0.0
        self._turn = [0.0] * len(channels.columns)
        """How much each wrapping channel turned in the last tick."""
        self._error = [0.0] * len(channels.columns)
        """What was still melting of wrong predictions at `_at`."""
        self._at = 0.0

    # ------------------------------------------------------------ states

    def push(self, tick: int, row: tuple[int, ...], beat: TickBeat, snap: float, now: float) -> None:
        """The state of a tick, all columns of the kind. `snap`: further off its way than this, a cell's half and what
        turning can do is a jump, position units.
        """
        channels = self.channels
        guess = self._guess(beat, now) if self.states else None
        last = self.states[-1] if self.states else None
        ticks = max(1.0, tick - last.tick) if last is not None else 1.0
        values = tuple(row[i] for i in channels.columns)
        vx, vy = (row[2], row[3]) if channels.moves else (0, 0)
        jumped = False
        if last is not None:
            for c, modulo in enumerate(channels.modulos):
                if modulo:
                    self._turn[c] = short_way(values[c] - last.values[c], modulo) / ticks
            if channels.moves:
                off = math.hypot(values[0] - last.values[0] - vx * ticks, values[1] - last.values[1] - vy * ticks)
                jumped = off > snap + 4 * ticks * (abs(vx) + abs(vy))
        self.states.append(State(tick, values, vx, vy, jumped))
        self.seen_at = now
        if guess is not None:
            self._note_error(guess, beat, now)

    def change_timeline(self, shard: int, old: TickBeat | None, new: TickBeat, tick: int) -> None:
        """Its ticks are another shard's from here on, or begin anew (`old` None): then what came before is history, and
        only the newest state is kept, one tick back.
        """
        self.shard = shard
        if not self.states:
            return
        if old is None:
            newest = self.states[-1]
            self.states.clear()
            self.states.append(newest._replace(tick=float(tick - 1)))
            return
        for back, state in enumerate(reversed(tuple(self.states))):
            then = min(new.tick_at(old.time_of(state.tick)), tick - 0.5 - back * 1e-6)
            self.states[-1 - back] = state._replace(tick=then)

    # ------------------------------------------------------------ places

    def still(self) -> Placed:
        """As it was told last."""
        return self._placed(list(map(float, self.states[-1].values)))

    def at(self, tick: float, ahead_max: float) -> Placed:
        """As it was at a tick: between two states, or on from the newest by its motion, for so many ticks at most."""
        states = self.states
        if tick >= states[-1].tick:
            return self._placed(self._ahead(min(tick - states[-1].tick, ahead_max)))
        if tick < states[0].tick:
            # Before the first state we have: where it came from, by its motion.
            first, ticks = states[0], tick - states[0].tick
            way = (first.vx, first.vy) if self.channels.moves else ()
            return self._placed([v + ticks * way[c] if c < len(way) else v for c, v in enumerate(first.values)])
        b = next(i for i in range(len(states) - 1, 0, -1) if states[i - 1].tick <= tick)
        first, second = states[b - 1], states[b]
        span = second.tick - first.tick
        part = 0.0 if second.jumped else (tick - first.tick) / span if span > 0 else 1.0
        values = []
        for a, b_, modulo in zip(first.values, second.values, self.channels.modulos, strict=True):
            values.append(a + part * (short_way(b_ - a, modulo) if modulo else b_ - a))
        return self._placed(values)

    def now(self, beat: TickBeat, now: float) -> Placed:
        """As it must be now, by the motion rule; what was wrong of that melts away."""
        return self._placed(self._guess(beat, now))

    # ------------------------------------------------------------ parts

    def _ahead(self, ticks: float) -> list[float]:
        """So many ticks beyond the newest state. A turn is guessed one tick ahead at most: who turns also stops."""
        newest = self.states[-1]
        way = (newest.vx, newest.vy) if self.channels.moves else ()
        turned = max(-1.0, min(1.0, ticks))
        return [
            value + (ticks * way[c] if c < len(way) else turned * self._turn[c])
            for c, value in enumerate(newest.values)
        ]

    def _ticks_ahead(self, beat: TickBeat, now: float) -> float:
        ticks = beat.tick_at(beat.time(now)) - self.states[-1].tick
        return max(0.0, min(ticks, EXTRAPOLATED_S_MAX / beat.interval_s))

    def _guess(self, beat: TickBeat, now: float) -> list[float]:
        left = math.exp(-max(0.0, now - self._at) / _MELT_S)
        ahead = self._ahead(self._ticks_ahead(beat, now))
        return [value + error * left for value, error in zip(ahead, self._error, strict=True)]

    def _note_error(self, guess: list[float], beat: TickBeat, now: float) -> None:
        """What was drawn minus what is now known goes into the melting error."""
        known = self._ahead(self._ticks_ahead(beat, now))
        jumped = self.states[-1].jumped
        for c, modulo in enumerate(self.channels.modulos):
            error = 0.0 if jumped else guess[c] - known[c]
            self._error[c] = short_way(error, modulo) if modulo else error
        self._at = now

    def _placed(self, values: list[float]) -> Placed:
        newest, channels = self.states[-1], self.channels
        first = 2 if channels.moves else 0
        x, y = values[:2] if channels.moves else (math.nan, math.nan)
        angles = {channels.names[c]: values[c] % channels.modulos[c] for c in range(first, len(values))}
        return Placed(x, y, float(newest.vx), float(newest.vy), angles)


def ahead_max(beat: TickBeat) -> float:
    """How far beyond its newest state anything is drawn a little in the past: ticks, in whole 256ths."""
    return moment(EXTRAPOLATED_S_MAX / beat.interval_s) / 256
