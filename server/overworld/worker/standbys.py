"""Which workers follow which shard. Pure: every worker computes the same from the same directory and heads.

Workers are ranked for each shard by a hash of both (rendezvous hashing): a worker that comes or goes moves only the
standbys that it takes or leaves. The first ones after the owner follow. When the owner dies, the shard is dealt to the
first of them, whatever the balance: who plays there matters more, and balance can be restored later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping


def ranked(shard: int, workers: Collection[str]) -> list[str]:
    """Workers' addresses in the shard's own order."""
    return sorted(workers, key=lambda address: (_weight(shard, address), address))


def standbys_of(shard: int, owner: str, workers: Collection[str], count: int) -> list[str]:
    """The `count` workers that follow a shard, first the one that takes it over. `owner`: its address, or empty."""
    return [address for address in ranked(shard, workers) if address != owner][:count]


def to_follow(me: str, owners: Mapping[int, str], workers: Collection[str], count: int, most: int) -> set[int]:
    """The shards that the worker `me` follows, at most `most`. `owners`: addresses by shard, of shards that have a
    head.
    """
    mine = []
    if count:
        for shard in sorted(owners):
            order = standbys_of(shard, owners[shard], workers, count)
            if owners[shard] != me and me in order:
                # First those that would be taken over here, then those where others come before.
                mine.append((order.index(me), shard))
    return {shard for _, shard in sorted(mine)[:most]}


def _weight(shard: int, address: str) -> bytes:
    return hashlib.blake2b(f"{shard} {address}".encode(), digest_size=8).digest()
