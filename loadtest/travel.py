"""A title whose players cross borders all the time: they fly straight on, fast, and turn round at the world's ends.

What they steer is a little to the left or right, so that inputs, acks and owners' values are on their way at every
crossing.
"""

from __future__ import annotations

import numpy as np

from overworld.game import (
    ANGLE_SCALE,
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

SPEED = 64
"""Units a second: a shard of 4x4 is crossed in 8 s."""
HALF, FULL = 128, 256


class Flyer(Entity):
    """A player's avatar."""

    at = Motion()
    heading = Angle()
    turns = Int32()
    """Inputs taken: carried over every border."""
    strain = Int32(audience=OWNER)
    walls = Int32(audience=SERVER)


class Course(Input):
    """A little to the right or to the left."""

    turn = Int8(-6, 6)


class Traveller(Player):
    """What stays of a player between two visits."""

    turns = Int32()


class Travel(Title):
    """Nobody meets anybody, and everybody sees whoever comes near."""

    name, version = "travel", 1
    world = Grid(width=2048, height=2048, cell=64, shards=(4, 4), view=64)
    entities = (Flyer,)
    inputs = (Course,)
    player = Traveller
    grace_seconds = 60

    def join(self, shard: Shard, players: Ints) -> None:
        """An avatar anywhere, on its way."""
        flyers = shard[Flyer]
        rows = flyers.spawn(len(players))
        x0, y0, x1, y1 = shard.bounds
        flyers.at.x[rows] = shard.random("x", len(rows), x0, x1)
        flyers.at.y[rows] = shard.random("y", len(rows), y0, y1)
        flyers.heading[rows] = shard.random("heading", len(rows), 0, FULL)
        shard.give_avatar(players, flyers, rows)

    def leave(self, shard: Shard, players: Ints) -> None:
        """Note the turns, and take the avatar away."""
        rows = shard.avatar_rows(players, Flyer)
        players, rows = players[rows >= 0], rows[rows >= 0]
        shard.players.turns[players] += shard[Flyer].turns[rows]
        shard[Flyer].remove(rows)

    def step(self, shard: Shard, inputs: Inputs) -> None:
        """Turn, go on, turn round at the ends of the world."""
        flyers, course = shard[Flyer], inputs[Course]
        np.add.at(flyers.heading, course.row, course.turn)
        np.add.at(flyers.turns, course.row, 1)
        np.add.at(flyers.strain, course.row, np.abs(course.turn))
        x0, y0, x1, y1 = shard.grid.world_bounds
        aside = _outward(flyers.at.x, cosines(flyers.heading), x0, x1)
        flyers.heading[aside] = HALF - flyers.heading[aside]
        back = _outward(flyers.at.y, sines(flyers.heading), y0, y1)
        flyers.heading[back] = -flyers.heading[back]
        flyers.walls[aside] += 1
        flyers.walls[back] += 1
        flyers.heading &= FULL - 1
        speed = shard.units(SPEED) // shard.grid.tick_hz
        flyers.at.vx[:] = cosines(flyers.heading) * speed // ANGLE_SCALE
        flyers.at.vy[:] = sines(flyers.heading) * speed // ANGLE_SCALE
        flyers.at.advance()
        np.clip(flyers.at.x, x0, x1 - 1, out=flyers.at.x)
        np.clip(flyers.at.y, y0, y1 - 1, out=flyers.at.y)


class TravelOn(Travel):
    """The next version: a turn costs twice the strain, what was noted before counts as much. Nothing that gateways or
    clients have to know is different.
    """

    version = 2

    def migrate(self, table: str, from_version: int, columns: dict[str, Ints]) -> dict[str, Ints]:
        """Double what was noted."""
        if table == "Flyer" and from_version == 1:
            columns["strain"] = columns["strain"] * 2
        return columns

    def step(self, shard: Shard, inputs: Inputs) -> None:
        """As before, and once more the strain."""
        super().step(shard, inputs)
        course = inputs[Course]
        np.add.at(shard[Flyer].strain, course.row, np.abs(course.turn))


def _outward(place: Ints, direction: Ints, low: int, high: int) -> Ints:
    """Rows that stand at an end of the world and head out of it."""
    return np.flatnonzero(((place <= low) & (direction < 0)) | ((place >= high - 1) & (direction > 0)))
