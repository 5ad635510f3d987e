"""Journal segments in blob storage: what lets operators go back to any tick, long after Redis forgot it.

A segment holds consecutive records of one shard. Its name carries the ticks and the wall time of its first and last
record, so that a time is found by listing alone:

    archive/WORLD/SHARD/FIRST-LAST-EPOCH-WALLFIRST-WALLLAST

Its bytes, little-endian: magic "OWJA", version u16, count u32; then per record: tick u64, epoch u64, chain length u8,
chain, payload length u32, payload; then blake2b-256 over all of it. Segments are immutable; two owners that archived
the same ticks leave two objects, and the reader takes the one with the higher epoch.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from overworld.errors import AlreadyThere, Corrupt, JournalGap
from overworld.store.ports import Blobs, JournalEntry

MAGIC = b"OWJA"
VERSION = 1
SEGMENT_RECORDS_MAX = 5_000
_HEAD = struct.Struct("<4sHI")
_ENTRY = struct.Struct("<QQB")
_TRAILER_BYTES = 32


@dataclass(frozen=True, order=True)
class Segment:
    """One segment as its name tells it. Walls are milliseconds since 1970."""

    first: int
    last: int
    epoch: int
    wall_first_ms: int
    wall_last_ms: int
    name: str


class Archive:
    """The archived journal of one world."""

    def __init__(self, blobs: Blobs, world: str) -> None:
        self._blobs = blobs
        self._world = world

    async def put(self, shard: int, entries: Sequence[JournalEntry], wall_first_ms: int, wall_last_ms: int) -> Segment:
        """Write consecutive records as one segment. Repeating it is harmless. At most SEGMENT_RECORDS_MAX records."""
        assert 0 < len(entries) <= SEGMENT_RECORDS_MAX
        first, last, epoch = entries[0].tick, entries[-1].tick, entries[-1].epoch
        assert last - first + 1 == len(entries), f"records {first}..{last} are not {len(entries)} consecutive ones"
        name = f"{self._prefix(shard)}{first:012}-{last:012}-{epoch}-{wall_first_ms}-{wall_last_ms}"
        # Already there: an earlier try of this owner (no other has its epoch).
        with contextlib.suppress(AlreadyThere):
            await self._blobs.put_new(name, encode(entries))
        return Segment(first, last, epoch, wall_first_ms, wall_last_ms, name)

    async def segments(self, shard: int) -> list[Segment]:
        """All segments of a shard by first tick."""
        prefix = self._prefix(shard)
        found = []
        for name in await self._blobs.list(prefix):
            parts = name[len(prefix) :].split("-")
            if len(parts) == 5 and all(part.isdigit() for part in parts):
                first, last, epoch, wall_first, wall_last = (int(part) for part in parts)
                found.append(Segment(first, last, epoch, wall_first, wall_last, name))
        return sorted(found)

    async def last_tick(self, shard: int) -> int:
        """The newest archived tick; 0 where nothing is archived."""
        return max((segment.last for segment in await self.segments(shard)), default=0)

    async def read(self, shard: int, after_tick: int, up_to_tick: int) -> list[JournalEntry]:
        """Records after_tick + 1 .. up_to_tick as far as they are archived. Raises JournalGap, Corrupt."""
        wanted: dict[int, JournalEntry] = {}
        for segment in await self.segments(shard):
            if segment.last <= after_tick or segment.first > up_to_tick:
                continue
            data, _ = await self._blobs.get(segment.name)
            for entry in decode(data, segment.name):
                known = wanted.get(entry.tick)
                if after_tick < entry.tick <= up_to_tick and (known is None or known.epoch <= entry.epoch):
                    wanted[entry.tick] = entry
        entries = [wanted[tick] for tick in sorted(wanted)]
        if entries and (entries[0].tick != after_tick + 1 or entries[-1].tick - entries[0].tick + 1 != len(entries)):
            raise JournalGap(f"shard {shard}: archived records after tick {after_tick} are not consecutive")
        return entries

    async def tick_at(self, shard: int, wall_ms: int) -> int | None:
        """The newest archived tick that ran at or before a wall time, from names alone (a segment's ticks taken as
        evenly spaced); None where everything archived is later.
        """
        at = [segment for segment in await self.segments(shard) if segment.wall_first_ms <= wall_ms]
        if not at:
            return None
        segment = max(at, key=lambda s: (s.wall_first_ms, s.epoch))
        if wall_ms >= segment.wall_last_ms:
            return segment.last
        span_ms = segment.wall_last_ms - segment.wall_first_ms
        return segment.first + (segment.last - segment.first) * (wall_ms - segment.wall_first_ms) // span_ms

    def _prefix(self, shard: int) -> str:
        return f"archive/{self._world}/{shard}/"


def encode(entries: Sequence[JournalEntry]) -> bytes:
    """A segment's bytes."""
    pieces = [_HEAD.pack(MAGIC, VERSION, len(entries))]
    for entry in entries:
        pieces.append(_ENTRY.pack(entry.tick, entry.epoch, len(entry.chain)) + entry.chain)
        pieces.append(struct.pack("<I", len(entry.payload)) + entry.payload)
    body = b"".join(pieces)
    return body + hashlib.blake2b(body, digest_size=_TRAILER_BYTES).digest()


def decode(data: bytes, name: str) -> list[JournalEntry]:
    """A segment's records. Raises Corrupt, naming the object."""
    body, trailer = data[:-_TRAILER_BYTES], data[-_TRAILER_BYTES:]
    if len(data) < _HEAD.size + _TRAILER_BYTES or hashlib.blake2b(body, digest_size=_TRAILER_BYTES).digest() != trailer:
        raise Corrupt(f"{name}: torn or changed")
    magic, version, count = _HEAD.unpack_from(body)
    if magic != MAGIC or version != VERSION:
        raise Corrupt(f"{name}: magic {magic!r}, version {version}")
    entries, at = [], _HEAD.size
    for _ in range(count):
        tick, epoch, chain_bytes = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size
        chain = body[at : at + chain_bytes]
        at += chain_bytes
        (length,) = struct.unpack_from("<I", body, at)
        at += 4
        entries.append(JournalEntry(tick, epoch, chain, body[at : at + length]))
        at += length
    return entries
