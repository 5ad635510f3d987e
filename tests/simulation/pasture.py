"""The title that simulations play: small and quick, with everything exact, so that pictures can be compared."""

from __future__ import annotations

import numpy as np

from overworld.game import (
    OWNER,
    SERVER,
    Angle,
    Entity,
    Grid,
    Input,
    Inputs,
    Int8,
    Int32,
    Ints,
    Motion,
    Player,
    Shard,
    Title,
    cosines,
    sines,
)


class Horse(Entity):
    at = Motion()
    heading = Angle()
    steps = Int32()
    thirst = Int32(audience=OWNER)


class Ride(Input):
    turn = Int8(-1, 1)
    pace = Int8(0, 3)


class Rider(Player):
    turns = Int32(audience=SERVER)


class Pasture(Title):
    name, version = "pasture", 1
    world = Grid(width=256, height=128, cell=32, shards=(2, 1), view=64)
    entities = (Horse,)
    inputs = (Ride,)
    player = Rider
    grace_seconds = 60

    def setup(self, shard: Shard) -> None:
        self._place(shard, shard[Horse].spawn(6))

    def join(self, shard: Shard, players: Ints) -> None:
        rows = shard[Horse].spawn(len(players))
        self._place(shard, rows)
        shard.give_avatar(players, shard[Horse], rows)

    def leave(self, shard: Shard, players: Ints) -> None:
        rows = shard.avatar_rows(players, Horse)
        shard[Horse].remove(rows[rows >= 0])

    def step(self, shard: Shard, inputs: Inputs) -> None:
        horses, ride = shard[Horse], inputs[Ride]
        np.add.at(horses.heading, ride.row, ride.turn * 16)
        np.add.at(horses.steps, ride.row, ride.pace)
        np.add.at(horses.thirst, ride.row, 1)
        np.add.at(shard.players.turns, ride.player, ride.turn)
        shying = shard.random("shy", len(horses), 0, 30) == 0
        horses.heading[shying] += shard.random("away", int(shying.sum()), -60, 60)
        horses.heading &= 255
        horses.at.vx[:] = cosines(horses.heading) * 200 >> 14
        horses.at.vy[:] = sines(horses.heading) * 200 >> 14
        horses.at.advance()
        x0, y0, x1, y1 = shard.bounds
        np.clip(horses.at.x, x0, x1 - 1, out=horses.at.x)
        np.clip(horses.at.y, y0, y1 - 1, out=horses.at.y)

    def _place(self, shard: Shard, rows: Ints) -> None:
        x0, y0, x1, y1 = shard.bounds
        horses = shard[Horse]
        horses.at.x[rows] = shard.random("x", len(rows), x0, x1)
        horses.at.y[rows] = shard.random("y", len(rows), y0, y1)
