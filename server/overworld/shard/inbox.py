"""What arrived for a shard since its last tick, and how it becomes a tick's canonical inputs.

An input may name the tick it is meant for (`due_ticks`): one that comes earlier waits for that tick, and all of its
session behind it; one that comes later is applied at once. So a client that predicts knows at which tick its inputs
take effect, whatever the network's jitter. Who lies about it delays himself, and by half a second at most: a tick
further ahead counts as none (an avatar that has just crossed a border gives ticks of the shard it came from).

Pure and bounded. Overflow: a session with more than `waiting_per_session_max` inputs waiting, or any input beyond
`waiting_max` in all, is refused with 1008; its unacked inputs come again after it resumes, so nothing acknowledged is
lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from overworld.shard.inputs import SessionEvent, TickInputs, no_ints
from overworld.shard.sessions import Sessions
from overworld.world.contract import WorldContract
from overworld.world.state import Shard

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

POLICY, BAD_INPUT, INPUT_GAP = 1008, 4006, 4007
EARLY_S_MAX = 0.5
"""An input waits no longer than this for the tick it is meant for."""


@dataclass(frozen=True)
class InputColumnsIn:
    """Inputs as they arrive: one entry an input in each int64[n] column; `values` is int64[sum of counts], flat.

    `due_ticks` may be int64[0]: all at once.
    """

    sessions: Ints
    seqs: Ints
    kinds: Ints
    seen_ticks: Ints
    counts: Ints
    values: Ints
    due_ticks: Ints = field(default_factory=no_ints)

    def __post_init__(self) -> None:
        n = len(self.sessions)
        if not len(self.due_ticks) and n:
            object.__setattr__(self, "due_ticks", np.zeros(n, np.int64))
        if any(len(c) != n for c in (self.seqs, self.kinds, self.seen_ticks, self.counts, self.due_ticks)):
            raise ValueError("input columns differ in length")
        if n and (int(self.counts.min()) < 0 or int(self.counts.sum()) != len(self.values)):
            raise ValueError("input values do not add up to their counts")


@dataclass
class InboxCounters:
    """What the inbox turned away, by reason; monotonic."""

    unknown_session: int = 0
    duplicate: int = 0
    bad_input: int = 0
    gap: int = 0
    overflow: int = 0
    late: int = 0
    """Applied after the tick they were meant for."""


class Inbox:
    """Collects a shard's events and inputs between ticks."""

    def __init__(
        self,
        contract: WorldContract,
        waiting_max: int = 65_536,
        waiting_per_session_max: int = 32,
        tick_max: int = 65_536,
    ) -> None:
        """`waiting_max`: inputs that may wait however few sessions there are. `tick_max`: what a tick takes at most."""
        self._contract = contract
        self._waiting_max = self._waiting_now_max = waiting_max
        self._tick_max = tick_max
        self._per_session_max = waiting_per_session_max
        self._early_ticks_max = max(1, int(contract.grid.tick_hz * EARLY_S_MAX))
        self._events: list[tuple[SessionEvent, int, int]] = []
        self._arrived: list[InputColumnsIn] = []
        self._waiting = 0
        self._field_counts = np.array([len(k.fields) for k in contract.inputs], np.int64)
        self._bounds = [
            (
                np.array([f.field.minimum for f in k.fields], np.int64),
                np.array([f.field.maximum for f in k.fields], np.int64),
            )
            for k in contract.inputs
        ]
        self.counters = InboxCounters()

    @property
    def fill(self) -> float:
        """Inputs waiting, as a part of their bound."""
        return self._waiting / self._waiting_now_max

    def event(self, code: SessionEvent, session: int, player: int) -> None:
        """A session begins or ends at the next tick. Events are few and bounded by the gateways' sockets."""
        self._events.append((code, session, player))

    def inputs(self, batch: InputColumnsIn, sessions: int = 0) -> None:
        """Inputs for the next ticks. So many `sessions` may have as many waiting as each of them may; beyond that, and
        beyond `waiting_max`, the batch is dropped and counted.

        A bound for all together would close everybody after a pause in which each kept to its own: who misses one
        input cannot go on.
        """
        each = self._per_session_max + self._contract.inputs_per_tick_max
        self._waiting_now_max = max(self._waiting_max, sessions * each)
        if self._waiting + len(batch.sessions) > self._waiting_now_max:
            self.counters.overflow += len(batch.sessions)
            return
        self._arrived.append(batch)
        self._waiting += len(batch.sessions)

    def take(self, shard: Shard, sessions: Sessions) -> tuple[TickInputs, Ints]:
        """The canonical inputs of the shard's next tick, and int64[2, n]: sessions whose sockets must close, with the
        codes.

        At most `inputs_per_tick_max` inputs a player, none before it is due, and `tick_max` in all: everybody's first
        ones before anybody's second ones. The rest wait for later ticks.
        """
        events, self._events = tuple(self._events), []
        if not self._arrived:
            return TickInputs(events=events), np.zeros((2, 0), np.int64)
        batch, self._arrived, self._waiting = _joined(self._arrived), [], 0
        rows = sessions.rows_of(batch.sessions)
        starts = np.cumsum(batch.counts) - batch.counts
        valid = self._valid(batch, starts)
        refused = [(int(s), BAD_INPUT) for s in np.unique(batch.sessions[~valid & (rows >= 0)])]
        self.counters.bad_input += int((~valid).sum())
        self.counters.unknown_session += int((rows < 0).sum())
        keep = np.flatnonzero(valid & (rows >= 0))
        # By player, then number; equal numbers in order of arrival.
        order = keep[np.lexsort((batch.seqs[keep], rows[keep]))]
        order = self._new_ones(order, rows, batch.seqs, shard.players.last_seq)
        place = _places(rows[order])
        unbroken = batch.seqs[order] == shard.players.last_seq[rows[order]] + 1 + place
        refused += self._refuse(order[~unbroken], batch.sessions, INPUT_GAP, "gap")
        order, place = order[unbroken], place[unbroken]
        late = place >= self._contract.inputs_per_tick_max + self._per_session_max
        refused += self._refuse(order[late], batch.sessions, POLICY, "overflow")
        early, behind = self._due(batch.due_ticks[order], place, shard.tick + 1)
        now = (place < self._contract.inputs_per_tick_max) & ~early
        self.counters.late += int((behind & now).sum())
        now = self._that_fit(now & ~late, place)
        self._keep_waiting(batch, order[~now & ~late], starts)
        inputs = _select(batch, order[now], starts)
        taken = TickInputs(
            events, inputs.sessions, inputs.seqs, inputs.kinds, inputs.seen_ticks, inputs.counts, inputs.values
        )
        return taken, np.array(refused, np.int64).reshape(-1, 2).T

    def _valid(self, batch: InputColumnsIn, starts: Ints) -> npt.NDArray[np.bool_]:
        valid = (batch.kinds >= 0) & (batch.kinds < len(self._field_counts)) & (batch.seqs > 0)
        for kind, (low, high) in enumerate(self._bounds):
            of_kind = np.flatnonzero((batch.kinds == kind) & valid)
            right = batch.counts[of_kind] == len(low)
            valid[of_kind[~right]] = False
            of_kind = of_kind[right]
            values = batch.values[starts[of_kind][:, None] + np.arange(len(low))]
            valid[of_kind] = ((values >= low) & (values <= high)).all(axis=1)
        return valid

    def _new_ones(self, order: Ints, rows: Ints, seqs: Ints, last_seq: Ints) -> Ints:
        """Leave out inputs that were applied already and second copies. (Resending is how clients recover, so both
        are normal.)
        """
        fresh = seqs[order] > last_seq[rows[order]]
        same = np.zeros(len(order), np.bool_)
        same[1:] = (rows[order][1:] == rows[order][:-1]) & (seqs[order][1:] == seqs[order][:-1])
        self.counters.duplicate += int((~fresh | same).sum())
        return order[fresh & ~same]

    def _due(self, due: Ints, place: Ints, tick: int) -> tuple[Bools, Bools]:
        """Which of these inputs (in order, `place` within their session's run) wait for a later tick, and which are due
        before this one: bool[n] each.
        """
        behind = (due > 0) & (due < tick)
        waits = (due > tick) & (due <= tick + self._early_ticks_max)
        if waits.any():
            # Who waits holds up what comes behind: the newest that waits, if it is of the same run.
            at = np.arange(len(due))
            waits = np.maximum.accumulate(np.where(waits, at, -1)) >= at - place
        return waits, behind

    def _that_fit(self, now: Bools, place: Ints) -> Bools:
        """`now` cut down to `tick_max`, bool[n]: of each session's run only its end is cut off."""
        if int(now.sum()) <= self._tick_max:
            return now
        which = np.flatnonzero(now)
        fits = np.zeros(len(now), np.bool_)
        fits[which[np.argsort(place[which], kind="stable")[: self._tick_max]]] = True
        return fits

    def _refuse(self, which: Ints, sessions: Ints, code: int, counter: str) -> list[tuple[int, int]]:
        setattr(self.counters, counter, getattr(self.counters, counter) + len(which))
        return [(int(s), code) for s in np.unique(sessions[which])]

    def _keep_waiting(self, batch: InputColumnsIn, which: Ints, starts: Ints) -> None:
        if len(which):
            self._arrived.append(_select(batch, which, starts))
            self._waiting = len(which)


def _places(rows: Ints) -> Ints:
    """For sorted rows: each entry's place within its run of equal rows."""
    if not len(rows):
        return no_ints()
    starts = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), rows[1:] != rows[:-1])))
    counts = np.diff(np.append(starts, len(rows)))
    return np.arange(len(rows)) - np.repeat(starts, counts)


def _select(batch: InputColumnsIn, which: Ints, starts: Ints) -> InputColumnsIn:
    counts = batch.counts[which]
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    values = batch.values[np.repeat(starts[which], counts) + within]
    return InputColumnsIn(
        batch.sessions[which],
        batch.seqs[which],
        batch.kinds[which],
        batch.seen_ticks[which],
        counts,
        values,
        batch.due_ticks[which],
    )


def _joined(batches: list[InputColumnsIn]) -> InputColumnsIn:
    if len(batches) == 1:
        return batches[0]
    names = ("sessions", "seqs", "kinds", "seen_ticks", "counts", "values", "due_ticks")
    return InputColumnsIn(*(np.concatenate([getattr(b, name) for b in batches]) for name in names))
