"""A title to crowd into: everybody stays within one view of everybody else, and turns often."""

from __future__ import annotations

import numpy as np

from overworld.game import (
    ANGLE_SCALE,
    Entity,
    Grid,
    Inputs,
    Interest,
    Ints,
    Moment,
    Motion,
    Shard,
    Title,
    cosines,
    sines,
)

SPEED = 4
"""Units a second."""
CELL = 48
ROOM = (2 * CELL, 4 * CELL)
"""From where to where everything stays, both ways: two cells, all of which a view holds from either."""


class Ship(Entity):
    """A player's, or nobody's: both fly alike, and take a new heading every 0.2 to 0.4 s."""

    at = Motion()
    turn_tick = Moment()


class Throng(Title):
    """`drones` ships that nobody plays, and one for each player."""

    name, version = "throng", 1
    world = Grid(width=288, height=288, cell=CELL, view=64, tick_hz=20)
    interest = Interest(rings=(20, 28, 40, 56), plots=12)
    entities = (Ship,)
    drones = 900

    def setup(self, shard: Shard) -> None:
        """The drones."""
        self._spawn(shard, self.drones)

    def join(self, shard: Shard, players: Ints) -> None:
        """A ship each."""
        shard.give_avatar(players, shard[Ship], self._spawn(shard, len(players)))

    def leave(self, shard: Shard, players: Ints) -> None:
        """Remove their ships."""
        rows = shard.avatar_rows(players, Ship)
        shard[Ship].remove(rows[rows >= 0])

    def step(self, shard: Shard, inputs: Inputs) -> None:  # noqa: ARG002 - nobody steers
        """Turn, go on, bounce."""
        ships, hz = shard[Ship], shard.grid.tick_hz
        rows = np.flatnonzero(ships.turn_tick <= shard.tick)
        heading = shard.random("turn", len(rows), 0, 256)
        ships.turn_tick[rows] = shard.tick + shard.random("turn", len(rows), hz // 5, 2 * hz // 5 + 1)
        speed = shard.units(SPEED) // hz
        ships.at.vx[rows] = cosines(heading) * speed // ANGLE_SCALE
        ships.at.vy[rows] = sines(heading) * speed // ANGLE_SCALE
        ships.at.advance()
        low, high = shard.units(ROOM[0]), shard.units(ROOM[1])
        ships.at.bounce((low, low, high, high))

    def _spawn(self, shard: Shard, count: int) -> Ints:
        ships = shard[Ship]
        rows = ships.spawn(count)
        low, high = shard.units(ROOM[0]), shard.units(ROOM[1])
        ships.at.x[rows] = shard.random("place", count, low, high)
        ships.at.y[rows] = shard.random("place", count, low, high)
        ships.turn_tick[rows] = shard.tick + shard.random("turn", count, 1, shard.grid.tick_hz + 1)
        return rows


class SmallThrong(Throng):
    """For a quick run."""

    name = "small-throng"
    interest = Interest(rings=(20, 28, 40, 56), plots=12, nearest=4)
    drones = 190
