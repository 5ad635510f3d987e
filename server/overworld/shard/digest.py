"""Digests of a shard's state: one for the whole, and one a column to tell where two states part.

xxh3-128 over every table's name, ids and columns in the order of its kind. int64 columns have no padding and one bit
pattern a value, so equal states have equal bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import xxhash

from overworld.world.rewind import Slot
from overworld.world.state import Shard
from overworld.world.table import Table

Ints = npt.NDArray[np.int64]


def state_digest(shard: Shard) -> bytes:
    """16 bytes: equal exactly where two states are equal (up to the hash)."""
    hasher = xxhash.xxh3_128()
    hasher.update(struct.pack("<qq", shard.index, shard.tick))
    for table in shard.state_tables:
        hasher.update(struct.pack("<qq", len(table), table.next_id))
        hasher.update(table.kind.name.encode())
        hasher.update(np.ascontiguousarray(table.ids).data)
        for column in table.columns:
            hasher.update(np.ascontiguousarray(column).data)
    return hasher.digest()


def cell_digest(kinds: Iterable[tuple[int, Ints, Ints]]) -> str:
    """Hex xxh3-128 of what stands in one cell, for whoever compares two pictures of it.

    `kinds`: (number, ids int64[n] ascending, exact columns int64[columns, n]) of each kind with rows there, ascending.
    """
    hasher = xxhash.xxh3_128()
    for number, ids, columns in kinds:
        hasher.update(struct.pack("<qqq", number, len(ids), len(columns)))
        hasher.update(np.ascontiguousarray(ids, np.int64).data)
        hasher.update(np.ascontiguousarray(columns, np.int64).data)
    return hasher.hexdigest()


def column_digests(shard: Shard) -> dict[str, str]:
    """Hex digests by "Table.column", for naming the first column in which two states differ."""
    found: dict[str, str] = {}
    for table in shard.state_tables:
        found[f"{table.kind.name}.ids"] = _hex(table, None)
        for index, name in enumerate(table.kind.names):
            found[f"{table.kind.name}.{name}"] = _hex(table, index)
    return found


def _hex(table: Table | Slot, column: int | None) -> str:
    values = table.ids if column is None else table.columns[column]
    return xxhash.xxh3_128(np.ascontiguousarray(values).data).hexdigest()


MARK_BYTES = 4


def column_marks(shard: Shard) -> bytes:
    """The first 4 bytes of every column's digest, in the order of `column_digests`: small enough for a journal."""
    return b"".join(bytes.fromhex(digest)[:MARK_BYTES] for digest in column_digests(shard).values())


def differing_column(shard: Shard, marks: bytes) -> str:
    """The first column ("Table.column") that is not as `column_marks` had it; empty where all are, or the columns
    themselves are others.
    """
    digests = column_digests(shard)
    if len(marks) != MARK_BYTES * len(digests):
        return ""
    for at, (name, digest) in enumerate(digests.items()):
        if bytes.fromhex(digest)[:MARK_BYTES] != marks[at * MARK_BYTES : (at + 1) * MARK_BYTES]:
            return name
    return ""
