"""Small rooms of frontier to measure in: a shooting range where nobody ends, and an arena."""

from __future__ import annotations

import numpy as np

from overworld.game import Grid, Inputs, Shard
from overworld.titles.frontier.kinds import ENERGY_MAX, HP_MAX, Ship
from overworld.titles.frontier.rules import rules_of
from overworld.titles.frontier.title import Frontier


class Range(Frontier):
    """No drones, no crystals, guns always ready. A ship's score is how often it was hit; the damage is undone."""

    name, version = "range", 1
    world = Grid(width=64, height=64, cell=32, shards=(1, 1), view=64, tick_hz=20)

    def setup(self, shard: Shard) -> None:
        """Nothing but space."""

    def step(self, shard: Shard, inputs: Inputs) -> None:
        """As frontier; hits are counted and made good."""
        super().step(shard, inputs)
        ships = shard[Ship]
        ships.score += np.where(ships.hp < HP_MAX, 1, 0)
        ships.hp, ships.energy, ships.safe_tick, ships.lance_tick = HP_MAX, ENERGY_MAX, 0, 0


class Bumpers(Range):
    """A range where ships are bumped: now and then each gets a push that its player cannot know of."""

    name, version = "bumpers", 1

    def step(self, shard: Shard, inputs: Inputs) -> None:
        """As in the range; one tick in twenty pushes a ship by up to half its speed."""
        super().step(shard, inputs)
        ships = shard[Ship]
        push = rules_of(shard.grid).ship_speed // 2
        bumped = shard.random("bumped", len(ships), 0, 20) == 0
        for axis, velocity in (("bump-x", ships.at.vx), ("bump-y", ships.at.vy)):
            velocity += np.where(bumped, shard.random(axis, len(ships), -push, push + 1), 0)


class Arena(Frontier):
    """Frontier in a room that everybody sees the whole of."""

    name, version = "arena", 1
    world = Grid(width=256, height=256, cell=32, shards=(1, 1), view=256, tick_hz=20)


class Parade(Range):
    """A range with room to fly about in, that everybody sees the whole of."""

    name, version = "parade", 1
    world = Grid(width=384, height=384, cell=32, shards=(1, 1), view=384, tick_hz=20)
