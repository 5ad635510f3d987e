"""Snapshots as they lie in blob storage, beside what the journal's replay gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from loadtest.cluster import Cluster
from loadtest.journal import Lineage
from overworld.game import Title
from overworld.shard import snapshot as snapshots
from overworld.shard.core import ShardCore
from overworld.store.snapshots import SnapshotStore
from overworld.world.contract import WorldContract


@dataclass(frozen=True)
class Stored:
    """A shard's newest snapshot: its state's bytes."""

    shard: int
    tick: int
    chain: bytes
    data: bytes


@dataclass
class SnapshotComparison:
    """`values`: numbers compared, over all tables and columns."""

    values: int = 0
    faults: list[str] = field(default_factory=list)


async def newest_snapshots(cluster: Cluster, contract: WorldContract) -> list[Stored]:
    """Of all shards, read from storage as a recovering worker would."""
    blobs = await cluster.open_blobs()
    try:
        store = SnapshotStore(blobs, contract.world)
        found = []
        for shard in range(contract.grid.shard_count):
            starts = await store.newest_first(shard)
            assert starts, f"shard {shard} has no snapshot"
            found.append(Stored(shard, starts[0].tick, starts[0].chain, starts[0].data))
        return found
    finally:
        await blobs.close()


def compare_with_replay(contract: WorldContract, title: Title, lineage: Lineage, stored: Stored) -> SnapshotComparison:
    """Replay the journal up to the snapshot's tick and compare digests, then every column of every table."""
    result = SnapshotComparison()
    replayed, restored = (ShardCore(contract, title, stored.shard) for _ in range(2))
    replayed.setup()
    for record in lineage.records:
        if record.tick <= stored.tick:
            replayed.step(record.inputs)
    snapshots.restore(restored, stored.data)
    if replayed.tick != stored.tick:
        result.faults.append(f"the journal leads to tick {replayed.tick}, the snapshot is of {stored.tick}")
        return result
    if replayed.digest() != restored.digest():
        result.faults.append("the digests differ")
    tables = zip(
        [*replayed.shard.tables, replayed.shard.players], [*restored.shard.tables, restored.shard.players], strict=True
    )
    for mine, theirs in tables:
        name = mine.kind.name
        if not np.array_equal(mine.ids, theirs.ids):
            result.faults.append(f"{name}: other entities")
            continue
        for column, values in zip(mine.kind.names, mine.columns, strict=True):
            result.values += len(values)
            other = theirs.columns[mine.kind.names.index(column)]
            if not np.array_equal(values, other):
                row = int(np.flatnonzero(values != other)[0])
                result.faults.append(f"{name}.{column} of {mine.ids[row]}: {values[row]} != {other[row]}")
    return result
