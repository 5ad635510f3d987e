"""Players of frontier that know how to play: they use only what a client sees, and only inputs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from overworld.game import Table, octant_angle
from overworld.titles.frontier import Crystal, Drone, Ship, Steer
from overworld.titles.frontier.kinds import DEAD, PROTECTED
from tests.titles.play import Command, Play

Hands = tuple[int, int, int]

ONE = 256
SIGHT = 64 * ONE
DECIDE_EVERY = 4


def commands(play: Play, players: list[int], held: dict[int, Hands]) -> list[Command]:
    """What these players do now. They decide every fourth tick, one after another, and send only what changes."""
    sent: list[Command] = []
    for player in players:
        row = play.avatar(player, Ship) if (player + play.core.tick) % DECIDE_EVERY == 0 else -1
        if row >= 0:
            hands = _hands(play, row)
            if held.get(player) != hands:
                held[player] = hands
                sent.append((player, Steer, hands))
    return sent


def _hands(play: Play, row: int) -> Hands:
    """Fight what is near, or else collect, or else fly on."""
    ships = play[Ship]
    fair = (ships.flags & (DEAD | PROTECTED)) == 0
    fair[row] = False
    enemy, drone = _nearest(ships, row, ships, fair), _nearest(ships, row, play[Drone])
    prey = min((seen for seen in (enemy, drone) if seen is not None), default=None)
    if prey is not None:
        distance, off = prey
        return _turn(off), int(distance > 25 * ONE), int(abs(off) <= 7 and distance < 55 * ONE)
    crystal = _nearest(ships, row, play[Crystal])
    if crystal is not None:
        return _turn(crystal[1]), 1 if abs(crystal[1]) < 40 else -1, 0
    return 0, 1, 0


def _nearest(ships: Table, row: int, table: Table, fair: npt.NDArray[np.bool_] | None = None) -> tuple[int, int] | None:
    """Distance and bearing of the nearest in sight, None for nothing."""
    dx, dy = table.at.x - ships.at.x[row], table.at.y - ships.at.y[row]
    distance2 = dx * dx + dy * dy
    seen = distance2 < SIGHT**2 if fair is None else fair & (distance2 < SIGHT**2)
    if not seen.any():
        return None
    at = int(np.where(seen, distance2, 2**60).argmin())
    bearing = int(octant_angle(dx[at : at + 1], dy[at : at + 1])[0]) - int(ships.heading[row])
    return int(distance2[at] ** 0.5), (bearing + 128) % 256 - 128


def _turn(off: int) -> int:
    return 0 if abs(off) <= 4 else (1 if off > 0 else -1)
