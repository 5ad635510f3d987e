"""Journal records: one tick's inputs as bytes, each with its own checksum and chained to the one before.

    magic "OWJR" | version u16 | flags u16 | body length u32 | previous chain 16 bytes | body (TickRecord) | crc32c u32

All little-endian. The chain value of a record is blake2b-128 over the previous chain value and the record's bytes: it
tells a torn tail from a change in the middle, and lets the store refuse a record that does not follow its head.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import crc32c
import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from overworld.errors import RecordCorrupt
from overworld.shard.inputs import SessionEvent, ShardMessage, TickInputs
from overworld.wire.v1 import record_pb2

Ints = npt.NDArray[np.int64]

MAGIC = b"OWJR"
VERSION = 1
CHAIN_BYTES = 16
GENESIS = bytes(CHAIN_BYTES)
"""The chain value before a shard's first record."""
RECORD_BYTES_MAX = 4 << 20

_HEAD = struct.Struct("<4sHHI16s")


@dataclass(frozen=True)
class Record:
    """One decoded record. `state_digest` is empty where the tick wrote none."""

    shard: int
    epoch: int
    tick: int
    wall_ms: int
    title_version: str
    inputs: TickInputs
    outbox_digest: bytes
    state_digest: bytes
    previous: bytes
    column_digests: bytes = b""
    """See `digest.column_marks`; empty where `state_digest` is."""


def chain(previous: bytes, record: bytes) -> bytes:
    """The chain value after a record."""
    return hashlib.blake2b(previous + record, digest_size=CHAIN_BYTES).digest()


def encode(record: Record) -> bytes:
    """The bytes of a record."""
    inputs = record.inputs
    body = record_pb2.TickRecord(
        shard=record.shard,
        epoch=record.epoch,
        tick=record.tick,
        wall_ms=record.wall_ms,
        event_codes_u32=_u32([code for code, _, _ in inputs.events]),
        event_sessions_i64=_i64([session for _, session, _ in inputs.events]),
        event_players_i64=_i64([player for _, _, player in inputs.events]),
        input_sessions_i64=_i64(inputs.sessions),
        input_seqs_u32=_u32(inputs.seqs),
        input_kinds_u32=_u32(inputs.kinds),
        input_seen_ticks_u32=_u32(inputs.seen_ticks),
        input_counts_u32=_u32(inputs.counts),
        input_values_i32=np.asarray(inputs.values, "<i4").tobytes(),
        messages=[
            record_pb2.ShardMessage(
                from_shard=m.from_shard, to_shard=m.to_shard, number=m.number, kind=m.kind, body=m.body
            )
            for m in inputs.messages
        ],
        outbox_digest=record.outbox_digest,
        state_digest=record.state_digest,
        column_digests_u32=record.column_digests,
        title_version=record.title_version,
    ).SerializeToString(deterministic=True)
    data = _HEAD.pack(MAGIC, VERSION, 0, len(body), record.previous) + body
    data += struct.pack("<I", crc32c.crc32c(data))
    assert len(data) <= RECORD_BYTES_MAX, f"a record of {len(data)} bytes"
    return data


def decode(data: bytes) -> Record:
    """A record from its bytes. Raises RecordCorrupt for anything that was not written by `encode`."""
    if len(data) < _HEAD.size + 4 or len(data) > RECORD_BYTES_MAX:
        raise RecordCorrupt(f"a record of {len(data)} bytes")
    magic, version, _, length, previous = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise RecordCorrupt(f"magic {magic!r}")
    if version != VERSION:
        raise RecordCorrupt(f"record version {version}; this software reads {VERSION}")
    if len(data) != _HEAD.size + length + 4:
        raise RecordCorrupt(f"a body of {length} bytes in a record of {len(data)}")
    if struct.unpack_from("<I", data, len(data) - 4)[0] != crc32c.crc32c(data[:-4]):
        raise RecordCorrupt("checksum")
    try:
        body = record_pb2.TickRecord.FromString(data[_HEAD.size : -4])
        return Record(
            shard=body.shard,
            epoch=body.epoch,
            tick=body.tick,
            wall_ms=body.wall_ms,
            title_version=body.title_version,
            inputs=_inputs(body),
            outbox_digest=body.outbox_digest,
            state_digest=body.state_digest,
            column_digests=body.column_digests_u32,
            previous=previous,
        )
    except (DecodeError, ValueError) as error:
        raise RecordCorrupt(f"body: {error}") from error


def _inputs(body: record_pb2.TickRecord) -> TickInputs:
    codes = np.frombuffer(body.event_codes_u32, "<u4").tolist()
    sessions = np.frombuffer(body.event_sessions_i64, "<i8").tolist()
    players = np.frombuffer(body.event_players_i64, "<i8").tolist()
    return TickInputs(
        events=tuple((SessionEvent(c), s, p) for c, s, p in zip(codes, sessions, players, strict=True)),
        sessions=_column(body.input_sessions_i64, "<i8"),
        seqs=_column(body.input_seqs_u32, "<u4"),
        kinds=_column(body.input_kinds_u32, "<u4"),
        seen_ticks=_column(body.input_seen_ticks_u32, "<u4"),
        counts=_column(body.input_counts_u32, "<u4"),
        values=_column(body.input_values_i32, "<i4"),
        messages=tuple(ShardMessage(m.from_shard, m.to_shard, m.number, m.kind, m.body) for m in body.messages),
    )


def _column(data: bytes, dtype: str) -> Ints:
    return np.frombuffer(data, dtype).astype(np.int64)


def _u32(values: Ints | list[int]) -> bytes:
    return np.asarray(values, "<u4").tobytes()


def _i64(values: Ints | list[int]) -> bytes:
    return np.asarray(values, "<i8").tobytes()
