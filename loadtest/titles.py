"""Titles that are nothing but moving entities, to measure what a moving entity costs.

A world holds `count` movers at the density that puts 40 of them into a view of 3 x 3 cells. They move in one of these
ways:

    roam      a new heading every 0.5 to 1 s, as people steer
    curve     a new velocity every tick: prediction never holds
    straight  as shot out of a gun, turning only at the world's edge
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from overworld.game import (
    ANGLE_SCALE,
    SERVER,
    Angle,
    Entity,
    Grid,
    Inputs,
    Int32,
    Ints,
    Motion,
    Shard,
    Title,
    cosines,
    sines,
)

CELL = 32
IN_VIEW = 40
SPEED = 12
"""Metres a second."""
TICK_HZ = 20


class Mover(Entity):
    """Something that moves."""

    at = Motion()
    heading = Angle()
    turn_at = Int32(audience=SERVER)


class MoverTitle(Title):
    """Movers and no players."""

    count: ClassVar[int]
    turn_ticks: ClassVar[tuple[int, int]]
    """A mover turns after low <= ticks < high; (0, 0): never by itself."""
    curve: ClassVar[int] = 0
    """Steps (of 256) that every heading changes by, every tick."""
    entities = (Mover,)

    def setup(self, shard: Shard) -> None:
        movers = shard[Mover]
        rows = movers.spawn(self.count)
        x0, y0, x1, y1 = shard.bounds
        movers.at.x[rows] = shard.random("x", len(rows), x0, x1)
        movers.at.y[rows] = shard.random("y", len(rows), y0, y1)
        movers.heading[rows] = shard.random("heading", len(rows), 0, 256)
        self._steer(shard, rows)

    def step(self, shard: Shard, inputs: Inputs) -> None:  # noqa: ARG002 - nobody plays
        movers = shard[Mover]
        if self.curve:
            movers.heading += self.curve
            movers.heading &= 255
            self._aim(shard, np.arange(len(movers)))
        elif self.turn_ticks[1]:
            rows = np.flatnonzero(movers.turn_at == shard.tick)
            movers.heading[rows] = shard.random("heading", len(rows), 0, 256)
            self._steer(shard, rows)
        self._bounce(shard)
        movers.at.advance()

    def _steer(self, shard: Shard, rows: Ints) -> None:
        """Go where the heading points, and settle when to turn next."""
        if self.turn_ticks[1]:
            shard[Mover].turn_at[rows] = shard.tick + shard.random("turn", len(rows), *self.turn_ticks)
        self._aim(shard, rows)

    def _aim(self, shard: Shard, rows: Ints) -> None:
        movers = shard[Mover]
        speed = shard.units(SPEED) // TICK_HZ
        movers.at.vx[rows] = cosines(movers.heading[rows]) * speed // ANGLE_SCALE
        movers.at.vy[rows] = sines(movers.heading[rows]) * speed // ANGLE_SCALE

    def _bounce(self, shard: Shard) -> None:
        """Turn back what would leave the shard."""
        at = shard[Mover].at
        x0, y0, x1, y1 = shard.bounds
        for place, velocity, low, high in ((at.x, at.vx, x0, x1), (at.y, at.vy, y0, y1)):
            beyond = place + velocity
            out = (beyond < low) | (beyond >= high)
            velocity[out] *= -1


TURNS = {"roam": (10, 21), "curve": (0, 0), "straight": (0, 0)}


def mover_title(motion: str, count: int) -> type[MoverTitle]:
    """The title of `count` movers that move like `motion`: roam, curve or straight."""
    side = CELL * max(3, round(math.sqrt(count / (IN_VIEW / 9))))
    declared = {
        "name": f"load-{motion}-{count}",
        "version": 1,
        "count": count,
        "turn_ticks": TURNS[motion],
        "curve": 3 if motion == "curve" else 0,
        "world": Grid(width=side, height=side, cell=CELL, view=CELL, tick_hz=TICK_HZ),
    }
    return type(f"Load{motion.title()}{count}", (MoverTitle,), declared)


LoadRoam10000 = mover_title("roam", 10_000)
LoadCurve10000 = mover_title("curve", 10_000)
