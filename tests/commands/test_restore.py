"""`overworld restore` and `overworld archive`: what they say, and when they refuse."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from overworld.commands.past import show_past
from overworld.commands.restore import EXIT_DONE, EXIT_REFUSED, RestoreOptions, RestoreStores, restore
from overworld.errors import NotKept, SettingsError
from overworld.shard.core import ShardCore
from overworld.worker.moments import Moment
from tests.worker.past import SHARD, Owner, World

pytestmark = pytest.mark.asyncio


async def a_world() -> tuple[World, Owner]:
    world = World()
    owner = await (await world.owner()).play(40)
    await owner.keep()
    await owner.save()
    await owner.play(10)
    return world, owner


async def run(world: World, **options: Any) -> tuple[int, list[str]]:
    told: list[str] = []
    options.setdefault("watch_s", 0.3)
    stores = RestoreStores(world.ownership, world.shelf, world.archive)

    def new_core(shard: int) -> ShardCore:
        return ShardCore(world.contract, world.title, shard)

    return await restore(stores, new_core, RestoreOptions(shards=[SHARD], **options), told.append), told


async def test_it_says_what_it_did() -> None:
    world, owner = await a_world()
    await owner.stop()
    code, told = await run(world, at=Moment(tick=25))
    assert code == EXIT_DONE
    assert told[0].startswith("shard 1: from tick 50 to tick 25 of 2027-01-15T08:00:01.200Z: ")
    assert "players inside, digest " in told[0]
    assert told[0].endswith("(replayed 25 ticks from the title's setup)")
    assert told[1:] == [
        "shard 1: restored at tick 25 under epoch 2; ticks 26 to 50 are a branch of the archive",
        "restored 1 of 1 shards and gave them back: workers take them over when they next look",
    ]


async def test_what_only_redis_had_is_said_to_be_archived() -> None:
    world, _ = await a_world()
    _, told = await run(world, at=Moment(tick=25))
    assert "ticks 26 to 50 are a branch of the archive, 10 of them only now" in told[1]


async def test_a_dry_run_changes_nothing() -> None:
    world, _ = await a_world()
    objects, writes = dict(world.disk.objects), world.redis.primary.writes
    code, told = await run(world, at=Moment(tick=25), dry_run=True)
    assert (code, told[-1]) == (EXIT_DONE, "dry run: nothing was changed")
    assert (world.disk.objects, world.redis.primary.writes) == (objects, writes)


async def playing(owner: Owner) -> None:
    while True:
        await owner.play(1)
        await asyncio.sleep(0.02)


async def test_a_live_owner_is_named_and_left_alone() -> None:
    world, owner = await a_world()
    play = asyncio.create_task(playing(owner))
    code, told = await run(world, at=Moment(tick=25), watch_s=5.0)
    play.cancel()
    assert code == EXIT_REFUSED
    assert told[0].startswith("shard 1 is run by w:1 (epoch 1, tick ")
    assert told[1] == "refused: 1 of 1 shards have a live owner; stop the workers, or say --force"
    assert world.head_tick >= 50


async def test_with_force_it_is_taken_from_its_owner() -> None:
    world, owner = await a_world()
    play = asyncio.create_task(playing(owner))
    code, told = await run(world, at=Moment(tick=25), watch_s=5.0, force=True)
    assert code == EXIT_DONE
    assert told[-2].startswith("shard 1: restored at tick 25 under epoch 2; ticks 26 to ")
    with pytest.raises(AssertionError):
        await play
    assert world.head_tick == 25


async def test_a_time_that_has_not_come_is_refused() -> None:
    world, _ = await a_world()
    with pytest.raises(SettingsError, match="has not come yet"):
        await run(world, at=Moment(wall_ms=int(time.time() * 1000) + 60_000))


async def test_a_tick_that_is_kept_nowhere_is_refused() -> None:
    world, _ = await a_world()
    with pytest.raises(NotKept, match="no branch has tick 51"):
        await run(world, at=Moment(tick=51))
    assert world.head_tick == 50


async def test_the_archive_shows_branches_states_and_restores() -> None:
    world, owner = await a_world()
    await owner.stop()
    await run(world, at=Moment(tick=25))
    heir = await (await world.owner()).play(20)
    await heir.keep()
    told: list[str] = []
    await show_past(world.history(), told.append)
    old, new = owner.chain.hex()[:8], heir.chain.hex()[:8]
    assert told[0].startswith(f"shard 1  branch {new}  ticks 1 to 45  2027-01-15T08:00:00.000Z to ")
    assert told[0].endswith("  current")
    assert told[1].startswith(f"shard 1  branch {old}  ticks 1 to 50  ")
    assert told[1].endswith("  left the current branch after tick 25")
    assert told[2].startswith("shard 1  3 states, the newest of tick 50, ")
    assert told[3].endswith(f"to tick 25 as epoch 2; gave up branch {old} at tick 50")
    assert len(told) == 4


async def test_an_empty_archive_is_said_to_be_empty() -> None:
    told: list[str] = []
    await show_past(World().history(), told.append)
    assert told == ["shard 1: nothing of it is kept, neither in Redis nor in the archive"]
