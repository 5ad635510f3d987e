"""A small title with all that replication must cope with: moves, turns, jumps, births, deaths, owner fields."""

from __future__ import annotations

import numpy as np

from overworld.game import (
    OWNER,
    SERVER,
    Angle,
    Bool,
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
    UInt8,
    contract_of,
    cosines,
    sines,
)
from overworld.shard.core import ShardCore


class Sheep(Entity):
    at = Motion()
    heading = Angle()
    wool = UInt8(default=100)
    hunger = Int32(audience=OWNER)
    secret = Int32(audience=SERVER)


class Cloud(Entity):
    """Moves with a tolerance: watchers may be wrong by up to 30 units."""

    at = Motion(tolerance=30)
    grey = UInt8()


class Weather(Entity):
    """No motion: stands in the shard's first cell."""

    rain = UInt8()


class Walk(Input):
    turn = Int8(-1, 1)
    eat = Bool()


class Shepherd(Player):
    visits = Int32(audience=SERVER)


class Meadow(Title):
    name, version = "meadow", 1
    world = Grid(width=256, height=256, cell=32, shards=(2, 2), view=64)
    entities = (Sheep, Cloud, Weather)
    inputs = (Walk,)
    player = Shepherd
    grace_seconds = 2

    def __init__(self, sheep: int = 60, restless: int = 5) -> None:
        self.sheep = sheep
        self.restless = restless

    def setup(self, shard: Shard) -> None:
        rows = shard[Sheep].spawn(self.sheep)
        self._scatter(shard, rows)
        clouds = shard[Cloud]
        rows = clouds.spawn(20)
        x0, y0, x1, y1 = shard.bounds
        clouds.at.x[rows] = shard.random("cloud x", 20, x0, x1)
        clouds.at.y[rows] = shard.random("cloud y", 20, y0, y1)
        shard[Weather].spawn(1)

    def join(self, shard: Shard, players: Ints) -> None:
        rows = shard[Sheep].spawn(len(players))
        self._scatter(shard, rows)
        shard.give_avatar(players, shard[Sheep], rows)
        shard.players.visits[players] += 1

    def leave(self, shard: Shard, players: Ints) -> None:
        rows = shard.avatar_rows(players, Sheep)
        shard[Sheep].remove(rows[rows >= 0])

    def step(self, shard: Shard, inputs: Inputs) -> None:
        sheep, walk = shard[Sheep], inputs[Walk]
        np.add.at(sheep.heading, walk.row, walk.turn * 8)
        np.add.at(sheep.hunger, walk.row, -walk.eat)
        wild = shard.player_rows(sheep, np.arange(len(sheep))) < 0
        turning = wild & (shard.random("turn", len(sheep), 0, self.restless) == 0)
        sheep.heading[turning] += shard.random("by", int(turning.sum()), -20, 20)
        sheep.heading &= 255
        self._walk(shard)
        self._births_and_deaths(shard, wild)
        clouds, weather = shard[Cloud], shard[Weather]
        clouds.at.vx += shard.random("wind", len(clouds), -3, 4)
        clouds.at.advance()
        x0, _, x1, _ = shard.bounds
        np.clip(clouds.at.x, x0, x1 - 1, out=clouds.at.x)
        weather.rain[:] = shard.random("rain", len(weather), 0, 3)

    def _scatter(self, shard: Shard, rows: Ints) -> None:
        x0, y0, x1, y1 = shard.bounds
        sheep = shard[Sheep]
        sheep.at.x[rows] = shard.random("x", len(rows), x0, x1)
        sheep.at.y[rows] = shard.random("y", len(rows), y0, y1)
        sheep.heading[rows] = shard.random("heading", len(rows), 0, 256)

    def _walk(self, shard: Shard) -> None:
        sheep = shard[Sheep]
        x0, y0, x1, y1 = shard.bounds
        sheep.at.vx[:] = cosines(sheep.heading) * 300 >> 14
        sheep.at.vy[:] = sines(sheep.heading) * 300 >> 14
        sheep.at.advance()
        np.clip(sheep.at.x, x0, x1 - 1, out=sheep.at.x)
        np.clip(sheep.at.y, y0, y1 - 1, out=sheep.at.y)
        jumping = shard.random("jump", len(sheep), 0, 40) == 0
        sheep.at.x[jumping] = shard.random("to", int(jumping.sum()), x0, x1)

    def _births_and_deaths(self, shard: Shard, wild: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        sheep = shard[Sheep]
        sheep.remove(wild & (shard.random("wolf", len(sheep), 0, 50) == 0))
        self._scatter(shard, sheep.spawn(int(shard.random("lambs", 1, 0, 4)[0])))
        sheep.wool[shard.random("shear", len(sheep), 0, 3) == 0] -= 1
        sheep.wool &= 255


def meadow_core(shard: int = 0, seed: int = 1, title: Meadow | None = None) -> ShardCore:
    """A meadow set up and told to nobody yet."""
    title = title or Meadow()
    core = ShardCore(contract_of(title, "test", seed=seed), title, shard)
    core.setup()
    return core
