"""The rules of frontier, verb by verb."""

from __future__ import annotations

import numpy as np

from overworld.game import Grid, Inputs, Ints, Shard, Title
from overworld.titles.frontier import combat, crystals, drones, flight, lance
from overworld.titles.frontier.kinds import (
    Beam,
    Bolt,
    Crystal,
    Drone,
    Lance,
    Pilot,
    Points,
    Ship,
    Shot,
    Spent,
    Steer,
)
from overworld.titles.frontier.rules import rules_of


class Frontier(Title):
    """A top-down open world: ships with inertia, bolts, drones and crystals. Nobody notices where shards meet."""

    name, version = "frontier", 1
    world = Grid(width=1536, height=1536, cell=32, shards=(2, 1), view=64, tick_hz=20)
    entities = (Ship, Bolt, Drone, Crystal)
    inputs = (Steer, Lance)
    messages = (Shot, Spent, Points, Beam)
    # A player 200 ms away on a bad network sees others some 450 ms ago.
    rewind_ms = 500
    player = Pilot

    def setup(self, shard: Shard) -> None:
        """Drones and crystals, as many as the shard's area carries."""
        rules = rules_of(shard.grid)
        drones.hatch(shard, rules.drones, rules)
        crystals.grow(shard, rules.crystals)

    def join(self, shard: Shard, players: Ints) -> None:
        """A ship for each, with the score of the last visit."""
        ships = shard[Ship]
        rows = ships.spawn(len(players))
        flight.launch(shard, ships, rows, rules_of(shard.grid))
        ships.score[rows] = shard.players.score[players]
        shard.give_avatar(players, ships, rows)

    def leave(self, shard: Shard, players: Ints) -> None:
        """Note the score, and take the ship away."""
        ships, pilots = shard[Ship], shard.players
        rows = shard.avatar_rows(players, Ship)
        players, rows = players[rows >= 0], rows[rows >= 0]
        pilots.score[players] = ships.score[rows]
        pilots.best[players] = np.maximum(pilots.best[players], ships.score[rows])
        ships.remove(rows)

    def step(self, shard: Shard, inputs: Inputs) -> None:
        """One tick: commands, guns, motion, hits, crystals."""
        rules, ships = rules_of(shard.grid), shard[Ship]
        combat.hear(shard)
        # A call on an empty table costs as much as one on a hundred rows, and most shards of a large world are empty.
        if len(ships):
            flight.take_commands(ships, inputs[Steer])
            flight.come_back(shard, ships, rules)
            flight.turn(shard, ships)
            flight.shoot(shard, ships, rules)
        if len(shard[Drone]):
            drones.think(shard, rules)
        before = ships.at.x.copy(), ships.at.y.copy()
        if len(ships):
            flight.fly(shard, ships, rules)
        if len(shard[Drone]):
            drones.move(shard, shard[Drone])
        combat.fly_and_hit(shard, rules)
        lance.strike(shard, inputs[Lance], before, rules)
        if len(ships):
            crystals.collect(shard, rules)
