"""A player's hands on a predicted avatar: which tick each input is meant for, and what of the frames concerns it. Pure:
times are arguments, in seconds.

Give it every applied frame with `frame`; take inputs through `send`; draw the avatar where `shown` says.
"""

from __future__ import annotations

import math

from overworld.client.beat import PARTS, Beats, moment
from overworld.client.lead import Lead
from overworld.client.mirror import Mirror
from overworld.client.prediction import Columns, Predictor
from overworld.client.protocol import ClientSession


class Steering:
    """One player's prediction over a session with a whole Mirror. `beats`: shared with others who draw by them."""

    def __init__(self, session: ClientSession, predictor: Predictor, beats: Beats | None = None) -> None:
        assert isinstance(session.mirror, Mirror), "a light client keeps no picture of its avatar"
        self.predictor = predictor
        self.lead = Lead()
        self.beats = beats if beats is not None else Beats()
        self.shard = -1
        """The avatar's shard."""
        self._session = session
        self._mirror = session.mirror
        self._avatar = 0
        self._acked = 0
        self._due = 0
        self._welcomes = 0

    # ------------------------------------------------------------ frames

    def frame(self, now: float) -> None:
        """A frame has been applied: set the beats, take the acks, go on from the avatar's new state."""
        mirror = self._mirror
        if mirror.welcomes != self._welcomes:
            self._begin()
        self.beats.frame(mirror, now)
        if mirror.acked > self._acked and mirror.acked_at is not None:
            self._acked = mirror.acked
            shard, tick = mirror.acked_at
            if shard == self.shard:
                late = self.predictor.acknowledged(self._acked, tick)
                if late:
                    self.lead.late(late)
        self._confirm(now)
        self.beats.stand(self.shard, self._session.stalled, now)

    def _begin(self) -> None:
        """Another socket: its times are its own."""
        self._welcomes = self._mirror.welcomes
        self._acked = self._mirror.acked
        self.lead.restart()
        self.predictor.restart()
        self.predictor.renumber(self._session.unacked_seqs)

    def _confirm(self, now: float) -> None:
        columns = self.columns()
        if columns is None:
            return
        shard, tick, entity, state = columns
        if entity != self._avatar:
            self._avatar = entity
            self.predictor.restart()
        if shard != self.shard:
            self._cross(shard, now)
        elif self.predictor.started and tick == self.predictor.tick:
            return
        self.predictor.confirm(tick, state, self.tick(now), now)

    def _cross(self, shard: int, now: float) -> None:
        """The avatar's ticks are another shard's from here on."""
        old, new = self.beats.get(self.shard), self.beats[shard]
        shift = round(new.tick_at(now) - old.tick_at(now)) if old is not None else 0
        self.shard = shard
        self._due = 0
        self.predictor.restart(shift)

    def columns(self) -> tuple[int, int, int, Columns] | None:
        """(shard, its tick, entity, columns by name) of the avatar as the server told them last; None where it is in no
        cell.
        """
        own, avatar, contract = self._mirror.own(), self._mirror.avatar, self._mirror.contract
        if own is None or avatar is None or contract is None:
            return None
        kind = contract.kinds[own.kind]
        shard = contract.shard_of(own.cell)
        state = dict(zip(kind.columns + kind.owner_columns, own.values + avatar.values, strict=True))
        return shard, self._mirror.ticks[shard][1], own.entity, state

    # ------------------------------------------------------------ the player

    def tick(self, now: float) -> float:
        """The tick at which the own avatar lives: ahead of those that arrive, so that inputs get there in time."""
        beat = self.beats.get(self.shard)
        if beat is None or not beat.started:
            return float(self.predictor.tick)
        lead = self.lead.advance(self._session.clock.round_trip_least_s, beat.jitter_max_s, now)
        return beat.tick_at(beat.time(now) + lead)

    def send(
        self, kind: str, fields: dict[str, int], now: float, seen_tick: int = 0, *, aimed: bool = False
    ) -> int | None:
        """Take an input of the player: it acts at once here, and at the same tick there. Returns its number, None where
        it was refused. Raises ValueError as `ClientSession.submit`.

        `aimed`: the input is to be judged by what is drawn at `now`, so it ends its tick. What hands do afterwards acts
        from the next one: it would change the very tick that the shot was drawn in.
        """
        contract = self._mirror.contract
        if contract is None:
            raise ValueError("inputs are not known before the first Welcome")
        layout = contract.input(kind)
        values = layout.values(fields)
        due = self._due_now(now)
        seq = self._session.submit(layout, values, now, seen_tick, due)
        if seq is not None:
            whole = {name: value for (name, _, _), value in zip(layout.fields, values, strict=True)}
            self.predictor.command(seq, due, kind, whole)
            if aimed and due:
                self._due = due + 1
        return seq

    def _due_now(self, now: float) -> int:
        """The tick an input made now is meant for; 0 (at once) while the way to the server has not been measured: every
        input would be late, and the lead would grow for nothing.
        """
        if not self.predictor.started or not self._session.clock.round_trip_least_s:
            return 0
        self._due = max(self._due, math.floor(self.tick(now)) + 1)
        return self._due

    def shown(self, now: float) -> dict[str, float] | None:
        """Where to draw the avatar now; None before it was seen."""
        return self.predictor.at(self.moment(now) / PARTS, now)

    def moment(self, now: float) -> int:
        """What `shown` shows now: 256ths of a tick of the avatar's shard."""
        return moment(self.tick(now))
