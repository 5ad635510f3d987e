"""Segments and states come back as they were put away, or are said to be damaged."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.errors import Corrupt, FormatTooNew, SnapshotCorrupt
from overworld.store import archive as archives
from overworld.store.archive import BUCKET_TICKS, Archive, Restored, Segment
from overworld.store.blob_memory import MemoryBlobs, MemoryDisk
from overworld.store.ports import Blobs, JournalEntry

GENESIS = bytes(16)
PAYLOADS = st.lists(st.binary(max_size=200), min_size=1, max_size=20)


def records(first: int, payloads: list[bytes], epoch: int = 1, salt: bytes = b"") -> list[JournalEntry]:
    """Consecutive records; their chain values need not be real ones here."""
    return [
        JournalEntry(first + i, epoch, struct.pack("<QQ", first + i, epoch) + salt, payload)
        for i, payload in enumerate(payloads)
    ]


async def put(archive: Archive, first: int, count: int, *, epoch: int = 1, previous: bytes = GENESIS) -> Segment:
    entries = records(first, [b"%d" % (first + i) for i in range(count)], epoch)
    segment, size = await archive.put(0, entries, previous, 1000 * first, 1000 * (first + count - 1))
    assert size > 0
    return segment


# ---------------------------------------------------------------- bytes


@given(first=st.integers(1, 2**50), epoch=st.integers(0, 2**40), payloads=PAYLOADS, salt=st.binary(max_size=40))
def test_records_come_back(first: int, epoch: int, payloads: list[bytes], salt: bytes) -> None:
    entries = records(first, payloads, epoch, salt)
    assert archives.decode(archives.encode(entries), "x") == entries


@given(payloads=PAYLOADS, at=st.integers(0), flip=st.integers(1, 255))
def test_a_changed_byte_is_found_wherever_it_is(payloads: list[bytes], at: int, flip: int) -> None:
    data = bytearray(archives.encode(records(5, payloads)))
    data[at % len(data)] ^= flip
    with pytest.raises(Corrupt, match="segment-7"):
        archives.decode(bytes(data), "segment-7")


@given(payloads=PAYLOADS, keep=st.integers(0))
def test_a_torn_segment_is_found_wherever_it_ends(payloads: list[bytes], keep: int) -> None:
    data = archives.encode(records(5, payloads))
    with pytest.raises(Corrupt):
        archives.decode(data[: keep % len(data)], "x")


def sealed(body: bytes) -> bytes:
    """With a right checksum over whatever stands there."""
    return body + hashlib.blake2b(body, digest_size=32).digest()


def test_bytes_that_do_not_add_up_are_found_under_a_right_checksum() -> None:
    body = archives.encode(records(5, [b"one", b"two"]))[:-32]
    for wrong in (body + b"more", body[:-2], b"XXXX" + body[4:]):
        with pytest.raises(Corrupt):
            archives.decode(sealed(wrong), "x")


def test_a_newer_format_is_no_damage() -> None:
    body = archives.encode(records(5, [b"one"]))[:-32]
    with pytest.raises(FormatTooNew, match="format 99"):
        archives.decode(sealed(body[:4] + struct.pack("<H", 99) + body[6:]), "x")


# ---------------------------------------------------------------- objects


@pytest.mark.asyncio
async def test_a_segment_is_found_by_its_ticks_and_holds_its_records(blobs: Blobs) -> None:
    archive = Archive(blobs, "w")
    first, second = await put(archive, 1, 10), await put(archive, 11, 5, epoch=3)
    assert await archive.segments(0, 1, 15) == [first, second]
    assert await archive.segments(0, 11, 15) == [second]
    assert await archive.segments(1, 1, 15) == []
    assert [entry.payload for entry in await archive.read(second)] == [b"11", b"12", b"13", b"14", b"15"]
    assert (second.first, second.last, second.epoch) == (11, 15, 3)
    assert (second.wall_first_ms, second.wall_last_ms) == (11_000, 15_000)
    assert second.previous == GENESIS


@pytest.mark.asyncio
async def test_putting_it_again_changes_nothing(blobs: Blobs) -> None:
    archive = Archive(blobs, "w")
    assert await put(archive, 1, 10) == await put(archive, 1, 10)
    assert len(await archive.segments(0, 1, 10)) == 1


@pytest.mark.asyncio
async def test_segments_are_listed_across_buckets_and_beyond_the_tick_that_is_known() -> None:
    archive = Archive(MemoryBlobs(), "w")
    near, far = BUCKET_TICKS - 5, 2 * BUCKET_TICKS + 3
    made = [await put(archive, near, 20), await put(archive, BUCKET_TICKS + 20, 5), await put(archive, far, 4)]
    assert await archive.segments(0, near, near) == made
    assert await archive.segments(0, BUCKET_TICKS + 1, far) == made, "the first begins in the bucket before"
    assert await archive.segments(0, far, far) == made[2:]


@pytest.mark.asyncio
async def test_a_torn_object_under_its_name_is_not_taken_for_the_segment() -> None:
    """A writer that died half-way, on a storage that shows such things."""
    disk = MemoryDisk()
    archive = Archive(MemoryBlobs(disk), "w")
    segment = await put(archive, 1, 10)
    disk.store(segment.name, disk.objects[segment.name][0][:-7])
    with pytest.raises(Corrupt):
        await put(archive, 1, 10)
    with pytest.raises(Corrupt, match="torn"):
        await archive.read(segment)
    await put(archive, 1, 11)


@pytest.mark.asyncio
async def test_a_segment_in_anothers_place_is_found() -> None:
    disk = MemoryDisk()
    archive = Archive(MemoryBlobs(disk), "w")
    one, other = await put(archive, 1, 10), await put(archive, 21, 10)
    disk.store(one.name, disk.objects[other.name][0])
    with pytest.raises(Corrupt, match=r"21\.\.30"):
        await archive.read(one)
    with pytest.raises(Corrupt, match="another chain value"):
        await archive.read(replace(other, chain=b"x"))


@pytest.mark.asyncio
async def test_names_of_something_else_are_left_alone() -> None:
    blobs = MemoryBlobs()
    archive = Archive(blobs, "w")
    for name in ("00000000/notes.txt", "00000000/1-2-3", "x"):
        await blobs.put_new(f"archive/w/0/journal/{name}", b"?")
    await blobs.put_new("archive/w/0/state/readme", b"?")
    assert await archive.segments(0, 1, 100) == []
    assert await archive.states(0) == []


@pytest.mark.asyncio
async def test_states_come_back_by_tick(blobs: Blobs) -> None:
    archive = Archive(blobs, "w")
    later = await archive.put_state(0, 200, 2, 9000, b"\x02" * 16, b"state at 200")
    earlier = await archive.put_state(0, 100, 1, 5000, b"\x01" * 16, b"state at 100")
    assert await archive.put_state(0, 100, 1, 5000, b"\x01" * 16, b"state at 100") == earlier
    assert await archive.states(0) == [earlier, later]
    start = await archive.read_state(later)
    assert (start.tick, start.epoch, start.chain, start.data) == (200, 2, b"\x02" * 16, b"state at 200")


@pytest.mark.asyncio
async def test_a_state_in_anothers_place_is_found() -> None:
    disk = MemoryDisk()
    archive = Archive(MemoryBlobs(disk), "w")
    one = await archive.put_state(0, 100, 1, 5000, b"\x01" * 16, b"one")
    other = await archive.put_state(0, 200, 1, 6000, b"\x02" * 16, b"other")
    disk.store(one.name, disk.objects[other.name][0])
    with pytest.raises(SnapshotCorrupt, match="another state"):
        await archive.read_state(one)


@pytest.mark.asyncio
async def test_notes_of_restores_come_back_and_a_damaged_one_is_left_out(blobs: Blobs) -> None:
    archive = Archive(blobs, "w")
    notes = [Restored(epoch, 100, "aa", epoch - 1, 200, "bb", 1234) for epoch in (3, 12)]
    for note in reversed(notes):
        await archive.note_restore(0, note)
        await archive.note_restore(0, note)
    await blobs.put_new("archive/w/0/restored/000000000099", b"{torn")
    assert await archive.restores(0) == notes
