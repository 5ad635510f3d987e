"""Roam: the plain title that costs are measured with. Avatars go straight on at one speed and bounce at walls."""

from __future__ import annotations

import numpy as np

from overworld.game import (
    ANGLE_SCALE,
    Angle,
    Bool,
    Entity,
    Grid,
    Input,
    Inputs,
    Ints,
    Moment,
    Motion,
    Shard,
    Table,
    Title,
    cosines,
    sines,
)

SPEED = 20
"""Units a second of everything that moves."""


class Avatar(Entity):
    """A player."""

    at = Motion()


class Wanderer(Entity):
    """An avatar that nobody plays: it takes a new heading every half to whole second."""

    at = Motion()
    turn_tick = Moment()


class Heading(Input):
    """Go on in a direction, or stand."""

    angle = Angle()
    on = Bool()


class Roam(Title):
    """`wanderers` is how many each shard gets when it is set up; it is no part of the world's contract."""

    name, version = "roam", 1
    world = Grid(width=1024, height=1024, cell=32, view=64)
    entities = (Avatar, Wanderer)
    inputs = (Heading,)

    def __init__(self, wanderers: int = 0) -> None:
        self._wanderers = wanderers

    def setup(self, shard: Shard) -> None:
        """The wanderers, anywhere."""
        wanderers = shard[Wanderer]
        rows = wanderers.spawn(self._wanderers)
        _scatter(shard, wanderers, rows)
        wanderers.turn_tick[rows] = shard.random("turn", len(rows), 1, shard.grid.tick_hz + 1)

    def join(self, shard: Shard, players: Ints) -> None:
        """An avatar anywhere, standing."""
        avatars = shard[Avatar]
        rows = avatars.spawn(len(players))
        _scatter(shard, avatars, rows)
        shard.give_avatar(players, avatars, rows)

    def leave(self, shard: Shard, players: Ints) -> None:
        """Remove the avatars."""
        rows = shard.avatar_rows(players, Avatar)
        shard[Avatar].remove(rows[rows >= 0])

    def step(self, shard: Shard, inputs: Inputs) -> None:
        """Turn, go on, bounce."""
        avatars, wanderers = shard[Avatar], shard[Wanderer]
        heading = inputs[Heading].last()
        if len(heading):
            _head(shard, avatars, heading.row, heading.angle, heading.on)
        rows = np.flatnonzero(wanderers.turn_tick <= shard.tick)
        if len(rows):
            hz = shard.grid.tick_hz
            _head(shard, wanderers, rows, shard.random("turn", len(rows), 0, 256), np.ones(len(rows), np.int64))
            wanderers.turn_tick[rows] = shard.tick + shard.random("turn", len(rows), max(1, hz // 2), hz + 1)
        for table in (avatars, wanderers):
            table.at.advance()
            table.at.bounce(shard.grid.world_bounds)


def _scatter(shard: Shard, table: Table, rows: Ints) -> None:
    x0, y0, x1, y1 = shard.bounds
    table.at.x[rows] = shard.random("place", len(rows), x0, x1)
    table.at.y[rows] = shard.random("place", len(rows), y0, y1)


def _head(shard: Shard, table: Table, rows: Ints, angle: Ints, on: Ints) -> None:
    speed = SPEED * shard.grid.units_per_one // shard.grid.tick_hz * on
    table.at.vx[rows] = speed * cosines(angle) // ANGLE_SCALE
    table.at.vy[rows] = speed * sines(angle) // ANGLE_SCALE
