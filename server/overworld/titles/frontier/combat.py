"""Bolts that hit, ships and drones that die, and who gets the points."""

from __future__ import annotations

import numpy as np

from overworld.game import Ints, MotionColumns, Shard, Table
from overworld.titles.frontier.drones import hatch
from overworld.titles.frontier.kinds import DEAD, PROTECTED, Bolt, Drone, Ship
from overworld.titles.frontier.rules import DEATH_TENTHS, DRONE_SCORE, KILL_SCORE, Rules


def fly_and_hit(shard: Shard, rules: Rules) -> None:
    """Move all bolts; each hits one thing at most, and is gone. Call when everything else has moved."""
    bolts = shard[Bolt]
    if not len(bolts):
        return
    bolts.at.advance()
    bolt, target = _hits(shard, bolts, rules)
    ship_count = len(shard[Ship])
    at_ship = target < ship_count
    _hurt_ships(shard, bolts, bolt[at_ship], target[at_ship], rules)
    _hurt_drones(shard, bolts, bolt[~at_ship], target[~at_ship] - ship_count, rules)
    x0, y0, x1, y1 = shard.bounds
    x, y = bolts.at.x, bolts.at.y
    over = (bolts.end_tick <= shard.tick) | (x < x0) | (x >= x1) | (y < y0) | (y >= y1)
    over[bolt] = True
    bolts.remove(over)


def _hits(shard: Shard, bolts: Table, rules: Rules) -> tuple[Ints, Ints]:
    """(bolt, target) rows, one pair a bolt at most; targets are the ships, then the drones.

    Nobody hits himself, the dead or the protected, and drones spare each other. Of two in its way a bolt hits a ship
    before a drone, and the elder of two ships.
    """
    ships, drones = shard[Ship], shard[Drone]
    everything = MotionColumns(*(np.concatenate(pair) for pair in zip(_columns(ships), _columns(drones), strict=True)))
    i, j = shard.near_swept(bolts.at, everything, rules.hit_radius)
    if not len(i):
        return i, j
    touchable = np.concatenate(((ships.flags & (DEAD | PROTECTED)) == 0, np.ones(len(drones), np.bool_)))
    ids = np.concatenate((ships.ids, drones.ids))
    fair = touchable[j] & (bolts.owner[i] != ids[j]) & ((j < len(ships)) | (bolts.hostile[i] == 0))
    i, j = i[fair], j[fair]
    first = np.flatnonzero(np.diff(i, prepend=-1))
    return i[first], j[first]


def _columns(table: Table) -> tuple[Ints, Ints, Ints, Ints]:
    at = table.at
    return at.x, at.y, at.vx, at.vy


def _wound(table: Table, bolts: Table, i: Ints, j: Ints) -> tuple[Ints, Ints]:
    """Take the damage of bolts i off the hp of rows j. Returns the rows that died and the last bolt that hit each."""
    damage, last = np.zeros(len(table), np.int64), np.zeros(len(table), np.int64)
    np.add.at(damage, j, bolts.damage[i])
    np.maximum.at(last, j, i)
    died = np.flatnonzero((damage >= table.hp) & (damage > 0))
    table.hp = np.maximum(table.hp - damage, 0)
    return died, last[died]


def _hurt_ships(shard: Shard, bolts: Table, i: Ints, j: Ints, rules: Rules) -> None:
    if not len(i):
        return
    ships, pilots = shard[Ship], shard.players
    died, last = _wound(ships, bolts, i, j)
    if not len(died):
        return
    ships.flags[died] = DEAD
    ships.at.vx[died] = 0
    ships.at.vy[died] = 0
    ships.respawn_tick[died] = shard.tick + rules.respawn_ticks
    victims = shard.player_rows(ships, died)
    known = victims >= 0
    pilots.deaths[victims[known]] += 1
    pilots.best[victims[known]] = np.maximum(pilots.best[victims[known]], ships.score[died[known]])
    loss = ships.score[died] * DEATH_TENTHS // 10
    ships.score[died] -= loss
    killers = _reward(ships, bolts.owner[last], KILL_SCORE + loss)
    rows = shard.player_rows(ships, killers)
    np.add.at(pilots.kills, rows[rows >= 0], 1)


def _hurt_drones(shard: Shard, bolts: Table, i: Ints, j: Ints, rules: Rules) -> None:
    if not len(i):
        return
    drones = shard[Drone]
    died, last = _wound(drones, bolts, i, j)
    if len(died):
        _reward(shard[Ship], bolts.owner[last], np.full(len(died), DRONE_SCORE, np.int64))
        drones.remove(died)
        hatch(shard, len(died), rules)


def _reward(ships: Table, owners: Ints, points: Ints) -> Ints:
    """Add points to the ships with these ids, as far as they are still there. Returns their rows."""
    rows = ships.rows_of(owners)
    np.add.at(ships.score, rows[rows >= 0], points[rows >= 0])
    return rows[rows >= 0]
