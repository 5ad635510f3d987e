"""A restore brings a shard back as it was, cut short or not, and takes nothing from anybody who lives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from overworld.errors import Fenced, OverworldError, StoreUnavailable
from overworld.store.memory import MemoryOwnership
from overworld.store.ports import Head
from overworld.store.snapshots import SnapshotStore
from overworld.worker.moments import Moment
from overworld.worker.restoring import Outcome, Plan, Restorer, live_owners, plan
from tests.worker.cluster import Cluster, running, until
from tests.worker.past import SHARD, Owner, World, chains

pytestmark = pytest.mark.asyncio


async def planned(world: World, tick: int, branch: str = "") -> Plan:
    return await plan(world.history(), Moment(tick=tick), branch, world.new_core)


async def carried_out(world: World, made: Plan, *, force: bool = False) -> Outcome:
    done: list[Outcome] = []
    await Restorer(world.ownership, world.shelf, world.archive).restore([made], force=force, done=done.append)
    (outcome,) = done
    return outcome


async def a_world_with_a_past() -> tuple[World, Owner]:
    """60 ticks, of which Redis has 20 and the archive 40; the newest 20 are in both snapshots and Redis alone."""
    world = World()
    owner = await (await world.owner()).play(20)
    await owner.keep()
    await owner.save()
    await (await owner.play(20)).keep()
    await owner.save()
    await (await owner.play(10)).save()
    await owner.play(10)
    assert world.floor == 40
    return world, owner


def head_of(world: World) -> Head:
    head = world.redis.primary.head(("test", SHARD))
    assert head is not None
    return head


# ---------------------------------------------------------------- what it does


@pytest.mark.parametrize("tick", [0, 1, 15, 30, 45, 60])
async def test_the_next_owner_goes_on_from_the_state_as_it_was(tick: int) -> None:
    world, before = await a_world_with_a_past()
    (chain,) = await chains(world.history(), tick, tick) if tick else [b""]
    outcome = await carried_out(world, await planned(world, tick))
    assert outcome == Outcome(SHARD, epoch=2, tick=tick, from_epoch=1, from_tick=60, archived_records=20)
    assert (head_of(world).tick, head_of(world).floor, head_of(world).released) == (tick, tick, True)
    after = await world.owner()
    assert (after.core.tick, after.grant.epoch) == (tick, 3)
    assert not tick or after.core.digest() == world.digests[chain]
    await (await after.play(25)).keep()
    assert len(await chains(world.history(), 1, tick + 25)) == tick + 25
    if tick < 60:
        assert len(await chains(world.history(), 1, 60, before.chain.hex())) == 60, "what was given up is kept"


async def test_a_plan_writes_nothing() -> None:
    world, _ = await a_world_with_a_past()
    objects, writes = dict(world.disk.objects), world.redis.primary.writes
    made = await planned(world, 33)
    assert (world.disk.objects, world.redis.primary.writes) == (objects, writes)
    assert (made.tick, made.source, made.replayed_ticks) == (33, "an archived state", 13)
    assert made.place.wall_ms == world.walls[(await chains(world.history(), 33, 33))[0]]


async def test_it_is_noted_beside_the_archive() -> None:
    world, before = await a_world_with_a_past()
    await carried_out(world, await planned(world, 30))
    (note,) = await world.history().restores()
    assert (note.epoch, note.tick, note.from_epoch, note.from_tick) == (2, 30, 1, 60)
    assert note.from_chain == before.chain.hex()


async def test_a_restore_is_undone_by_another_one() -> None:
    world, before = await a_world_with_a_past()
    await carried_out(world, await planned(world, 10))
    await (await world.owner()).play(7)
    await carried_out(world, await planned(world, 60, before.chain.hex()))
    after = await world.owner()
    assert after.core.digest() == before.core.digest()
    assert len(await world.history().restores()) == 2


async def test_after_redis_was_wiped_the_archive_alone_brings_the_world_back() -> None:
    world, _ = await a_world_with_a_past()
    (chain,) = await chains(world.history(), 40, 40)
    world.redis.wipe()
    outcome = await carried_out(world, await planned(world, 40))
    assert (outcome.from_tick, outcome.epoch) == (0, 2)
    after = await world.owner()
    assert (after.core.tick, after.core.digest()) == (40, world.digests[chain])


async def test_nothing_that_was_archived_or_snapshotted_before_is_deleted_from_the_archive() -> None:
    world, _ = await a_world_with_a_past()
    before = {name for name in world.disk.objects if name.startswith("archive/")}
    await carried_out(world, await planned(world, 10))
    assert before <= world.disk.objects.keys()


async def test_several_shards_are_all_taken_before_the_first_is_changed() -> None:
    world, _ = await a_world_with_a_past()
    made = await planned(world, 30)
    await (await world.owner()).play(1)
    writes = world.redis.primary.writes
    with pytest.raises(Fenced, match="its head moves"):
        await Restorer(world.ownership, world.shelf, world.archive).restore(
            [made, made], force=False, done=lambda _: None
        )
    assert world.redis.primary.writes == writes


# ---------------------------------------------------------------- owners that live


async def test_an_owner_that_came_up_meanwhile_is_not_disturbed() -> None:
    world, _ = await a_world_with_a_past()
    made = await planned(world, 30)
    heir = await (await world.owner()).play(3)
    with pytest.raises(Fenced, match="stop the workers first"):
        await carried_out(world, made)
    await heir.play(3)
    assert head_of(world).tick == 66


async def test_with_force_an_owner_is_fenced() -> None:
    world, _ = await a_world_with_a_past()
    made = await planned(world, 30)
    zombie = await (await world.owner()).play(3)
    outcome = await carried_out(world, made, force=True)
    assert (outcome.from_tick, outcome.epoch) == (63, 3)
    with pytest.raises(AssertionError):
        await zombie.play(1)
    assert (await world.owner()).core.tick == 30
    history = world.history()
    assert len(await chains(history, 1, 63, zombie.chain.hex())) == 63, "its last ticks are kept"


async def test_who_moves_within_the_watch_is_alive_and_who_released_is_not() -> None:
    world, owner = await a_world_with_a_past()
    assert await live_owners(world.ownership, [0, SHARD], 0.4) == {}

    async def beating() -> None:
        while True:
            await asyncio.sleep(0.02)
            await world.ownership.beat(owner.grant)

    beats = asyncio.create_task(beating())
    try:
        found = await live_owners(world.ownership, [0, SHARD], 5.0)
    finally:
        beats.cancel()
    assert {shard: head.address for shard, head in found.items()} == {SHARD: "w:1"}
    await world.ownership.release(owner.grant)
    assert await live_owners(world.ownership, [SHARD], 60.0) == {}, "one that released needs no watching"


async def test_a_worker_that_waits_takes_the_restored_shard_over_and_plays_on() -> None:
    """All of a running world, with force: no process is stopped."""
    cluster = Cluster()
    try:
        world = World(title=cluster.title, redis=cluster.redis)  # type: ignore[arg-type]
        world.contract = cluster.contract
        shelf = SnapshotStore(world.blobs, "test")
        worker = await cluster.worker("w", shelf=shelf, archive=world.archive)
        await until(lambda: cluster.head_tick(SHARD) > 40, "the shard has a past")
        made = await planned(world, 20)
        outcome = await carried_out(world, made, force=True)
        assert outcome.from_tick > 40
        await until(
            lambda: running(worker) == [0, 1, 2, 3] and worker._hosts[SHARD].epoch > outcome.epoch, "taken over"
        )
        await until(lambda: cluster.head_tick(SHARD) > outcome.from_tick + 10, "it plays on")
        assert await worker.stop()
        assert len(await chains(world.history(), 1, cluster.head_tick(SHARD))) == cluster.head_tick(SHARD)
    finally:
        await cluster.close()


# ---------------------------------------------------------------- cut short


@dataclass
class CutAt:
    """Redis fails at a call and ever after; with `acted`, that call has worked all the same."""

    calls_left: int
    acted: bool

    async def before(self, call: str, subject: int | str | None) -> None:
        if call != "beat":
            self.calls_left -= 1
        if self.calls_left < (-1 if self.acted else 0):
            raise StoreUnavailable(f"{call}: cut")

    async def after(self, call: str, subject: int | str | None) -> None:
        if self.calls_left < 0:
            raise StoreUnavailable(f"{call}: cut")


async def is_old_or_restored(world: World, before: Owner, tick: int, restored: bytes) -> str:
    """What the next owner finds after a restore that did not come to its end; and that another try works."""
    after = await world.owner()
    if after.core.tick == tick:
        assert after.core.digest() == restored
        found = "restored"
    else:
        assert (after.core.tick, after.core.digest()) == (60, before.core.digest()), "as it was"
        found = "old"
    # The snapshots of whoever goes on must not be lost among those that were given up.
    for _ in range(3):
        await (await after.play(10)).keep()
        await after.save()
    heir = await world.owner()
    assert heir.core.digest() == after.core.digest()
    # And again, to the end.
    await carried_out(world, await planned(world, tick))
    assert (await world.owner()).core.digest() == restored
    return found


async def test_cut_short_at_any_call_to_blob_storage_it_is_as_it_was_or_restored() -> None:
    found = []
    for calls in range(60):
        world, before = await a_world_with_a_past()
        made = await planned(world, 30)
        world.weather.calls_left = calls
        finished = True
        try:
            await carried_out(world, made)
        except OverworldError:
            finished = False
        world.weather.calls_left = None
        (chain,) = await chains(world.history(), 30, 30)
        found.append(await is_old_or_restored(world, before, 30, world.digests[chain]))
        if finished:
            break
    assert found[0] == "old"
    assert found[-1] == "restored"
    assert found == sorted(found), "once it is restored it stays so"
    assert len(found) > 8


@pytest.mark.parametrize("acted", [False, True])
async def test_cut_short_at_any_call_to_redis_it_is_as_it_was_or_restored(acted: bool) -> None:
    found = []
    for calls in range(60):
        world, before = await a_world_with_a_past()
        made = await planned(world, 30)
        cut = MemoryOwnership(world.redis, "test", faults=CutAt(calls, acted))
        finished = True
        try:
            await Restorer(cut, world.shelf, world.archive).restore([made], force=False, done=lambda _: None)
        except OverworldError:
            finished = False
        (chain,) = await chains(world.history(), 30, 30)
        found.append(await is_old_or_restored(world, before, 30, world.digests[chain]))
        if finished:
            break
    assert found[0] == "old"
    assert found[-1] == "restored"
    assert found == sorted(found)
    assert len(found) > 4
