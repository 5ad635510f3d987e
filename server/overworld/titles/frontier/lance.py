"""The lance: a ray that is there at once, judged by what the shooter saw.

The shooter's screen shows the others on their way between two ticks that were told, or beyond the newest by their
velocity where the next was late, and the own ship between the last tick and this one, because it is played ahead. The
input says which, in whole 256ths of ticks, and the same is computed here again in whole numbers. The ray is drawn there
from the own ship's nose, and it hits what it touches there. How far back that may be is bounded by
`Frontier.rewind_ms`, how far ahead of a told tick by `AHEAD_TICKS_MAX`.

Over a border the ray goes by message: what is hit there is judged by the present of that shard, which counts its ticks
apart and hears of the ray a tick or two later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overworld.game import ANGLE_SCALE, InputColumns, Ints, MotionColumns, Shard, Table, cosines, sines
from overworld.titles.frontier.combat import Volley, hurt
from overworld.titles.frontier.kinds import DEAD, PROTECTED, Beam, Drone, Lance, Ship
from overworld.titles.frontier.rules import LANCE_DAMAGE, LANCE_ENERGY, TURN_STEPS, Rules

PARTS = 256
"""Parts of a tick in which a client says where between two ticks it drew."""
AHEAD_TICKS_MAX = 4
"""None is hit further ahead of a told tick: who claims to have heard nothing for long may not choose among places."""


@dataclass(frozen=True)
class Rays:
    """Rays of one tick, int64[n] in each column: from (x, y) towards (ahead_x, ahead_y) / ANGLE_SCALE."""

    x: Ints
    y: Ints
    ahead_x: Ints
    ahead_y: Ints
    owner: Ints
    home: Ints

    def only(self, kept: Ints) -> Rays:
        """Those at these places."""
        return Rays(*(column[kept] for column in vars(self).values()))


def strike(shard: Shard, lance: InputColumns, before: tuple[Ints, Ints], rules: Rules) -> None:
    """Let lances loose. Call when ships have moved; `before`: their x and y when the tick began."""
    _strike_from_outside(shard, rules)
    if not len(lance):
        return
    ships = shard[Ship]
    lance = lance.last()
    able = (ships.lance_tick[lance.row] <= shard.tick) & (ships.energy[lance.row] >= LANCE_ENERGY)
    at = np.flatnonzero(able & ((ships.flags[lance.row] & DEAD) == 0))
    if not len(at):
        return
    rows = lance.row[at]
    ships.energy[rows] -= LANCE_ENERGY
    ships.lance_tick[rows] = shard.tick + rules.lance_ticks
    ships.safe_tick[rows] = shard.tick
    ships.flags[rows] &= ~PROTECTED
    rays = _rays(shard, rows, lance.own_part[at], before, rules)
    ships.lanced[rows] = (ships.lanced[rows] + 1) & 255
    _judge(shard, rays, lance.seen_tick[at], lance.seen_part[at], lance.seen_span[at], rules)
    _tell(shard, rays, rules)


def _rays(shard: Shard, rows: Ints, part: Ints, before: tuple[Ints, Ints], rules: Rules) -> Rays:
    """From the noses of these ships, as their own players saw them: `part` of the way into this tick."""
    ships = shard[Ship]
    x = before[0][rows] + (ships.at.x[rows] - before[0][rows]) * part // PARTS
    y = before[1][rows] + (ships.at.y[rows] - before[1][rows]) * part // PARTS
    # The whole angle step nearest to what is drawn of this tick's turn.
    turn = ships.turn[rows] * TURN_STEPS
    heading = ships.heading[rows] - turn + (turn * part + PARTS // 2) // PARTS
    ahead_x, ahead_y = cosines(heading), sines(heading)
    nose_x, nose_y = ahead_x * rules.nose // ANGLE_SCALE, ahead_y * rules.nose // ANGLE_SCALE
    ships.lance_angle[rows] = heading & 255
    home = np.full(len(rows), shard.index, np.int64)
    return Rays(x + nose_x, y + nose_y, ahead_x, ahead_y, ships.ids[rows], home)


def _judge(shard: Shard, rays: Rays, seen_tick: Ints, part: Ints, span: Ints, rules: Rules) -> None:
    """Hurt what the rays touch where their shooters saw it: int64[n] each, as in `Lance`."""
    ships, drones = shard[Ship], shard[Drone]
    tick = shard.seen(seen_tick)
    # Nobody can have been told of this tick, nor see what lies beyond it.
    span = np.minimum(span, shard.tick - 1 - tick)
    ahead = np.where(span > 0, span, np.minimum(shard.tick - tick, AHEAD_TICKS_MAX))
    # A tick that had to be moved was not the one seen: then its part says nothing either.
    part = np.where(tick == seen_tick, np.minimum(part, ahead * PARTS), 0)
    sights = np.stack((tick, part, span))
    for sight in np.unique(sights, axis=1).T:
        chosen = np.flatnonzero((sights == sight[:, None]).all(axis=0))
        targets, at = _seen_at(shard, ships, drones, *sight.tolist())
        _hit(shard, rays.only(chosen), targets, at, rules)


def _seen_at(
    shard: Shard, ships: Table, drones: Table, tick: int, part: int, span: int
) -> tuple[Ints, tuple[Ints, Ints]]:
    """(rows of ships, then of drones behind them; their x and y) as a client draws them: see `Lance`. Those that are
    gone are left out.
    """
    rows, places = [], []
    for table, kind, first in ((ships, Ship, 0), (drones, Drone, len(ships))):
        past, later = shard.rewind(tick, kind), shard.rewind(tick + span, kind)
        x, y = past.at.x.copy(), past.at.y.copy()
        if part and not span:
            x, y = x + past.at.vx * part // PARTS, y + past.at.vy * part // PARTS
        elif part and len(later):
            i = np.minimum(np.searchsorted(later.ids, past.ids), len(later) - 1)
            dx, dy = later.at.x[i] - x, later.at.y[i] - y
            flew = (later.ids[i] == past.ids) & ~_jumped(shard, later.at, i, dx, dy, span)
            x += np.where(flew, dx * part // (span * PARTS), 0)
            y += np.where(flew, dy * part // (span * PARTS), 0)
        here = past.rows >= 0
        rows.append(past.rows[here] + first)
        places.append((x[here], y[here]))
        assert len(table) >= int(here.sum())
    x, y = (np.concatenate(axis) for axis in zip(*places, strict=True))
    return np.concatenate(rows), (x, y)


def _jumped(shard: Shard, at: MotionColumns, i: Ints, dx: Ints, dy: Ints, span: int) -> npt.NDArray[np.bool_]:
    """Which of these ways was no flight and is not drawn: clients' own measure (`client/track`)."""
    vx, vy = at.vx[i], at.vy[i]
    off_x, off_y = dx - vx * span, dy - vy * span
    snap = shard.grid.cell_size // 2 + 4 * span * (np.abs(vx) + np.abs(vy))
    return np.asarray(off_x * off_x + off_y * off_y > snap * snap)


def _hit(shard: Shard, rays: Rays, targets: Ints, at: tuple[Ints, Ints], rules: Rules) -> None:
    """Each ray hurts the first thing it touches."""
    ships, drones = shard[Ship], shard[Drone]
    if not len(targets):
        return
    dx, dy = at[0] - rays.x[:, None], at[1] - rays.y[:, None]
    along = (dx * rays.ahead_x[:, None] + dy * rays.ahead_y[:, None]) // ANGLE_SCALE
    across = (dx * rays.ahead_y[:, None] - dy * rays.ahead_x[:, None]) // ANGLE_SCALE
    touchable = np.concatenate(((ships.flags & (DEAD | PROTECTED)) == 0, np.ones(len(drones), np.bool_)))
    ids = np.concatenate((ships.ids, drones.ids))
    touched = (np.abs(across) <= rules.hit_radius) & (along >= -rules.nose) & (along <= rules.lance_reach)
    touched &= touchable[targets] & (ids[targets] != rays.owner[:, None])
    far = np.where(touched, along, rules.lance_reach + 1)
    nearest = np.argmin(far, axis=1)
    hit = np.flatnonzero(touched.any(axis=1))
    if not len(hit):
        return
    still = np.zeros(len(hit), np.int64)
    chosen = rays.only(hit)
    volley = Volley(
        MotionColumns(chosen.x, chosen.y, still, still), still, chosen.owner, chosen.home,
        np.full(len(hit), LANCE_DAMAGE, np.int64), still,
    )  # fmt: skip
    hurt(shard, volley, np.arange(len(hit)), targets[nearest[hit]], rules)


def _tell(shard: Shard, rays: Rays, rules: Rules) -> None:
    """Tell the shards that the rays reach into."""
    told = [np.full(len(rays.x), shard.index, np.int64)]
    for share in (2, 1):
        x = rays.x + rays.ahead_x * (rules.lance_reach // share) // ANGLE_SCALE
        y = rays.y + rays.ahead_y * (rules.lance_reach // share) // ANGLE_SCALE
        there = shard.grid.shards_of(x, y)
        new = np.flatnonzero(np.all([there != earlier for earlier in told], axis=0))
        told.append(there)
        if len(new):
            chosen = rays.only(new)
            shard.send_to_place(
                Beam, x[new], y[new], x=chosen.x, y=chosen.y, ahead_x=chosen.ahead_x, ahead_y=chosen.ahead_y,
                owner=chosen.owner, home=chosen.home,
            )  # fmt: skip


def _strike_from_outside(shard: Shard, rules: Rules) -> None:
    beams = shard.messages(Beam)
    if not len(beams):
        return
    rays = Rays(beams.x, beams.y, beams.ahead_x, beams.ahead_y, beams.owner, beams.home)
    none = np.zeros(len(beams), np.int64)
    _judge(shard, rays, none, none, none, rules)


__all__ = ["PARTS", "Lance", "strike"]
