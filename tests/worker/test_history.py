"""What operators ask for is found: ticks, times and branches, beside an owner that goes on playing."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from overworld.errors import Corrupt, NotKept, SettingsError
from overworld.game import contract_of
from overworld.shard.core import ShardCore
from overworld.worker import history as histories
from overworld.worker.history import History
from overworld.worker.moments import Moment, find, iso, parse
from overworld.worker.restoring import Restorer, plan
from tests.worker.past import DIGEST_TICKS, FIRST_MS, SHARD, TICK_MS, Owner, World, chains

pytestmark = pytest.mark.asyncio


async def restored(world: World, tick: int, branch: str = "") -> Owner:
    """The world goes back to a tick, and its next owner plays on from there an hour later."""
    made = await plan(world.history(), Moment(tick=tick), branch, world.new_core)
    await Restorer(world.ownership, world.shelf, world.archive).restore([made], force=False, done=lambda _: None)
    world.now_ms += 3_600_000
    return await world.owner()


async def state_at(world: World, history: History, tick: int, branch: str = "") -> bytes:
    """The digest that the replay comes to."""
    place = await find(history, Moment(tick=tick), branch)
    track, found = await history.start(place.track, tick, world.new_core)
    async for entry in history.entries(track, found.follower.tick, tick):
        found.follower.apply(entry)
    return found.follower.core.digest()


def ran_at(tick: int) -> int:
    return FIRST_MS + (tick - 1) * TICK_MS


# ---------------------------------------------------------------- moments


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1200", Moment(tick=1200)),
        ("2027-01-15T08:00:00Z", Moment(wall_ms=1_800_000_000_000)),
        ("2027-01-15T08:00:00", Moment(wall_ms=1_800_000_000_000)),
        ("2027-01-15 09:00:00.250+01:00", Moment(wall_ms=1_800_000_000_250)),
    ],
)
async def test_ticks_and_times_are_read(text: str, moment: Moment) -> None:
    assert parse(text) == moment


@pytest.mark.parametrize("text", ["", "now", "-5", "1e9", "15.01.2027", "2027-01-15T25:00"])
async def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError, match="neither a tick nor a time"):
        parse(text)


async def test_times_are_shown_as_they_are_read() -> None:
    assert iso(1_800_000_000_050) == "2027-01-15T08:00:00.050Z"
    assert parse(iso(1_800_000_000_050)).wall_ms == 1_800_000_000_050
    assert (str(Moment(tick=7)), str(Moment(wall_ms=1_800_000_000_000))) == ("tick 7", "2027-01-15T08:00:00.000Z")


# ---------------------------------------------------------------- ticks and times


async def a_world_that_is_partly_archived() -> tuple[World, Owner]:
    """60 ticks: 40 archived in two segments, of which Redis has forgotten 20; a state at 20."""
    world = World()
    owner = await (await world.owner()).play(20)
    await owner.keep()
    await owner.save()
    await (await owner.play(20)).keep()
    await owner.save()
    await owner.play(20)
    assert world.floor == 20
    return world, owner


@pytest.mark.parametrize("tick", [1, 19, 20, 21, 40, 41, 60])
async def test_any_tick_is_rebuilt_wherever_it_is_kept(tick: int) -> None:
    world, _ = await a_world_that_is_partly_archived()
    chain = (await chains(world.history(), tick, tick))[0]
    assert await state_at(world, world.history(), tick) == world.digests[chain]


@pytest.mark.parametrize("tick", [1, 20, 21, 40, 41, 60])
async def test_a_time_is_the_newest_tick_that_ran_at_or_before_it(tick: int) -> None:
    world, _ = await a_world_that_is_partly_archived()
    for after_ms in (0, 1, TICK_MS - 1):
        place = await find(world.history(), Moment(wall_ms=ran_at(tick) + after_ms))
        assert (place.tick, place.wall_ms) == (tick, ran_at(tick))


async def test_a_time_long_after_the_last_tick_is_the_last_tick_and_one_before_the_first_is_none() -> None:
    world, _ = await a_world_that_is_partly_archived()
    assert (await find(world.history(), Moment(wall_ms=ran_at(60) + 10**9))).tick == 60
    with pytest.raises(NotKept, match="no tick at or before"):
        await find(world.history(), Moment(wall_ms=FIRST_MS - 1))


async def test_from_the_archive_alone() -> None:
    world, _ = await a_world_that_is_partly_archived()
    world.redis.wipe()
    assert len(await chains(world.history(redis=False), 1, 40)) == 40
    assert (await find(world.history(redis=False), Moment(wall_ms=ran_at(100)))).tick == 40
    with pytest.raises(NotKept, match=r"no branch has tick 41; .* has 1 to 40"):
        await find(world.history(redis=False), Moment(tick=41))


async def test_a_world_that_was_never_archived_has_what_redis_has() -> None:
    world = World()
    owner = await (await world.owner(archives=False)).play(20)
    await owner.save()
    await (await owner.play(20)).save()
    await owner.play(5)
    history = world.history()
    assert await state_at(world, history, 30)
    with pytest.raises(NotKept, match=r"no branch has tick 19; .* has 21 to 45"):
        await find(history, Moment(tick=19))


async def test_a_world_that_never_was_is_said_to_be_kept_nowhere() -> None:
    with pytest.raises(NotKept, match="shard 1: nothing of it is kept"):
        await World().history().look()
    with pytest.raises(NotKept, match="shard 1: nothing of it is kept"):
        await World().history(redis=False).look()


async def test_the_replay_begins_at_the_newest_state_before_the_tick() -> None:
    world, _ = await a_world_that_is_partly_archived()
    history = world.history()
    await history.look()
    sources = {}
    for tick in (19, 20, 39, 40, 60):
        _, found = await history.start(history.current, tick, world.new_core)
        sources[tick] = (found.follower.tick, found.source)
    assert sources == {
        19: (0, "the title's setup"),
        20: (20, "an archived state"),
        39: (20, "an archived state"),
        40: (40, "a snapshot"),
        60: (40, "a snapshot"),
    }


async def test_a_damaged_state_is_passed_over_and_said() -> None:
    world, _ = await a_world_that_is_partly_archived()
    for name in list(world.disk.objects):
        if "/state/" in name or name.startswith("snap/"):
            world.disk.store(name, world.disk.objects[name][0][:-1])
    history = world.history()
    await history.look()
    _, found = await history.start(history.current, 30, world.new_core)
    assert found.source == "the title's setup"
    assert any("state/000000000020" in problem for problem in found.problems)


async def test_without_a_state_after_a_gap_it_is_said_what_is_missing() -> None:
    world, _ = await a_world_that_is_partly_archived()
    for name in list(world.disk.objects):
        if "/state/" in name or name.startswith("snap/") or "journal/00000000/000000000001" in name:
            await world.blobs.delete(name)
    history = world.history()
    await history.look()
    with pytest.raises(NotKept, match="has no state at or before tick 30; it has ticks 21 to 60"):
        await history.start(history.current, 30, world.new_core)


async def test_a_torn_segment_is_gone_round_where_others_have_its_records() -> None:
    world = World()
    zombie = await (await world.owner()).play(10)
    await zombie.keep()
    await zombie.play(5)
    heir = await (await world.owner()).play(10)
    await heir.keep()
    await zombie.keep()
    (name,) = [name for name in world.disk.objects if "/journal/" in name and "000000000011-000000000025" in name]
    world.disk.store(name, b"torn")
    assert len(await chains(world.history(), 1, 25)) == 25, "the rest is still in Redis"
    with pytest.raises(NotKept, match="tick 16 of branch"):
        await chains(world.history(redis=False), 1, 25)


async def test_settings_of_another_world_are_found_out() -> None:
    world, _ = await a_world_that_is_partly_archived()
    other = contract_of(world.title, "test", seed=4)
    history = world.history()
    await history.look()
    with pytest.raises(SettingsError, match="another world contract: check OVERWORLD_SHARDS and OVERWORLD_SEED"):
        await history.start(history.current, 30, lambda: ShardCore(other, world.title, SHARD))
    with pytest.raises(SettingsError, match="another world contract"):
        await history.start(history.current, 5, lambda: ShardCore(other, world.title, SHARD))


async def test_the_commit_level_may_have_been_another_one() -> None:
    world, _ = await a_world_that_is_partly_archived()
    other = replace(world.contract, commit_level=2)
    history = world.history()
    await history.look()
    _, found = await history.start(history.current, 30, lambda: ShardCore(other, world.title, SHARD))
    assert found.follower.tick == 20


# ---------------------------------------------------------------- beside a live owner


async def test_an_owner_that_archives_and_trims_meanwhile_does_not_disturb() -> None:
    world, owner = await a_world_that_is_partly_archived()
    history = world.history()
    await history.look()
    read = []
    async for entry in history.entries(history.current, 0, 60):
        read.append(entry.chain)
        if entry.tick == 30:
            await owner.keep()
            await owner.save()
            await (await owner.play(10)).save()
            await owner.keep()
            assert world.floor == 60
    assert read == await chains(world.history(), 1, 60)


async def test_a_journal_that_grows_while_it_is_listed_is_no_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    world, owner = await a_world_that_is_partly_archived()
    listed = world.archive.segments

    async def slow(*args: int) -> object:
        await owner.play(5)
        await owner.keep()
        return await listed(*args)

    monkeypatch.setattr(world.archive, "segments", slow)
    history = world.history()
    await history.look()
    assert [track.current for track in history.tracks] == [True]


async def test_the_cache_of_segments_is_bounded() -> None:
    world = World()
    owner = await world.owner()
    for _ in range(3 * histories.SEGMENTS_CACHED):
        await (await owner.play(2)).keep()
    history = world.history(redis=False)
    assert len(await chains(history, 1, owner.core.tick)) == owner.core.tick
    assert len(history._cached) == histories.SEGMENTS_CACHED


# ---------------------------------------------------------------- branches


async def a_world_with_two_branches() -> tuple[World, Owner, Owner]:
    """Played to 50, brought back to 30, played on to 70 an hour later."""
    world = World()
    before = await (await world.owner()).play(50)
    await before.keep()
    await before.save()
    after = await restored(world, 30)
    await (await after.play(40)).keep()
    await after.save()
    return world, before, after


async def test_after_a_restore_both_branches_can_be_replayed() -> None:
    world, before, after = await a_world_with_two_branches()
    history = world.history()
    await history.look()
    assert [(t.tick, t.current) for t in history.tracks] == [(70, True), (50, False)]
    assert await history.fork(history.tracks[1], history.current) == 30
    old, new = before.chain.hex()[:8], after.chain.hex()[:8]
    assert [track.name for track in history.tracks] == [new, old]
    assert await state_at(world, world.history(), 70) == after.core.digest()
    assert await state_at(world, world.history(), 50, old) == before.core.digest()
    assert await state_at(world, world.history(), 50, "current") == await state_at(world, world.history(), 50)
    assert await state_at(world, world.history(), 50) != before.core.digest()
    for tick in (31, 40, 45):
        (of_old,), (of_new,) = [await chains(world.history(), tick, tick, name) for name in (old, new)]
        assert await state_at(world, world.history(), tick, old) == world.digests[of_old]
        assert await state_at(world, world.history(), tick, new) == world.digests[of_new]


async def test_the_state_that_a_restore_wrote_starts_both_branches() -> None:
    world, before, _ = await a_world_with_two_branches()
    history = world.history()
    await history.look()
    for track in history.tracks:
        _, found = await history.start(track, 35, world.new_core)
        assert found.follower.tick == 30
    assert await state_at(world, world.history(), 35, before.chain.hex())


async def test_a_time_at_which_the_world_was_on_another_branch_must_be_told_apart() -> None:
    world, before, after = await a_world_with_two_branches()
    old, new = before.chain.hex()[:8], after.chain.hex()[:8]
    during = Moment(wall_ms=ran_at(45))
    said = f"was on branch {old}, at tick 45, .* --branch then .* --branch current for {new}, then at tick 30"
    with pytest.raises(NotKept, match=said):
        await find(world.history(), during)
    assert (await find(world.history(), during, "then")).track.chain == before.chain
    assert (await find(world.history(), during, "then")).tick == 45
    assert (await find(world.history(), during, old)).tick == 45
    assert (await find(world.history(), during, "current")).tick == 30
    assert (await find(world.history(), Moment(wall_ms=ran_at(25)))).tick == 25, "before they parted there was one"
    later = Moment(wall_ms=world.now_ms)
    assert (await find(world.history(), later)).tick == (await find(world.history(), later, "then")).tick == 70
    with pytest.raises(SettingsError, match="--branch then needs a time, not tick 45"):
        await find(world.history(), Moment(tick=45), "then")


async def test_a_time_is_found_on_the_current_branch_where_all_newer_states_are_of_another() -> None:
    world = World()
    before = await (await world.owner()).play(30)
    await before.keep()
    for _ in range(3):
        await before.play(10)
        await before.world.archive.put_state(
            SHARD, before.core.tick, 1, world.now_ms, before.chain, before.state().data
        )  # fmt: skip
    await before.keep()
    await (await restored(world, 20)).play(5)
    during = Moment(wall_ms=ran_at(55))
    assert (await find(world.history(), during, "current")).tick == 20
    assert (await find(world.history(), during, "then")).tick == 55


async def test_a_tick_that_only_a_branch_given_up_has_is_taken_from_there() -> None:
    world, before, _ = await a_world_with_two_branches()
    owner = await restored(world, 20)
    await (await owner.play(5)).keep()
    with pytest.raises(NotKept, match="several branches have tick 45: say which"):
        await find(world.history(), Moment(tick=45))
    assert (await find(world.history(), Moment(tick=60))).track.tick == 70
    assert (await find(world.history(), Moment(tick=45), before.chain.hex()[:6])).track.chain == before.chain


async def test_names_of_branches_may_be_short_but_must_be_clear() -> None:
    world, before, _ = await a_world_with_two_branches()
    history = world.history()
    await history.look()
    with pytest.raises(NotKept, match="0 branches are called 'zz'; there are "):
        history.named("zz")
    with pytest.raises(NotKept, match="2 branches are called ''"):
        history.named("")
    assert history.named(before.chain.hex()[:6].upper()).chain == before.chain


async def test_a_forged_record_in_the_archive_is_found_by_the_replay() -> None:
    world, _ = await a_world_that_is_partly_archived()
    history = world.history()
    await history.look()
    track, found = await history.start(history.current, 0, world.new_core)
    entries = [entry async for entry in history.entries(track, 0, 10)]
    for entry in entries[:5]:
        found.follower.apply(entry)
    with pytest.raises(Corrupt):
        found.follower.apply(entries[6])


async def test_the_time_of_a_tick_is_its_records() -> None:
    world, _ = await a_world_that_is_partly_archived()
    history = world.history()
    await history.look()
    chance = random.Random(1)
    for tick in chance.sample(range(1, 61), 10):
        assert await history.wall_ms(history.current, tick) == ran_at(tick)
    assert DIGEST_TICKS < 20
