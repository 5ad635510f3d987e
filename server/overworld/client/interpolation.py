"""Where others are drawn: a little in the past, between two states the server really sent. Pure: times are arguments,
in seconds.

The delay adapts to the measured jitter, so that the later of the two states is nearly always there: longer at once,
shorter slowly. Where it is not there, things go on by their velocity; what jumped further than it can fly is not drawn
in between. What is drawn lies at whole 256ths of ticks, and `sight` says which: a title that judges by what its players
saw can compute it again in whole numbers. The JavaScript SDK draws the same (`tests/client/test_drawn_alike.py`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from overworld.client.beat import PARTS, TickBeat, moment
from overworld.client.mirror import Mirror

HISTORY_TICKS = 16
_EXTRAPOLATED_S_MAX = 0.5
_DELAY_S_MAX = 0.4
_MARGIN_S = 0.004


@dataclass(frozen=True)
class Placed:
    """A place to draw at, position units; `vx`, `vy` in position units a tick."""

    x: float
    y: float
    vx: float
    vy: float


@dataclass(frozen=True)
class Sight:
    """What is drawn of a shard's entities: `part` 256ths of a tick beyond their states of `tick`, on the straight way
    to those of `span` ticks later; by their velocity where `span` is 0, because later ones had not come.
    """

    tick: int
    part: int
    span: int


_State = tuple[int, int, int, int]


class Interpolation:
    """Draws the entities of one kind that moves. `beats`: the timelines of the shards, kept by someone else."""

    def __init__(self, mirror: Mirror, kind: str, beats: Mapping[int, TickBeat]) -> None:
        self.delay_s = 0.1
        """How far in the past things are drawn."""
        self._mirror = mirror
        self._kind = kind
        self._beats = beats
        self._tracks: dict[int, tuple[int, dict[int, _State]]] = {}
        self._ticks: dict[int, int] = {}
        self._told: dict[int, list[int]] = {}
        """The newest ticks that frames ended with, by shard, ascending."""

    def frame(self) -> None:
        """A frame has been applied, and the beats know of it."""
        mirror = self._mirror
        contract = mirror.contract
        assert contract is not None
        fresh = {shard for shard, (_, tick) in mirror.ticks.items() if self._ticks.get(shard) != tick}
        if not fresh:
            return
        for shard in fresh:
            self._ticks[shard] = tick = mirror.ticks[shard][1]
            before = [told for told in self._told.get(shard, ()) if told < tick]
            self._told[shard] = [*before[-HISTORY_TICKS + 1 :], tick]
        here: set[int] = set()
        for seen in mirror.entities(contract.kind(self._kind)):
            here.add(seen.entity)
            shard = contract.shard_of(seen.cell)
            if shard in fresh:
                x, y, vx, vy = seen.values[:4]
                self._note(seen.entity, shard, self._ticks[shard], (x, y, vx, vy))
        for gone in [entity for entity in self._tracks if entity not in here]:
            del self._tracks[gone]
        self._adapt()

    def tick(self, shard: int, now: float) -> float:
        """The tick of a shard at which its entities are drawn now."""
        beat = self._beats[shard]
        return beat.tick_at(beat.time(now) - self.delay_s)

    def sight(self, shard: int, now: float) -> Sight | None:
        """What is drawn now of a shard's entities that have been seen for a while; None before its first tick."""
        told = self._told.get(shard)
        return self._sight(told, shard, now) if told and shard in self._beats else None

    def _sight(self, ticks: Collection[int], shard: int, now: float) -> Sight:
        """As `sight`, for something whose states of these ticks are known."""
        at = moment(self.tick(shard, now))
        newest, oldest = max(ticks), min(ticks)
        if at >= newest * PARTS:
            ahead = math.floor(_EXTRAPOLATED_S_MAX / self._beats[shard].interval_s * PARTS)
            return Sight(newest, min(at - newest * PARTS, ahead), 0)
        if at <= oldest * PARTS:
            return Sight(oldest, 0, 0)
        first = max(t for t in ticks if t * PARTS <= at)
        second = min(t for t in ticks if t * PARTS > at)
        return Sight(first, at - first * PARTS, second - first)

    def placed(self, entity: int, now: float) -> Placed | None:
        """Where to draw an entity; None for one that is not seen."""
        track = self._tracks.get(entity)
        if track is None or track[0] not in self._beats:
            return None
        shard, states = track
        sight = self._sight(states, shard, now)
        a = states[sight.tick]
        if not sight.span:
            # Before its first state: where it came from, by its motion.
            back = min(0.0, moment(self.tick(shard, now)) / PARTS - sight.tick)
            return _ahead(a, back or sight.part / PARTS)
        b = states[sight.tick + sight.span]
        part = 0.0 if self._jumped(a, b, sight.span) else sight.part / (sight.span * PARTS)
        return Placed(a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1]), float(a[2]), float(a[3]))

    def _jumped(self, a: _State, b: _State, span: int) -> bool:
        """Whether this was no flight: further off its way than half a cell and what turning can do."""
        assert self._mirror.contract is not None
        snap = self._mirror.contract.cell_size / 2 + 4 * span * (abs(b[2]) + abs(b[3]))
        return math.hypot(b[0] - a[0] - b[2] * span, b[1] - a[1] - b[3] * span) > snap

    def _note(self, entity: int, shard: int, tick: int, state: _State) -> None:
        known = self._tracks.get(entity)
        states = known[1] if known is not None and known[0] == shard else {}
        states[tick] = state
        while len(states) > HISTORY_TICKS:
            del states[min(states)]
        self._tracks[entity] = (shard, states)

    def _adapt(self) -> None:
        beats = [beat for beat in self._beats.values() if beat.started]
        if not beats:
            return
        interval = max(beat.interval_s for beat in beats)
        wanted = min(_DELAY_S_MAX, max(beat.interval_s + beat.jitter_s + _MARGIN_S for beat in beats))
        step = interval / 50
        self.delay_s = (
            min(wanted, self.delay_s + 10 * step) if wanted > self.delay_s else max(wanted, self.delay_s - step)
        )


def _ahead(state: _State, ticks: float) -> Placed:
    x, y, vx, vy = state
    return Placed(x + ticks * vx, y + ticks * vy, float(vx), float(vy))
