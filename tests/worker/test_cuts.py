"""A world whose entities cross borders all the time is brought back whole, to whatever moment."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
import pytest_asyncio

from overworld.commands.restore import RestoreOptions, RestoreStores, restore
from overworld.errors import NotKept, SettingsError
from overworld.shard.core import ShardCore
from overworld.store.archive import Archive
from overworld.store.blob_memory import MemoryBlobs, MemoryDisk
from overworld.store.memory import MemoryOwnership
from overworld.store.ports import OutboxMessage
from overworld.store.snapshots import SnapshotStore
from overworld.worker.cuts import Source, ahead, fitting, on_its_way
from overworld.worker.history import History
from overworld.worker.moments import Moment
from overworld.worker.restoring import Plan, plan
from tests.worker.cluster import Cluster, running, until
from tests.worker.ferry import Ferry
from tests.worker.harbour import NAMES, SHARDS, cores, grown, sent, settled_names, two_workers

pytestmark = pytest.mark.asyncio
SEED = random.randrange(1 << 32)


class Harbour:
    """Two workers that archive, played for a while and stopped in order."""

    def __init__(self) -> None:
        blobs = MemoryBlobs(MemoryDisk())
        self.cluster = Cluster(Ferry(), archive_interval_s=0.2, archive_state_interval_s=0.7)
        self.shelf = self.cluster.shelf = SnapshotStore(blobs, "test")  # type: ignore[assignment]
        self.archive = Archive(blobs, "test")
        self.sources: dict[int, Source] = {}
        self.ownership = MemoryOwnership(self.cluster.redis, "test")

    async def play(self) -> None:
        await two_workers(self.cluster, archive=self.archive)
        await grown(self.cluster, 15)
        await self.stop()

    async def stop(self) -> None:
        for worker in self.cluster.workers:
            assert await worker.stop()
        self.cluster.workers.clear()

    def new_core(self, shard: int) -> ShardCore:
        return ShardCore(self.cluster.contract, self.cluster.title, shard)

    def source(self, shard: int) -> Source:
        history = History(shard, self.archive, self.shelf, self.ownership)
        return Source(history, lambda: self.new_core(shard))

    async def planned(self, shard: int, tick: int) -> Plan:
        source = self.sources[shard] = self.source(shard)
        return await plan(source.history, Moment(tick=tick), "", source.new_core)

    async def restore(self, at: Moment, shards: Sequence[int] = SHARDS) -> list[str]:
        said: list[str] = []
        stores = RestoreStores(self.ownership, self.shelf, self.archive)
        options = RestoreOptions(at, shards, watch_s=0.3)
        assert await restore(stores, self.new_core, options, said.append) == 0
        return said

    def tick(self, shard: int) -> int:
        return self.cluster.head_tick(shard)


@pytest_asyncio.fixture
async def harbour() -> AsyncIterator[Harbour]:
    made = Harbour()
    await made.play()
    yield made
    await made.cluster.close()


async def test_after_a_restore_to_any_moment_every_boat_is_there_once(harbour: Harbour) -> None:
    chance = random.Random(SEED)
    for _ in range(3):
        tick = chance.randrange(1, min(harbour.tick(0), harbour.tick(1)))
        moment = Moment(tick=tick)
        if chance.random() < 0.5:
            moment = Moment(wall_ms=(await harbour.planned(0, tick)).place.wall_ms)
        said = await harbour.restore(moment)
        assert not any("lost" in line for line in said), said
        worker = await harbour.cluster.worker("again", archive=harbour.archive)
        await until(lambda w=worker: running(w) == [0, 1], "both shards run again")  # type: ignore[misc]
        await grown(harbour.cluster, 8)
        assert all(core.shard.tick > 0 for core in cores(harbour.cluster).values())
        assert await settled_names(harbour.cluster) == NAMES, (SEED, said)
        harbour.cluster.workers.clear()


async def test_shards_are_brought_to_ticks_that_fit_together(harbour: Harbour) -> None:
    """Asked for ticks that are far apart: the later shard has applied much that the earlier had not sent."""
    late = harbour.tick(1) - 5
    plans = [await harbour.planned(0, 20), await harbour.planned(1, late)]
    before = {made.shard: made.tick for made in plans}
    assert ahead(plans).keys() == {1}
    cut = await fitting(harbour.sources, plans)
    assert cut.plans[0].tick == before[0]
    assert cut.plans[1].tick < late
    assert (cut.moved, cut.lost) == ({1: late}, 0)
    assert ahead(cut.plans.values()) == {}
    later = await harbour.planned(1, cut.plans[1].tick + 1)
    assert ahead([cut.plans[0], later]) == {1: cut.plans[1].tick}, "and no further back than they must"


async def test_what_was_on_its_way_is_made_again_from_the_senders_journal(harbour: Harbour) -> None:
    """The receiver far behind the sender: many messages, most sent before the state that the sender's plan began at."""
    plans = [await harbour.planned(0, harbour.tick(0)), await harbour.planned(1, 15)]
    assert plans[0].replayed_ticks < harbour.tick(0) - 15
    fit = {0: plans[0], 1: plans[1]}
    mail, lost = await on_its_way(harbour.sources[0], plans[0], fit)
    first, last = plans[1].core.received(0) + 1, sent(plans[0].core, 1)
    assert (lost, [m.number for m in mail[1]]) == (0, list(range(first, last + 1)))
    stored: list[OutboxMessage] = await harbour.ownership.read_outbox(0, 1, 0)
    assert stored, "some of them are still in the outbox"
    made = {m.number: m.body for m in mail[1]}
    assert all(made[m.number] == m.body for m in stored if m.number in made)


async def test_one_shard_alone_is_not_restored_where_mail_passed(harbour: Harbour) -> None:
    with pytest.raises(SettingsError, match="restore all shards together"):
        await harbour.restore(Moment(tick=harbour.tick(0) - 30), [0])


async def test_nothing_fits_where_messages_were_applied_that_were_never_sent(harbour: Harbour) -> None:
    receiver, sender = await harbour.planned(1, harbour.tick(1)), await harbour.planned(0, 0)
    neighbours = receiver.core.shard.neighbours
    assert np.array_equal(sorted(neighbours.ids), [0, 1])
    object.__setattr__(receiver, "applied", {(0, 1): 0})
    with pytest.raises(NotKept, match="never sent"):
        ahead([receiver, sender])
