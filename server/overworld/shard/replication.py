"""What changed since watchers were last told, for all cells of a shard in one pass.

Watchers know each row as of the last encoding and advance moving rows by themselves. So a tick's update of a table
is: rows that left a cell, rows that came into one, and rows whose truth differs from what watchers now believe. Each
is encoded once for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from overworld.errors import TitleError
from overworld.shard.streams import SplitCells
from overworld.wire import cells as wire
from overworld.wire import varint
from overworld.wire.cells import ADDED, CHANGED, COLUMNS, REMOVED, CellUpdates, Part, Streams
from overworld.world.fields import WIRE_MAX
from overworld.world.grid import Grid
from overworld.world.interest import Interest, Populations
from overworld.world.schema import Kind
from overworld.world.table import Table

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass
class _Layout:
    """How a kind's columns form change groups."""

    kind: Kind
    moves: bool
    tolerance: int
    wraps: tuple[tuple[int, int], ...]
    """(column, modulo) of columns that wrap."""
    group_of: Ints = field(init=False)
    """Change group of each value of a change record, int64[values]."""
    bits: Ints = field(init=False)
    """Each group's bit of the mask, int64[groups, 1]."""

    def __post_init__(self) -> None:
        columns = len(self.kind.replicated)
        groups = [0, 0, 1, 1, *range(2, columns - 2)] if self.moves else list(range(columns))
        self.group_of = np.array(groups, np.int64)

        self.bits = 1 << np.arange(columns - 2 if self.moves else columns, dtype=np.int64)[:, None]


def layout_of(kind: Kind) -> _Layout:
    """The change groups of a kind (proto/README.md, "Change groups")."""
    first = 4 if kind.motion else 0
    wraps = tuple((first + i, c.field.modulo) for i, c in enumerate(kind.near) if c.field.modulo)
    return _Layout(kind, kind.motion is not None, kind.motion.tolerance if kind.motion else 0, wraps)


class Replication:
    """One shard's outgoing picture. Pure; the baselines live in each table's shadow."""

    def __init__(self, grid: Grid, shard: int, tables: list[Table], interest: Interest | None = None) -> None:
        self._grid = grid
        x0, y0, _, _ = grid.bounds(shard)
        self._origin_x, self._origin_y = x0 // grid.cell_size, y0 // grid.cell_size
        self._tables = tables
        self._layouts = [layout_of(t.kind) for t in tables]
        self._starts: list[Ints] = [np.zeros(1, np.int64) for _ in tables]
        self._orders: list[Ints] = [np.zeros(0, np.int64) for _ in tables]
        cells = np.arange(grid.shard_cells_x * grid.shard_cells_y, dtype=np.int64)
        self._split = SplitCells(grid, interest or Interest(), tables, self._world(cells))
        self.streams: Streams | None = None
        """What the last `updates` has of split cells' changes; None where no cell is split, or nothing changed in
        any.
        """

    def split(self, cells: Ints) -> None:
        """From the next tick on exactly these world cells (of this shard) are split: what changes in them is in
        `streams`, no longer in `updates`. What comes and leaves stays there.
        """
        wanted = np.zeros(len(self._split.mask), np.bool_)
        wanted[self._local(cells)] = True
        self._split.choose(wanted)

    @property
    def populations(self) -> Populations | None:
        """How many rows stood in split cells' plots at the last `updates`; None where no cell was split."""
        return self._split.populations

    def updates(self) -> CellUpdates:
        """Everything that changed since the last call; afterwards watchers are taken to know it. Call once a tick,
        after the step.
        """
        parts: list[Part] = []
        split = self._split
        split.begin_tick()
        for kind in range(len(self._tables)):
            self._table_updates(kind, parts)
        self.streams = None
        if split.any:
            streams = [part for kind, table in enumerate(self._tables) if (part := split.part(kind, table)) is not None]
            self.streams = wire.write_streams(streams, split.places.cells_of)
            split.end_tick()
        return wire.write(parts)

    def keyframes(self, cells: Ints) -> CellUpdates:
        """The whole of the given world cells (any order, repeats allowed) as watchers know them after the last
        `updates`.

        Cells without entities are not in the result.
        """
        parts: list[Part] = []
        wanted = np.unique(cells)
        local = self._local(wanted)
        for kind, table in enumerate(self._tables):
            starts, order = self._starts[kind], self._orders[kind]
            if not len(order):
                continue
            counts = starts[local + 1] - starts[local]
            total = int(counts.sum())
            if total:
                within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
                rows = order[np.repeat(starts[local], counts) + within]
                self._add_rows(kind, table, rows, np.repeat(wanted, counts), table.shadow.sent, parts)
        return wire.write(parts, keyframe=True)

    # ------------------------------------------------------------ one table

    def _table_updates(self, kind: int, parts: list[Part]) -> None:
        table, layout, shadow = self._tables[kind], self._layouts[kind], self._tables[kind].shadow
        if not len(table) and not shadow.departed:
            return
        truth, sent = table.public, shadow.sent
        _check_range(table.kind, truth)
        if layout.moves:
            sent[:2] += sent[2:4]
            cell = self._local_cells(truth[0], truth[1])
        else:
            cell = np.zeros(len(table), np.int64)
        moved = cell != shadow.cell
        came = moved.nonzero()[0]
        difference, changed = _compare(layout, truth, sent, moved)
        if len(came) or shadow.departed:
            self._reorder(kind, table, cell, came, parts)
        if changed.any():
            order = self._orders[kind]
            rows = order[changed[order]]
            self._change_rows(kind, table, layout, difference[:, rows], rows, parts)
        if len(came):
            if self._split.any:
                self._split.came(table, came)
            sent[:, came] = truth[:, came]
            rows = came[np.argsort(cell[came], kind="stable")]
            self._add_rows(kind, table, rows, self._world(cell[rows]), sent, parts)

    def _reorder(self, kind: int, table: Table, cell: Ints, came: Ints, parts: list[Part]) -> None:
        """Tell which rows left their cells, then number the rows of all cells anew."""
        shadow = table.shadow
        told = came[shadow.cell[came] >= 0]
        left = [*shadow.departed, (shadow.cell[told], shadow.rank[told])]
        shadow.departed = []
        gone_cell = np.concatenate([c for c, _ in left])
        if len(gone_cell):
            gone_rank = np.concatenate([r for _, r in left])
            order = np.lexsort((gone_rank, gone_cell))
            gone_cell, gone_rank = gone_cell[order], gone_rank[order]
            coded = wire.gaps(gone_cell, gone_rank)
            parts.append(Part.of_rows(REMOVED, kind, self._world(gone_cell), coded))
        shadow.cell = cell
        cells = self._grid.shard_cells_x * self._grid.shard_cells_y
        # 16-bit keys: numpy's stable sort is a radix sort then, and rows are in id order already.
        order = np.argsort(cell.astype(np.uint16), kind="stable")
        starts = np.zeros(cells + 1, np.int64)
        np.cumsum(np.bincount(cell, minlength=cells), out=starts[1:])
        rank = np.zeros(len(cell), np.int64)
        rank[order] = np.arange(len(cell)) - starts[cell[order]]
        shadow.rank = rank
        self._starts[kind], self._orders[kind] = starts, order

    def _add_rows(self, kind: int, table: Table, rows: Ints, cells: Ints, source: Ints, parts: list[Part]) -> None:
        """Parts for whole rows, sorted by (cell, id); `cells` int64[n] are their world cells."""
        parts.append(Part.of_rows(ADDED, kind, cells, wire.differences(cells, table.ids[rows])))
        values = source[:, rows]
        if self._layouts[kind].moves:
            values[0] -= cells % self._grid.cells_x * self._grid.cell_size
            values[1] -= cells // self._grid.cells_x * self._grid.cell_size
        parts.append(Part.of_rows(COLUMNS, kind, cells, wire.by_column(cells, varint.zigzag(values)), len(values)))

    def _change_rows(
        self, kind: int, table: Table, layout: _Layout, record: Ints, rows: Ints, parts: list[Part]
    ) -> None:
        """Part for rows that changed in place, sorted by (cell, id). `record` int64[columns, n]: truth minus what
        watchers believe.
        """
        shadow = table.shadow
        told = table.public[:, rows]
        if layout.tolerance:
            told[:4] = shadow.sent[:4, rows] + record[:4]
        shadow.sent[:, rows] = told
        if layout.moves:
            # A new velocity is taken to have held for the whole tick; what is left is a jump.
            record = np.concatenate((record[2:4], record[:2] - record[2:4], record[4:]))
        differs = record != 0
        present = np.concatenate((differs[0:4:2] | differs[1:4:2], differs[4:])) if layout.moves else differs
        at = shadow.cell[rows]
        if self._split.any:
            crowded = self._split.mask[at]
            groups = present[1:, crowded]
            if layout.moves:
                groups[0] |= present[0, crowded]
            else:
                groups = present[:, crowded]
            self._split.note(table, rows[crowded], groups)
            rows, record, present, at = rows[~crowded], record[:, ~crowded], present[:, ~crowded], at[~crowded]
            if not len(rows):
                return
        full = np.zeros((len(rows), 2 + len(record)), np.int64)
        full[:, 0] = wire.gaps(at, shadow.rank[rows])
        full[:, 1] = (present * layout.bits).sum(axis=0)
        full[:, 2:] = record.T
        shown = np.ones(full.shape, np.bool_)
        shown[:, 2:] = present[layout.group_of].T
        coded = varint.zigzag(full[shown])
        parts.append(Part.of_rows(CHANGED, kind, self._world(at), coded, np.count_nonzero(shown, axis=1)))

    # ------------------------------------------------------------ cells of the shard

    def _local_cells(self, x: Ints, y: Ints) -> Ints:
        grid = self._grid
        cx, cy = x // grid.cell_size - self._origin_x, y // grid.cell_size - self._origin_y
        # Not numpy.clip: on the few rows of a small shard its wrappers cost more than the work.
        cx = np.minimum(np.maximum(cx, 0), grid.shard_cells_x - 1)
        cy = np.minimum(np.maximum(cy, 0), grid.shard_cells_y - 1)
        cells: Ints = cy * grid.shard_cells_x + cx
        return cells

    def _world(self, local: Ints) -> Ints:
        grid = self._grid
        cy, cx = np.divmod(local, grid.shard_cells_x)
        return (cy + self._origin_y) * grid.cells_x + cx + self._origin_x

    def _local(self, world: Ints) -> Ints:
        grid = self._grid
        cy, cx = np.divmod(np.asarray(world, np.int64), grid.cells_x)
        return (cy - self._origin_y) * grid.shard_cells_x + cx - self._origin_x


def _compare(layout: _Layout, truth: Ints, sent: Ints, moved: Bools) -> tuple[Ints, Bools]:
    """Truth minus what watchers believe, int64[columns, rows], and which rows must be told: bool[rows].

    Differences of columns that wrap take the short way round; those of motion within the tolerance count as none.
    """
    difference = truth - sent
    for column, modulo in layout.wraps:
        half = modulo // 2
        difference[column] = (difference[column] + half) % modulo - half
    if layout.tolerance:
        difference[:4] *= np.abs(difference[:2]).max(axis=0) > layout.tolerance
    return difference, difference.any(axis=0) & ~moved


def _check_range(kind: Kind, truth: Ints) -> None:
    """The wire carries signed 32-bit numbers. Raises TitleError for a title that left them."""
    if truth.size and (int(truth.max()) > WIRE_MAX or int(truth.min()) < -WIRE_MAX):
        column = int(np.flatnonzero((np.abs(truth) > WIRE_MAX).any(axis=1))[0])
        raise TitleError(f"{kind.name}.{kind.replicated[column]} left the range of the wire (+-{WIRE_MAX})")
