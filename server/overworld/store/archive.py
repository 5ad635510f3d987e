"""The archive in blob storage: what lets operators go back to any tick, long after Redis forgot it.

    archive/WORLD/SHARD/journal/BUCKET/FIRST-LAST-EPOCH-WALLFIRST-WALLLAST-PREVIOUS-CHAIN   a segment: records
    archive/WORLD/SHARD/state/TICK-EPOCH-WALL-CHAIN-HASH                                    a state to replay from
    archive/WORLD/SHARD/restored/EPOCH                                                      a note of a restore

Everything is immutable and nothing is ever deleted here. A segment holds consecutive records of one shard. Its name
says which (ticks), when they ran (milliseconds since 1970), which record it follows and which it ends with (chain
values, hex): a branch of the journal is found from names alone, see `overworld.store.branches`. BUCKET is the first
tick over BUCKET_TICKS, so that a listing stays small however old the world is.

A segment's bytes, little-endian: magic "OWJA", version u16, count u32; then per record: tick u64, epoch u64, chain
length u8, chain, payload length u32, payload; then blake2b-256 over all of it. A state is stored as a snapshot is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from overworld.errors import AlreadyThere, Corrupt, FormatTooNew, SnapshotCorrupt
from overworld.store import snapshots
from overworld.store.ports import Blobs, JournalEntry
from overworld.store.snapshots import Start

MAGIC = b"OWJA"
VERSION = 2
SEGMENT_RECORDS_MAX = 5_000
BUCKET_TICKS = 200_000
STATE_HASH_DIGITS = 16
_HEAD = struct.Struct("<4sHI")
_ENTRY = struct.Struct("<QQB")
_LENGTH = struct.Struct("<I")
_TRAILER_BYTES = 32
_SEGMENT = re.compile(r"\d{8}/(\d{12})-(\d{12})-(\d+)-(\d+)-(\d+)-([0-9a-f]{2,128})-([0-9a-f]{2,128})")
_STATE = re.compile(r"(\d{12})-(\d+)-(\d+)-([0-9a-f]{2,128})-[0-9a-f]{16}")


@dataclass(frozen=True, order=True)
class Segment:
    """Records first..last as their name tells them. `previous`: the chain value before them; `chain`: after them."""

    first: int
    last: int
    epoch: int
    wall_first_ms: int
    wall_last_ms: int
    previous: bytes
    chain: bytes
    name: str


@dataclass(frozen=True, order=True)
class State:
    """One archived state as its name tells it. `wall_ms`: when it was taken."""

    tick: int
    epoch: int
    wall_ms: int
    chain: bytes
    name: str


@dataclass(frozen=True)
class Restored:
    """What a restore did to one shard. `from_*`: where the journal ended until then; chain values in hex."""

    epoch: int
    tick: int
    chain: str
    from_epoch: int
    from_tick: int
    from_chain: str
    wall_ms: int


class Archive:
    """The archive of one world."""

    def __init__(self, blobs: Blobs, world: str) -> None:
        self._blobs = blobs
        self._world = world

    # ------------------------------------------------------------ segments

    async def put(
        self, shard: int, entries: Sequence[JournalEntry], previous: bytes, wall_first_ms: int, wall_last_ms: int
    ) -> tuple[Segment, int]:
        """Write consecutive records as one segment and read it back. Returns it and its size in bytes. Repeating it
        is harmless. `previous`: the chain value that the first record follows. At most SEGMENT_RECORDS_MAX records.

        Raises Corrupt where something else lies under its name (a torn object): one more record gives another name.
        """
        assert 0 < len(entries) <= SEGMENT_RECORDS_MAX
        first, last = entries[0], entries[-1]
        count = last.tick - first.tick + 1
        assert count == len(entries), f"records {first.tick}..{last.tick} are not {len(entries)} consecutive ones"
        name = (
            f"{self._prefix(shard)}journal/{first.tick // BUCKET_TICKS:08}/{first.tick:012}-{last.tick:012}"
            f"-{last.epoch}-{wall_first_ms}-{wall_last_ms}-{previous.hex()}-{last.chain.hex()}"
        )
        # Hashing a backlog takes tens of milliseconds, in which other shards must tick.
        data = await asyncio.to_thread(encode, entries)
        # Already there: written by an earlier try, or by an earlier owner. The read below decides.
        with contextlib.suppress(AlreadyThere):
            await self._blobs.put_new(name, data)
        stored, _ = await self._blobs.get(name)
        if stored != data:
            raise Corrupt(f"{name}: holds something else than was written")
        walls = (wall_first_ms, wall_last_ms)
        return Segment(first.tick, last.tick, last.epoch, *walls, previous, last.chain, name), len(data)

    async def segments(self, shard: int, from_tick: int, to_tick: int) -> list[Segment]:
        """Every segment that may hold one of these ticks, by first tick. Beyond `to_tick` it goes on as long as there
        are any: where the archive ends need not be known.
        """
        prefix = f"{self._prefix(shard)}journal/"
        found: list[Segment] = []
        bucket = max(0, from_tick - SEGMENT_RECORDS_MAX) // BUCKET_TICKS
        while True:
            names = await self._blobs.list(f"{prefix}{bucket:08}/")
            found.extend(segment for name in names if (segment := _segment(name, prefix)) is not None)
            if not names and bucket >= to_tick // BUCKET_TICKS:
                break
            bucket += 1
        return sorted(segment for segment in found if segment.last >= from_tick)

    async def read(self, segment: Segment) -> list[JournalEntry]:
        """Its records. Raises Corrupt, Missing."""
        data, _ = await self._blobs.get(segment.name)
        entries = await asyncio.to_thread(decode, data, segment.name)
        ticks = (entries[0].tick, entries[-1].tick) if entries else (0, 0)
        if ticks != (segment.first, segment.last) or len(entries) != segment.last - segment.first + 1:
            raise Corrupt(f"{segment.name}: holds {len(entries)} records, of ticks {ticks[0]}..{ticks[1]}")
        if entries[-1].chain != segment.chain:
            raise Corrupt(f"{segment.name}: ends with another chain value")
        return entries

    # ------------------------------------------------------------ states

    async def put_state(self, shard: int, tick: int, epoch: int, wall_ms: int, chain: bytes, body: bytes) -> State:
        """Keep a state for good. `body`: as `shard.snapshot.encode` gives it. Repeating it is harmless."""
        data = await asyncio.to_thread(snapshots.encode, body)
        name = f"{self._prefix(shard)}state/{tick:012}-{epoch}-{wall_ms}-{chain.hex()}-{_state_hash(data)}"
        with contextlib.suppress(AlreadyThere):
            await self._blobs.put_new(name, data)
        stored, _ = await self._blobs.get(name)
        if stored != data:
            raise Corrupt(f"{name}: holds something else than was written")
        return State(tick, epoch, wall_ms, chain, name)

    async def states(self, shard: int) -> list[State]:
        """All archived states by (tick, epoch)."""
        prefix = f"{self._prefix(shard)}state/"
        found = []
        for name in await self._blobs.list(prefix):
            match = _STATE.fullmatch(name, len(prefix))
            if match is not None:
                found.append(State(int(match[1]), int(match[2]), int(match[3]), bytes.fromhex(match[4]), name))
        return sorted(found)

    async def read_state(self, state: State) -> Start:
        """A state to start from. Raises SnapshotCorrupt, Missing."""
        data, _ = await self._blobs.get(state.name)
        body = snapshots.decode(data, state.name)
        if not state.name.endswith(_state_hash(data)):
            raise SnapshotCorrupt(f"{state.name}: holds another state")
        return Start(state.name, state.tick, state.epoch, state.chain, body)

    # ------------------------------------------------------------ restores

    async def note_restore(self, shard: int, restored: Restored) -> None:
        """Write down that the journal was given up from a tick on. Repeating it is harmless."""
        name = f"{self._prefix(shard)}restored/{restored.epoch:012}"
        with contextlib.suppress(AlreadyThere):
            await self._blobs.put_new(name, json.dumps(asdict(restored), sort_keys=True).encode())

    async def restores(self, shard: int) -> list[Restored]:
        """All restores of a shard by epoch. One that cannot be read is left out: nothing rests on them."""
        found = []
        for name in await self._blobs.list(f"{self._prefix(shard)}restored/"):
            data, _ = await self._blobs.get(name)
            with contextlib.suppress(ValueError, TypeError):
                found.append(Restored(**json.loads(data)))
        return found

    def _prefix(self, shard: int) -> str:
        return f"archive/{self._world}/{shard}/"


def _segment(name: str, prefix: str) -> Segment | None:
    match = _SEGMENT.fullmatch(name, len(prefix))
    if match is None:
        return None
    first, last, epoch, wall_first, wall_last = (int(part) for part in match.groups()[:5])
    previous, chain = bytes.fromhex(match[6]), bytes.fromhex(match[7])
    return Segment(first, last, epoch, wall_first, wall_last, previous, chain, name)


def _state_hash(data: bytes) -> str:
    return data[-_TRAILER_BYTES:].hex()[:STATE_HASH_DIGITS]


def encode(entries: Sequence[JournalEntry]) -> bytes:
    """A segment's bytes."""
    pieces = [_HEAD.pack(MAGIC, VERSION, len(entries))]
    for entry in entries:
        pieces.append(_ENTRY.pack(entry.tick, entry.epoch, len(entry.chain)) + entry.chain)
        pieces.append(_LENGTH.pack(len(entry.payload)) + entry.payload)
    body = b"".join(pieces)
    return body + hashlib.blake2b(body, digest_size=_TRAILER_BYTES).digest()


def decode(data: bytes, name: str) -> list[JournalEntry]:
    """A segment's records. Raises Corrupt, FormatTooNew, naming the object."""
    body, trailer = data[:-_TRAILER_BYTES], data[-_TRAILER_BYTES:]
    if len(data) < _HEAD.size + _TRAILER_BYTES or hashlib.blake2b(body, digest_size=_TRAILER_BYTES).digest() != trailer:
        raise Corrupt(f"{name}: torn or changed")
    magic, version, count = _HEAD.unpack_from(body)
    if magic != MAGIC:
        raise Corrupt(f"{name}: magic {magic!r}")
    if version != VERSION:
        raise FormatTooNew(f"{name}: format {version}, this software reads {VERSION}: run the newer version")
    entries, at = [], _HEAD.size
    try:
        for _ in range(count):
            tick, epoch, chain_bytes = _ENTRY.unpack_from(body, at)
            chain = body[at + _ENTRY.size : at + _ENTRY.size + chain_bytes]
            at += _ENTRY.size + chain_bytes
            (length,) = _LENGTH.unpack_from(body, at)
            at += _LENGTH.size + length
            entries.append(JournalEntry(tick, epoch, chain, body[at - length : at]))
    except struct.error as error:
        raise Corrupt(f"{name}: {error}") from error
    if at != len(body):
        raise Corrupt(f"{name}: {count} records do not fill it")
    return entries
