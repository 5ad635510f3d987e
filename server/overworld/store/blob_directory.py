"""Blob storage in a directory: the default on one machine.

An object is a file. It is written under another name, synced, and then put in place by one system call that works whole
or not at all: `link` for a new object (it fails where one is there), `rename` for a replacement. So a reader never sees
a part of an object, and a killed writer leaves nothing but a file below `.tmp`.

The ETag is the digest of the content. Replacements take a lock file of the object, so that two processes cannot both
compare and then both replace. It is held for one read and one rename, no sync in between: a process that is stopped in
mid-air while it holds the lock makes others wait LOCK_S_MAX and try again. All of it runs in threads: a slow disk does
not stop the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from overworld.errors import AlreadyThere, Changed, Missing, StoreUnavailable
from overworld.store.limits import check_blob, check_blob_name, check_blob_prefix
from overworld.store.ports import BlobLimits

Names = list[str]
T = TypeVar("T")

_TMP, _LOCKS = ".tmp", ".locks"
LOCK_S_MAX, LOCK_POLL_S = 2.0, 0.005


class DirectoryBlobs:
    """`overworld.store.ports.Blobs` below a directory, which is created where it is missing."""

    def __init__(self, root: Path, limits: BlobLimits | None = None) -> None:
        self._root = root
        self._limits = limits or BlobLimits()

    @property
    def where(self) -> str:
        return f"dir:{self._root}"

    async def put_new(self, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        check_blob(name, data, metadata, self._limits)
        await self._run(self._put_new, name, bytes(data))

    async def put_if(self, name: str, data: bytes, etag: str | None) -> str:
        check_blob(name, data, None, self._limits)
        return await self._run(self._put_if, name, bytes(data), etag)

    async def get(self, name: str) -> tuple[bytes, str]:
        check_blob_name(name)
        data = await self._run(self._read, name)
        if data is None:
            raise Missing(f"object {name} in {self.where}")
        return data, _etag(data)

    async def list(self, prefix: str) -> list[str]:
        check_blob_prefix(prefix)
        return await self._run(self._list, prefix)

    async def delete(self, name: str) -> None:
        check_blob_name(name)
        await self._run(self._delete, name)

    async def check(self) -> None:
        await self._run(self._check)

    async def close(self) -> None:
        """Nothing to close."""

    # ------------------------------------------------------------ in a thread

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        try:
            return await asyncio.to_thread(work, *args)
        except OSError as error:
            text = f"blob storage {self.where}: {error}; check that the directory can be written and has room"
            raise StoreUnavailable(text) from error

    def _put_new(self, name: str, data: bytes) -> None:
        path = self._path(name)
        if path.exists():
            raise AlreadyThere(f"object {name} in {self.where}")
        with self._written(data) as tmp:
            try:
                os.link(tmp, path)
            except FileExistsError:
                raise AlreadyThere(f"object {name} in {self.where}") from None
        _sync(path.parent)

    def _put_if(self, name: str, data: bytes, etag: str | None) -> str:
        path = self._path(name)
        with self._written(data) as tmp, self._locked(name):
            there = self._read(name)
            if (_etag(there) if there is not None else None) != etag:
                raise Changed(f"object {name} in {self.where}")
            tmp.replace(path)
        _sync(path.parent)
        return _etag(data)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _list(self, prefix: str) -> Names:
        # Only the folder that the prefix ends in is walked.
        folder = self._root / prefix.rpartition("/")[0]
        names = (path.relative_to(self._root).as_posix() for path in folder.rglob("*") if path.is_file())
        return sorted(name for name in names if name.startswith(prefix) and not name.startswith("."))

    def _delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (self._root / name).unlink()

    def _check(self) -> None:
        with self._written(b"overworld"):
            pass

    def _path(self, name: str) -> Path:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        """A synced file with these bytes under a name of its own; gone afterwards, unless it was put in place."""
        folder = self._root / _TMP
        folder.mkdir(parents=True, exist_ok=True)
        tmp = folder / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            with tmp.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield tmp
        finally:
            tmp.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        folder = self._root / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / hashlib.sha256(name.encode()).hexdigest()).open("wb") as file:
            deadline_s = time.monotonic() + LOCK_S_MAX
            while not _lock(file):
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"another process holds the lock of {name}")
                time.sleep(LOCK_POLL_S)
            yield


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _etag(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _sync(folder: Path) -> None:
    """Make a new name durable: on Linux that takes a sync of the folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
