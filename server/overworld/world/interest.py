"""What a client is told first where not everything can be told: a title's choices, and the numbers of plots and
streams.

A crowded cell is split into *plots*, `plots` x `plots` squares numbered row by row. What changes in a split cell is
told in *streams*: one for each plot and period (every tick, every 2nd, 4th, 8th), one for each plot with all that
anybody may have missed of it, for whoever comes near, and the *floor*, one for each cell, in which every row that
changed comes once a second. For
whoever can be told everything there is each cell's change of a tick in one piece. A piece of a stream has a *place*:

    place = (level * cells of the world + cell) * plots of a cell + plot          plot 0 for a whole cell
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overworld.world.grid import Grid

Ints = npt.NDArray[np.int64]

LEVELS_MAX = 4
RINGS_MAX = LEVELS_MAX
PLOTS_MAX = 16
ROWS_MAX = 255
"""Rows of a plot are counted up to here; `Interest.nearest` lies below."""
FOCUS_MARGIN_SHIFT = 3
"""A viewer counts to its plot until it is 1/8 of a plot beyond it."""


@dataclass(frozen=True)
class Interest:
    """A title's choices, for when a client's budget does not cover all it sees. Lengths in the title's own measure.

    `rings` ascend: what lies within the first is told every tick, within the second every 2nd, then every 4th and 8th;
    what lies beyond the last comes once a second. Empty: a quarter, a half, three quarters and the whole of the view.
    Where the budget does not reach for them, they shrink together. The `nearest` so many moving entities are told at
    every tick that they change in, however far away they are, and so is everything within `sure` and in plots that
    touch the viewer's: for a quarter of a second on credit. `plots` to a side is how finely a crowded cell is split.
    """

    rings: tuple[int, ...] = ()
    plots: int = 4
    sure: int = 0
    nearest: int = 30

    def __post_init__(self) -> None:
        if len(self.rings) > RINGS_MAX or list(self.rings) != sorted({*self.rings}) or min(self.rings, default=1) < 1:
            raise ValueError(f"rings {self.rings} must be at most {RINGS_MAX} lengths above 0 that ascend")
        if self.sure < 0:
            raise ValueError(f"sure {self.sure} is less than 0")
        if not 0 <= self.nearest < ROWS_MAX:
            raise ValueError(f"nearest {self.nearest} does not lie within 0..{ROWS_MAX - 1}")
        if not 1 <= self.plots <= PLOTS_MAX:
            raise ValueError(f"plots {self.plots} do not lie within 1..{PLOTS_MAX}")

    def reaches(self, grid: Grid) -> tuple[float, ...]:
        """How far each level reaches, in cells, nearest first; as many as there are levels below the floor."""
        quarters = tuple(grid.view * quarter / 4 for quarter in (1, 2, 3, 4))
        return tuple(length / grid.cell for length in (self.rings or quarters))[: len(periods(grid.tick_hz)) - 1]


def periods(tick_hz: int) -> tuple[int, ...]:
    """Ticks between two pieces of a stream, by level; the last is the floor's: one second."""
    return (*(1 << level for level in range(LEVELS_MAX) if 1 << level < tick_hz), tick_hz)


@dataclass(frozen=True)
class Populations:
    """How many rows that may be told at every tick (moving, `pace` 1) stand in each plot of split cells. `cells`:
    int64[m] world cells, ascending; `rows`: uint8[m * plots of a cell], ROWS_MAX for that many and more.
    """

    cells: Ints
    rows: npt.NDArray[np.uint8]


class Places:
    """Numbers of plots and of streams' pieces in one world."""

    def __init__(self, grid: Grid, interest: Interest) -> None:
        self._grid = grid
        self.side = interest.plots
        """Plots to a cell's side."""
        self.of_cell = interest.plots**2
        """Plots of a cell."""
        self.of_level = grid.cells_x * grid.cells_y * self.of_cell
        """Places of one level."""
        self.whole = len(periods(grid.tick_hz)) - 1
        """The level of whole plots: for whoever begins to read a plot more often."""
        self.wide = self.whole + 1
        """The level of cells' changes of one tick in one piece: for whoever can be told all of them."""
        self.floor = self.wide + 1
        """The floor's level."""
        self.end = self.of_level * (self.floor + 1)
        """All places lie below."""

    def cells_of(self, places: Ints) -> Ints:
        """The world cells of places, int64[n]."""
        cells: Ints = places % self.of_level // self.of_cell
        return cells

    def plots_of(self, x: Ints, y: Ints, cells: Ints) -> Ints:
        """Plots of positions that count to these world cells, int64[n]. What stands outside its cell counts to the
        nearest plot.
        """
        size, wide, last = self._grid.cell_size, self._grid.cells_x, self.side - 1
        px = (x - cells % wide * size) * self.side // size
        py = (y - cells // wide * size) * self.side // size
        plots: Ints = np.minimum(np.maximum(py, 0), last) * self.side + np.minimum(np.maximum(px, 0), last)
        return plots
