"""Writes `Cell` messages of many cells in one pass of numpy.

The input is what changed, for all cells and kinds at once, as flat columns; the output is one buffer and where each
cell's bytes lie in it. Nothing here runs once per cell or per entity, so a tick's encoding costs what its bytes cost.

Layout of one block (one kind in one cell) in a piece, where every element is a varint:

    0x12 (update) or 0x1a (keyframe) | length of what follows
    0x08 cell | 0x10 kind (left out for kind 0)
    0x1a length | removed, gap-coded          each of these four parts is
    0x22 length | added ids, gap-coded        left out where it is empty
    0x2a length | columns, zigzag
    0x32 length | changed records, zigzag
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overworld.wire import varint

Ints = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]

PARTS = 4
REMOVED, ADDED, COLUMNS, CHANGED = range(PARTS)
_PART_TAGS = (0x1A, 0x22, 0x2A, 0x32)
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


NOTHING = CellUpdates(np.zeros(0, np.uint32), np.zeros(1, np.int64), b"")


@dataclass(frozen=True)
class Part:
    """Values of one part of one kind: `values` int64[n] as they go on the wire (gap-coded, zigzagged, at least 0),
    and `cells` int64[n], the world cell of each, ascending."""

    part: int
    kind: int
    cells: Ints
    values: Ints


def write(parts: list[Part], *, keyframe: bool = False) -> CellUpdates:
    """All parts of a tick as cells' blocks. Within a cell, blocks stand in the order of kinds."""
    parts = [p for p in parts if len(p.values)]
    if not parts:
        return NOTHING
    kinds = max(p.kind for p in parts) + 1
    # A block's key orders by cell, then kind; an element's key orders by block, then part.
    keys = np.concatenate([(p.cells * kinds + p.kind) * PARTS + p.part for p in parts])
    values = np.concatenate([p.values for p in parts])
    if len(parts) > 1:
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
    return _assemble(keys, values, varint.sizes(values), kinds, _KEYFRAME_TAG if keyframe else _UPDATE_TAG)


def _starts(keys: Ints) -> Ints:
    """Index of the first element of each run of equal keys."""
    return np.flatnonzero(np.concatenate((np.ones(1, np.bool_), keys[1:] != keys[:-1])))


def _assemble(keys: Ints, values: Ints, sizes: Ints, kinds: int, tag: int) -> CellUpdates:
    runs = _starts(keys)
    run_keys = keys[runs]
    run_bytes = np.add.reduceat(sizes, runs)
    run_part = run_keys % PARTS
    run_block_key = run_keys // PARTS
    first_run = _starts(run_block_key)
    block_key = run_block_key[first_run]
    block_cell, block_kind = block_key // kinds, block_key % kinds
    blocks = len(block_key)

    part_tag = np.array(_PART_TAGS, np.int64)[run_part]
    run_total = 1 + varint.sizes(run_bytes) + run_bytes
    has_kind = block_kind > 0
    head_bytes = 1 + varint.sizes(block_cell) + has_kind * 2
    block_bytes = head_bytes + np.add.reduceat(run_total, first_run)

    # The stream: per block up to six head elements, per run two, then the run's values.
    head_elements = 4 + has_kind * 2
    runs_of_block = np.diff(np.append(first_run, len(runs)))
    run_block = np.repeat(np.arange(blocks), runs_of_block)
    elements_of_run = np.diff(np.append(runs, len(keys)))
    elements_before = runs + 2 * np.arange(len(runs)) + np.cumsum(head_elements)[run_block]
    stream = np.zeros(len(keys) + 2 * len(runs) + int(head_elements.sum()), np.int64)
    stream[elements_before] = part_tag
    stream[elements_before + 1] = run_bytes
    stream[np.arange(len(keys)) + np.repeat(elements_before + 2 - runs, elements_of_run)] = values
    head_at = elements_before[first_run] - head_elements
    stream[head_at] = tag
    stream[head_at + 1] = block_bytes
    stream[head_at + 2] = _CELL_TAG
    stream[head_at + 3] = block_cell
    with_kind = head_at[has_kind]
    stream[with_kind + 4] = _KIND_TAG
    stream[with_kind + 5] = block_kind[has_kind]

    cell_first = _starts(block_cell)
    whole = 1 + varint.sizes(block_bytes) + block_bytes
    offsets = np.append(np.cumsum(whole)[cell_first] - whole[cell_first], whole.sum())
    data = varint.encode(stream).tobytes()
    assert len(data) == offsets[-1]
    return CellUpdates(block_cell[cell_first].astype(np.uint32), offsets, data)


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


def by_column(cells: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Turn rows sorted by cell into each cell's column-by-column order.

    `cells` int64[n] ascending, `values` int64[columns, n]. Returns (cells, values) as int64[n * columns] in wire order.
    """
    columns, rows = values.shape
    if not rows or not columns:
        return _EMPTY, _EMPTY
    starts = _starts(cells)
    counts = np.diff(np.append(starts, rows))
    run = np.repeat(np.arange(len(starts)), counts)
    local = np.arange(rows) - starts[run]
    # Element (column c, row r of the cell) stands at: cell's start * columns + c * rows of the cell + r.
    at = starts[run] * columns + local + np.arange(columns)[:, None] * counts[run]
    out = np.zeros(rows * columns, np.int64)
    out[at.ravel()] = values.ravel()
    return np.repeat(cells[starts], counts * columns), out
