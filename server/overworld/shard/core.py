"""One shard without I/O: give it a tick's inputs, get what the tick has for everybody.

`step` is the whole simulation of a tick and a pure function of the state and its `TickInputs`; `encode` turns what
changed into bytes once for all watchers. Clocks, sockets and stores are the worker's business.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from overworld.errors import TitleError
from overworld.game import InputColumns, Inputs, Title
from overworld.shard.borders import Borders, columns_of
from overworld.shard.digest import state_digest
from overworld.shard.inputs import SessionEvent, TickInputs, TickOutcome, no_ints
from overworld.shard.interest import Focus, view_cells
from overworld.shard.owns import Owns
from overworld.shard.replication import Replication
from overworld.shard.sessions import Sessions
from overworld.wire.cells import CellUpdates, Streams
from overworld.world.contract import WorldContract
from overworld.world.interest import Places, Populations
from overworld.world.state import Shard

Ints = npt.NDArray[np.int64]


class ShardCore:
    """One shard: its state, its title's rules, and what its watchers know."""

    def __init__(self, contract: WorldContract, title: Title, index: int) -> None:
        if not 0 <= index < contract.grid.shard_count:
            raise ValueError(f"shard {index} does not lie within 0..{contract.grid.shard_count - 1}")
        self.contract = contract
        self.title = title
        self.index = index
        self.shard = Shard(contract, index, tuple(title.entities))
        self.sessions = Sessions(self.shard)
        self._borders = Borders(self.shard, title)
        self._no_inputs = Inputs(
            {
                declared: InputColumns(no_ints(), no_ints(), no_ints(), {c.name: no_ints() for c in kind.fields})
                for declared, kind in zip(title.inputs, contract.inputs, strict=True)
            }
        )
        self._owns = Owns()
        self._replication = Replication(contract.grid, index, self.shard.tables, contract.interest)

        self.places = Places(contract.grid, contract.interest)
        self._focus = Focus(contract.grid, self.places, contract.grid.tick_hz)

    @property
    def tick(self) -> int:
        """The last tick stepped."""
        return self.shard.tick

    def received(self, from_shard: int) -> int:
        """Number of the last message of that shard that was applied here; 0 where none was."""
        return self._borders.received(from_shard)

    def knows(self, shard: int) -> bool:
        """True where messages have passed between the two."""
        return int(self.shard.neighbours.rows_of(np.array([shard], np.int64))[0]) >= 0

    def setup(self) -> None:
        """Fill a new shard: the title's setup, at tick 0."""
        self.shard.begin_tick(0)
        self.title.setup(self.shard)
        self.shard.keep_past()

    def step(self, inputs: TickInputs) -> TickOutcome:
        """Advance one tick. Raises TitleError (with the title's own error as its cause) where a verb failed."""
        self.shard.begin_tick(self.shard.tick + 1)
        try:
            arrivals = self._borders.take(inputs.messages)
            if inputs.messages:
                self.sessions.forget_index()
            changes = self.sessions.apply(inputs.events)
            if len(changes.leaving):
                self.title.leave(self.shard, changes.leaving)
                self.shard.take_avatar(changes.leaving)
            if len(changes.joining):
                self.title.join(self.shard, changes.joining)
            columns, applied = self._inputs(inputs)
            self.title.step(self.shard, columns)
        except Exception as error:
            raise TitleError(
                f"{self.title.name} failed at tick {self.tick} of shard {self.index}: {error!r}"
            ) from error
        kicked = self.sessions.kick()
        closed = np.concatenate((changes.closed, kicked), axis=1) if kicked.size else changes.closed
        departures = self._borders.send(changes.leaving)
        if departures.moved:
            self.sessions.forget_index()
        self.shard.keep_past()
        return TickOutcome(
            tick=self.tick,
            acks=applied,
            joined=changes.joined,
            views=self._views(),
            closed=(closed[0], closed[1]),
            owns=self._owns.changed(self.shard.tables, self.shard.players, changes.fresh),
            outbox=tuple(departures.outbox),
            moved=columns_of(changes.moved + departures.moved),
            arrived=(np.array(arrivals.sessions, np.int64), np.array(arrivals.players, np.int64)),
            undelivered=arrivals.undelivered + departures.undelivered,
            alarms=tuple(arrivals.alarms),
        )

    def encode(self) -> CellUpdates:
        """What changed in every cell since the last call. Call once after each step."""
        return self._replication.updates()

    def split(self, cells: Ints) -> None:
        """From the next `encode` on exactly these world cells (of this shard) are split."""
        self._replication.split(cells)

    @property
    def streams(self) -> Streams | None:
        """What changed in split cells at the last `encode`."""
        return self._replication.streams

    @property
    def populations(self) -> Populations | None:
        """How many rows stood in split cells' plots at the last `encode`; None where no cell was split."""
        return self._replication.populations

    def focus(self) -> tuple[Ints, Ints]:
        """Sessions that look from another plot than was told last, and which: at most once a tick, where somebody
        asks.
        """
        return self._focus.changes(self.shard.tables, self.shard.players)

    def keyframes(self, cells: Ints) -> CellUpdates:
        """The whole of these world cells, as of the last `encode`. Cells without entities are left out."""
        return self._replication.keyframes(cells)

    def digest(self) -> bytes:
        """xxh3-128 of the state, 16 bytes."""
        return state_digest(self.shard)

    # ------------------------------------------------------------ pieces of a step

    def _inputs(self, inputs: TickInputs) -> tuple[Inputs, tuple[Ints, Ints]]:
        """The title's columns of this tick's inputs, and the acks; notes each player's last input."""
        if not len(inputs):
            return self._no_inputs, (no_ints(), no_ints())
        players = self.shard.players
        rows = self.sessions.rows_of(inputs.sessions)
        # The inbox lets only known sessions in, but this tick's own events may have ended one since.
        here = rows >= 0
        ends = np.cumsum(inputs.counts)
        starts = ends - inputs.counts
        avatar = self._avatar_rows(rows)
        columns = {}
        for kind, declared in enumerate(self.title.inputs):
            fields = self.contract.inputs[kind].fields
            of_kind = np.flatnonzero(here & (inputs.kinds == kind))
            values = {
                c.name: _field(inputs.values, starts[of_kind] + i, inputs.counts[of_kind] > i)
                for i, c in enumerate(fields)
            }
            columns[declared] = InputColumns(rows[of_kind], avatar[of_kind], inputs.seen_ticks[of_kind], values)
        players.last_seq[rows[here]] = inputs.seqs[here]
        last = np.flatnonzero(np.append(rows[1:] != rows[:-1], np.ones(min(len(rows), 1), np.bool_)) & here)
        return Inputs(columns), (inputs.sessions[last], inputs.seqs[last])

    def _avatar_rows(self, players: Ints) -> Ints:
        """Row of each player's avatar in the table of its kind, int64 like `players`; -1 without one."""
        found = np.full(len(players), -1, np.int64)
        kinds = self.shard.players.avatar_kind[players]
        for kind, table in enumerate(self.shard.tables):
            mine = kinds == kind
            if mine.any():
                found[mine] = table.rows_of(self.shard.players.avatar[players[mine]])
        return found

    def _views(self) -> tuple[Ints, Ints]:
        players = self.shard.players
        if not players.online.any():
            return no_ints(), no_ints()
        centre = view_cells(self.contract.grid, self.index, self.shard.tables, players)
        changed = np.flatnonzero((centre != players.view_cell) & (players.online > 0))
        players.view_cell[changed] = centre[changed]
        return players.session[changed].copy(), centre[changed]


def _field(values: Ints, at: Ints, given: npt.NDArray[np.bool_]) -> Ints:
    """One field of inputs, int64[n]. Records of before a title's input had the field do not hold it: 0."""
    if bool(given.all()):
        return values[at]
    return np.where(given, values[np.minimum(at, len(values) - 1)], 0)


__all__ = ["SessionEvent", "ShardCore", "TickInputs", "TickOutcome"]
