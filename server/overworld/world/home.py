"""Which shard a player lives in."""

from __future__ import annotations


def home_shard(player: int, shard_count: int) -> int:
    """The home of a player: spread evenly, the same on every gateway, and fixed."""
    return player % shard_count
