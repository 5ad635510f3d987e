"""Streams of split cells: what changed in them, for clients that cannot be told everything at every tick.

The rows of a split cell are *restated*: a record holds values, not differences, so it is good for whoever reads it,
whatever he was told before. That is what lets everybody choose from the same bytes: nobody's last update has to be
remembered.

    every tick, 2nd, 4th, 8th   of each plot: rows that changed, or came from another plot, since the last piece
    whole                       of each plot, every tick: rows that changed since their last turn in the floor
    wide                        of each cell, every tick: rows that changed, for whoever can be told all of it
    floor                       of each cell: the same rows, each when it has its turn, once a second

A record holds every group of its row that changed since the row's last turn in the floor. Whoever reads the floor knew
the row then; so after any record the row is exact. The price is some groups told again, and some 4 bytes more than a
difference.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from overworld.wire import cells as wire
from overworld.wire import varint
from overworld.wire.cells import RESTATED, Part
from overworld.world.grid import Grid
from overworld.world.interest import ROWS_MAX, Interest, Places, Populations, periods
from overworld.world.schema import Kind
from overworld.world.table import Shadow, Table

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_HOPPED, _TURN, _PLOT, _CHANGED = 0, 1, 2, 3
"""Rows of `Shadow.past`: the tick at which the row came from another plot; its last turn in the floor, when everybody
knew it; its plot; and for each group the tick at which it last changed.
"""
_NONE: Ints = np.zeros(0, np.int64)
_TURNS = 4
"""The rows of a cell have their turns at so many different ticks of a second: fewer would make bursts, more would put
few rows under one cell's head of 8 bytes.
"""


class SplitCells:
    """Which cells of a shard are split, and what clients may have missed of their rows. Pure; no part of the state."""

    def __init__(self, grid: Grid, interest: Interest, tables: list[Table], world_cells: Ints) -> None:
        """`world_cells`: int64[cells of the shard], each local cell's number in the world."""
        self.places = Places(grid, interest)
        self._grid = grid
        self._periods = periods(grid.tick_hz)
        self._tables = tables
        self._world_cells = world_cells
        self._phase = world_cells * 0x9E3779B1 >> 7 & 0xFFFF
        self._now = 0
        self._ending: Bools = np.zeros(len(world_cells), np.bool_)
        self.mask: Bools = np.zeros(len(world_cells), np.bool_)
        """Which local cells are split, bool[cells]."""
        self.any = False
        self._counted = self._crowd = _NONE
        """Split cells, local, and rows of each plot of split cells this tick, int64[split cells * plots of a cell]."""

    @property
    def populations(self) -> Populations | None:
        """Of the last tick's `part`s; None where no cell is split."""
        if not len(self._crowd):
            return None
        return Populations(self._world_cells[self._counted], np.minimum(self._crowd, ROWS_MAX).astype(np.uint8))

    def choose(self, wanted: Bools) -> None:
        """From the next tick on these local cells are split, bool[cells]. Those that no longer are end with a last
        turn of all their rows.
        """
        new = wanted & ~self.mask
        self._ending = self.mask & ~wanted
        self.mask = self.mask | wanted
        self.any = bool(self.mask.any())
        if not self.any:
            return
        for table in self._tables:
            shadow = table.shadow
            if shadow.past is None:
                shadow.past = np.full((_CHANGED + _group_count(table.kind), len(table)), -1, np.int64)
            fresh = np.flatnonzero(new[shadow.cell] & (shadow.cell >= 0))
            self._know(shadow, fresh)

    def begin_tick(self) -> None:
        """A tick's encoding begins."""
        self._now += 1
        self._counted = np.flatnonzero(self.mask) if self.any else _NONE
        self._crowd = np.zeros(len(self._counted) * self.places.of_cell, np.int64)

    def end_tick(self) -> None:
        """All tables have been encoded."""
        if not self._ending.any():
            return
        self.mask &= ~self._ending
        self._ending = np.zeros(len(self.mask), np.bool_)
        self.any = bool(self.mask.any())
        if not self.any:
            for table in self._tables:
                table.shadow.past = None

    def note(self, table: Table, rows: Ints, present: Bools) -> None:
        """Rows of split cells changed in these groups, bool[groups, n]."""
        past = table.shadow.past
        assert past is not None
        block = past[_CHANGED:, rows]
        block[present] = self._now
        past[_CHANGED:, rows] = block

    def came(self, table: Table, rows: Ints) -> None:
        """Rows have just been told to all as added."""
        self._know(table.shadow, rows)

    def part(self, kind: int, table: Table) -> Part | None:
        """This tick's pieces of all streams for one kind; their cells are places."""
        shadow, now = table.shadow, self._now
        if shadow.past is None:
            return None
        inside = np.flatnonzero(self.mask[shadow.cell])
        if not len(inside):
            return None
        local = shadow.cell[inside]
        hopped = self._hop(table, inside, local)
        past = shadow.past[:, inside]
        if table.kind.motion is not None and table.kind.pace == 1:
            plots = np.searchsorted(self._counted, local) * self.places.of_cell + past[_PLOT]
            self._crowd += np.bincount(plots, minlength=len(self._crowd))
        newest = past[_CHANGED:].max(axis=0)
        due = self._turn_is(local, table.ids[inside])
        # What nobody may have missed is in no stream.
        stale = newest > past[_TURN]
        picked, places = [], []
        for level, period in enumerate(self._periods[:-1]):
            if period < table.kind.pace:
                continue
            of_tick = (now + self._phase[local]) % period == 0
            found = np.flatnonzero(stale & of_tick & ((newest > now - period) | (hopped > now - period)))
            plots = past[_PLOT, found]
            picked.append(found)
            places.append(level * self.places.of_level + self._world_cells[local[found]] * self.places.of_cell + plots)
        missed = np.flatnonzero(stale)
        whole = self.places.whole * self.places.of_level
        picked.append(missed)
        places.append(whole + self._world_cells[local[missed]] * self.places.of_cell + past[_PLOT, missed])
        for level, told in ((self.places.wide, stale & (newest == now)), (self.places.floor, stale & due)):
            found = np.flatnonzero(told)
            picked.append(found)
            places.append(level * self.places.of_level + self._world_cells[local[found]] * self.places.of_cell)
        chosen, place = np.concatenate(picked), np.concatenate(places)
        part = self._restated(kind, table, inside[chosen], place, past[:, chosen]) if len(chosen) else None
        shadow.past[_TURN, inside[due]] = now
        return part

    # ------------------------------------------------------------ inside

    def _know(self, shadow: Shadow, rows: Ints) -> None:
        """Everybody knows these rows as they are."""
        if shadow.past is not None and len(rows):
            shadow.past[:, rows] = -1
            shadow.past[_TURN, rows] = self._now

    def _hop(self, table: Table, inside: Ints, local: Ints) -> Ints:
        """Find each row's plot; returns when it last came from another, int64[n]."""
        past = table.shadow.past
        assert past is not None
        if table.kind.motion is None:
            plots = np.zeros(len(inside), np.int64)
        else:
            x, y = table.public[0, inside], table.public[1, inside]
            plots = self.places.plots_of(x, y, self._world_cells[local])
        before = past[_PLOT, inside]
        past[_HOPPED, inside[(plots != before) & (before >= 0)]] = self._now
        past[_PLOT, inside] = plots
        hopped: Ints = past[_HOPPED, inside]
        return hopped

    def _turn_is(self, local: Ints, ids: Ints) -> Bools:
        """Whose turn it is in the floor, bool[n]."""
        second = self._periods[-1]
        turn = (ids * 0x9E3779B1 >> 9 & 0xFFFF) % _TURNS * second // _TURNS
        due: Bools = ((self._now + self._phase[local] + turn) % second == 0) | self._ending[local]
        return due

    def _restated(self, kind: int, table: Table, rows: Ints, places: Ints, past: Ints) -> Part:
        shadow = table.shadow
        order = np.lexsort((shadow.rank[rows], places))
        rows, places, past = rows[order], places[order], past[:, order]
        present = past[_CHANGED:] > past[_TURN]
        values = shadow.sent[:, rows]
        groups, moves = len(present), table.kind.motion is not None
        bits = 1 << np.arange(groups, dtype=np.int64)[:, None]
        group_of = np.arange(groups)
        if moves:
            cells = self.places.cells_of(places)
            # From the middle of the cell, so that both signs are used: a third of all places would take a byte more.
            size = self._grid.cell_size
            values[0] -= cells % self._grid.cells_x * size + size // 2
            values[1] -= cells // self._grid.cells_x * size + size // 2
            bits[1:] <<= 1
            group_of = np.concatenate((np.zeros(4, np.int64), np.arange(1, groups)))
        full = np.zeros((len(rows), 2 + len(values)), np.int64)
        full[:, 0] = wire.gaps(places, shadow.rank[rows])
        full[:, 1] = (present * bits).sum(axis=0)
        full[:, 2:] = values.T
        shown = np.ones(full.shape, np.bool_)
        shown[:, 2:] = present[group_of].T
        return Part.of_rows(RESTATED, kind, places, varint.zigzag(full[shown]), np.count_nonzero(shown, axis=1))


def _group_count(kind: Kind) -> int:
    """Groups of a restated record: a kind's motion is one."""
    columns = len(kind.replicated)
    return columns - 3 if kind.motion else columns
