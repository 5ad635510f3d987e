"""Small rooms of frontier to measure in: a shooting range where nobody ends, and an arena."""

from __future__ import annotations

import numpy as np

from overworld.game import Grid, Inputs, Shard
from overworld.titles.frontier.kinds import ENERGY_MAX, HP_MAX, Ship
from overworld.titles.frontier.title import Frontier


class Range(Frontier):
    """No drones, no crystals. A ship's score is how often it was hit; the damage is made good."""

    name, version = "range", 1
    world = Grid(width=64, height=64, cell=32, shards=(1, 1), view=64, tick_hz=20)

    def setup(self, shard: Shard) -> None:
        """Nothing but space."""

    def step(self, shard: Shard, inputs: Inputs) -> None:
        """As frontier; hits are counted and made good."""
        super().step(shard, inputs)
        ships = shard[Ship]
        ships.score += np.where(ships.hp < HP_MAX, 1, 0)
        ships.hp, ships.energy, ships.safe_tick = HP_MAX, ENERGY_MAX, 0


class Arena(Frontier):
    """Frontier in a room that everybody sees the whole of."""

    name, version = "arena", 1
    world = Grid(width=256, height=256, cell=32, shards=(1, 1), view=256, tick_hz=20)
