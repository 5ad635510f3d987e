"""A shard's whole state as bytes.

    magic "OWST" | head length u32 | SnapshotHead (protobuf) | columns, one after another

Each column is stored in the narrowest little-endian integer type that holds its values; the head names table, column,
type and place. Torn and flipped bytes are the store's container's to detect; this module checks that the content fits
the world.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from overworld.errors import SnapshotCorrupt
from overworld.shard.core import ShardCore
from overworld.shard.digest import state_digest
from overworld.wire.v1 import record_pb2
from overworld.world.rewind import Slot
from overworld.world.table import Table

Ints = npt.NDArray[np.int64]

MAGIC = b"OWST"
FORMAT = 1
_HEAD = struct.Struct("<4sI")
_IDS, _NEXT = "#ids", "#next_id"
_NARROW = ("<i1", "<i2", "<i4", "<i8")


@dataclass(frozen=True)
class Frozen:
    """A copy of a shard's state at a tick: columns by (table, column), cheap to take and safe to encode in another
    thread.
    """

    shard: int
    tick: int
    state_digest: bytes
    columns: tuple[tuple[str, str, Ints], ...]


def freeze(core: ShardCore) -> Frozen:
    """Copy the state. Call between steps."""
    columns: list[tuple[str, str, Ints]] = []
    for table in core.shard.state_tables:
        columns.append((table.kind.name, _IDS, table.ids.copy()))
        columns.append((table.kind.name, _NEXT, np.array([table.next_id], np.int64)))
        copied = table.columns.copy()
        columns.extend((table.kind.name, name, copied[i]) for i, name in enumerate(table.kind.names))
    return Frozen(core.index, core.tick, state_digest(core.shard), tuple(columns))


def encode(
    frozen: Frozen, core: ShardCore, *, epoch: int, chain: bytes, wall_ms: int, outbox: Sequence[bytes] = ()
) -> bytes:
    """The bytes of a frozen state. Reads only the contract of `core`: safe while it goes on ticking. `outbox`: messages
    of this state and earlier ones that are not acked.
    """
    head = record_pb2.SnapshotHead(
        format=FORMAT,
        world=core.contract.world,
        title=core.contract.title,
        title_version=core.contract.title_version,
        contract=core.contract.fingerprint,
        shard=frozen.shard,
        epoch=epoch,
        tick=frozen.tick,
        chain=chain,
        wall_ms=wall_ms,
        state_digest=frozen.state_digest,
        outbox=outbox,
    )
    pieces: list[bytes] = []
    offset = 0
    for table, name, values in frozen.columns:
        dtype = _narrowest(values)
        data = values.astype(dtype).tobytes()
        head.columns.add(table=table, name=name, dtype=dtype, rows=len(values), offset=offset, bytes=len(data))
        pieces.append(data)
        offset += len(data)
    head_bytes = head.SerializeToString(deterministic=True)
    return _HEAD.pack(MAGIC, len(head_bytes)) + head_bytes + b"".join(pieces)


def read_head(data: bytes) -> record_pb2.SnapshotHead:
    """The head alone. Raises SnapshotCorrupt."""
    if len(data) < _HEAD.size:
        raise SnapshotCorrupt(f"a snapshot of {len(data)} bytes")
    magic, length = _HEAD.unpack_from(data)
    if magic != MAGIC or _HEAD.size + length > len(data):
        raise SnapshotCorrupt(f"magic {magic!r}, head of {length} bytes in {len(data)}")
    try:
        head = record_pb2.SnapshotHead.FromString(data[_HEAD.size : _HEAD.size + length])
    except DecodeError as error:
        raise SnapshotCorrupt(f"head: {error}") from error
    if head.format != FORMAT:
        raise SnapshotCorrupt(f"format {head.format} was written by other software; this reads format {FORMAT}")
    return head


def restore(core: ShardCore, data: bytes) -> record_pb2.SnapshotHead:
    """Load a state into a core. Raises SnapshotCorrupt where the bytes are not this shard's or do not give the digest
    they name.

    Fields that the title has and the snapshot lacks get their defaults; columns that the title no longer has are
    dropped. A snapshot of another title version goes through `Title.migrate`.
    """
    head = read_head(data)
    if (head.world, head.title, head.shard) != (core.contract.world, core.contract.title, core.index):
        raise SnapshotCorrupt(f"it belongs to {head.world}/{head.title} shard {head.shard}")
    stored = _columns(head, memoryview(data)[_HEAD.size + struct.unpack_from("<I", data, 4)[0] :])
    for table in core.shard.state_tables:
        _load(core, table, stored.get(table.kind.name, {}), head.title_version)
    core.shard.begin_tick(head.tick)
    core.sessions.forget_index()
    if head.contract == core.contract.fingerprint and state_digest(core.shard) != head.state_digest:
        raise SnapshotCorrupt(f"tick {head.tick}: the state does not give the digest written with it")
    return head


def _columns(head: record_pb2.SnapshotHead, body: memoryview) -> dict[str, dict[str, Ints]]:
    stored: dict[str, dict[str, Ints]] = {}
    for column in head.columns:
        if column.dtype not in _NARROW or column.offset + column.bytes > len(body):
            raise SnapshotCorrupt(f"column {column.table}.{column.name}: type {column.dtype!r} or place out of bounds")
        values = np.frombuffer(body[column.offset : column.offset + column.bytes], column.dtype)
        if len(values) != column.rows:
            raise SnapshotCorrupt(f"column {column.table}.{column.name}: {len(values)} rows, not {column.rows}")
        stored.setdefault(column.table, {})[column.name] = values.astype(np.int64)
    return stored


def _load(core: ShardCore, table: Table | Slot, stored: dict[str, Ints], version: int) -> None:
    ids = stored.pop(_IDS, np.zeros(0, np.int64))
    next_id = int(stored.pop(_NEXT, np.array([table.next_id]))[0])
    of_the_server = isinstance(table, Slot) or table.kind.name in ("Neighbour", "Trail")
    if version != core.contract.title_version and not of_the_server:
        stored = core.title.migrate(table.kind.name, version, stored)
    if any(len(values) != len(ids) for values in stored.values()) or (len(ids) > 1 and (np.diff(ids) <= 0).any()):
        raise SnapshotCorrupt(f"table {table.kind.name}: rows do not agree")
    kind = table.kind
    defaults = {c.name: c.field.default for c in kind.near + kind.owner + kind.server}
    columns = np.zeros((len(kind.names), len(ids)), np.int64)
    for i, name in enumerate(kind.names):
        columns[i] = stored.get(name, defaults.get(name, 0))
    table.load(ids, columns, next_id)


def _narrowest(values: Ints) -> str:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    for dtype in _NARROW:
        info = np.iinfo(dtype)
        if info.min <= low and high <= info.max:
            return dtype
    raise AssertionError("int64 holds every int64")
