"""A tiny title whose entities do nothing but cross the border between two shards, again and again."""

from __future__ import annotations

import numpy as np

from overworld.game import Entity, Grid, Input, Inputs, Int8, Int32, Ints, Message, Motion, Player, Shard, Title

BOATS = 5


class Boat(Entity):
    at = Motion()
    name = Int32()
    waves = Int32()


class Steer(Input):
    vx = Int8()


class Wave(Message):
    """To the boats of both sides."""

    count = Int32()


class Sailor(Player):
    trips = Int32()


class Ferry(Title):
    """Two shards side by side. Each begins with `BOATS` boats, whose names are unique; players' boats come on top."""

    name, version = "ferry", 1
    world = Grid(width=128, height=64, cell=32, shards=(2, 1), view=32)
    entities = (Boat,)
    inputs = (Steer,)
    messages = (Wave,)
    player = Sailor
    grace_seconds = 1

    def setup(self, shard: Shard) -> None:
        boats = shard[Boat]
        rows = boats.spawn(BOATS)
        x0, y0, x1, y1 = shard.bounds
        boats.at.x[rows] = shard.random("x", BOATS, x0, x1)
        boats.at.y[rows] = shard.random("y", BOATS, y0, y1)
        boats.at.vx[rows] = 300 + 200 * np.arange(BOATS)
        boats.name[rows] = shard.index * 100 + np.arange(BOATS)

    def join(self, shard: Shard, players: Ints) -> None:
        boats = shard[Boat]
        rows = boats.spawn(len(players))
        x0, y0, x1, y1 = shard.bounds
        boats.at.x[rows], boats.at.y[rows] = (x0 + x1) // 2, (y0 + y1) // 2
        boats.name[rows] = -1
        shard.give_avatar(players, boats, rows)

    def leave(self, shard: Shard, players: Ints) -> None:
        rows = shard.avatar_rows(players, Boat)
        shard[Boat].remove(rows[rows >= 0])

    def step(self, shard: Shard, inputs: Inputs) -> None:
        boats = shard[Boat]
        boats.waves += int(shard.messages(Wave).count.sum())
        steer = inputs[Steer].last()
        boats.at.vx[steer.row] = steer.vx * 100
        shard.players.trips[steer.player] += 1
        boats.at.advance()
        boats.at.bounce(shard.grid.world_bounds)
        if shard.tick % 10 == 0:
            _, y0, _, y1 = shard.bounds
            x = np.array([shard.units(32), shard.units(96)])
            shard.send_to_place(Wave, x, np.full(2, (y0 + y1) // 2), count=np.array([1, 1]))
