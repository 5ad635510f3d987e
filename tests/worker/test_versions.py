"""Workers of two versions of a title in one world: an upgrade while everybody plays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from overworld.game import Bool, Input, Inputs, Shard, Title
from overworld.worker.service import Worker
from tests.shard.meadow import Meadow, Sheep, Walk
from tests.worker.cluster import Cluster, running, until
from tests.worker.test_migration import one_lineage, pair
from tests.worker.test_service import ALL, playing

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster(snapshot_interval_s=60.0)
    yield made
    await made.close()


class NewerMeadow(Meadow):
    """Other rules and a column less that only the server knows: gateways and clients see no difference."""

    version = Meadow.version + 1

    def __init__(self) -> None:
        super().__init__()
        self.migrated: list[tuple[str, int]] = []

    def migrate(self, table: str, from_version: int, columns: Any) -> Any:
        self.migrated.append((table, from_version))
        return columns

    def step(self, shard: Shard, inputs: Inputs) -> None:
        super().step(shard, inputs)
        shard[Sheep].secret += 1


class Run(Input):
    far = Bool()


class RunningMeadow(NewerMeadow):
    """Players have one more input: gateways and clients of the older version know nothing of it."""

    inputs = (Walk, Run)  # type: ignore[assignment]


def upgraded(cluster: Cluster, title: Title) -> Cluster:
    """Workers of another version, on the same stores."""
    newer = Cluster(title, **cluster.given)
    newer.redis, newer.shelf = cluster.redis, cluster.shelf
    return newer


async def test_workers_of_a_newer_version_take_over_shard_by_shard_while_they_are_played(cluster: Cluster) -> None:
    a, a2 = await pair(cluster)
    assert (await a.migrate(0, a2.address)).moved
    shard = 2
    gateway = await playing(cluster, a, shard)
    gateway.walk(gateway.links[a.address], shard, session=5, seq=1)
    await until(lambda: gateway.acked(shard, 5) == 1, "an input was acked")
    title = NewerMeadow()
    newer = upgraded(cluster, title)
    try:
        b = await newer.worker("b")
        await until(lambda: b._roster.older and met(a, b), "they know of each other")
        await gateway.dial(b.address)
        assert not running(b), "what the old version runs is not taken from it"
        assert await a.stop()
        await until(lambda: running(b) == [1, 2, 3], "its shards went to the new version")
        assert running(a2) == [0], "and none to the other old one"
        assert ("Sheep", 1) in title.migrated
        assert gateway.moved.get(shard) == b.address, "its gateway was told where it is"
        there = gateway.links[b.address]
        gateway.attach(there, shard, 5, player=50, resume=True)
        gateway.walk(there, shard, session=5, seq=2)
        await until(lambda: gateway.acked(shard, 5) == 2, "the gateway of the old version plays on with the new one")
        assert await a2.stop()
        await until(lambda: running(b) == ALL, "the new version runs all shards")
        for number in ALL:
            entries = cluster.redis.primary.journal_of("test", number)
            assert one_lineage(entries)
        entries = cluster.redis.primary.journal_of("test", shard)
        last = max(entry.tick for entry in entries if entry.epoch == 1)
        assert any(start.tick == last for start in cluster.shelf.kept[shard]), "it went on from a saved state"
    finally:
        await newer.close()


def met(a: Worker, b: Worker) -> bool:
    """Whatever versions they are of."""
    return (
        a._peers is not None and b._peers is not None and b.address in a._peers.linked and a.address in b._peers.linked
    )


async def test_a_shard_that_cannot_be_saved_stays_with_the_older_version(cluster: Cluster) -> None:
    a = await cluster.worker("a")
    await until(lambda: running(a) == ALL, "the old version runs all shards")
    newer = upgraded(cluster, NewerMeadow())
    try:
        b = await newer.worker("b")
        await until(lambda: met(a, b), "they know of each other")
        cluster.shelf.save_s = 60.0
        assert a._keeper is not None
        host = a._keeper.hosts[1]
        assert host.snapshots is not None
        host.snapshots._limits = replace(host.snapshots._limits, timeout_s=0.1)
        outcome = await b.migrate(1, b.address)
        assert not outcome.moved
        assert "could not be handed over" in outcome.reason
        tick = cluster.head_tick(1)
        await until(lambda: cluster.head_tick(1) > tick + 2, "it goes on where it was")
        assert 1 in running(a)
    finally:
        cluster.shelf.save_s = 0.0
        await newer.close()


async def test_a_newer_version_never_gives_a_shard_to_an_older_one(cluster: Cluster) -> None:
    newer = upgraded(cluster, NewerMeadow())
    try:
        b = await newer.worker("b")
        await until(lambda: running(b) == ALL, "the new version runs all shards")
        a = await cluster.worker("a")
        await until(lambda: met(a, b), "they know of each other")
        outcome = await a.migrate(1, a.address)
        assert (outcome.moved, "version 2 of the title runs it" in outcome.reason) == (False, True), outcome
        assert 1 in running(b)
    finally:
        await newer.close()


async def test_a_version_that_plays_differently_waits_and_goes_on_from_what_the_older_one_saved_last(
    cluster: Cluster,
) -> None:
    a = await cluster.worker("a")
    await until(lambda: running(a) == ALL, "the old version runs all shards")
    title = RunningMeadow()
    newer = upgraded(cluster, title)
    try:
        b = await newer.worker("b")
        await until(lambda: b._roster.older, "the new version knows of the old one")
        assert not (await b.migrate(1, b.address)).moved
        assert await a.stop()
        last = {shard: cluster.head_tick(shard) for shard in ALL}
        await until(lambda: running(b) == ALL, "the new version runs all shards")
        assert ("Sheep", 1) in title.migrated
        for shard in ALL:
            assert one_lineage(cluster.redis.primary.journal_of("test", shard))
            assert any(start.tick == last[shard] for start in cluster.shelf.kept[shard])
    finally:
        await newer.close()


async def test_an_older_version_leaves_alone_what_a_newer_one_wrote(cluster: Cluster) -> None:
    newer = upgraded(cluster, NewerMeadow())
    try:
        b = await newer.worker("b")
        await until(lambda: running(b) == ALL, "the new version runs all shards")
        assert await b.stop()
        a = await cluster.worker("a")
        await until(lambda: not a._readiness(), "the old version has seen that the shards are free")
        c = await newer.worker("c")
        await until(lambda: running(c) == ALL, "the new version goes on with what is its own")
        heads = [cluster.redis.primary.head(("test", shard)) for shard in ALL]
        assert [(head.epoch, head.version) for head in heads if head is not None] == [(2, 2)] * len(ALL)
        assert not running(a)
    finally:
        await newer.close()
