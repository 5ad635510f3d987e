"""Blob storage in memory: the twin of the real ones. Deterministic; what goes wrong is the fault hook's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from overworld.errors import AlreadyThere, Changed, Missing
from overworld.store.limits import check_blob, check_blob_name, check_blob_prefix
from overworld.store.memory import Faults, NoFaults
from overworld.store.ports import BlobLimits


@dataclass
class MemoryDisk:
    """What all processes of a simulated deployment share: (data, version) by name."""

    objects: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    versions: int = 0

    def store(self, name: str, data: bytes) -> str:
        """Put an object in place. Returns its ETag."""
        self.versions += 1
        self.objects[name] = (data, self.versions)
        return str(self.versions)


class MemoryBlobs:
    """`overworld.store.ports.Blobs` in memory, as one process sees it."""

    def __init__(
        self, disk: MemoryDisk | None = None, limits: BlobLimits | None = None, faults: Faults | None = None
    ) -> None:
        self._disk = disk or MemoryDisk()
        self._limits = limits or BlobLimits()
        self._faults: Faults = faults or NoFaults()

    @property
    def where(self) -> str:
        return "memory:"

    async def put_new(self, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        check_blob(name, data, metadata, self._limits)
        await self._faults.before("put_new", name)
        if name in self._disk.objects:
            raise AlreadyThere(f"object {name}")
        self._disk.store(name, bytes(data))
        await self._faults.after("put_new", name)

    async def put_if(self, name: str, data: bytes, etag: str | None) -> str:
        check_blob(name, data, None, self._limits)
        await self._faults.before("put_if", name)
        there = self._disk.objects.get(name)
        if (str(there[1]) if there else None) != etag:
            raise Changed(f"object {name}")
        new_etag = self._disk.store(name, bytes(data))
        await self._faults.after("put_if", name)
        return new_etag

    async def get(self, name: str) -> tuple[bytes, str]:
        check_blob_name(name)
        await self._faults.before("get", name)
        there = self._disk.objects.get(name)
        await self._faults.after("get", name)
        if there is None:
            raise Missing(f"object {name}")
        return there[0], str(there[1])

    async def list(self, prefix: str) -> list[str]:
        check_blob_prefix(prefix)
        await self._faults.before("list", prefix)
        names = sorted(name for name in self._disk.objects if name.startswith(prefix))
        await self._faults.after("list", prefix)
        return names

    async def delete(self, name: str) -> None:
        check_blob_name(name)
        await self._faults.before("delete", name)
        self._disk.objects.pop(name, None)
        await self._faults.after("delete", name)

    async def check(self) -> None:
        await self._faults.before("check", None)

    async def close(self) -> None:
        """Nothing to close."""
