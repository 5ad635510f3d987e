"""Frontier where two shards meet: ships cross, shots hit, points come back."""

from __future__ import annotations

import random

import numpy as np
import pytest

from overworld.game import Grid, contract_of
from overworld.shard.core import ShardCore
from overworld.shard.handover import HANDOVER, decode
from overworld.shard.inputs import SessionEvent, ShardMessage, TickInputs, TickOutcome
from overworld.titles.frontier import Bolt, Drone, Frontier, Ship

ALICE, BOB = 2, 4


class TwoShards:
    """Both shards of a frontier, one after the other, with a ship each at the border."""

    def __init__(self, grid: Grid | None = None, seed: int = 0) -> None:
        title = Frontier()
        contract = contract_of(title, "w", seed=seed, grid=grid)
        self.cores = [ShardCore(contract, title, shard) for shard in range(2)]
        self.border = self.cores[1].shard.bounds[0]
        for core, player in zip(self.cores, (ALICE, BOB), strict=True):
            core.setup()
            core.shard[Drone].remove(np.ones(len(core.shard[Drone]), np.bool_))
            core.step(TickInputs(events=((SessionEvent.JOIN, 100 + player, player),)))
            ships = core.shard[Ship]
            ships.safe_tick[:] = 0
            ships.at.y[:] = (core.shard.bounds[1] + core.shard.bounds[3]) // 2
        self.mail: list[list[ShardMessage]] = [[], []]

    def ship(self, shard: int, x_units: int, heading: int) -> int:
        """Put a shard's ship at so many units from the border, at rest. Returns its id."""
        ships = self.cores[shard].shard[Ship]
        ships.at.x[:] = self.border + self.cores[shard].shard.units(x_units)
        ships.heading[:] = heading
        return int(ships.ids[0])

    def tick(self) -> list[TickOutcome]:
        """One tick of each shard."""
        outcomes = []
        for shard, core in enumerate(self.cores):
            mine, self.mail[shard] = self.mail[shard], []
            outcome = core.step(TickInputs(messages=tuple(mine)))
            assert outcome.alarms == ()
            for message in outcome.outbox:
                self.mail[message.to_shard].append(message)
            outcomes.append(outcome)
        return outcomes


def test_a_ship_flies_on_over_the_border_with_its_player() -> None:
    world = TwoShards()
    ship = world.ship(0, -3, heading=0)
    ships = world.cores[0].shard[Ship]
    ships.thrust[:] = 1
    ships.score[:] = 55
    for _ in range(40):
        world.tick()
    there = world.cores[1].shard[Ship]
    row = int(there.rows_of(np.array([ship]))[0])
    assert row >= 0
    assert (there.score[row], there.thrust[row]) == (55, 1), "it holds its player's last command"
    assert there.at.vx[row] > 0
    assert int(world.cores[1].shard.player_rows(there, np.array([row]))[0]) >= 0


def test_a_shot_hits_over_the_border_once_and_pays_back_home() -> None:
    world = TwoShards()
    ship = world.ship(0, -6, heading=0)
    victim = world.ship(1, 6, heading=128)
    shooter, prey = world.cores[0].shard[Ship], world.cores[1].shard[Ship]
    prey.hp[:] = 20
    shooter.tapped[:] = 1
    for _ in range(12):
        world.tick()
    assert prey.rows_of(np.array([victim])).tolist() == [0]
    assert prey.hp[0] == 0
    assert shooter.rows_of(np.array([ship])).tolist() == [0]
    assert shooter.score[0] > 0
    assert world.cores[0].shard.players.kills[world.cores[0].shard.player_rows(shooter, np.array([0]))].tolist() == [1]
    assert [len(core.shard[Bolt]) for core in world.cores] == [0, 0]


def test_a_shot_along_the_border_grazes_who_stands_beyond_it_once() -> None:
    world = TwoShards()
    world.ship(0, -1, heading=64)
    world.ship(1, 0, heading=0)
    prey = world.cores[1].shard[Ship]
    prey.at.y[:] += world.cores[1].shard.units(12)
    world.cores[0].shard[Ship].tapped[:] = 1
    for _ in range(20):
        world.tick()
    assert prey.hp[0] == 80, "twenty for one bolt, however often it is told of"
    assert [len(core.shard[Bolt]) for core in world.cores] == [0, 0]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_a_crowd_at_a_border_nothing_is_lost_or_doubled(seed: int) -> None:
    grid = Grid(width=256, height=128, cell=32, shards=(2, 1), view=64)
    world = TwoShards(grid, seed)
    chance = random.Random(seed)
    for core in world.cores:
        drones = core.shard[Drone]
        drones.spawn(20)
        drones.at.x = world.border + (-1) ** (core.index + 1) * 2000
    crossed = 0
    for _ in range(400):
        for core in world.cores:
            ships = core.shard[Ship]
            rows = np.arange(len(ships))
            ships.turn[:] = [chance.randint(-1, 1) for _ in rows]
            ships.thrust[:] = [chance.randint(0, 1) for _ in rows]
            ships.fire[:] = [chance.randint(0, 1) for _ in rows]
        crossed += sum(message.kind == HANDOVER for outcome in world.tick() for message in outcome.outbox)
        tables = [rows for message in world.mail[0] + world.mail[1] if message.kind == HANDOVER
                  for rows in decode(message.body)[1]]  # fmt: skip
        for kind, count in ((Drone, 40), (Ship, 2)):
            away = [i for rows in tables if rows.name == kind.__name__ for i in rows.ids.tolist()]
            ids = away + [i for core in world.cores for i in core.shard[kind].ids.tolist()]
            assert len(ids) == len(set(ids)) == count, f"seed {seed}, tick {world.cores[0].tick}"
    assert crossed > 10
