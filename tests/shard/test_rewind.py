"""The past of a shard: bounded, exact, and part of its state."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from overworld.errors import TitleError
from overworld.game import Entity, Grid, Inputs, Motion, Shard, Title, UInt8, contract_of
from overworld.shard import snapshot
from overworld.shard.core import ShardCore, TickInputs

SLOTS = 5


class Bird(Entity):
    at = Motion()
    rewind = True


class Stone(Entity):
    at = Motion()


class Flock(Title):
    """Birds that fly; one more each tenth tick, and the eldest leaves each seventh."""

    name, version = "flock", 1
    world = Grid(width=512, height=64, cell=32, shards=(2, 1), view=64)
    entities = (Bird, Stone)

    def setup(self, shard: Shard) -> None:
        birds = shard[Bird]
        rows = birds.spawn(8)
        x0, y0, x1, y1 = shard.bounds
        birds.at.x[rows] = shard.random("x", len(rows), x0, x1)
        birds.at.y[rows] = shard.random("y", len(rows), y0, y1)
        birds.at.vx[rows] = shard.random("vx", len(rows), -300, 300)

    def step(self, shard: Shard, inputs: Inputs) -> None:
        birds = shard[Bird]
        if shard.tick % 10 == 0:
            rows = birds.spawn(1)
            birds.at.x[rows], birds.at.vx[rows] = shard.bounds[0], 200
        if shard.tick % 7 == 0 and len(birds):
            birds.remove(np.array([0], np.int64))
        birds.at.vx += shard.random("gust", len(birds), -20, 21)
        birds.at.advance()
        birds.at.bounce(shard.grid.world_bounds)


class Forgetful(Flock):
    rewind_ms: ClassVar[int] = 0


def flock(title: Title | None = None, index: int = 0) -> ShardCore:
    title = title or Flock()
    core = ShardCore(contract_of(title, "test", seed=3), title, index)
    core.setup()
    return core


def motion(core: ShardCore) -> dict[int, list[int]]:
    table = core.shard[Bird]
    return dict(zip(table.ids.tolist(), table.public[:4].T.tolist(), strict=True))


def past(core: ShardCore, tick: int) -> dict[int, list[int]]:
    rows = core.shard.rewind(tick, Bird)
    at = np.stack((rows.at.x, rows.at.y, rows.at.vx, rows.at.vy), axis=1)
    return dict(zip(rows.ids.tolist(), at.tolist(), strict=True))


def test_the_past_is_as_it_was() -> None:
    core = flock()
    seen = {}
    for _ in range(40):
        core.step(TickInputs())
        seen[core.tick] = motion(core)
    core.shard.begin_tick(core.tick + 1)
    for tick in range(core.tick - SLOTS, core.tick):
        assert past(core, tick) == seen[tick]


def test_how_far_back_it_goes_is_bounded_and_what_is_not_known_is_the_last_tick() -> None:
    core = flock()
    for _ in range(20):
        core.step(TickInputs())
    core.shard.begin_tick(21)
    asked = np.array([0, 1, 15, 16, 19, 20, 21, 500], np.int64)
    assert core.shard.seen(asked).tolist() == [20, 16, 16, 16, 19, 20, 20, 20]
    assert past(core, 1) == past(core, 16)
    assert past(core, 4_000_000) == past(core, 20) == motion(core)


def test_rows_are_those_of_now() -> None:
    core = flock()
    for _ in range(13):
        core.step(TickInputs())
    core.step(TickInputs())
    core.shard.begin_tick(15)
    rows = core.shard.rewind(13, Bird)
    now = core.shard[Bird].ids
    assert len(rows) == len(now) + 1, "one has left with tick 14"
    assert rows.rows[0] == -1
    assert now[rows.rows[1:]].tolist() == rows.ids[1:].tolist()


def test_a_young_shard_has_only_the_past_it_has_lived() -> None:
    core = flock()
    first = motion(core)
    for _ in range(2):
        core.step(TickInputs())
    core.shard.begin_tick(3)
    assert past(core, -1) == first


def test_the_past_is_state() -> None:
    """Whoever takes over from a snapshot has the same past, the same digest, and goes on alike."""
    one = flock()
    for _ in range(33):
        one.step(TickInputs())
    data = snapshot.encode(snapshot.freeze(one), one, epoch=1, chain=b"", wall_ms=0)
    other = flock(index=0)
    snapshot.restore(other, data)
    assert other.digest() == one.digest()
    for core in (one, other):
        core.shard.begin_tick(34)
    assert [past(one, t) for t in range(28, 35)] == [past(other, t) for t in range(28, 35)]
    for core in (one, other):
        core.shard.begin_tick(33)
        for _ in range(10):
            core.step(TickInputs())
    assert other.digest() == one.digest()


def test_another_past_is_another_state() -> None:
    one, other = flock(), flock()
    for core in (one, other):
        for _ in range(12):
            core.step(TickInputs())
    ring = other.shard._rings["Bird"]
    ring.slots[0].columns[0, 0] += 1
    assert one.digest() != other.digest()


def test_a_snapshot_without_a_past_is_taken() -> None:
    forgetful = flock(Forgetful())
    for _ in range(12):
        forgetful.step(TickInputs())
    data = snapshot.encode(snapshot.freeze(forgetful), forgetful, epoch=1, chain=b"", wall_ms=0)
    core = flock()
    snapshot.restore(core, data)
    core.shard.begin_tick(13)
    assert past(core, 10) == motion(core), "the nearest that is known is the present"


def test_who_came_from_another_shard_has_no_past_here() -> None:
    west, east = flock(index=0), flock(index=1)
    bird = west.shard[Bird]
    border = west.shard.bounds[2]
    bird.at.x[0], bird.at.vx[0] = border - 10, 400
    traveller = int(bird.ids[0])
    outcome = west.step(TickInputs())
    assert [m.to_shard for m in outcome.outbox] == [1]
    for _ in range(3):
        east.step(TickInputs())
    east.step(TickInputs(messages=outcome.outbox))
    came = east.tick
    for _ in range(2):
        east.step(TickInputs())
    east.shard.begin_tick(east.tick + 1)
    assert traveller not in past(east, came - 1)
    assert traveller in past(east, came)
    west.step(TickInputs())
    west.shard.begin_tick(west.tick + 1)
    assert traveller not in past(west, 1), "with the tick it left it is nowhere here"


def test_without_a_rewind_nothing_is_kept() -> None:
    core = flock(Forgetful())
    for _ in range(5):
        core.step(TickInputs())
    assert [table.kind.name for table in core.shard.state_tables] == ["Bird", "Stone", "Player", "Neighbour", "Trail"]
    assert past(core, 2) == motion(core)


def test_a_kind_that_does_not_ask_cannot_be_rewound() -> None:
    with pytest.raises(ValueError, match="Stone does not declare"):
        flock().shard.rewind(1, Stone)


def test_declarations_that_cannot_work() -> None:
    class Still(Entity):
        hp = UInt8()
        rewind = True

    class Wrong(Title):
        name, version = "wrong", 1
        world = Grid(width=64, height=64, cell=32)
        entities = (Still,)

    class TooLong(Flock):
        rewind_ms = 5000

    for title, text in ((Wrong(), "no Motion"), (TooLong(), "rewind_ms")):
        with pytest.raises(TitleError, match=text):
            contract_of(title, "test")


def test_the_past_counts_in_the_contract() -> None:
    assert contract_of(Flock(), "w").fingerprint != contract_of(Forgetful(), "w").fingerprint
