"""Writes `Cell` messages of many cells in one pass of numpy.

The input is what changed, for all cells and kinds at once, as flat columns; the output is one buffer and where each
cell's bytes lie in it. Nothing here runs once per cell or per entity, so a tick's encoding costs what its bytes cost.
(What a small shard changes in a tick is so little that a loop is quicker: `cells_small`.)

Layout of one block (one kind in one cell) in a piece, where every element is a varint:

    0x12 (update) or 0x1a (keyframe) | length of what follows
    0x08 cell | 0x10 kind (left out for kind 0)
    0x1a length | removed, gap-coded          each of these five parts is
    0x22 length | added ids, gap-coded        left out where it is empty
    0x2a length | columns, zigzag
    0x32 length | changed records, zigzag
    0x3a length | restated records, zigzag
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overworld.wire import cells_small, varint

Ints = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]

PARTS = 5
REMOVED, ADDED, COLUMNS, CHANGED, RESTATED = range(PARTS)
_PART_TAGS = (0x1A, 0x22, 0x2A, 0x32, 0x3A)
_UPDATE_TAG, _KEYFRAME_TAG = 0x12, 0x1A
_CELL_TAG, _KIND_TAG = 0x08, 0x10

_EMPTY: Ints = np.zeros(0, np.int64)


@dataclass(frozen=True)
class CellUpdates:
    """Ready `Frame` bytes of cells. `cells` uint32[m] ascending; piece i is `data[offsets[i]:offsets[i + 1]]`,
    offsets int64[m + 1].
    """

    cells: U32
    offsets: Ints
    data: bytes

    def __len__(self) -> int:
        return len(self.cells)

    def piece(self, i: int) -> bytes:
        """The bytes of the i-th cell."""
        return self.data[int(self.offsets[i]) : int(self.offsets[i + 1])]


@dataclass(frozen=True)
class Streams:
    """Ready `Frame` bytes of split cells' streams. `places` int64[m] ascending (see `world.interest`); piece i is
    `data[offsets[i]:offsets[i + 1]]`, offsets int64[m + 1].
    """

    places: Ints
    offsets: Ints
    data: bytes


NOTHING = CellUpdates(np.zeros(0, np.uint32), np.zeros(1, np.int64), b"")


@dataclass(frozen=True)
class Part:
    """Values of one part of one kind, cell by cell.

    `cells` int64[m] ascending world cells, each once; `counts` int64[m] how many values each has (at least 1);
    `values` int64[sum of counts] as they go on the wire: gap-coded, zigzagged, at least 0.
    """

    part: int
    kind: int
    cells: Ints
    counts: Ints
    values: Ints

    @classmethod
    def of_rows(cls, part: int, kind: int, cells: Ints, values: Ints, per_row: Ints | int = 1) -> Part:
        """From rows sorted by cell: `cells` int64[n] is each row's, `per_row` how many of `values` it has (at least
        1).
        """
        starts = run_starts(cells)
        if isinstance(per_row, int):
            counts = np.diff(np.append(starts, len(cells))) * per_row
        else:
            counts = np.add.reduceat(per_row, starts)
        return cls(part, kind, cells[starts], counts, values)


def write(parts: list[Part], *, keyframe: bool = False) -> CellUpdates:
    """All parts of a tick as cells' blocks. Within a cell, blocks stand in the order of kinds."""
    parts = [p for p in parts if len(p.values)]
    if not parts:
        return NOTHING
    cells, offsets, data = _written(parts, _KEYFRAME_TAG if keyframe else _UPDATE_TAG, _itself)
    return CellUpdates(cells.astype(np.uint32), offsets, data)


def write_streams(parts: list[Part], cells_of: Callable[[Ints], Ints]) -> Streams | None:
    """The same for parts whose `cells` are places of streams: a block of its own for each. None where there is
    nothing.
    """
    return Streams(*_written(parts, _UPDATE_TAG, cells_of)) if parts else None


def _itself(cells: Ints) -> Ints:
    return cells


def _written(parts: list[Part], tag: int, cells_of: Callable[[Ints], Ints]) -> tuple[Ints, Ints, bytes]:
    kinds = max(p.kind for p in parts) + 1
    values = np.concatenate([p.values for p in parts])
    counts = np.concatenate([p.counts for p in parts])
    # A run is one part of one kind in one cell. Its key orders by cell, then kind (together a block), then part.
    keys = np.concatenate([(p.cells * kinds + p.kind) * PARTS + p.part for p in parts])
    order = np.argsort(keys, kind="stable")
    if len(values) > cells_small.VALUES_MAX:
        return _assemble(values, counts, keys, order, kinds, tag, cells_of)
    numbers = cells_of(keys // PARTS // kinds).tolist()
    cells, offsets, data = cells_small.assemble(values, counts, keys, numbers, order, kinds, tag, _PART_TAGS)
    return np.array(cells, np.int64), np.array(offsets, np.int64), data


def run_starts(keys: Ints) -> Ints:
    """Index of the first element of each run of equal keys, int64[runs]."""
    return np.flatnonzero(np.concatenate((np.ones(min(len(keys), 1), np.bool_), keys[1:] != keys[:-1])))


def _assemble(
    values: Ints, counts: Ints, keys: Ints, order: Ints, kinds: int, tag: int, cells_of: Callable[[Ints], Ints]
) -> tuple[Ints, Ints, bytes]:
    """Lay the runs out in `order` with their heads, as one stream of numbers, and write that as varints."""
    sources = np.cumsum(counts) - counts
    run_bytes = np.add.reduceat(varint.sizes(values), sources)[order]
    block_of_run = keys[order] // PARTS
    first_run = run_starts(block_of_run)
    block_cell, block_kind = np.divmod(block_of_run[first_run], kinds)
    has_kind = block_kind > 0
    run_total = 1 + varint.sizes(run_bytes) + run_bytes
    number = cells_of(block_cell)
    block_bytes = 1 + varint.sizes(number) + has_kind * 2 + np.add.reduceat(run_total, first_run)

    # The stream: per block four head elements, or six with a kind; per run two; then the run's values.
    head_elements = 4 + has_kind * 2
    run_counts = counts[order]
    runs = np.arange(len(order))
    heads_before = np.repeat(np.cumsum(head_elements), np.diff(np.append(first_run, len(order))))
    run_at = np.cumsum(run_counts) - run_counts + 2 * runs + heads_before
    stream = np.zeros(len(values) + 2 * len(runs) + int(head_elements.sum()), np.int64)
    stream[run_at] = np.array(_PART_TAGS, np.int64)[keys[order] % PARTS]
    stream[run_at + 1] = run_bytes
    shift = np.zeros(len(order), np.int64)
    shift[order] = run_at + 2
    stream[np.arange(len(values)) + np.repeat(shift - sources, counts)] = values
    head_at = run_at[first_run] - head_elements
    stream[head_at] = tag
    stream[head_at + 1] = block_bytes
    stream[head_at + 2] = _CELL_TAG
    stream[head_at + 3] = number
    stream[head_at[has_kind] + 4] = _KIND_TAG
    stream[head_at[has_kind] + 5] = block_kind[has_kind]

    cell_first = run_starts(block_cell)
    whole = 1 + varint.sizes(block_bytes) + block_bytes
    offsets = np.append((np.cumsum(whole) - whole)[cell_first], whole.sum())
    data = varint.encode(stream).tobytes()
    assert len(data) == offsets[-1]
    return block_cell[cell_first], offsets, data


def gaps(cells: Ints, rows: Ints) -> Ints:
    """Gap-code ascending row numbers within each run of equal cells: the first as it is, then the difference minus 1.
    int64[n].
    """
    if not len(rows):
        return _EMPTY
    coded = rows.copy()
    same = cells[1:] == cells[:-1]
    coded[1:] -= np.where(same, rows[:-1] + 1, 0)
    return coded


def differences(cells: Ints, ids: Ints) -> Ints:
    """Code ascending ids within each run of equal cells: the first as it is, then the difference. int64[n]."""
    if not len(ids):
        return _EMPTY
    coded = ids.copy()
    same = cells[1:] == cells[:-1]
    coded[1:] -= np.where(same, ids[:-1], 0)
    return coded


def by_column(cells: Ints, values: Ints) -> Ints:
    """Turn rows sorted by cell into each cell's column-by-column order.

    `cells` int64[n] ascending, `values` int64[columns, n]. Returns int64[n * columns] in wire order.
    """
    columns, rows = values.shape
    starts = run_starts(cells)
    counts = np.diff(np.append(starts, rows))
    # Element (column c, row r of the cell) stands at: cell's start * columns + c * rows of the cell + r.
    first = np.repeat(starts * columns - starts, counts) + np.arange(rows)
    out = np.zeros(rows * columns, np.int64)
    out[first + np.arange(columns)[:, None] * np.repeat(counts, counts)] = values
    return out
