"""One suite for every blob storage: in memory, in a directory, and in Azurite."""

from __future__ import annotations

import asyncio
import fcntl
import secrets
from pathlib import Path

import pytest

from overworld.errors import AlreadyThere, Changed, Missing, SettingsError, StoreRefused, StoreUnavailable, TooBig
from overworld.store import blob_directory
from overworld.store.blob_azure import AzureBlobs
from overworld.store.blob_directory import DirectoryBlobs
from overworld.store.blobs import open_blobs
from overworld.store.ports import Blobs
from tests.parts.azurite import Azurite

pytestmark = pytest.mark.asyncio


async def test_what_was_put_is_got(blobs: Blobs) -> None:
    await blobs.put_new("a/b.c", b"one", {"kind": "test"})
    assert (await blobs.get("a/b.c"))[0] == b"one"


async def test_an_object_larger_than_a_block_comes_back_whole(blobs: Blobs) -> None:
    data = secrets.token_bytes(9 << 20)
    await blobs.put_new("large", data)
    assert (await blobs.get("large"))[0] == data


async def test_an_empty_object_is_an_object(blobs: Blobs) -> None:
    await blobs.put_new("empty", b"")
    assert (await blobs.get("empty"))[0] == b""


async def test_only_the_first_put_new_wins(blobs: Blobs) -> None:
    results = await asyncio.gather(*(blobs.put_new("one", bytes([i]) * 100) for i in range(8)), return_exceptions=True)
    assert [type(r) for r in results].count(AlreadyThere) == 7
    winner = results.index(None)
    assert (await blobs.get("one"))[0] == bytes([winner]) * 100


async def test_a_replacement_needs_the_newest_etag(blobs: Blobs) -> None:
    first = await blobs.put_if("m", b"1", None)
    second = await blobs.put_if("m", b"2", first)
    assert (await blobs.get("m")) == (b"2", second)
    for stale in (first, None):
        with pytest.raises(Changed):
            await blobs.put_if("m", b"3", stale)
    assert (await blobs.get("m"))[0] == b"2"


async def test_a_replacement_of_nothing_is_refused(blobs: Blobs) -> None:
    etag = await blobs.put_if("m", b"1", None)
    await blobs.delete("m")
    with pytest.raises(Changed):
        await blobs.put_if("m", b"2", etag)


async def test_of_many_replacements_of_one_version_one_wins(blobs: Blobs) -> None:
    etag = await blobs.put_if("m", b"start", None)
    results = await asyncio.gather(*(blobs.put_if("m", b"%d" % i, etag) for i in range(8)), return_exceptions=True)
    assert [type(r) for r in results].count(Changed) == 7


async def test_what_is_not_there_is_missing(blobs: Blobs) -> None:
    with pytest.raises(Missing):
        await blobs.get("nothing/here")
    await blobs.delete("nothing/here")


async def test_listing_is_whole_and_sorted(blobs: Blobs) -> None:
    names = [f"s/{shard}/{tick:04}" for shard in (1, 10, 2) for tick in range(20)]
    await asyncio.gather(*(blobs.put_new(name, b"x") for name in names))
    await blobs.put_new("sx", b"x")
    assert await blobs.list("s/") == sorted(names)
    assert await blobs.list("s/1/") == [f"s/1/{tick:04}" for tick in range(20)]
    assert len(await blobs.list("s/1")) == 40
    assert await blobs.list("nothing") == []


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/../b", ".tmp/x", "a b", "a" * 600])
async def test_names_that_could_mean_something_else_are_refused(blobs: Blobs, name: str) -> None:
    with pytest.raises(StoreRefused):
        await blobs.put_new(name, b"x")


async def test_limits_and_metadata_are_checked_before_anything_is_sent(blobs: Blobs) -> None:
    with pytest.raises(TooBig):
        await blobs.put_new("big", bytes((12 << 20) + 1))
    with pytest.raises(StoreRefused):
        await blobs.put_new("m", b"x", {"nonce": "mine"})
    assert await blobs.list("") == []


async def test_a_put_whose_first_try_had_worked_succeeds(azurite: Azurite) -> None:
    """The service kept the object and the answer was lost: the library's second try is told 409."""
    container = f"test-{secrets.token_hex(8)}"
    store = open_blobs(f"azurite:{azurite.connection_string};Container={container}")
    assert isinstance(store, AzureBlobs)
    await store.check()
    lost = LostAnswers(store)
    await store.put_new("once", b"data")
    assert lost.count == 1
    assert (await store.get("once"))[0] == b"data"
    etag = await store.put_if("m", b"1", None)
    assert lost.count == 2
    assert (await store.get("m")) == (b"1", etag)
    await store.close()


class LostAnswers:
    """Sits in the client's pipeline: the first answer to each new PUT is thrown away after the service has acted."""

    def __init__(self, store: AzureBlobs) -> None:
        self.count = 0
        self._seen: set[str] = set()
        transport = store._container._pipeline._transport
        self._send = transport._transport.send if hasattr(transport, "_transport") else transport.send
        holder = transport._transport if hasattr(transport, "_transport") else transport
        holder.send = self.send  # type: ignore[method-assign]

    async def send(self, request: object, **kwargs: object) -> object:
        from azure.core.exceptions import ServiceResponseError

        answer = await self._send(request, **kwargs)
        if getattr(request, "method", "") == "PUT" and getattr(request, "url", "") not in self._seen:
            self._seen.add(getattr(request, "url", ""))
            self.count += 1
            raise ServiceResponseError("the answer was lost")
        return answer


async def test_a_missing_container_and_a_missing_service_are_said_in_one_line(azurite: Azurite) -> None:
    connection = azurite.connection_string
    store = open_blobs(f"azurite:{connection};Container=nobody")
    assert isinstance(store, AzureBlobs)
    store._create = False
    with pytest.raises(StoreUnavailable, match="no such container"):
        await store.check()
    await store.close()


async def test_a_directory_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match="check that the directory can be written"):
        await DirectoryBlobs(tmp_path / "file").check()


async def test_a_killed_writer_leaves_no_part_of_an_object(tmp_path: Path) -> None:
    store = DirectoryBlobs(tmp_path)
    await store.check()
    (tmp_path / ".tmp").mkdir(exist_ok=True)
    (tmp_path / ".tmp" / "123-dead").write_bytes(b"half")
    assert await store.list("") == []


async def test_a_process_stopped_with_the_lock_in_hand_is_waited_for_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_directory, "LOCK_S_MAX", 0.05)
    store = DirectoryBlobs(tmp_path)
    etag = await store.put_if("m", b"1", None)
    [lock] = (tmp_path / ".locks").iterdir()
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match="another process holds the lock of m"):
            await store.put_if("m", b"2", etag)
    await store.put_if("m", b"2", etag)


@pytest.mark.parametrize("url", ["", "azurite:no container", "https://account/", "https://account/a/b"])
async def test_a_setting_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="blob_url"):
        open_blobs(url)
