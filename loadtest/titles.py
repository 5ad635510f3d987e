"""Titles to measure with: `roam` at the density that puts 40 avatars into a view, and movers of other kinds.

roam      a new heading every 0.5 to 1 s, as people steer (`overworld.titles.roam`)
curve     a new velocity every tick: prediction never holds
straight  as shot out of a gun, turning only at the world's edge
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from overworld.game import (
    ANGLE_SCALE,
    Angle,
    Entity,
    Grid,
    Inputs,
    Ints,
    Motion,
    Shard,
    Title,
    cosines,
    sines,
)
from overworld.titles.roam import Roam

CELL = 32
VIEW = 64
VIEW_CELLS = 25
"""Cells that a view of two cells' length holds."""
IN_VIEW = 40
SPEED = 20
TICK_HZ = 20


def crowded_grid(count: int) -> Grid:
    """A world, all one shard, in which `count` entities put about 40 into a view."""
    side = CELL * max(3, math.ceil(math.sqrt(count * VIEW_CELLS / IN_VIEW)))
    return Grid(width=side, height=side, cell=CELL, view=VIEW, tick_hz=TICK_HZ)


class Mover(Entity):
    """Something that moves."""

    at = Motion()
    heading = Angle()


class Movers(Title):
    """Movers and no players."""

    count: ClassVar[int]
    curve: ClassVar[int]
    """Steps (of 256) that every heading changes by, every tick."""
    entities = (Mover,)

    def setup(self, shard: Shard) -> None:
        """All movers, anywhere: the same share of them in each shard."""
        movers = shard[Mover]
        rows = movers.spawn(self.count // shard.grid.shard_count)
        x0, y0, x1, y1 = shard.bounds
        movers.at.x[rows] = shard.random("x", len(rows), x0, x1)
        movers.at.y[rows] = shard.random("y", len(rows), y0, y1)
        movers.heading[rows] = shard.random("heading", len(rows), 0, 256)
        self._aim(shard, rows)

    def step(self, shard: Shard, inputs: Inputs) -> None:  # noqa: ARG002 - nobody plays
        """Turn, go on, bounce."""
        movers = shard[Mover]
        if self.curve:
            movers.heading += self.curve
            movers.heading &= 255
            self._aim(shard, np.arange(len(movers)))
        movers.at.advance()
        movers.at.bounce(shard.bounds)

    def _aim(self, shard: Shard, rows: Ints) -> None:
        movers = shard[Mover]
        speed = shard.units(SPEED) // TICK_HZ
        movers.at.vx[rows] = cosines(movers.heading[rows]) * speed // ANGLE_SCALE
        movers.at.vy[rows] = sines(movers.heading[rows]) * speed // ANGLE_SCALE


CURVES = {"curve": 3, "straight": 0}


def moving_title(motion: str, count: int) -> Title:
    """`count` entities that move like `motion`: roam, curve or straight."""
    if motion == "roam":
        title: Title = type(f"Roam{count}", (Roam,), {"world": crowded_grid(count)})(wanderers=count)
        return title
    declared = {
        "name": f"{motion}-{count}",
        "version": 1,
        "count": count,
        "curve": CURVES[motion],
        "world": crowded_grid(count),
    }
    movers: Title = type(f"{motion.title()}{count}", (Movers,), declared)()
    return movers


class Roam10000(Roam):
    """10,000 wanderers, and whoever plays."""

    name = "roam-10000"
    world = crowded_grid(10_000)

    def __init__(self) -> None:
        super().__init__(wanderers=10_000)


class Curve10000(Movers):
    """10,000 that turn at every tick."""

    name, version = "curve-10000", 1
    count, curve = 10_000, 3
    world = crowded_grid(10_000)


class Roam500(Roam):
    """A world in which 500 players see 40 each."""

    name = "roam-500"
    world = crowded_grid(500)


class Roam1000(Roam):
    """A world in which 1,000 players see 40 each."""

    name = "roam-1000"
    world = crowded_grid(1000)


class Shared(Movers):
    """2,000 movers, whatever shards the world is cut into; players look on from the shards' middles."""

    name, version = "shared", 1
    count, curve = 2000, 3
    world = Grid(width=2048, height=2048, cell=32, view=64, tick_hz=TICK_HZ)


class Empty(Shared):
    """Nobody."""

    name = "empty"
    count = 0
