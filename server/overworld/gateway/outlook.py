"""How far plots lie from a plot that viewers look from, and how far what they must be told at every tick reaches. Pure.

Gateways do not know where anything is, only how many rows stand in each plot (`Populations`). Plots whose middles lie
within some distance of the middle of the viewer's plot, and which hold N rows, say how far the N nearest reach; every
plot of which a corner may lie within that (and half a plot more, for viewers and rows stand anywhere in their plots) is
read. A proof for every place in both plots would take a plot and a half, twice as many rows, and more than a budget
has: so where rows stand in clumps within their plots, the last of the N may be left out, never the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from overworld.world.grid import Grid
from overworld.world.interest import FOCUS_MARGIN_SHIFT, ROWS_MAX, Interest, Places

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

SLACK_PLOTS = 0.5
MOST_PLOTS = 256
"""So many plots nearest to the viewer hold enough rows as a rule; the rest is looked at where they do not."""


class Census:
    """How many rows stand in each plot of split cells, as workers told last."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._spare: Bytes = np.zeros(places.of_level, np.uint8)
        """By plot, how many rows are missing to ROWS_MAX: memory that nobody writes to is not there, and where
        nobody has told anything no more has to be known.
        """
        self._told: dict[int, Ints] = {}

    def take(self, shard: int, cells: Ints, rows: Bytes) -> bool:
        """Rows of each plot, uint8[len(cells) * plots of a cell], of all split cells of a shard, int64. False where
        they do not fit this world.
        """
        of_cell = self._places.of_cell
        if len(rows) != len(cells) * of_cell or (len(cells) and int(cells.max()) * of_cell >= len(self._spare)):
            return False
        by_cell = self._spare.reshape(-1, of_cell)
        before = self._told.get(shard)
        if before is not None and not np.array_equal(before, cells):
            by_cell[before] = 0
        by_cell[cells] = ROWS_MAX - rows.reshape(-1, of_cell)
        self._told[shard] = cells
        return True

    def rows(self, plots: Ints) -> Bytes:
        """Of these plots, uint8[n]; ROWS_MAX for that many and more, and where nothing is known."""
        rows: Bytes = ROWS_MAX - self._spare[plots]
        return rows


@dataclass(frozen=True)
class Plots:
    """Plots of one shard, nearest first: as places, int64[n], and how near they may be, in cells, float64[n]."""

    places: Ints
    nearest: Floats


@dataclass(frozen=True)
class Outlook:
    """What is in view from one plot. Read only: it is shared. `by_shard`: its plots. `outward`: all of them by the
    distance of their middles, as places int64[n]; `reaches`: how far whatever counts to them reaches, in cells,
    float64[n].
    """

    by_shard: dict[int, Plots]
    outward: Ints
    reaches: Floats

    def reach(self, census: Census, count: int) -> float:
        """How far the nearest `count` rows reach, in cells; infinite where fewer are in view."""
        for many in (MOST_PLOTS, len(self.outward)):
            total = census.rows(self.outward[:many]).cumsum(dtype=np.int64)
            at = int(total.searchsorted(count))
            if at < len(total):
                return float(self.reaches[at])
        return np.inf


@lru_cache(maxsize=16_384)
def outlook_from(grid: Grid, plots: int, center: int, focus: int) -> Outlook:
    """From the plot `focus` in the view of the cell `center`; `plots` to a cell's side."""
    places = Places(grid, Interest(plots=plots))
    cells = np.repeat(np.array(grid.view_of(center), np.int64), places.of_cell)
    of_view = cells * places.of_cell + np.tile(np.arange(places.of_cell, dtype=np.int64), len(grid.view_of(center)))

    def at(place: Ints) -> Ints:
        cell, plot = place // places.of_cell, place % places.of_cell
        return np.stack((cell % grid.cells_x * plots + plot % plots, cell // grid.cells_x * plots + plot // plots))

    apart = np.abs(at(of_view) - at(np.array([focus])))
    # A viewer counts to its plot until it is some way beyond it.
    margin = 1 + 1 / (1 << FOCUS_MARGIN_SHIFT)
    nearest = np.sqrt((np.maximum(apart - margin, 0) ** 2).sum(axis=0)) / plots
    middle = np.sqrt((apart**2).sum(axis=0)) / plots
    order = np.argsort(nearest, kind="stable")
    shards = np.array([grid.shard_of_cell(cell) for cell in cells[order].tolist()])
    by_shard = {}
    for shard in np.unique(shards).tolist():
        mine = order[shards == shard]
        by_shard[shard] = Plots(of_view[mine], nearest[mine])
    outward = np.argsort(middle, kind="stable")
    return Outlook(by_shard, of_view[outward], middle[outward] + SLACK_PLOTS / plots)


@lru_cache(maxsize=16_384)
def wishes(grid: Grid, interest: Interest, center: int, focus: int, step: int) -> dict[int, tuple[Ints, int]]:
    """For each shard in view the places of streams that the title's rings ask for, nearest first, once they have shrunk
    `step` times; and how many of them are read at every tick. Read only: it is shared.
    """
    of_level = Places(grid, interest).of_level
    reaches = np.array(interest.reaches(grid)) * 2 ** (-step / 2)
    found = {}
    for shard, plots in outlook_from(grid, interest.plots, center, focus).by_shard.items():
        levels = np.searchsorted(reaches, plots.nearest, side="right")
        levels = levels[levels < len(reaches)]
        found[shard] = (plots.places[: len(levels)] + levels * of_level, int((levels == 0).sum()))
    return found
