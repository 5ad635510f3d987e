"""`overworld replay`: what it shows, and what it finds wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from overworld.commands.replay import EXIT_DIFFERS, EXIT_SAME, ReplayOptions, replay
from overworld.errors import FormatTooNew, NotKept, SettingsError
from overworld.shard import record
from overworld.shard.core import ShardCore
from overworld.store.ports import JournalEntry
from overworld.worker.moments import Moment
from tests.shard.meadow import Meadow
from tests.worker.past import DIGEST_TICKS, FIRST_MS, SHARD, TICK_MS, Owner, World, chains

pytestmark = pytest.mark.asyncio


class Run:
    """One run of the command."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        self.options = ReplayOptions(**options)
        self.lines: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self.told: list[str] = []
        self.code = -1

    async def go(self, *, title: Meadow | None = None) -> Run:
        def new_core() -> ShardCore:
            return ShardCore(self.world.contract, title or self.world.title, SHARD)

        self.code = await replay(self.world.history(), new_core, self.options, self.raw.append, self.told.append)
        self.lines = [json.loads(line) for line in self.raw]
        return self

    @property
    def end(self) -> dict[str, Any]:
        return self.lines[-1]


def ticks(first: int, last: int) -> dict[str, Moment]:
    return {"start": Moment(tick=first), "end": Moment(tick=last)}


async def a_world() -> tuple[World, Owner]:
    """60 ticks, half of them archived."""
    world = World()
    owner = await (await world.owner()).play(20)
    await owner.keep()
    await owner.save()
    await (await owner.play(15)).keep()
    await owner.play(25)
    return world, owner


# ---------------------------------------------------------------- digests


async def test_every_digest_is_shown_and_those_of_the_journal_are_checked() -> None:
    world, owner = await a_world()
    run = await Run(world, **ticks(31, 60), digests=1).go()
    assert run.code == EXIT_SAME
    shown = run.lines[:-1]
    assert [line["tick"] for line in shown] == list(range(31, 61))
    wanted = [world.digests[chain].hex() for chain in await chains(world.history(), 31, 60)]
    assert [line["digest"] for line in shown] == wanted
    assert [line["tick"] for line in shown if line["checked"]] == list(range(35, 61, DIGEST_TICKS))
    assert run.end == {
        "ok": True,
        "shard": SHARD,
        "branch": owner.chain.hex()[:8],
        "from": 31,
        "to": 60,
        "ticks": 30,
        "digests_checked": 6,
        "digest": owner.core.digest().hex(),
    }
    assert run.told == ["shard 1, the current branch: from an archived state at tick 20, to tick 60"]


async def test_two_runs_show_the_same_bytes() -> None:
    world, _ = await a_world()
    options = {**ticks(1, 60), "digests": 7, "player": 11, "dump": Moment(tick=30)}
    one, other = [await Run(world, **options).go() for _ in range(2)]
    assert one.raw == other.raw
    assert len(one.raw) > 60


async def test_fewer_digests_are_shown_and_as_many_checked() -> None:
    world, _ = await a_world()
    run = await Run(world, **ticks(10, 60), digests=20).go()
    assert [line["tick"] for line in run.lines[:-1]] == [10, 30, 50, 60]
    assert run.end["digests_checked"] == 11
    assert (await Run(world, **ticks(10, 60), digests=0).go()).lines == [run.end]


async def test_times_instead_of_ticks() -> None:
    world, _ = await a_world()

    def at(tick: int) -> Moment:
        return Moment(wall_ms=FIRST_MS + (tick - 1) * TICK_MS + 10)

    run = await Run(world, start=at(12), end=at(45), digests=100).go()
    assert (run.end["from"], run.end["to"], run.end["ticks"]) == (12, 45, 34)
    assert run.lines[0]["time"] == "2027-01-15T08:00:00.550Z"


# ---------------------------------------------------------------- what is wrong


class Cheating(Meadow):
    """Rules that are not those the journal was written with."""

    def step(self, shard: Any, inputs: Any) -> None:
        super().step(shard, inputs)
        if shard.tick == 37:
            shard.tables[0].wool[:1] ^= 1


async def test_a_replay_that_differs_names_the_first_column_and_the_tick() -> None:
    world, _ = await a_world()
    run = await Run(world, **ticks(21, 60), digests=0).go(title=Cheating(sheep=12))
    assert run.code == EXIT_DIFFERS
    assert run.end["ok"] is False
    assert run.end["reached"] == 40
    assert run.end["digests_checked"] == 3
    assert "tick 40" in run.end["error"]
    assert "first in Sheep.wool; they were equal at tick 35" in run.end["error"]
    assert run.told[-1] == run.end["error"]


async def test_a_record_that_was_changed_with_its_checksum_is_found_by_the_chain() -> None:
    world, _ = await a_world()
    state = world.redis.primary._shards["test", SHARD]
    at = next(i for i, entry in enumerate(state.journal) if entry.tick == 50)
    entry = state.journal[at]
    payload = record.encode(replace(record.decode(entry.payload), wall_ms=1))
    state.journal[at] = JournalEntry(entry.tick, entry.epoch, entry.chain, payload)
    run = await Run(world, **ticks(41, 60)).go()
    assert run.code == EXIT_DIFFERS
    assert "tick 50: not in the chain" in run.end["error"]
    assert run.end["reached"] == 49


async def test_another_version_of_the_title_is_told_in_a_line() -> None:
    world, _ = await a_world()
    world.contract = replace(world.contract, title_version=2)
    with pytest.raises(FormatTooNew, match=r"written by version 1 of meadow.*a replay needs the version that wrote"):
        await Run(world, **ticks(1, 60)).go()


async def test_what_is_kept_nowhere_is_told_with_what_is() -> None:
    world, _ = await a_world()
    with pytest.raises(NotKept, match=r"no branch has tick 61; .* has 1 to 60"):
        await Run(world, **ticks(1, 61)).go()


async def test_a_stretch_that_ends_before_it_begins_is_refused() -> None:
    world, _ = await a_world()
    with pytest.raises(SettingsError, match="--from is tick 40 and --to is tick 30"):
        await Run(world, **ticks(40, 30)).go()
    with pytest.raises(SettingsError, match="say which ticks or times"):
        await Run(world).go()


# ---------------------------------------------------------------- a state


async def test_a_dump_is_the_whole_state_in_a_stable_order() -> None:
    world, owner = await a_world()
    run = await Run(world, dump=Moment(tick=60)).go()
    (state, end) = run.lines
    assert (state["tick"], state["shard"], state["digest"]) == (60, SHARD, owner.core.digest().hex())
    assert (end["from"], end["to"], end["ticks"]) == (60, 60, 0)
    assert [table["name"] for table in state["tables"]] == ["Sheep", "Cloud", "Weather", "Player"]
    for shown, table in zip(state["tables"], [*owner.core.shard.tables, owner.core.shard.players], strict=True):
        assert list(shown["columns"]) == list(table.kind.names)
        assert shown["ids"] == table.ids.tolist()
        assert shown["next_id"] == table.next_id
        for index, values in enumerate(shown["columns"].values()):
            assert values == table.columns[index].tolist()


@pytest.mark.parametrize("tick", [0, 20, 21, 35])
async def test_a_dump_alone_runs_no_further_than_it_must(tick: int) -> None:
    world, _ = await a_world()
    run = await Run(world, dump=Moment(tick=tick)).go()
    assert run.lines[0]["tick"] == tick
    assert f"to tick {tick}" in run.told[0]


@pytest.mark.parametrize("tick", [5, 30, 50])
async def test_a_dump_beside_a_stretch_may_lie_before_within_or_after_it(tick: int) -> None:
    world, _ = await a_world()
    run = await Run(world, **ticks(20, 40), digests=0, dump=Moment(tick=tick)).go()
    assert run.lines[0]["tick"] == tick
    assert run.lines[0]["tables"]


# ---------------------------------------------------------------- a player


async def test_a_players_events_inputs_and_avatar_are_shown_at_every_tick() -> None:
    world, _ = await a_world()
    run = await Run(world, **ticks(1, 40), digests=0, player=11).go()
    lines = run.lines[:-1]
    assert [line["tick"] for line in lines] == list(range(1, 41))
    joined = [line for line in lines if line["events"]]
    assert {event["event"] for line in joined for event in line["events"]} <= {"join", "lost"}
    first = joined[0]["tick"]
    assert all(line["avatar"] is None and not line["online"] for line in lines[: first - 1])
    there = lines[first - 1]
    assert there["online"]
    assert there["columns"] == {"visits": 1}
    assert there["avatar"]["kind"] == "Sheep"
    assert list(there["avatar"]["columns"]) == ["x", "y", "vx", "vy", "heading", "wool", "hunger", "secret"]
    inputs = [each for line in lines for each in line["inputs"]]
    assert inputs[0]["seq"] == 1
    assert {each["kind"] for each in inputs} == {"Walk"}
    assert all(each["values"] == {"turn": 0, "eat": 1} for each in inputs)
    hungers = [line["avatar"]["columns"]["hunger"] for line in lines[first - 1 :] if line["avatar"]]
    assert min(hungers) < 0, "what it ate is seen"


async def test_a_player_who_never_came_is_shown_as_absent() -> None:
    world, _ = await a_world()
    run = await Run(world, **ticks(1, 10), digests=0, player=999).go()
    absent = {"player": 999, "events": [], "inputs": [], "online": False, "avatar": None}
    assert run.lines[:-1] == [{"tick": tick, **absent} for tick in range(1, 11)]
