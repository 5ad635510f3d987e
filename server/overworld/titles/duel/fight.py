"""Fighters that run, shoot, fall and return."""

from __future__ import annotations

import numpy as np

from overworld.game import ANGLE_SCALE, InputColumns, Ints, Shard, Table, cosines, sines
from overworld.titles.duel.islands import Islands
from overworld.titles.duel.kinds import HP_MAX, RUNNING, Arena, Fighter, Shot

SPEED, SHOT_SPEED = 24, 72
"""Units a second."""
RADIUS = 2
COOLDOWN_MS, RETURN_MS = 300, 1500
_DIAGONAL = 181
"""256 / sqrt(2): who goes along both axes is no faster."""


def take_commands(fighters: Table, act: InputColumns) -> None:
    """Hold each player's last command."""
    if not len(act):
        return
    last = act.last()
    fighters.right[last.row], fighters.down[last.row] = last.right, last.down
    fighters.aim[last.row], fighters.fire[last.row] = last.aim, last.fire


def place(shard: Shard, islands: Islands, rows: Ints) -> None:
    """Put the fighters at these rows anywhere in their arenas, whole and standing."""
    fighters = shard[Fighter]
    arena = fighters.arena[rows]
    fighters.at.x[rows] = islands.x0[arena] + shard.random("place", len(rows), 0, islands.side)
    fighters.at.y[rows] = islands.y0[arena] + shard.random("place", len(rows), 0, islands.side)
    fighters.at.vx[rows] = 0
    fighters.at.vy[rows] = 0
    fighters.hp[rows] = HP_MAX


def come_back(shard: Shard, islands: Islands) -> None:
    """The fallen whose time is over return."""
    fighters = shard[Fighter]
    rows = np.flatnonzero((fighters.hp == 0) & (fighters.return_tick <= shard.tick))
    if len(rows):
        place(shard, islands, rows)


def run(shard: Shard, islands: Islands) -> None:
    """Everybody alive moves; walls stop."""
    fighters, at = shard[Fighter], shard[Fighter].at
    one, hz = shard.grid.units_per_one, shard.grid.tick_hz
    speed = np.where((fighters.right != 0) & (fighters.down != 0), _DIAGONAL, 256) * (fighters.hp > 0)
    speed = speed * (SPEED * one // hz) >> 8
    # Where the velocity would leave the arena it ends at the wall: then watchers' predictions end there too.
    x0, y0 = islands.x0[fighters.arena], islands.y0[fighters.arena]
    far = islands.side - 1
    at.vx = np.clip(at.x + fighters.right * speed, x0, x0 + far) - at.x
    at.vy = np.clip(at.y + fighters.down * speed, y0, y0 + far) - at.y
    at.advance()


def shoot(shard: Shard) -> None:
    """Who holds the trigger fires, in arenas where a round runs."""
    fighters, shots = shard[Fighter], shard[Shot]
    ready = (fighters.fire != 0) & (fighters.fire_tick <= shard.tick) & (fighters.hp > 0)
    rows = np.flatnonzero(ready)
    rows = rows[shard[Arena].phase[fighters.arena[rows]] == RUNNING]
    if not len(rows):
        return
    grid, aim = shard.grid, fighters.aim[rows]
    speed = SHOT_SPEED * grid.units_per_one // grid.tick_hz
    new = shots.spawn(len(rows))
    shots.at.x[new], shots.at.y[new] = fighters.at.x[rows], fighters.at.y[rows]
    shots.at.vx[new] = speed * cosines(aim) // ANGLE_SCALE
    shots.at.vy[new] = speed * sines(aim) // ANGLE_SCALE
    shots.arena[new], shots.owner[new] = fighters.arena[rows], fighters.ids[rows]
    fighters.fire_tick[rows] = shard.tick + COOLDOWN_MS * grid.tick_hz // 1000


def fly_and_hit(shard: Shard, islands: Islands) -> None:
    """Shots move; each takes one hp of the first in its way and is gone. Who takes the last one scores."""
    shots, fighters = shard[Shot], shard[Fighter]
    if not len(shots):
        return
    shots.at.advance()
    i, j = shard.near_swept(shots.at, fighters.at, RADIUS * shard.grid.units_per_one)
    fair = (fighters.hp[j] > 0) & (shots.owner[i] != fighters.ids[j])
    i, j = i[fair], j[fair]
    first = np.flatnonzero(np.diff(i, prepend=-1))
    i, j = i[first], j[first]
    _wound(shard, i, j)
    x, y = shots.at.x - islands.x0[shots.arena], shots.at.y - islands.y0[shots.arena]
    over = (x < 0) | (y < 0) | (x >= islands.side) | (y >= islands.side)
    over[i] = True
    shots.remove(over)


def _wound(shard: Shard, i: Ints, j: Ints) -> None:
    shots, fighters = shard[Shot], shard[Fighter]
    wounds, last = np.zeros(len(fighters), np.int64), np.zeros(len(fighters), np.int64)
    np.add.at(wounds, j, 1)
    np.maximum.at(last, j, i)
    fallen = np.flatnonzero((wounds >= fighters.hp) & (wounds > 0))
    fighters.hp = np.maximum(fighters.hp - wounds, 0)
    fighters.return_tick[fallen] = shard.tick + RETURN_MS * shard.grid.tick_hz // 1000
    winners = fighters.rows_of(shots.owner[last[fallen]])
    np.add.at(fighters.score, winners[winners >= 0], 1)
