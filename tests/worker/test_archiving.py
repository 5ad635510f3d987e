"""The archive misses nothing that was committed, whoever dies when; and the journal is never trimmed past it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import structlog

from overworld import telemetry
from overworld.errors import Fenced, JournalGap, NotKept, RecordCorrupt, StoreUnavailable
from overworld.shard.core import ShardCore
from overworld.store.archive import SEGMENT_RECORDS_MAX, Archive
from overworld.store.blob_memory import MemoryBlobs, MemoryDisk
from overworld.store.ports import JournalEntry
from overworld.store.snapshots import SnapshotStore
from overworld.worker import archiving
from overworld.worker.archiving import ArchiveLimits, Archiver, checked_walls
from overworld.worker.history import History
from overworld.worker.moments import Moment
from overworld.worker.restoring import Restorer, plan
from tests.worker.cluster import Cluster, running, until
from tests.worker.past import SHARD, BlobWeather, Owner, World, chains

pytestmark = pytest.mark.asyncio


async def segments(world: World) -> list[tuple[int, int]]:
    return [(s.first, s.last) for s in await world.archive.segments(SHARD, 0, world.head_tick)]


# ---------------------------------------------------------------- one owner after another


async def test_what_is_committed_is_archived_in_one_piece() -> None:
    world = World()
    owner = await (await world.owner()).play(30)
    await owner.keep()
    await (await owner.play(12)).keep()
    assert await segments(world) == [(1, 30), (31, 42)]
    assert await chains(world.history(redis=False), 1, 42) == await chains(world.history(), 1, 42)


async def test_a_long_backlog_becomes_several_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "PAGE_RECORDS", 4)
    monkeypatch.setattr(archiving, "SEGMENT_BYTES_MAX", 800)
    world = World()
    await (await (await world.owner()).play(40)).keep()
    found = await segments(world)
    assert len(found) > 3
    assert await chains(world.history(redis=False), 1, 40)


async def test_the_next_owner_goes_on_where_the_archive_ends() -> None:
    world = World()
    killed = await (await world.owner()).play(25)
    await killed.keep()
    await killed.play(10)
    heir = await (await world.owner()).play(5)
    await heir.keep()
    assert await segments(world) == [(1, 25), (26, 40)]


async def test_the_journal_is_trimmed_only_as_far_as_it_is_archived() -> None:
    world = World()
    owner = await (await world.owner()).play(20)
    await owner.save()
    await (await owner.play(20)).save()
    assert world.floor == 0, "snapshots alone would allow 20"
    await owner.keep()
    await (await owner.play(20)).save()
    assert world.floor == 40
    assert await chains(world.history(), 1, 60)


async def test_a_torn_last_segment_is_archived_again() -> None:
    world = World()
    killed = await (await world.owner()).play(20)
    await killed.keep()
    await (await killed.play(10)).keep()
    (name,) = [name for name in world.disk.objects if "/journal/" in name and "-000000000030-" in name]
    world.disk.store(name, world.disk.objects[name][0][:50])
    heir = await (await world.owner()).play(5)
    await heir.keep()
    assert await segments(world) == [(1, 20), (21, 30), (21, 35)]
    assert len(await chains(world.history(redis=False), 1, 35)) == 35


async def test_records_that_redis_lost_after_they_were_archived_are_a_branch_of_their_own() -> None:
    world = World()
    killed = await (await world.owner()).play(40)
    await killed.keep()
    given_up = killed.chain
    world.redis.fail_over(lose_newest=10)
    heir = await world.owner()
    assert heir.core.tick == 30
    await (await heir.play(20)).keep()
    history = world.history()
    assert len(await chains(history, 1, 50)) == 50
    assert [track.chain for track in history.tracks] == [heir.chain, given_up]
    assert await history.fork(history.tracks[1], history.current) == 30
    assert len(await chains(history, 1, 40, given_up.hex())) == 40


async def test_after_a_wiped_redis_it_goes_on_from_the_snapshot_without_a_gap() -> None:
    world = World()
    killed = await (await world.owner()).play(20)
    await killed.save()
    await (await killed.play(15)).keep()
    world.redis.wipe()
    heir = await world.owner()
    assert heir.core.tick == 20
    before = telemetry.archive_gaps_total._value.get()
    await (await heir.play(10)).keep()
    assert telemetry.archive_gaps_total._value.get() == before
    assert len(await chains(world.history(), 1, 30)) == 30


async def test_archiving_that_is_switched_on_late_begins_where_the_journal_does_with_a_state() -> None:
    world = World()
    old = await (await world.owner(archives=False)).play(20)
    await old.save()
    await (await old.play(20)).save()
    assert world.floor == 20
    owner = await (await world.owner()).play(5)
    await owner.save()
    await owner.keep()
    assert await segments(world) == [(21, 45)]
    assert [state.tick for state in await world.archive.states(SHARD)] == [45]


async def test_a_gap_is_counted_and_followed_by_a_state_at_once() -> None:
    world = World()
    first = await (await world.owner()).play(10)
    await first.keep()
    await first.save()
    careless = await (await world.owner(archives=False)).play(20)
    await careless.save()
    await (await careless.play(10)).save()
    assert world.floor == 30
    before = telemetry.archive_gaps_total._value.get()
    owner = await (await world.owner()).play(5)
    await owner.save()
    await owner.keep()
    assert telemetry.archive_gaps_total._value.get() == before + 1
    assert [state.tick for state in await world.archive.states(SHARD)] == [10, 45]
    history = world.history()
    assert len(await chains(history, 31, 45)) == 15
    assert len(await chains(history, 1, 10, history.tracks[1].name)) == 10
    with pytest.raises(NotKept, match="tick 11 of branch"):
        await chains(history, 1, 11, history.tracks[1].name)


async def test_a_fenced_owner_archives_nothing_more() -> None:
    world = World()
    zombie = await (await world.owner()).play(10)
    await (await world.owner()).play(5)
    with pytest.raises(Fenced):
        await zombie.keep()
    assert await segments(world) == []


async def test_a_zombie_that_knew_where_to_go_on_does_no_harm() -> None:
    world = World()
    zombie = await (await world.owner()).play(10)
    await zombie.keep()
    await zombie.play(5)
    heir = await (await world.owner()).play(10)
    await heir.keep()
    await zombie.keep()
    assert await segments(world) == [(1, 10), (11, 15), (11, 25)]
    history = world.history()
    assert len(await chains(history, 1, 25)) == 25
    assert len(history.tracks) == 1, "the same records twice are no branch"


async def test_a_damaged_record_is_never_archived_and_so_never_trimmed() -> None:
    world = World()
    owner = await (await world.owner()).play(10)
    state = world.redis.primary._shards["test", SHARD]
    entry = state.journal[6]
    state.journal[6] = JournalEntry(entry.tick, entry.epoch, entry.chain, entry.payload[:-1] + b"?")
    with pytest.raises(RecordCorrupt):
        await owner.keep()
    assert owner.archiver is not None
    assert owner.archiver.archived_tick == 0


async def test_walls_are_of_records_that_follow_each_other() -> None:
    world = World()
    await (await world.owner()).play(5)
    entries = await world.ownership.read(SHARD, 0)
    walls = [world.walls[entry.chain] for entry in entries]
    assert checked_walls(entries, bytes(16)) == (walls[0], walls[-1])
    for wrong in (entries[1:], [entries[0], entries[2]], [entries[1], entries[0]]):
        with pytest.raises(RecordCorrupt, match="does not follow"):
            checked_walls(wrong, bytes(16))


# ---------------------------------------------------------------- any life


async def heir_of(world: World) -> Owner:
    """The next owner, once blob storage works."""
    world.weather.calls_left = None
    return await world.owner()


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_happens_every_surviving_tick_can_be_replayed(seed: int) -> None:
    """Kills at any call to blob storage, outages, failovers that lose records, wiped Redis, restores."""
    chance, world = random.Random(seed), World()
    owner = await world.owner()
    given_up: list[tuple[bytes, int]] = []
    for _ in range(25):
        await owner.play(chance.randint(1, 12))
        world.weather.calls_left = chance.choice([None, None, None, 0, 1, 2, 5])
        try:
            for step in chance.sample([owner.keep, owner.save, owner.keep], 2):
                await step()
        except StoreUnavailable:
            pass
        match chance.choice(["play", "play", "play", "kill", "lose", "wipe", "restore"]):
            case "kill":
                owner = await heir_of(world)
            case "lose":
                world.redis.fail_over(lose_newest=chance.randint(1, 8))
                owner = await heir_of(world)
            case "wipe":
                world.weather.calls_left = None
                await owner.save()
                await owner.keep()
                world.redis.wipe()
                owner = await heir_of(world)
            case "restore":
                world.weather.calls_left = None
                given_up.append((owner.chain, owner.core.tick))
                made = await plan(world.history(), *await any_moment(world, chance), world.new_core)
                restorer = Restorer(world.ownership, world.shelf, world.archive)
                await restorer.restore([made], force=False, done=lambda _: None)
                world.redis.primary.confirm(world.redis.primary.writes)
                owner = await world.owner()
                assert owner.core.tick == made.tick
                assert owner.core.digest() == made.core.digest()
    world.weather.calls_left = None
    await owner.play(1)
    await can_be_replayed(world, owner.chain, owner.core.tick, seed)
    for chain, tick in given_up:
        await can_be_replayed(world, chain, tick, seed)


async def any_moment(world: World, chance: random.Random) -> tuple[Moment, str]:
    """A tick of any branch."""
    history = world.history()
    await history.look()
    track = chance.choice(history.tracks)
    return Moment(tick=chance.randint(max(1, track.after_tick), track.tick)), track.chain.hex()


async def can_be_replayed(world: World, chain: bytes, tick: int, seed: int) -> None:
    """From the title's setup to that record: every state is the one that was played. It may begin later only where
    Redis had lost what led there, together with its owner.
    """
    history = world.history()
    await history.look()
    ways = [track for track in history.tracks if track.chain == chain]
    # It was gone on from at its very end, or a journal went on after it.
    longer = [track for track in history.tracks if track.after_tick <= tick < track.tick]
    ways += [track for track in longer if await history.chain_of(track, tick) == chain]
    assert ways, f"seed {seed}: tick {tick} is on no branch"
    assert ways[0].after_tick in {0, *world.begun_anew}, f"seed {seed}: a gap before {ways[0].after_tick}"
    track, found = await history.start(ways[0], ways[0].after_tick, world.new_core)
    async for entry in history.entries(track, track.after_tick, tick):
        found.follower.apply(entry)
        assert found.follower.core.digest() == world.digests[entry.chain], f"seed {seed}"
    assert found.follower.chain == chain
    late_track, late = await history.start(ways[0], tick, world.new_core)
    assert late_track.chain == ways[0].chain
    assert late.follower.core.digest() == world.digests.get(late.follower.chain, late.follower.core.digest())


# ---------------------------------------------------------------- in a worker


class ArchivingCluster(Cluster):
    """Workers on real snapshot stores and archives over memory."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(archive_interval_s=0.2, archive_state_interval_s=0.2, snapshot_interval_s=0.2, **settings)
        self.weather = BlobWeather()
        self.blobs = MemoryBlobs(MemoryDisk(), faults=self.weather)
        self.kept_snapshots = SnapshotStore(self.blobs, "test")
        self.archive = Archive(self.blobs, "test")

    async def start(self, name: str, **more: Any) -> Any:
        return await self.worker(name, shelf=self.kept_snapshots, archive=self.archive, **more)

    def floor(self, shard: int) -> int:
        head = self.redis.primary.head(("test", shard))
        return head.floor if head is not None else 0

    async def replayed_ticks(self, shard: int) -> int:
        """How many ticks the archive alone gives, from the first one."""
        history = History(shard, self.archive, self.kept_snapshots, None)
        await history.look()
        track, found = await history.start(
            history.current, 0, lambda: ShardCore(self.contract, self.title, shard)
        )  # fmt: skip
        async for entry in history.entries(track, 0, track.tick):
            found.follower.apply(entry)
        return found.follower.tick


@pytest_asyncio.fixture
async def archiving_cluster() -> AsyncIterator[ArchivingCluster]:
    made = ArchivingCluster()
    yield made
    await made.close()


async def test_a_worker_archives_while_it_plays_and_trims_behind_that(archiving_cluster: ArchivingCluster) -> None:
    cluster = archiving_cluster
    worker = await cluster.start("w")
    await until(lambda: running(worker) == [0, 1, 2, 3], "all shards run")
    await until(lambda: cluster.floor(2) > 20, "the journal is trimmed")
    assert await worker.stop()
    assert await cluster.replayed_ticks(2) == cluster.head_tick(2), "the last tick is archived at an orderly stop"
    states = await cluster.archive.states(2)
    assert len(states) > 1
    assert states[-1].tick == cluster.head_tick(2), "so another version of the title can go on from there"


async def test_without_blob_storage_nothing_is_trimmed_and_play_goes_on(archiving_cluster: ArchivingCluster) -> None:
    cluster = archiving_cluster
    worker = await cluster.start("w")
    await until(lambda: cluster.floor(1) > 0, "the journal is trimmed")
    failed = telemetry.archive_failed_total.labels("StoreUnavailable")._value
    with structlog.testing.capture_logs() as logs:
        cluster.weather.calls_left = 0
        floor, tick, before = cluster.floor(1), cluster.head_tick(1), failed.get()
        await until(lambda: cluster.head_tick(1) > tick + 30, "it plays on")
        assert cluster.floor(1) <= floor + 200, "at most a trim that was on its way"
        floor = cluster.floor(1)
        await until(lambda: failed.get() > before + 8, "it is tried again and again")
        assert cluster.floor(1) == floor
        worker._refresh_gauges()
        assert telemetry.archive_lag_ticks._value.get() > 10
        before_the_archive_is_known = Archiver(
            cluster.archive, worker._stores.ownership, worker._hosts[1]._grant, lambda: 77, ArchiveLimits()
        )
        assert before_the_archive_is_known.lag_ticks == 77, "all that Redis has"
        cluster.weather.calls_left = None
        await until(lambda: cluster.floor(1) > floor, "it is trimmed again")
    said = [entry["event"] for entry in logs if entry.get("shard") == 1 and "archive" in entry["event"]]
    assert said == ["archive_failed", "archive_works_again"]
    await worker.stop()
    assert await cluster.replayed_ticks(1) == cluster.head_tick(1)


async def test_where_only_the_archive_cannot_be_reached_nothing_is_trimmed_behind_good_snapshots(
    archiving_cluster: ArchivingCluster,
) -> None:
    cluster = archiving_cluster
    cluster.weather.lost = ("archive/",)
    worker = await cluster.start("w")
    saved = telemetry.snapshot_saved_total._value.get()
    await until(lambda: telemetry.snapshot_saved_total._value.get() > saved + 16, "four snapshots of each shard")
    assert [cluster.floor(shard) for shard in range(4)] == [0, 0, 0, 0]
    cluster.weather.lost = ()
    await until(lambda: min(cluster.floor(shard) for shard in range(4)) > 0, "all are trimmed")
    await worker.stop()
    assert await cluster.replayed_ticks(1) == cluster.head_tick(1)


async def test_a_killed_workers_heir_leaves_no_gap(archiving_cluster: ArchivingCluster) -> None:
    cluster = archiving_cluster
    a = await cluster.start("a")
    await until(lambda: cluster.floor(3) > 20, "the journal is trimmed")
    await a.kill()
    b = await cluster.start("b")
    tick = cluster.head_tick(3)
    await until(lambda: cluster.floor(3) > tick, "the heir has archived and trimmed")
    await b.stop()
    assert await cluster.replayed_ticks(3) == cluster.head_tick(3)


async def test_a_redis_that_was_wiped_under_a_worker_leaves_no_gap(archiving_cluster: ArchivingCluster) -> None:
    cluster = archiving_cluster
    worker = await cluster.start("w")
    await until(lambda: cluster.floor(0) > 20, "the journal is trimmed")
    gaps = telemetry.archive_gaps_total._value.get()
    cluster.redis.wipe()
    await until(lambda: cluster.floor(0) > 0, "the journal began anew")
    floor = cluster.floor(0)
    await until(lambda: cluster.floor(0) > floor, "it is archived and trimmed again")
    await worker.stop()
    assert telemetry.archive_gaps_total._value.get() == gaps
    assert await cluster.replayed_ticks(0) == cluster.head_tick(0)


async def test_a_stop_does_not_wait_for_ever_for_the_archive(archiving_cluster: ArchivingCluster) -> None:
    cluster = archiving_cluster
    worker = await cluster.start("w")
    await until(lambda: running(worker) == [0, 1, 2, 3], "all shards run")
    cluster.weather.calls_left = 0
    await worker.stop()
    head = cluster.redis.primary.head(("test", 0))
    assert head is not None
    assert head.released


async def test_limits_fit_together() -> None:
    assert archiving.PAGE_RECORDS < SEGMENT_RECORDS_MAX
    assert issubclass(JournalGap, Exception)
