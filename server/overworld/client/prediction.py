"""The own avatar, ahead of the server: inputs act at once, and every state the server sends is the new beginning from
which the inputs it does not hold yet are played again. Pure.

The title says how its avatar moves: a rule over plain whole numbers that takes the avatar's columns (those everybody
sees and those its owner sees, by name) and the inputs of one tick, and gives the columns after that tick. With the
server's own whole-number rule, and inputs that name their tick (`Input.due_tick`), prediction and server agree to the
bit unless something else acts on the avatar.

    tick      | 96  97  98  99 100 101 102 103
    server    |  ......... told          (what arrives here now)
    inputs    |              a       b      (a due at 99, b due at 101: not acked yet)
    predicted |         98 ->99->100->101->102   drawn: between the two around `tick_at(now + lead)`
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Columns = dict[str, int]
"""An avatar's near and owner columns by name."""
Command = tuple[str, Mapping[str, int]]
"""An input: its kind's name, and its fields."""
Rule = Callable[[Columns, Sequence[Command]], Columns]
"""The columns one tick later, given the inputs which that tick applies. Must not change its arguments."""

AHEAD_TICKS_MAX = 40
"""Further than this beyond the newest state nothing is predicted: the avatar stands."""
_MELT_S = 0.08
"""After this time 1/e of a correction is left to be seen."""
_INPUTS_MAX = 128


@dataclass
class _Pending:
    seq: int
    due: int
    command: Command
    applied: int | None = None
    """The tick that applied it, once it is acked."""


@dataclass
class PredictionFigures:
    """What prediction came to."""

    confirmed: int = 0
    """States of the server that were compared with what had been predicted for their tick."""
    mispredicted: int = 0
    corrections: list[float] = field(default_factory=list)
    """How far off each misprediction was in place, position units; the last thousand."""
    moved: list[float] = field(default_factory=list)
    """How far each correction moves the avatar where it is drawn, position units; the last thousand."""
    late: int = 0
    """Inputs that the server applied after their tick."""
    snapped: int = 0
    """Mispredictions too large to be smoothed."""

    def note(self, distance: float) -> None:
        """One more misprediction."""
        self.mispredicted += 1
        self.corrections.append(distance)
        del self.corrections[:-1000]


class Predictor:
    """Predicts one avatar. `columns`: the names of what the rule predicts; of those, `angles` (with their modulo) wrap.

    `inputs_per_tick_max` is the title's. `snap`: corrections further than this, in position units, are shown at once.
    """

    def __init__(
        self,
        rule: Rule,
        columns: Sequence[str],
        angles: Mapping[str, int] | None = None,
        *,
        inputs_per_tick_max: int = 4,
        snap: float = math.inf,
    ) -> None:
        self.figures = PredictionFigures()
        self.snap = snap
        self._rule = rule
        self._names = tuple(columns)
        self._angles = dict(angles or {})
        self._per_tick_max = inputs_per_tick_max
        self._pending: deque[_Pending] = deque(maxlen=_INPUTS_MAX)
        self._tick = 0
        """Tick of `_states[0]`, the newest state of the server."""
        self._states: list[Columns] = []
        self._error: dict[str, float] = {}
        self._error_at = 0.0

    # ------------------------------------------------------------ what is told

    @property
    def started(self) -> bool:
        """True once there is a state to go on from."""
        return bool(self._states)

    @property
    def tick(self) -> int:
        """The tick of the newest state of the server."""
        return self._tick

    def command(self, seq: int, due_tick: int, kind: str, fields: Mapping[str, int]) -> None:
        """An input of the player, as it was sent. It acts from its tick on."""
        self._pending.append(_Pending(seq, due_tick, (kind, dict(fields))))
        self._forget_from(due_tick)

    def acknowledged(self, seq: int, tick: int) -> int:
        """Everything up to `seq` has been applied, the last of it at `tick`. Returns by how many ticks that was late.

        Call before `confirm` for the frame that says so.
        """
        late = 0
        for pending in self._pending:
            if pending.seq > seq or pending.applied is not None:
                continue
            pending.applied = tick if pending.seq == seq else min(tick, max(pending.due, self._tick + 1))
            if pending.seq == seq and pending.due and tick > pending.due:
                late = tick - pending.due
                self.figures.late += 1
        return late

    def confirm(self, tick: int, state: Mapping[str, int], shown_tick: float, now: float) -> None:
        """The server's state at a tick, columns by name. `shown_tick`: what `at` is asked for at `now`: what is seen
        there must not jump.
        """
        if self._states and tick < self._tick:
            # A takeover that forgot ticks: what was predicted from them is worth nothing.
            self.restart()
        before = self._shown(shown_tick, now)
        expected = self._states[tick - self._tick] if self._states and tick - self._tick < len(self._states) else None
        while self._pending and (applied := self._pending[0].applied) is not None and applied <= tick:
            self._pending.popleft()
        told = dict(state)
        right = expected is not None and all(expected[name] == told[name] for name in self._names)
        kept = self._states[tick - self._tick + 1 :] if expected == told and not self._pending else []
        if expected is not None:
            self.figures.confirmed += 1
            if not right:
                self.figures.note(math.hypot(expected["x"] - told["x"], expected["y"] - told["y"]))
        self._tick, self._states = tick, [told, *kept]
        if before is not None and not right:
            self._smooth(before, shown_tick, now)

    def restart(self, shift_ticks: int = 0) -> None:
        """Predictions are void: another socket, or another shard, which counts its ticks `shift_ticks` apart from those
        of the shard before. Inputs that are not acked stay.
        """
        self._states = []
        self._pending = deque((p for p in self._pending if p.applied is None), maxlen=_INPUTS_MAX)
        for pending in self._pending:
            pending.due = max(0, pending.due + shift_ticks) if pending.due else 0

    def renumber(self, unacked: Sequence[int]) -> None:
        """After a resume: only the newest `len(unacked)` inputs are still on the way, under these numbers."""
        while len(self._pending) > len(unacked):
            self._pending.popleft()
        for pending, seq in zip(reversed(self._pending), reversed(unacked), strict=False):
            pending.seq, pending.applied = seq, None

    # ------------------------------------------------------------ what is asked

    def state(self, tick: int) -> Columns:
        """The columns predicted for a tick. Raises LookupError before the first state."""
        if not self._states:
            raise LookupError("the server has not told where the avatar is")
        ahead = min(max(tick - self._tick, 0), AHEAD_TICKS_MAX)
        while len(self._states) <= ahead:
            self._predict()
        return self._states[ahead]

    def at(self, tick: float, now: float) -> dict[str, float] | None:
        """Where to draw the avatar: what the rule predicts, between ticks, and what is left of the last correction.
        None before the first state.
        """
        return self._shown(tick, now)

    # ------------------------------------------------------------ parts

    def _predict(self) -> None:
        """One tick further."""
        tick = self._tick + len(self._states)
        commands = [pending.command for pending in self._inputs_of(tick)]
        self._states.append(self._rule(self._states[-1], commands))

    def _inputs_of(self, tick: int) -> list[_Pending]:
        """The inputs that a tick applies, as the server's inbox will: in order, none before it is due, not too many."""
        taken: list[_Pending] = []
        at, room = self._tick + 1, self._per_tick_max
        for pending in self._pending:
            if pending.applied is not None and pending.applied <= self._tick:
                continue
            wanted = pending.applied if pending.applied is not None else pending.due
            if wanted > at:
                at, room = wanted, self._per_tick_max
            elif room == 0:
                at, room = at + 1, self._per_tick_max
            if at > tick:
                break
            room -= 1
            if at == tick:
                taken.append(pending)
        return taken

    def _forget_from(self, tick: int) -> None:
        """Predictions from this tick on are to be made anew; the server's own state stays."""
        if self._states:
            del self._states[max(1, tick - self._tick) :]

    def _shown(self, tick: float, now: float) -> dict[str, float] | None:
        if not self._states:
            return None
        first = math.floor(tick)
        part = min(1.0, max(0.0, tick - max(first, self._tick))) if first >= self._tick else 0.0
        a, b = self.state(first), self.state(first + 1)
        left = math.exp(-max(0.0, now - self._error_at) / _MELT_S)
        shown: dict[str, float] = {}
        for name in self._names:
            step = b[name] - a[name]
            modulo = self._angles.get(name)
            value = a[name] + part * (short_way(step, modulo) if modulo else step) + self._error.get(name, 0.0) * left
            shown[name] = value % modulo if modulo else value
        return shown

    def _smooth(self, before: Mapping[str, float], tick: float, now: float) -> None:
        """What was drawn minus what is right now melts away."""
        self._error = {}
        after = self._shown(tick, now)
        assert after is not None
        self._error_at = now
        moved = math.hypot(before["x"] - after["x"], before["y"] - after["y"])
        self.figures.moved.append(moved)
        del self.figures.moved[:-1000]
        if moved > self.snap:
            self.figures.snapped += 1
            return
        for name in self._names:
            error = before[name] - after[name]
            modulo = self._angles.get(name)
            self._error[name] = short_way(error, modulo) if modulo else error


def short_way(difference: float, modulo: int) -> float:
    """The same turn, the short way round: -modulo/2 <= result < modulo/2."""
    return (difference + modulo / 2) % modulo - modulo / 2
