"""Where to draw things between ticks. Pure: times are arguments, in seconds. Two ways, by entity and call:

* `interpolated`: a little in the past, between two states the server really sent. The delay adapts to the measured
  jitter, so that the later of the two is nearly always there: longer at once, shorter slowly. Where it is not there,
  things go on by their velocity; what jumped further than it can fly is not drawn in between. For what others control.
* `predicted`: now, by the motion rule from the newest state. Exact for what moves straight. When a new state disagrees,
  the difference melts away instead of jumping. For shots, and for the own avatar where it is not predicted.

Who crosses from one shard to another, whose ticks have other numbers, is drawn without a break (see
`overworld.client.presence`); who is gone can be drawn for a moment, so that its end shows when its time comes.

What is interpolated lies at whole 256ths of ticks, and `sight` says which: a title that judges by what its players saw
can compute it again in whole numbers. The JavaScript SDK draws the same (`tests/client/test_drawn_alike.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from overworld.client.beat import PARTS, Beats, moment
from overworld.client.contract import KindLayout
from overworld.client.presence import Presence
from overworld.client.track import HISTORY_TICKS, Channels, Placed, Track, ahead_max

_DELAY_S_MAX = 0.4
_MARGIN_S = 0.004
_KEPT_S = 3.0
"""A track whose entity is gone is kept for so long."""
_PURGED_EVERY_S = 1.0


@dataclass(frozen=True)
class Sight:
    """What is drawn of a shard's entities: `part` 256ths of a tick beyond their states of `tick`, on the straight way
    to those of `span` ticks later; by their velocity where `span` is 0, because later ones had not come.
    """

    tick: int
    part: int
    span: int


class Interpolator:
    """See the module. `beats`: the shards' timelines, which someone else keeps: give them each frame before this."""

    def __init__(self, presence: Presence, beats: Beats) -> None:
        self.delay_s = 0.1
        """How far in the past `interpolated` draws."""
        self._presence = presence
        self._beats = beats
        self._welcomes = -1
        self._tracks: dict[int, Track] = {}
        self._channels: dict[KindLayout, Channels] = {}
        self._told: dict[int, list[int]] = {}
        """The newest ticks that frames ended with, by shard, ascending."""
        self._purged_at = float("-inf")

    # ------------------------------------------------------------ frames

    def frame(self, now: float) -> None:
        """A frame has been applied, and the beats know of it."""
        mirror, fresh = self._presence.mirror, self._beats.fresh
        contract = mirror.contract
        assert contract is not None
        if mirror.welcomes != self._welcomes:
            # Another socket, whose times are its own. What is drawn stays until new states come.
            self._welcomes = mirror.welcomes
            self._told.clear()
            self._channels.clear()
        for shard, anew in fresh.items():
            tick = mirror.ticks[shard][1]
            before = [] if anew else [told for told in self._told.get(shard, ()) if told < tick]
            self._told[shard] = [*before[-HISTORY_TICKS + 1 :], tick]
        if fresh:
            snap = contract.cell_size / 2
            for shard, entity, layout, values in self._presence.rows(fresh):
                self._push(entity, layout, shard, values, snap, now)
            self._adapt(next(iter(fresh)))
        self._purge(now)

    def _push(
        self, entity: int, layout: KindLayout, shard: int, values: tuple[int, ...], snap: float, now: float
    ) -> None:
        track = self._tracks.get(entity)
        if track is None:
            channels = self._channels.get(layout)
            if channels is None:
                channels = self._channels[layout] = Channels(layout)
            if not channels.columns:
                return
            track = self._tracks[entity] = Track(channels, shard)
        beat, anew, told = self._beats[shard], self._beats.fresh[shard], self._told[shard]
        if track.shard != shard or anew:
            old = None if anew else self._beats.get(track.shard)
            track.change_timeline(shard, old, beat, told[-1])
        elif track.states and len(told) > 1 and track.states[-1].tick < told[-2]:
            # Out of sight for a while: between what was and what is lies no straight way.
            track.states.clear()
        track.push(told[-1], values, beat, snap, now)

    def _adapt(self, shard: int) -> None:
        """Longer at once (states are missing now), shorter slowly (nobody sees time run 2 % faster)."""
        beats = self._beats.values()
        wanted = min(_DELAY_S_MAX, max(beat.interval_s + beat.jitter_s + _MARGIN_S for beat in beats))
        step = self._beats[shard].interval_s / 50
        self.delay_s = (
            min(wanted, self.delay_s + 10 * step) if wanted > self.delay_s else max(wanted, self.delay_s - step)
        )

    def _purge(self, now: float) -> None:
        if now - self._purged_at < _PURGED_EVERY_S:
            return
        self._purged_at = now
        late = now - _KEPT_S
        for entity in [e for e, track in self._tracks.items() if track.seen_at < late and e not in self._presence]:
            del self._tracks[entity]
        self._beats.purge(self._presence.mirror, now)

    # ------------------------------------------------------------ places

    def tick(self, shard: int, now: float) -> float:
        """The tick of a shard at which its entities are drawn now. Raises KeyError for one never heard of."""
        beat = self._beats[shard]
        return beat.tick_at(beat.time(now) - self.delay_s)

    def sight(self, shard: int, now: float) -> Sight | None:
        """What is drawn now of a shard's entities that have been seen for a while; None before its first tick."""
        told, beat = self._told.get(shard), self._beats.get(shard)
        if not told or beat is None:
            return None
        at = moment(self.tick(shard, now))
        newest, oldest = told[-1], told[0]
        if at >= newest * PARTS:
            return Sight(newest, min(at - newest * PARTS, round(ahead_max(beat) * PARTS)), 0)
        if at <= oldest * PARTS:
            return Sight(oldest, 0, 0)
        second = next(i for i, t in enumerate(told) if t * PARTS > at)
        first = told[second - 1]
        return Sight(first, at - first * PARTS, told[second] - first)

    def interpolated(self, entity: int, now: float) -> Placed | None:
        """Where to draw an entity, a little in the past; None for one that is not known."""
        track = self._tracks.get(entity)
        if track is None or not track.states:
            return None
        beat = self._beats.get(track.shard)
        if beat is None:
            return track.still()
        return track.at(moment(self.tick(track.shard, now)) / PARTS, ahead_max(beat))

    def predicted(self, entity: int, now: float) -> Placed | None:
        """Where an entity must be now; None for one that is not known."""
        track = self._tracks.get(entity)
        if track is None or not track.states:
            return None
        beat = self._beats.get(track.shard)
        return track.now(beat, now) if beat is not None else track.still()
