"""Ships that steer, fly, shoot, rest and come back."""

from __future__ import annotations

import numpy as np

from overworld.game import ANGLE_SCALE, InputColumns, Ints, Shard, Table, cosines, sines
from overworld.titles.frontier.kinds import DEAD, ENERGY_MAX, HP_MAX, PROTECTED, THRUSTING, Bolt
from overworld.titles.frontier.rules import BRAKE_SHIFT, SHIP_DAMAGE, THRUST_SHIFT, TURN_STEPS, Rules


def somewhere(shard: Shard, stream: str, count: int) -> tuple[Ints, Ints]:
    """Places in the shard, x and y int64[count]: rare at the walls, frequent in the middle, where one meets others."""
    x0, y0, x1, y1 = shard.bounds
    x = shard.random(stream, count, x0, x1) + shard.random(stream, count, x0, x1)
    y = shard.random(stream, count, y0, y1) + shard.random(stream, count, y0, y1)
    return x // 2, y // 2


def take_commands(ships: Table, steer: InputColumns) -> None:
    """Hold each player's last command of this tick; a trigger pulled and let go within the tick still counts."""
    if not len(steer):
        return
    ships.tapped[steer.row[steer.fire == 1]] = 1
    last = steer.last()
    ships.turn[last.row] = last.turn
    ships.thrust[last.row] = last.thrust
    ships.fire[last.row] = last.fire


def come_back(shard: Shard, ships: Table, rules: Rules) -> None:
    """Dead ships whose time is over appear elsewhere, whole and protected for a moment."""
    dead = np.flatnonzero(ships.flags & DEAD)
    rows = dead[ships.respawn_tick[dead] <= shard.tick]
    if len(rows):
        launch(shard, ships, rows, rules)


def launch(shard: Shard, ships: Table, rows: Ints, rules: Rules) -> None:
    """Put the ships at these rows somewhere, at rest, whole and protected."""
    ships.at.x[rows], ships.at.y[rows] = somewhere(shard, "launch", len(rows))
    ships.at.vx[rows] = 0
    ships.at.vy[rows] = 0
    ships.heading[rows] = shard.random("launch", len(rows), 0, 256)
    ships.hp[rows] = HP_MAX
    ships.energy[rows] = ENERGY_MAX
    ships.flags[rows] = PROTECTED
    ships.safe_tick[rows] = shard.tick + rules.safe_ticks


def turn(shard: Shard, ships: Table) -> None:
    """Turn what turns, and show who thrusts and who is protected."""
    alive = (ships.flags & DEAD) == 0
    ships.heading += np.where(alive, ships.turn * TURN_STEPS, 0)
    ships.heading &= 255
    thrusting = np.where(ships.thrust > 0, THRUSTING, 0)
    protected = np.where(ships.safe_tick > shard.tick, PROTECTED, 0)
    ships.flags = np.where(alive, thrusting | protected, DEAD)


def fly(shard: Shard, ships: Table, rules: Rules) -> None:
    """Thrust eases the velocity towards full speed ahead, the brake towards none; who coasts flies straight, which
    costs no bytes. Easing is exact: the velocity wanted is reached, and then stays the same number.
    """
    pushed = np.flatnonzero((ships.thrust != 0) & ((ships.flags & DEAD) == 0))
    if len(pushed):
        ahead = ships.thrust[pushed] > 0
        heading = ships.heading[pushed]
        full = np.where(ahead, rules.ship_speed, 0)
        shift = np.where(ahead, THRUST_SHIFT, BRAKE_SHIFT)
        at = ships.at
        at.vx[pushed] = _ease(at.vx[pushed], full * cosines(heading) // ANGLE_SCALE, shift, rules.ease_least)
        at.vy[pushed] = _ease(at.vy[pushed], full * sines(heading) // ANGLE_SCALE, shift, rules.ease_least)
    ships.at.advance()
    ships.at.bounce(shard.grid.world_bounds)


def _ease(value: Ints, wanted: Ints, shift: Ints, least: int) -> Ints:
    missing = wanted - value
    part = np.minimum(np.maximum(np.abs(missing) >> shift, least), np.abs(missing))
    eased: Ints = np.where(missing < 0, value - part, value + part)
    return eased


def shoot(shard: Shard, ships: Table, rules: Rules) -> None:
    """Ships with the trigger pulled fire, if the gun is cool and the energy lasts. Who fires gives up protection."""
    tick = shard.tick
    able = (ships.fire_tick <= tick) & (ships.energy > 0) & ((ships.flags & DEAD) == 0)
    rows = np.flatnonzero(able & ((ships.fire | ships.tapped) != 0))
    ships.tapped = 0
    if len(rows):
        ships.energy[rows] -= 1
        ships.fire_tick[rows] = tick + rules.cooldown_ticks
        ships.safe_tick[rows] = tick
        ships.flags[rows] &= ~PROTECTED
        spawn_bolts(shard, ships, rows, ships.heading[rows], SHIP_DAMAGE, rules)
    hungry = np.flatnonzero((ships.energy < ENERGY_MAX) & (ships.recharge_tick <= tick))
    ships.energy[hungry] += 1
    ships.recharge_tick[hungry] = tick + rules.recharge_ticks


def spawn_bolts(
    shard: Shard, owners: Table, rows: Ints, heading: Ints, damage: int, rules: Rules, hostile: int = 0
) -> None:
    """One bolt from each of these rows of `owners`, towards `heading` int64[n]. It keeps its owner's own motion."""
    bolts, at = shard[Bolt], owners.at
    new = bolts.spawn(len(rows))
    ahead_x, ahead_y = cosines(heading), sines(heading)
    bolts.at.x[new] = at.x[rows] + ahead_x * rules.nose // ANGLE_SCALE
    bolts.at.y[new] = at.y[rows] + ahead_y * rules.nose // ANGLE_SCALE
    bolts.at.vx[new] = at.vx[rows] + ahead_x * rules.muzzle_speed // ANGLE_SCALE
    bolts.at.vy[new] = at.vy[rows] + ahead_y * rules.muzzle_speed // ANGLE_SCALE
    bolts.owner[new] = owners.ids[rows]
    bolts.home[new] = shard.index
    bolts.damage[new] = damage
    bolts.hostile[new] = hostile
    bolts.end_tick[new] = shard.tick + rules.bolt_ticks
