"""Drones: the world's own life. Each thinks every third to half a second, and flies straight in between."""

from __future__ import annotations

import numpy as np

from overworld.game import ANGLE_SCALE, Ints, Shard, Table, cosines, octant_angle, sines
from overworld.titles.frontier.flight import spawn_bolts
from overworld.titles.frontier.kinds import DEAD, PROTECTED, Drone, Ship
from overworld.titles.frontier.rules import (
    DRONE_AIM_STEPS,
    DRONE_CALM,
    DRONE_DAMAGE,
    DRONE_TURN_STEPS,
    THINK_EVERY,
    Rules,
)


def hatch(shard: Shard, count: int, rules: Rules) -> None:
    """New drones, anywhere in the shard."""
    if not count:
        return
    drones = shard[Drone]
    rows = drones.spawn(count)
    x0, y0, x1, y1 = shard.bounds
    drones.at.x[rows] = shard.random("hatch", count, x0, x1)
    drones.at.y[rows] = shard.random("hatch", count, y0, y1)
    drones.heading[rows] = shard.random("hatch", count, 0, 256)
    drones.think_tick[rows] = shard.tick + shard.random("hatch", count, 1, rules.drone_think_ticks[1] + 1)


def think(shard: Shard, rules: Rules) -> None:
    """Drones whose time has come look for the nearest ship, choose heading and speed, and perhaps shoot."""
    if shard.tick % THINK_EVERY:
        return
    drones = shard[Drone]
    rows = np.flatnonzero(drones.think_tick <= shard.tick)
    if not len(rows):
        return
    ships = shard[Ship]
    drones.think_tick[rows] = shard.tick + shard.random("think", len(rows), *rules.drone_think_ticks)
    target, distance2 = _nearest(shard, drones.at.x[rows], drones.at.y[rows], rules.drone_sight)
    turned = drones.heading[rows] + shard.random("think", len(rows), -DRONE_TURN_STEPS, DRONE_TURN_STEPS + 1)
    speed = np.full(len(rows), rules.drone_speed, np.int64)
    chases = np.flatnonzero(target >= 0)
    hunters, prey = rows[chases], target[chases]
    turned[chases] = octant_angle(ships.at.x[prey] - drones.at.x[hunters], ships.at.y[prey] - drones.at.y[hunters])
    # Close by, it slows down rather than sit on its prey.
    speed[chases[distance2[chases] > rules.drone_keep_off**2]] = rules.drone_chase_speed
    drones.heading[rows] = turned & 255
    drones.at.vx[rows] = speed * cosines(turned) // ANGLE_SCALE
    drones.at.vy[rows] = speed * sines(turned) // ANGLE_SCALE
    eager = shard.random("shoot", len(rows), 0, DRONE_CALM) == 0
    shooters = np.flatnonzero(eager & (target >= 0) & (distance2 <= rules.drone_range**2))
    if len(shooters):
        off = shard.random("aim", len(shooters), -DRONE_AIM_STEPS, DRONE_AIM_STEPS + 1)
        spawn_bolts(shard, drones, rows[shooters], turned[shooters] + off, DRONE_DAMAGE, rules, hostile=1)


def move(shard: Shard, drones: Table) -> None:
    """Drones fly on, and turn round at the world's end."""
    drones.at.advance()
    hit = np.flatnonzero(drones.at.bounce(shard.grid.world_bounds))
    drones.heading[hit] = octant_angle(drones.at.vx[hit], drones.at.vy[hit])


def _nearest(shard: Shard, x: Ints, y: Ints, sight: int) -> tuple[Ints, Ints]:
    """Row of the nearest ship in sight of each point that may be shot at, -1 for none, and its squared distance."""
    ships = shard[Ship]
    i, j = shard.near_points(x, y, ships.at, sight)
    fair = (ships.flags[j] & (DEAD | PROTECTED)) == 0
    i, j = i[fair], j[fair]
    distance2 = (x[i] - ships.at.x[j]) ** 2 + (y[i] - ships.at.y[j]) ** 2
    order = np.lexsort((j, distance2, i))
    i, j, distance2 = i[order], j[order], distance2[order]
    first = np.flatnonzero(np.diff(i, prepend=-1))
    target, near2 = np.full(len(x), -1, np.int64), np.zeros(len(x), np.int64)
    target[i[first]], near2[i[first]] = j[first], distance2[first]
    return target, near2
