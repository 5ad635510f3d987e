"""What a shard needs of the snapshots in blob storage."""

from __future__ import annotations

from typing import Protocol

from overworld.store.ports import Grant
from overworld.store.snapshots import SnapshotBytes, Start

__all__ = ["Shelf", "SnapshotBytes", "Start"]


class Shelf(Protocol):
    """The snapshots of one world's shards."""

    async def epoch(self, shard: int) -> int:
        """The highest epoch that ever claimed the shard's manifest; 0 where none did."""

    async def claim(self, grant: Grant) -> None:
        """Make every earlier owner's writes impossible. Raises Fenced where a later owner has claimed it."""

    async def newest_first(self, shard: int) -> list[Start]:
        """Snapshots that can be read; a torn one is said and left out."""

    async def save(self, grant: Grant, snapshot: SnapshotBytes) -> int:
        """Store, read back, and put into the manifest. Returns the tick up to which the journal may be trimmed: that
        of the second newest verified snapshot, 0 where there is none. Raises Fenced, StoreUnavailable.
        """

    async def keep_evidence(self, name: str, data: bytes) -> None:
        """Put away a state that should not have come about."""
