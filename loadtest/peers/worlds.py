"""Roam for any number of players, as a title that processes load by name.

    loadtest.peers.worlds:RoamB500          500 players, 40 in a view on average, borders of the world counted
    loadtest.peers.worlds:RoamA500          500 players who all see all
    loadtest.peers.worlds:RoamB500W9500     and 9,500 wanderers: 40 of both in a view

The classes are made when they are asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from overworld.game import Grid, Title
from overworld.titles.roam import Roam

CELL, VIEW, TICK_HZ = 64, 64, 20
IN_VIEW = 40
REACH = VIEW // CELL
_NAME = re.compile(r"Roam([AB])(\d+)(?:W(\d+))?")

Part = Literal["A", "B"]


@dataclass(frozen=True)
class Workload:
    """Part A: all see all. Part B: a view holds 40. `wanderers`: avatars that the server itself moves."""

    part: Part
    players: int
    wanderers: int = 0

    @property
    def title(self) -> str:
        """As a process's setting."""
        more = f"W{self.wanderers}" if self.wanderers else ""
        return f"{__name__}:Roam{self.part}{self.players}{more}"

    @property
    def side(self) -> int:
        """Cells across the world."""
        return REACH + 1 if self.part == "A" else side_for(self.players + self.wanderers)


def side_for(entities: int) -> int:
    """The side, in cells, of the square world in which a view holds closest to 40 of so many."""
    return min(range(2, 1000), key=lambda side: abs(in_view(entities, side) - IN_VIEW))


def in_view(entities: int, side: int) -> float:
    """How many a view holds on average where entities are anywhere alike: views are cut off at the world's borders."""
    lengths = [min(side - 1, at + REACH) - max(0, at - REACH) + 1 for at in range(side)]
    return entities * (sum(lengths) / side**2) ** 2


def __getattr__(name: str) -> type[Title]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise AttributeError(name)
    work = Workload("A" if match[1] == "A" else "B", int(match[2]), int(match[3] or 0))
    length = work.side * CELL

    def made(self: Roam) -> None:
        Roam.__init__(self, wanderers=work.wanderers // type(self).world.shard_count)

    grid = Grid(width=length, height=length, cell=CELL, view=VIEW, tick_hz=TICK_HZ)
    return type(name, (Roam,), {"name": name.lower(), "world": grid, "__init__": made, "__module__": __name__})
