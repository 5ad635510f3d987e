"""Cells written by numpy, read back by the official protobuf library."""

from __future__ import annotations

from itertools import pairwise
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from overworld.wire import cells, cells_small, varint
from overworld.wire.cells import ADDED, CHANGED, COLUMNS, REMOVED, Part
from overworld.wire.v1 import client_pb2

NAMES = {REMOVED: "removed", ADDED: "added", COLUMNS: "columns", CHANGED: "changed"}

Blocks = dict[tuple[int, int], dict[int, list[int]]]

blocks_strategy = st.dictionaries(
    st.tuples(st.integers(0, 70_000), st.integers(0, 3)),
    st.dictionaries(st.integers(0, 3), st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=200), min_size=1),
    max_size=12,
)


def parts_of(blocks: Blocks) -> list[Part]:
    parts = []
    for kind in range(4):
        for part in range(4):
            found = [(c, v) for (c, k), p in sorted(blocks.items()) if k == kind and part in p for v in p[part]]
            if found:
                column = np.array(found, np.int64).T
                values = varint.zigzag(column[1]) if part in (COLUMNS, CHANGED) else column[1]
                parts.append(Part.of_rows(part, kind, column[0], values))
    return parts


@given(blocks_strategy, st.booleans())
def test_official_library_reads_what_numpy_wrote(blocks: Blocks, keyframe: bool) -> None:
    written = cells.write(parts_of(blocks), keyframe=keyframe)
    frame = client_pb2.Frame.FromString(written.data)
    read = {}
    for message in frame.keyframes if keyframe else frame.updates:
        values = {part: list(getattr(message, name)) for part, name in NAMES.items() if getattr(message, name)}
        assert (message.cell, message.kind) not in read
        read[message.cell, message.kind] = values
    assert read == blocks
    assert not (frame.updates if keyframe else frame.keyframes)


@given(blocks_strategy)
def test_each_piece_is_one_cell_and_the_pieces_are_the_whole(blocks: Blocks) -> None:
    written = cells.write(parts_of(blocks))
    assert written.cells.tolist() == sorted({cell for cell, _ in blocks})
    for i, cell in enumerate(written.cells.tolist()):
        piece = client_pb2.Frame.FromString(written.piece(i))
        assert {m.cell for m in piece.updates} == {cell}
    assert b"".join(written.piece(i) for i in range(len(written))) == written.data
    assert all(a < b for a, b in pairwise(written.offsets.tolist()))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), unique=True))
def test_gap_coding_starts_anew_in_every_cell(places: list[tuple[int, int]]) -> None:
    places.sort()
    cell, row = (np.array([p[i] for p in places], np.int64) for i in (0, 1))
    decoded, last = [], (-1, -1)
    for c, gap in zip(cell.tolist(), cells.gaps(cell, row).tolist(), strict=True):
        last = (c, gap + (last[1] + 1 if c == last[0] else 0))
        decoded.append(last)
    assert decoded == places


def test_values_go_column_by_column_within_each_cell() -> None:
    cell = np.array([4, 4, 9], np.int64)
    values = np.array([[1, 2, 3], [10, 20, 30]], np.int64)
    assert cells.by_column(cell, values).tolist() == [1, 2, 10, 20, 3, 30]


@given(blocks_strategy, st.booleans())
def test_the_loop_for_small_ticks_writes_the_same_bytes_as_numpy(blocks: Blocks, keyframe: bool) -> None:
    found = []
    for values_max in (0, 1 << 30):
        with patch.object(cells_small, "VALUES_MAX", values_max):
            found.append(cells.write(parts_of(blocks), keyframe=keyframe))
    by_numpy, by_loop = found
    assert by_loop.data == by_numpy.data
    assert by_loop.offsets.tolist() == by_numpy.offsets.tolist()
    assert by_loop.cells.tolist() == by_numpy.cells.tolist()
