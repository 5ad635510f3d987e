"""Bolts that hit, ships and drones that die, and who gets the points: on either side of a border.

A bolt belongs to one shard at a time, and so does what it may hit. Where its way of a tick comes near another shard,
that shard is told the way, looks for itself, and answers to the bolt and to the ship that fired it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overworld.game import Ints, MotionColumns, Shard, Table
from overworld.titles.frontier.drones import hatch
from overworld.titles.frontier.kinds import DEAD, PROTECTED, Bolt, Drone, Points, Ship, Shot, Spent
from overworld.titles.frontier.rules import DEATH_TENTHS, DRONE_SCORE, KILL_SCORE, Rules


@dataclass(frozen=True)
class Volley:
    """Bolts on their way of one tick, int64[n] in each column: this shard's own, or those another told of."""

    at: MotionColumns
    ids: Ints
    owner: Ints
    home: Ints
    damage: Ints
    hostile: Ints


def hear(shard: Shard) -> None:
    """What other shards say of bolts and ships that are here."""
    spent = shard.messages(Spent)
    if len(spent):
        rows = shard[Bolt].rows_of(spent.entity)
        shard[Bolt].remove(rows[rows >= 0])
    points = shard.messages(Points)
    if len(points):
        ships = shard[Ship]
        rows = ships.rows_of(points.entity)
        np.add.at(ships.score, rows[rows >= 0], points.points[rows >= 0])
        pilots = shard.player_rows(ships, rows[rows >= 0])
        np.add.at(shard.players.kills, pilots[pilots >= 0], points.kills[rows >= 0][pilots >= 0])


def fly_and_hit(shard: Shard, rules: Rules) -> None:
    """Move all bolts; each hits one thing at most, and is gone. Call when everything else has moved."""
    _hit_from_outside(shard, rules)
    bolts = shard[Bolt]
    if not len(bolts):
        return
    bolts.at.advance()
    volley = Volley(bolts.at, bolts.ids, bolts.owner, bolts.home, bolts.damage, bolts.hostile)
    bolt, target = _hits(shard, volley, rules)
    hurt(shard, volley, bolt, target, rules)
    x0, y0, x1, y1 = shard.grid.world_bounds
    x, y = bolts.at.x, bolts.at.y
    over = (bolts.end_tick <= shard.tick) | (x < x0) | (x >= x1) | (y < y0) | (y >= y1)
    over[bolt] = True
    # A bolt in its last tick may still hit over there.
    free = np.ones(len(bolts), np.bool_)
    free[bolt] = False
    _tell_of_shots(shard, bolts, free, rules)
    bolts.remove(over)


def _hit_from_outside(shard: Shard, rules: Rules) -> None:
    """Bolts that came near in another shard's last tick."""
    shots = shard.messages(Shot)
    if not len(shots):
        return
    at = MotionColumns(shots.x, shots.y, shots.vx, shots.vy)
    volley = Volley(at, shots.bolt, shots.owner, shots.home, shots.damage, shots.hostile)
    bolt, target = _hits(shard, volley, rules)
    if not len(bolt):
        return
    ships, drones = shard[Ship], shard[Drone]
    before = np.concatenate((ships.struck, drones.struck))[target]
    bolt, target = bolt[before != volley.ids[bolt]], target[before != volley.ids[bolt]]
    at_ship = target < len(ships)
    ships.struck[target[at_ship]] = volley.ids[bolt[at_ship]]
    drones.struck[target[~at_ship] - len(ships)] = volley.ids[bolt[~at_ship]]
    hurt(shard, volley, bolt, target, rules)
    bolts = shard[Bolt]
    rows = bolts.rows_of(volley.ids[bolt])
    shard.send_to_entity(Spent, volley.ids[bolt[rows < 0]], shots.sender[bolt[rows < 0]])
    bolts.remove(rows[rows >= 0])


def _tell_of_shots(shard: Shard, bolts: Table, free: npt.NDArray[np.bool_], rules: Rules) -> None:
    """Tell other shards of the bolts whose way of this tick came near them."""
    at, reach = bolts.at, rules.hit_radius + rules.ship_speed
    low_x, high_x = np.minimum(at.x, at.x - at.vx) - reach, np.maximum(at.x, at.x - at.vx) + reach
    low_y, high_y = np.minimum(at.y, at.y - at.vy) - reach, np.maximum(at.y, at.y - at.vy) + reach
    x0, y0, x1, y1 = shard.bounds
    near = free & ((low_x < x0) | (high_x >= x1) | (low_y < y0) | (high_y >= y1))
    if not near.any():
        return
    rows = np.flatnonzero(near)
    corners = [(x[rows], y[rows]) for x in (low_x, high_x) for y in (low_y, high_y)]
    told = [np.full(len(rows), shard.index, np.int64)]
    for x, y in corners:
        there = shard.grid.shards_of(x, y)
        new = np.flatnonzero(np.all([there != earlier for earlier in told], axis=0))
        told.append(there)
        chosen = rows[new]
        shard.send_to_place(
            Shot, x[new], y[new], bolt=bolts.ids[chosen], owner=bolts.owner[chosen], home=bolts.home[chosen],
            x=at.x[chosen], y=at.y[chosen], vx=at.vx[chosen], vy=at.vy[chosen],
            damage=bolts.damage[chosen], hostile=bolts.hostile[chosen],
        )  # fmt: skip


def _hits(shard: Shard, volley: Volley, rules: Rules) -> tuple[Ints, Ints]:
    """(bolt, target) rows, one pair a bolt at most; targets are the ships, then the drones.

    Nobody hits himself, the dead or the protected, and drones spare each other. Of two in its way a bolt hits a ship
    before a drone, and the elder of two ships.
    """
    ships, drones = shard[Ship], shard[Drone]
    everything = MotionColumns(*(np.concatenate(pair) for pair in zip(_columns(ships), _columns(drones), strict=True)))
    i, j = shard.near_swept(volley.at, everything, rules.hit_radius)
    if not len(i):
        return i, j
    touchable = np.concatenate(((ships.flags & (DEAD | PROTECTED)) == 0, np.ones(len(drones), np.bool_)))
    ids = np.concatenate((ships.ids, drones.ids))
    fair = touchable[j] & (volley.owner[i] != ids[j]) & ((j < len(ships)) | (volley.hostile[i] == 0))
    i, j = i[fair], j[fair]
    first = np.flatnonzero(np.diff(i, prepend=-1))
    return i[first], j[first]


def _columns(table: Table) -> tuple[Ints, Ints, Ints, Ints]:
    at = table.at
    return at.x, at.y, at.vx, at.vy


def hurt(shard: Shard, volley: Volley, bolt: Ints, target: Ints, rules: Rules) -> None:
    """Bolts at places `bolt` of the volley hit what is at `target`: ships, then drones."""
    ship_count = len(shard[Ship])
    at_ship = target < ship_count
    _hurt_ships(shard, volley, bolt[at_ship], target[at_ship], rules)
    _hurt_drones(shard, volley, bolt[~at_ship], target[~at_ship] - ship_count, rules)


def _wound(table: Table, volley: Volley, i: Ints, j: Ints) -> tuple[Ints, Ints]:
    """Take the damage of bolts i off the hp of rows j. Returns the rows that died and the last bolt that hit each."""
    damage, last = np.zeros(len(table), np.int64), np.zeros(len(table), np.int64)
    np.add.at(damage, j, volley.damage[i])
    np.maximum.at(last, j, i)
    died = np.flatnonzero((damage >= table.hp) & (damage > 0))
    table.hp = np.maximum(table.hp - damage, 0)
    return died, last[died]


def _hurt_ships(shard: Shard, volley: Volley, i: Ints, j: Ints, rules: Rules) -> None:
    if not len(i):
        return
    ships, pilots = shard[Ship], shard.players
    died, last = _wound(ships, volley, i, j)
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
    _reward(shard, volley, last, KILL_SCORE + loss, kills=1)


def _hurt_drones(shard: Shard, volley: Volley, i: Ints, j: Ints, rules: Rules) -> None:
    if not len(i):
        return
    drones = shard[Drone]
    died, last = _wound(drones, volley, i, j)
    if len(died):
        _reward(shard, volley, last, np.full(len(died), DRONE_SCORE, np.int64), kills=0)
        drones.remove(died)
        hatch(shard, len(died), rules)


def _reward(shard: Shard, volley: Volley, bolts: Ints, points: Ints, kills: int) -> None:
    """Give the ships that fired these bolts their points, wherever they are by now."""
    ships, owners = shard[Ship], volley.owner[bolts]
    rows = ships.rows_of(owners)
    here = rows >= 0
    np.add.at(ships.score, rows[here], points[here])
    pilots = shard.player_rows(ships, rows[here])
    np.add.at(shard.players.kills, pilots[pilots >= 0], kills)
    gone = ~here & (volley.hostile[bolts] == 0)
    if gone.any():
        there = volley.home[bolts[gone]]
        # Fired here by one who is not here: gone on, or gone for good.
        shard.send_to_entity(Points, owners[gone], there, points=points[gone], kills=np.full(len(there), kills))
