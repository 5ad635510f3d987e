"""Snapshots in blob storage: what is torn is found, who is fenced writes nothing that counts.

In memory, in a directory and in Azurite.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.errors import AlreadyThere, Fenced, FormatTooNew, SnapshotCorrupt, StoreUnavailable
from overworld.store.blob_memory import MemoryBlobs, MemoryDisk
from overworld.store.ports import Blobs, Grant, Head
from overworld.store.snapshots import (
    THREAD_BYTES_MIN,
    SnapshotBytes,
    SnapshotStore,
    decode,
    decode_manifest,
    encode,
    encode_manifest,
)
from overworld.wire.v1.record_pb2 import SnapshotManifest
from tests.store.writer import fresh_nonce

pytestmark = pytest.mark.asyncio
MANIFEST = "manifest/w/0"


def owner(epoch: int, shard: int = 0, nonce: bytes | None = None) -> Grant:
    nonce = nonce or fresh_nonce()
    return Grant(shard, epoch, nonce, Head(epoch, nonce, "10.0.0.1:7000", 0, b"", 0, 0, 1))


def state(tick: int, body: bytes = b"") -> SnapshotBytes:
    return SnapshotBytes(tick, b"chain %d" % tick, b"digest", 1000 + tick, body or b"state at %d" % tick)


async def ticks(store: SnapshotStore, shard: int = 0) -> list[int]:
    return [start.tick for start in await store.newest_first(shard)]


async def objects(blobs: Blobs, shard: int = 0) -> list[str]:
    return await blobs.list(f"snap/w/{shard}/")


async def overwrite(blobs: Blobs, name: str, data: bytes) -> None:
    """As damage does: whatever guards the object."""
    _, etag = await blobs.get(name)
    await blobs.put_if(name, data, etag)


async def claimed(blobs: Blobs, epoch: int = 1) -> tuple[SnapshotStore, Grant]:
    store, grant = SnapshotStore(blobs, "w"), owner(epoch)
    await store.claim(grant)
    return store, grant


# ---------------------------------------------------------------- in order


async def test_a_shard_without_snapshots_has_none_and_epoch_0(blobs: Blobs) -> None:
    store = SnapshotStore(blobs, "w")
    assert await store.epoch(0) == 0
    assert await store.newest_first(0) == []


async def test_the_newest_comes_first_and_the_journal_may_be_trimmed_to_the_second(blobs: Blobs) -> None:
    store, grant = await claimed(blobs, 3)
    assert [await store.save(grant, state(tick)) for tick in (10, 20, 30)] == [0, 10, 20]
    found = await store.newest_first(0)
    assert [(start.tick, start.epoch, start.chain, start.data) for start in found] == [
        (tick, 3, b"chain %d" % tick, b"state at %d" % tick) for tick in (30, 20, 10)
    ]
    assert await store.epoch(0) == 3
    assert await SnapshotStore(blobs, "w").epoch(1) == 0
    assert await ticks(SnapshotStore(blobs, "other")) == []


async def test_only_the_last_generations_are_kept(blobs: Blobs) -> None:
    store, grant = await claimed(blobs)
    for tick in range(10, 80, 10):
        await store.save(grant, state(tick))
    assert await ticks(store) == [70, 60, 50]
    assert len(await objects(blobs)) == 3


async def test_a_large_snapshot_comes_back_whole(blobs: Blobs) -> None:
    store, grant = await claimed(blobs)
    body = bytes(range(256)) * (THREAD_BYTES_MIN // 64)
    await store.save(grant, state(10, body))
    [start] = await store.newest_first(0)
    assert start.data == body


async def test_saving_the_same_snapshot_again_changes_nothing(blobs: Blobs) -> None:
    store, grant = await claimed(blobs)
    for _ in range(3):
        await store.save(grant, state(10))
    assert await ticks(store) == [10]


async def test_a_successor_goes_on_from_what_was_there(blobs: Blobs) -> None:
    store, first = await claimed(blobs, 1)
    await store.save(first, state(10))
    await store.save(first, state(20))
    second = owner(2)
    await store.claim(second)
    assert await ticks(store) == [20, 10]
    assert await store.save(second, state(25)) == 20


async def test_entries_of_a_branch_that_was_given_up_are_dropped(blobs: Blobs) -> None:
    """Redis lost its newest records with their owner; the successor ran those ticks again, another way."""
    store, first = await claimed(blobs, 1)
    for tick in (10, 20, 30):
        await store.save(first, state(tick))
    second = owner(2)
    await store.claim(second)
    await store.save(second, state(20, b"another state at 20"))
    assert [(start.tick, start.epoch) for start in await store.newest_first(0)] == [(20, 2), (10, 1)]


async def test_evidence_is_kept_and_may_be_kept_twice(blobs: Blobs) -> None:
    store = SnapshotStore(blobs, "w")
    for _ in range(2):
        await store.keep_evidence("diverged/w/0/1-2", b"state")
    data, _ = await blobs.get("evidence/diverged/w/0/1-2")
    assert decode(data, "evidence/diverged/w/0/1-2") == b"state"


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("damage", ["torn", "empty", "flipped", "longer", "gone", "another shard's", "an older one's"])
async def test_a_damaged_newest_snapshot_is_passed_over_for_the_one_before(blobs: Blobs, damage: str) -> None:
    store, grant = await claimed(blobs)
    await store.save(grant, state(10))
    await store.save(grant, state(20))
    other = owner(1, shard=1)
    await store.claim(other)
    await store.save(other, state(20, b"state of shard 1"))
    older, newest = await objects(blobs)
    data, _ = await blobs.get(newest)
    if damage == "torn":
        await overwrite(blobs, newest, data[:-7])
    elif damage == "empty":
        await overwrite(blobs, newest, b"")
    elif damage == "flipped":
        await overwrite(blobs, newest, data[:20] + bytes([data[20] ^ 0x10]) + data[21:])
    elif damage == "longer":
        await overwrite(blobs, newest, data + b"\0")
    elif damage == "gone":
        await blobs.delete(newest)
    elif damage == "another shard's":
        [foreign] = await objects(blobs, 1)
        await overwrite(blobs, newest, (await blobs.get(foreign))[0])
    else:
        await overwrite(blobs, newest, (await blobs.get(older))[0])
    assert await ticks(SnapshotStore(blobs, "w")) == [10]


@pytest.mark.parametrize("damage", ["torn", "empty", "flipped", "gone", "another shard's", "nonsense"])
async def test_a_damaged_manifest_costs_no_snapshot(blobs: Blobs, damage: str) -> None:
    store, first = await claimed(blobs, 4)
    await store.save(first, state(10))
    await store.save(first, state(20))
    other = owner(9, shard=1)
    await store.claim(other)
    await store.save(other, state(99, b"state of shard 1"))
    data, _ = await blobs.get(MANIFEST)
    if damage == "torn":
        await overwrite(blobs, MANIFEST, data[: len(data) // 2])
    elif damage == "empty":
        await overwrite(blobs, MANIFEST, b"")
    elif damage == "flipped":
        await overwrite(blobs, MANIFEST, data[:9] + bytes([data[9] ^ 1]) + data[10:])
    elif damage == "gone":
        await blobs.delete(MANIFEST)
    elif damage == "another shard's":
        await overwrite(blobs, MANIFEST, (await blobs.get("manifest/w/1"))[0])
    else:
        await overwrite(blobs, MANIFEST, b"OWMF" + b"nonsense" * 10)

    fresh = SnapshotStore(blobs, "w")
    assert await ticks(fresh) == [20, 10]
    if damage != "gone":
        assert await fresh.epoch(0) == 4, "from the objects' names"
    second = owner(5)
    await fresh.claim(second)
    await fresh.save(second, state(30))
    assert (await ticks(fresh))[:1] == [30]
    if damage != "gone":
        assert await ticks(fresh) == [30, 20, 10], "the manifest was made anew from what verifies"
    assert await fresh.epoch(0) == 5


async def test_the_owner_itself_may_make_its_damaged_manifest_anew(blobs: Blobs) -> None:
    store, grant = await claimed(blobs)
    await store.save(grant, state(10))
    await overwrite(blobs, MANIFEST, b"damage")
    assert await store.save(grant, state(20)) == 10
    assert await ticks(store) == [20, 10]


async def test_a_snapshot_that_does_not_come_back_as_written_is_not_put_into_the_manifest() -> None:
    class LyingDisk(MemoryBlobs):
        async def put_new(self, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
            await super().put_new(name, data[:-1], metadata)

    store, grant = await claimed(LyingDisk())
    with pytest.raises(SnapshotCorrupt):
        await store.save(grant, state(10))
    assert await store.newest_first(0) == []


@settings(max_examples=300)
@given(body=st.binary(max_size=300), place=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.booleans())
async def test_any_flipped_bit_or_missing_end_is_found(body: bytes, place: int, bit: int, cut: bool) -> None:
    data = encode(body)
    name = f"snap/w/0/000000000010-1-{data[-32:].hex()[:16]}"
    assert decode(data, name) == body
    place %= len(data)
    damaged = data[:place] if cut else data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
    with pytest.raises(SnapshotCorrupt):
        decode(damaged, name)


# ---------------------------------------------------------------- newer software


async def test_a_newer_manifest_is_left_alone(blobs: Blobs) -> None:
    store, grant = await claimed(blobs)
    await store.save(grant, state(10))
    data, _ = await blobs.get(MANIFEST)
    manifest = decode_manifest(data, MANIFEST)
    newer = SnapshotManifest(format=manifest.format + 1, epoch=manifest.epoch, entries=manifest.entries)
    await overwrite(blobs, MANIFEST, encode_manifest(newer))
    written = await blobs.get(MANIFEST)
    for refused in (store.epoch(0), store.claim(owner(2)), store.save(grant, state(20)), store.newest_first(0)):
        with pytest.raises(FormatTooNew, match="run the newer version"):
            await refused
    assert await blobs.get(MANIFEST) == written
    assert any("000000000010" in name for name in await objects(blobs))


# ---------------------------------------------------------------- zombies


async def test_a_former_owner_is_fenced_and_its_object_does_not_count(blobs: Blobs) -> None:
    store, zombie = await claimed(blobs, 1)
    await store.save(zombie, state(10))
    second = owner(2)
    await store.claim(second)
    before = await blobs.get(MANIFEST)
    with pytest.raises(Fenced, match=r"epoch 2 .* has claimed its snapshots, not epoch 1"):
        await store.save(zombie, state(20))
    with pytest.raises(Fenced):
        await store.claim(zombie)
    assert await blobs.get(MANIFEST) == before
    assert await ticks(store) == [10]
    await store.save(second, state(15))
    assert await ticks(store) == [15, 10]


async def test_what_a_zombie_left_is_swept_away_once_it_is_older_than_everything_named(blobs: Blobs) -> None:
    store, zombie = await claimed(blobs, 1)
    await store.save(zombie, state(10))
    second = owner(2)
    await store.claim(second)
    with pytest.raises(Fenced):
        await store.save(zombie, state(20))
    for tick in (30, 40, 50):
        await store.save(second, state(tick))
    assert len(await objects(blobs)) == 4
    third = owner(3)
    await store.claim(third)
    assert len(await objects(blobs)) == 4, "players wait for a claim"
    await store.save(third, state(60))
    assert len(await objects(blobs)) == 3
    assert await ticks(store) == [60, 50, 40]


async def test_of_two_owners_of_one_epoch_the_first_to_claim_stays(blobs: Blobs) -> None:
    """A Redis failover lost one's acquire: both hold epoch 2."""
    store, _ = await claimed(blobs, 1)
    first, second = owner(2), owner(2)
    await store.claim(first)
    with pytest.raises(Fenced):
        await store.claim(second)
    with pytest.raises(Fenced):
        await store.save(second, state(10))
    await store.claim(first)
    await store.save(first, state(10))
    assert await ticks(store) == [10]


async def test_of_many_claims_at_once_none_is_lost_and_the_last_word_is_one_owners(blobs: Blobs) -> None:
    store = SnapshotStore(blobs, "w")
    grants = [owner(2) for _ in range(4)]
    answers = await asyncio.gather(*(store.claim(grant) for grant in grants), return_exceptions=True)
    assert answers.count(None) == 1
    assert {type(answer) for answer in answers if answer is not None} == {Fenced}
    winner = grants[answers.index(None)]
    assert decode_manifest((await blobs.get(MANIFEST))[0], MANIFEST).nonce == winner.nonce


class Interrupted(MemoryBlobs):
    """Runs something else just before one write, or loses the answer to one."""

    def __init__(self, disk: MemoryDisk) -> None:
        super().__init__(disk)
        self.before_put_if: list[SnapshotStore] = []
        self.claimant: Grant | None = None
        self.lose_put_new = 0
        self.lose_put_if = 0

    async def put_if(self, name: str, data: bytes, etag: str | None) -> str:
        if self.before_put_if:
            assert self.claimant is not None
            await self.before_put_if.pop().claim(self.claimant)
        answer = await super().put_if(name, data, etag)
        if self.lose_put_if:
            self.lose_put_if -= 1
            raise StoreUnavailable("the answer was lost")
        return answer

    async def put_new(self, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        await super().put_new(name, data, metadata)
        if self.lose_put_new:
            self.lose_put_new -= 1
            raise StoreUnavailable("the answer was lost")


async def test_a_zombies_write_that_is_already_on_its_way_fails_on_the_etag() -> None:
    """It read the manifest as its owner, was paused, and writes after its successor has claimed."""
    disk = MemoryDisk()
    zombie_blobs = Interrupted(disk)
    store, zombie = await claimed(zombie_blobs, 1)
    await store.save(zombie, state(10))
    successor = SnapshotStore(MemoryBlobs(disk), "w")
    zombie_blobs.before_put_if, zombie_blobs.claimant = [successor], owner(2)
    with pytest.raises(Fenced):
        await store.save(zombie, state(20))
    assert await ticks(successor) == [10]


async def test_a_write_whose_answer_was_lost_can_be_tried_again() -> None:
    blobs = Interrupted(MemoryDisk())
    store, grant = await claimed(blobs)
    for lose in ("lose_put_new", "lose_put_if"):
        setattr(blobs, lose, 1)
        with pytest.raises(StoreUnavailable):
            await store.save(grant, state(10))
        await store.save(grant, state(10))
    assert await ticks(store) == [10]
    assert await store.save(grant, state(20)) == 10


async def test_a_claim_whose_answer_was_lost_can_be_tried_again() -> None:
    blobs = Interrupted(MemoryDisk())
    store, grant = SnapshotStore(blobs, "w"), owner(7)
    blobs.lose_put_if = 1
    with pytest.raises(StoreUnavailable):
        await store.claim(grant)
    await store.claim(grant)
    assert await store.epoch(0) == 7


async def test_another_object_under_the_same_name_is_noticed(blobs: Blobs) -> None:
    """Names hold a hash, so this takes damage before the first write."""
    store, grant = await claimed(blobs)
    data = encode(b"state at 10")
    name = f"snap/w/0/{10:012}-1-{data[-32:].hex()[:16]}"
    await blobs.put_new(name, b"something else")
    with pytest.raises(SnapshotCorrupt):
        await store.save(grant, state(10))
    with pytest.raises(AlreadyThere):
        await blobs.put_new(name, data)
    assert await store.save(grant, state(11)) == 0
    assert await ticks(store) == [11]


async def test_a_grant_for_another_shard_claims_that_shard_only(blobs: Blobs) -> None:
    store, grant = await claimed(blobs, 5)
    await store.claim(replace(grant, shard=3))
    assert [await store.epoch(shard) for shard in (0, 1, 3)] == [5, 0, 5]
