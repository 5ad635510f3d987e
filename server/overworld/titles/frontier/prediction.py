"""How a ship moves, told to clients: the rules of `flight` for one ship, over plain whole numbers.

Depends on nothing but what a ship's own player is told, so a client can play its own inputs ahead of the server and be
right to the bit. The page has the same in JavaScript (`gateway/web/game/prediction.js`); tests hold all three together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from overworld.game import ANGLE_SCALE, Grid, cosines, sines
from overworld.titles.frontier.kinds import DEAD
from overworld.titles.frontier.rules import BRAKE_SHIFT, THRUST_SHIFT, TURN_STEPS, rules_of

PREDICTED = ("x", "y", "vx", "vy", "heading", "turn", "thrust")
"""Columns of a ship that `flight_rule` predicts."""
ANGLES = {"heading": 256}

Columns = dict[str, int]
Command = tuple[str, Mapping[str, int]]


def flight_rule(grid: Grid) -> Callable[[Columns, Sequence[Command]], Columns]:
    """The rule for a world of this size: a ship's columns a tick later, given its player's inputs of that tick."""
    rules, (x0, y0, x1, y1) = rules_of(grid), grid.world_bounds
    every = np.arange(256)
    cos, sin = cosines(every).tolist(), sines(every).tolist()
    speed, least = rules.ship_speed, rules.ease_least

    def fly(ship: Columns, commands: Sequence[Command]) -> Columns:
        after = dict(ship)
        for kind, fields in commands:
            if kind == "Steer":
                after["turn"], after["thrust"] = fields["turn"], fields["thrust"]
        alive = not after["flags"] & DEAD
        if alive:
            after["heading"] = (after["heading"] + after["turn"] * TURN_STEPS) & 255
        if alive and after["thrust"]:
            ahead = after["thrust"] > 0
            full, shift = (speed, THRUST_SHIFT) if ahead else (0, BRAKE_SHIFT)
            after["vx"] = ease(after["vx"], full * cos[after["heading"]] // ANGLE_SCALE, shift, least)
            after["vy"] = ease(after["vy"], full * sin[after["heading"]] // ANGLE_SCALE, shift, least)
        after["x"], after["vx"] = reflect(after["x"] + after["vx"], after["vx"], x0, x1)
        after["y"], after["vy"] = reflect(after["y"] + after["vy"], after["vy"], y0, y1)
        return after

    return fly


def ease(value: int, wanted: int, shift: int, least: int) -> int:
    """A velocity on its way to the one wanted: 1/2**shift of what is missing, and no less than `least`."""
    missing = wanted - value
    part = min(max(abs(missing) >> shift, least), abs(missing))
    return value - part if missing < 0 else value + part


def reflect(position: int, velocity: int, low: int, high: int) -> tuple[int, int]:
    """One axis of `bounce`."""
    if low <= position < high:
        return position, velocity
    inside = 2 * low - position if position < low else 2 * (high - 1) - position
    away = abs(velocity) if position < low else -abs(velocity)
    return min(max(inside, low), high - 1), away
