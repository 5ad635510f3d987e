"""The title that simulations play: small and quick, with everything exact, so that pictures can be compared.

Its shards are small and its horses fast: there is always one on its way over a border, and its neighs are heard there.
"""

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
    Int64,
    Ints,
    Message,
    Motion,
    Player,
    Shard,
    Table,
    Title,
    cosines,
    sines,
)

HORSES = 6
"""Wild ones in each shard at the beginning. They live for ever."""
SPEED = 400


class Horse(Entity):
    at = Motion()
    heading = Angle()
    steps = Int32()
    thirst = Int32(audience=OWNER)
    neighs = Int32(audience=SERVER)
    answers = Int32(audience=SERVER)


class Ride(Input):
    turn = Int8(-1, 1)
    pace = Int8(0, 3)


class Neigh(Message):
    """From a horse to the place ahead of it, in whichever shard that is; or back to the horse."""

    horse = Int64()


class Rider(Player):
    turns = Int32(audience=SERVER)


class Pasture(Title):
    name, version = "pasture", 1
    world = Grid(width=192, height=128, cell=32, shards=(3, 1), view=64)
    entities = (Horse,)
    inputs = (Ride,)
    messages = (Neigh,)
    player = Rider
    grace_seconds = 60

    def setup(self, shard: Shard) -> None:
        self._place(shard, shard[Horse].spawn(HORSES))

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
        horses.at.vx[:] = cosines(horses.heading) * SPEED >> 14
        horses.at.vy[:] = sines(horses.heading) * SPEED >> 14
        horses.at.advance()
        x0, y0, x1, y1 = shard.grid.world_bounds
        np.clip(horses.at.x, x0, x1 - 1, out=horses.at.x)
        np.clip(horses.at.y, y0, y1 - 1, out=horses.at.y)
        self._neigh(shard, horses)

    def _neigh(self, shard: Shard, horses: Table) -> None:
        """A neigh is heard at the place ahead of a horse, and answered to the horse: each is counted."""
        heard = shard.messages(Neigh)
        answers = heard.entity != 0
        rows = horses.rows_of(heard.entity[answers])
        np.add.at(horses.answers, rows[rows >= 0], 1)
        shard.send_to_entity(Neigh, heard.horse[~answers], heard.sender[~answers], horse=heard.horse[~answers])
        rows = np.flatnonzero(shard.random("neigh", len(horses), 0, 20) == 0)
        ahead = horses.at.x[rows] + horses.at.vx[rows] * 20
        shard.send_to_place(Neigh, ahead, horses.at.y[rows], horse=horses.ids[rows])
        horses.neighs[rows] += 1

    def _place(self, shard: Shard, rows: Ints) -> None:
        x0, y0, x1, y1 = shard.bounds
        horses = shard[Horse]
        horses.at.x[rows] = shard.random("x", len(rows), x0, x1)
        horses.at.y[rows] = shard.random("y", len(rows), y0, y1)
