"""Snapshots in blob storage: immutable objects, and one small manifest a shard that says which of them count.

    snap/WORLD/SHARD/TICK-EPOCH-HASH    written only if absent, read back before it counts
    manifest/WORLD/SHARD                 guarded by its ETag; carries the epoch of the shard's owner

An object, little-endian: magic "OWSN", version u16, reserved u16, body length u64, body, blake2b-256 of all before. The
hash in its name is the first 16 hex digits of that digest, so an object put in another's place is found as well.

A new owner's first write is the manifest under its own epoch and nonce (`claim`). That moves the ETag, so a write of
the owner before it that is still on its way fails, and its next look shows the higher epoch: it is fenced. The nonce is
there because a Redis failover can leave two owners with one epoch: whoever claims the manifest second is fenced.
Objects that no manifest names are harmless, and are swept away with the first snapshot of the next epoch: players may
be waiting for a claim, and for nothing else here.

What a newer version of this software wrote raises FormatTooNew and is left alone: to take it for damage would let an
old worker roll the world back, or write its manifest anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from google.protobuf.message import DecodeError

from overworld import telemetry
from overworld.errors import (
    AlreadyThere,
    Changed,
    Corrupt,
    Fenced,
    FormatTooNew,
    ManifestCorrupt,
    Missing,
    SnapshotCorrupt,
    StoreUnavailable,
)
from overworld.store.ports import Blobs, Grant
from overworld.wire.v1.record_pb2 import SnapshotEntry, SnapshotManifest

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAGIC, VERSION = b"OWSN", 1
MANIFEST_MAGIC, MANIFEST_FORMAT = b"OWMF", 1
_HEAD = struct.Struct("<4sHHQ")
_TRAILER_BYTES = 32
_MANIFEST_CHECK_BYTES = 16
_TRIES_MAX = 5
THREAD_BYTES_MIN = 1 << 18
KEPT_MIN = 2
"""Two verified generations are always kept: the journal is trimmed only to the older of them."""


@dataclass(frozen=True)
class Start:
    """A state to start from: a snapshot's bytes, verified as stored, and where it belongs. `name` is for people."""

    name: str
    tick: int
    epoch: int
    chain: bytes
    data: bytes


@dataclass(frozen=True)
class SnapshotBytes:
    """A snapshot to be stored."""

    tick: int
    chain: bytes
    state_digest: bytes
    wall_ms: int
    data: bytes


class SnapshotStore:
    """The snapshots of one world's shards. `kept` generations stay in each manifest."""

    def __init__(self, blobs: Blobs, world: str, kept: int = 3) -> None:
        if kept < KEPT_MIN:
            raise ValueError(f"{kept} generations; at least {KEPT_MIN} are kept")
        self._blobs = blobs
        self._world = world
        self._kept = kept
        self._swept: dict[int, int] = {}
        """Epochs under which shards' leftovers were swept away here."""

    async def epoch(self, shard: int) -> int:
        """The highest epoch that ever claimed the shard's manifest; 0 where none did. Raises FormatTooNew: a worker
        that is too old for the shard learns it here, before it takes the lease from one that is not.
        """
        try:
            manifest, _ = await self._manifest(shard)
        except ManifestCorrupt:
            # The objects' names carry the epochs of those who wrote them.
            return max((entry.epoch for entry in await self._listed(shard)), default=0)
        return manifest.epoch

    async def claim(self, grant: Grant) -> None:
        """Make every earlier owner's writes impossible. Raises Fenced where a later owner has claimed it."""
        await self._write(grant, None)

    async def newest_first(self, shard: int) -> list[Start]:
        """Snapshots that can be read; a torn one is said and left out."""
        try:
            manifest, _ = await self._manifest(shard)
            entries = list(manifest.entries)
        except ManifestCorrupt as error:
            _tell(shard, error)
            entries = []
        starts = await self._read(shard, reversed(entries))
        if starts:
            return starts
        # No manifest, or nothing good in it: whatever verifies is better than nothing.
        return await self._read(shard, reversed(await self._listed(shard)))

    async def save(self, grant: Grant, snapshot: SnapshotBytes, *, keep_later: bool = False) -> int:
        """Store, read back, and put into the manifest. Returns the tick up to which the journal may be trimmed: that
        of the second newest verified snapshot, 0 where there is none. Raises Fenced, StoreUnavailable.

        `keep_later`: earlier owners' snapshots of later ticks stay (a restore that may be cut short before the journal
        begins anew); the next save drops them.
        """
        data = await _off_the_loop(encode, snapshot.data)
        name = f"{self._prefix(grant.shard)}{snapshot.tick:012}-{grant.epoch}-{_hash(data)}"
        try:
            await self._blobs.put_new(name, data)
        except AlreadyThere:
            # The name holds the hash of the bytes: an earlier try of this very snapshot. The read below decides.
            log.info("snapshot_already_there", object=name)
        stored, _ = await self._blobs.get(name)
        await _off_the_loop(decode, stored, name)
        entry = SnapshotEntry(
            object=name,
            epoch=grant.epoch,
            tick=snapshot.tick,
            chain=snapshot.chain,
            state_digest=snapshot.state_digest,
            wall_ms=snapshot.wall_ms,
            size=len(data),
        )
        manifest = await self._write(grant, entry, keep_later=keep_later)
        telemetry.snapshot_saved_total.inc()
        telemetry.snapshot_bytes.set(len(data))
        if self._swept.get(grant.shard) != grant.epoch:
            await self._sweep(grant.shard, manifest)
            self._swept[grant.shard] = grant.epoch
        return manifest.entries[-2].tick if len(manifest.entries) >= KEPT_MIN else 0

    async def keep_evidence(self, name: str, data: bytes) -> None:
        """Put away a state that should not have come about."""
        try:
            await self._blobs.put_new(f"evidence/{name}", encode(data))
        except AlreadyThere:
            log.info("evidence_already_there", object=name)

    # ------------------------------------------------------------ the manifest

    async def _manifest(self, shard: int) -> tuple[SnapshotManifest, str | None]:
        """(manifest, its ETag; None where there is none yet). Raises ManifestCorrupt, FormatTooNew."""
        try:
            data, etag = await self._blobs.get(self._manifest_name(shard))
        except Missing:
            return SnapshotManifest(format=MANIFEST_FORMAT), None
        manifest = decode_manifest(data, self._manifest_name(shard))
        if any(not entry.object.startswith(self._prefix(shard)) for entry in manifest.entries):
            raise ManifestCorrupt(f"{self._manifest_name(shard)}: names another shard's snapshots")
        return manifest, etag

    async def _write(self, grant: Grant, entry: SnapshotEntry | None, *, keep_later: bool = False) -> SnapshotManifest:
        """Put the manifest under the grant's epoch, with one more entry. Raises Fenced, StoreUnavailable."""
        for _ in range(_TRIES_MAX):
            manifest, etag = await self._manifest_or_rebuilt(grant.shard)
            if _claimed_by_another(manifest, grant):
                telemetry.snapshot_fenced_total.inc()
                text = f"epoch {manifest.epoch} ({manifest.nonce.hex()[:8]}) has claimed its snapshots"
                raise Fenced(f"shard {grant.shard}: {text}, not epoch {grant.epoch} ({grant.nonce.hex()[:8]})")
            dropped = _admit(manifest, grant, entry, self._kept, keep_later)
            try:
                await self._blobs.put_if(self._manifest_name(grant.shard), encode_manifest(manifest), etag)
            except Changed:
                continue
            for name in dropped:
                await self._blobs.delete(name)
            return manifest
        raise Fenced(f"shard {grant.shard}: its manifest changes under every write; another owner must be at it")

    async def _manifest_or_rebuilt(self, shard: int) -> tuple[SnapshotManifest, str | None]:
        """A manifest that cannot be read is made anew from the objects that verify."""
        try:
            return await self._manifest(shard)
        except ManifestCorrupt as error:
            _tell(shard, error)
        _, etag = await self._blobs.get(self._manifest_name(shard))
        manifest = SnapshotManifest(format=MANIFEST_FORMAT)
        for entry in await self._listed(shard):
            if await self._read(shard, [entry]):
                manifest.entries.append(entry)
            manifest.epoch = max(manifest.epoch, entry.epoch)
        return manifest, etag

    # ------------------------------------------------------------ the objects

    async def _read(self, shard: int, entries: Iterable[SnapshotEntry]) -> list[Start]:
        """All at once: players wait for it, and a round trip each would add up."""
        found = await asyncio.gather(*(self._read_one(shard, entry) for entry in entries))
        return [start for start in found if start is not None]

    async def _read_one(self, shard: int, entry: SnapshotEntry) -> Start | None:
        try:
            data, _ = await self._blobs.get(entry.object)
            body = await _off_the_loop(decode, data, entry.object)
        except (Missing, Corrupt) as error:
            _tell(shard, error)
            return None
        return Start(entry.object, entry.tick, entry.epoch, entry.chain, body)

    async def _listed(self, shard: int) -> list[SnapshotEntry]:
        """Every snapshot object of a shard by (tick, epoch), from their names alone: their chains are not known."""
        prefix = self._prefix(shard)
        found = []
        for name in await self._blobs.list(prefix):
            parts = name[len(prefix) :].split("-")
            if len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit():
                found.append(SnapshotEntry(object=name, tick=int(parts[0]), epoch=int(parts[1])))
        return sorted(found, key=lambda entry: (entry.tick, entry.epoch))

    async def _sweep(self, shard: int, manifest: SnapshotManifest) -> None:
        """Delete objects that no manifest names and that are older than all it names: left by owners that died."""
        if not manifest.entries:
            return
        named = {entry.object for entry in manifest.entries}
        oldest = min(entry.tick for entry in manifest.entries)
        try:
            for entry in await self._listed(shard):
                if entry.object not in named and entry.tick < oldest:
                    await self._blobs.delete(entry.object)
        except StoreUnavailable as error:
            log.info("leftovers_not_swept", shard=shard, reason=str(error))

    def _prefix(self, shard: int) -> str:
        return f"snap/{self._world}/{shard}/"

    def _manifest_name(self, shard: int) -> str:
        return f"manifest/{self._world}/{shard}"


def _claimed_by_another(manifest: SnapshotManifest, grant: Grant) -> bool:
    """A manifest made anew from its objects knows no nonce."""
    if manifest.epoch != grant.epoch:
        return manifest.epoch > grant.epoch
    return bool(manifest.nonce) and manifest.nonce != grant.nonce


def _admit(
    manifest: SnapshotManifest, grant: Grant, entry: SnapshotEntry | None, kept: int, keep_later: bool
) -> list[str]:
    """Put an entry last and the owner on top. Returns the objects that the manifest no longer names."""
    before = {e.object for e in manifest.entries}
    epoch = manifest.epoch = grant.epoch
    manifest.nonce = grant.nonce
    if entry is not None:
        # Entries of earlier owners at or after this tick lie on a branch that was given up (Redis lost its newest).
        others = [e for e in manifest.entries if e.object != entry.object]
        stay = [e for e in others if keep_later or e.epoch == epoch or e.tick < entry.tick]
        del manifest.entries[:]
        manifest.entries.extend([*stay, entry][-kept:])
    return sorted(before - {e.object for e in manifest.entries})


def _tell(shard: int, error: Exception) -> None:
    what = "manifest" if isinstance(error, ManifestCorrupt) else "snapshot"
    telemetry.snapshot_corrupt_total.labels(what).inc()
    log.error("snapshot_unusable", shard=shard, reason=str(error))


async def _off_the_loop(work: Callable[..., T], data: bytes, *more: object) -> T:
    """Hashing takes 2 ms a MiB: large objects are hashed in a thread, so that other shards tick on."""
    if len(data) < THREAD_BYTES_MIN:
        return work(data, *more)
    return await asyncio.to_thread(work, data, *more)


def encode(body: bytes) -> bytes:
    """A snapshot object's bytes."""
    data = _HEAD.pack(MAGIC, VERSION, 0, len(body)) + body
    return data + hashlib.blake2b(data, digest_size=_TRAILER_BYTES).digest()


def decode(data: bytes, name: str) -> bytes:
    """A snapshot object's body. Raises SnapshotCorrupt, FormatTooNew, naming the object."""
    if len(data) < _HEAD.size + _TRAILER_BYTES:
        raise SnapshotCorrupt(f"{name}: {len(data)} bytes")
    magic, version, _, length = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise SnapshotCorrupt(f"{name}: magic {magic!r}")
    if len(data) != _HEAD.size + length + _TRAILER_BYTES:
        raise SnapshotCorrupt(f"{name}: a body of {length} bytes in {len(data)}")
    if hashlib.blake2b(data[:-_TRAILER_BYTES], digest_size=_TRAILER_BYTES).digest() != data[-_TRAILER_BYTES:]:
        raise SnapshotCorrupt(f"{name}: torn or changed")
    if not name.endswith(_hash(data)) and name.startswith("snap/"):
        raise SnapshotCorrupt(f"{name}: holds another snapshot")
    if version != VERSION:
        raise FormatTooNew(f"{name}: format {version}, this software reads {VERSION}: run the newer version")
    return data[_HEAD.size : -_TRAILER_BYTES]


def _hash(data: bytes) -> str:
    return data[-_TRAILER_BYTES:].hex()[:16]


def encode_manifest(manifest: SnapshotManifest) -> bytes:
    """A manifest's bytes: magic, protobuf, blake2b-128 of both."""
    data = MANIFEST_MAGIC + manifest.SerializeToString(deterministic=True)
    return data + hashlib.blake2b(data, digest_size=_MANIFEST_CHECK_BYTES).digest()


def decode_manifest(data: bytes, name: str) -> SnapshotManifest:
    """A manifest from its bytes. Raises ManifestCorrupt, FormatTooNew, naming the object."""
    body, check = data[:-_MANIFEST_CHECK_BYTES], data[-_MANIFEST_CHECK_BYTES:]
    if not body.startswith(MANIFEST_MAGIC) or hashlib.blake2b(body, digest_size=16).digest() != check:
        raise ManifestCorrupt(f"{name}: torn or changed")
    try:
        manifest = SnapshotManifest.FromString(body[len(MANIFEST_MAGIC) :])
    except DecodeError as error:
        raise ManifestCorrupt(f"{name}: {error}") from error
    if manifest.format != MANIFEST_FORMAT:
        text = f"format {manifest.format}, this software reads {MANIFEST_FORMAT}: run the newer version"
        raise FormatTooNew(f"{name}: {text}")
    return manifest
