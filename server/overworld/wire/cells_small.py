"""The same bytes as `cells._assemble`, number by number: for the few numbers of a small shard's tick.

Numpy takes as long for ten numbers as for a thousand; up to `VALUES_MAX` a plain loop is quicker. A test holds the two
against each other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

VALUES_MAX = 256
"""Numbers up to which a loop is quicker."""


def assemble(
    values: Ints,
    counts: Ints,
    keys: Ints,
    cell_of_run: list[int],
    order: Ints,
    kinds: int,
    tag: int,
    part_tags: tuple[int, ...],
) -> tuple[list[int], list[int], bytes]:
    """(cells, offsets, data): see `cells.write` for the arguments. `cell_of_run`: each run's cell as the wire has
    it.
    """
    numbers, ends = values.tolist(), np.cumsum(counts).tolist()
    starts = [0, *ends[:-1]]
    run_keys = keys.tolist()
    parts = len(part_tags)
    cells: list[int] = []
    offsets: list[int] = []
    data = bytearray()
    block, block_of = bytearray(), -1
    for run in order.tolist():
        of = run_keys[run] // parts
        if of != block_of:
            _close(data, block, tag)
            block, block_of = _begin(cell_of_run[run], of % kinds), of
            if not cells or cells[-1] != of // kinds:
                cells.append(of // kinds)
                offsets.append(len(data))
        body = bytearray()
        for number in numbers[starts[run] : ends[run]]:
            _put(body, number)
        block.append(part_tags[run_keys[run] % parts])
        _put(block, len(body))
        block += body
    _close(data, block, tag)
    offsets.append(len(data))
    return cells, offsets, bytes(data)


def _begin(cell: int, kind: int) -> bytearray:
    block = bytearray(b"\x08")
    _put(block, cell)
    if kind:
        block += b"\x10"
        _put(block, kind)
    return block


def _close(data: bytearray, block: bytearray, tag: int) -> None:
    if block:
        data.append(tag)
        _put(data, len(block))
        data += block


def _put(out: bytearray, number: int) -> None:
    """One varint."""
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
