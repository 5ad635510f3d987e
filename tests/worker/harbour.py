"""Worlds of boats that cross a border all the time, and how their tests look at them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import numpy as np

from overworld.shard import handover
from overworld.shard.core import ShardCore
from overworld.shard.record import decode
from overworld.store.memory import MemoryOwnership
from overworld.store.ports import READ_RECORDS_MAX
from overworld.worker.post import message_of
from overworld.worker.recovery import recover
from overworld.worker.service import Worker
from tests.worker.cluster import Cluster, running, until
from tests.worker.ferry import BOATS, Boat

SHARDS = (0, 1)
NAMES = sorted(shard * 100 + i for shard in SHARDS for i in range(BOATS))


def cores(cluster: Cluster) -> dict[int, ShardCore]:
    """The shards' states where they are run now."""
    found = {}
    for worker in cluster.workers:
        for shard, host in worker._hosts.items():
            if host.core is not None:
                found[shard] = host.core
    return found


def names_at(core: ShardCore) -> list[int]:
    return [name for name in core.shard[Boat].name.tolist() if name >= 0]


def sent(core: ShardCore, to_shard: int) -> int:
    neighbours = core.shard.neighbours
    row = int(neighbours.rows_of(np.array([to_shard]))[0])
    return int(neighbours.sent[row]) if row >= 0 else 0


def handed_over(cluster: Cluster) -> dict[tuple[int, int], int]:
    """Messages applied, by (sender, receiver)."""
    found = cores(cluster)
    return {(a, b): found[b].received(a) for a in SHARDS for b in SHARDS if a != b and b in found}


async def grown(cluster: Cluster, by: int = 6) -> None:
    """Wait until so much more mail went each way."""
    before = handed_over(cluster)
    assert before
    await until(
        lambda: all(handed_over(cluster).get(way, 0) >= n + by for way, n in before.items()), f"{by} messages each way"
    )


async def settled_names(cluster: Cluster) -> list[int]:
    """Names of all boats at a moment when none is on its way, by the stores alone: every shard's state is rebuilt from
    snapshot and journal, and the receivers are brought to where they have all that the senders sent.
    """
    for worker in cluster.workers:
        await worker.stop()
    built = {}
    ownership = MemoryOwnership(cluster.redis, "test")
    for shard in SHARDS:
        head = cluster.redis.primary.head(("test", shard))
        assert head is not None

        def new_core(shard: int = shard) -> ShardCore:
            return ShardCore(cluster.contract, cluster.title, shard)

        built[shard] = (await recover(new_core, shard, head, ownership, cluster.shelf)).core
    names = Counter(name for core in built.values() for name in names_at(core))
    for a, b in ((0, 1), (1, 0)):
        waiting = await ownership.read_outbox(a, b, built[b].received(a))
        assert [m.number for m in waiting] == list(range(built[b].received(a) + 1, sent(built[a], b) + 1))
        names.update(boats_in([m.body for m in waiting]))
    return sorted(names.elements())


def boats_in(bodies: list[bytes]) -> list[int]:
    """Names of the boats in some messages."""
    found: list[int] = []
    for message in map(message_of, bodies):
        if message.kind == handover.HANDOVER:
            for table in handover.decode(message.body)[1]:
                if table.name == "Boat":
                    found += table.values[table.columns.index("name")].tolist()
    return [name for name in found if name >= 0]


async def applied(cluster: Cluster, shard: int) -> dict[int, list[int]]:
    """Numbers of the messages in a shard's journal as far as it is kept, by sender."""
    found: dict[int, list[int]] = {}
    ownership = MemoryOwnership(cluster.redis, "test")
    head = cluster.redis.primary.head(("test", shard))
    assert head is not None
    for entry in await ownership.read(shard, head.floor, READ_RECORDS_MAX):
        for message in decode(entry.payload).inputs.messages:
            found.setdefault(message.from_shard, []).append(message.number)
    return found


async def check_journals(cluster: Cluster) -> None:
    """Every message is in its receiver's journal once and in order."""
    for shard in SHARDS:
        for numbers in (await applied(cluster, shard)).values():
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def two_workers(cluster: Cluster, **more: Any) -> tuple[Worker, Worker]:
    """One shard each: (the worker of shard 0, that of shard 1)."""
    workers = await asyncio.gather(cluster.worker("a", **more), cluster.worker("b", **more))
    await until(lambda: sorted(running(workers[0]) + running(workers[1])) == [0, 1], "both shards run")
    assert len(running(workers[0])) == 1, "one each"
    return (workers[0], workers[1]) if running(workers[0]) == [0] else (workers[1], workers[0])
