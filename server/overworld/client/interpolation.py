"""Where others are drawn: a little in the past, between two states the server really sent. Pure: times are arguments,
in seconds.

The delay adapts to the measured jitter, so that the later of the two states is nearly always there: longer at once,
shorter slowly. Where it is not there, things go on by their velocity; what jumped further than it can fly is not drawn
in between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from overworld.client.beat import TickBeat
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

    def frame(self) -> None:
        """A frame has been applied, and the beats know of it."""
        mirror = self._mirror
        contract = mirror.contract
        assert contract is not None
        fresh = {shard for shard, (_, tick) in mirror.ticks.items() if self._ticks.get(shard) != tick}
        if not fresh:
            return
        for shard in fresh:
            self._ticks[shard] = mirror.ticks[shard][1]
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
        return self._beats[shard].tick_at(now - self.delay_s)

    def placed(self, entity: int, now: float) -> Placed | None:
        """Where to draw an entity; None for one that is not seen."""
        track = self._tracks.get(entity)
        if track is None or track[0] not in self._beats:
            return None
        shard, states = track
        tick = self.tick(shard, now)
        newest, oldest = max(states), min(states)
        if tick >= newest:
            return _ahead(states[newest], min(tick - newest, _EXTRAPOLATED_S_MAX / self._beats[shard].interval_s))
        if tick <= oldest:
            return _ahead(states[oldest], 0.0)
        first = max(t for t in states if t <= tick)
        second = min(t for t in states if t > tick)
        a, b = states[first], states[second]
        part = (tick - first) / (second - first)
        if math.hypot(b[0] - a[0] - b[2] * (second - first), b[1] - a[1] - b[3] * (second - first)) > self._snap:
            part = 0.0
        return Placed(a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1]), float(a[2]), float(a[3]))

    @property
    def _snap(self) -> float:
        assert self._mirror.contract is not None
        return self._mirror.contract.cell_size / 2

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
