"""The world's shape: cells, shards and views, in position units and whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

SHARD_CELLS_MAX = 65_535
"""Cells of one shard: local cell numbers are sorted as 16-bit keys, which numpy does by radix in linear time."""
EXTENT_MAX = 2**30
"""Longest side of a world in position units: it fits the wire, and squares of distances fit 64 bits."""


@dataclass(frozen=True)
class Grid:
    """A world of `width` x `height` in square cells of side `cell`, cut into `shards` = (across, down) equal
    rectangles.

    Lengths are in the title's own measure; `units_per_one` position units make one of it. A player sees every cell
    that lies within `view` of the cell it is in. `tick_hz` ticks run a second.
    """

    width: int
    height: int
    cell: int
    shards: tuple[int, int] = (1, 1)
    view: int = 64
    tick_hz: int = 20
    units_per_one: int = 256

    def __post_init__(self) -> None:
        for name in ("width", "height", "cell", "view", "units_per_one"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is less than 1")
        if min(self.shards) < 1:
            raise ValueError(f"shards {self.shards} are less than 1 across or down")
        if max(self.width, self.height) * self.units_per_one > EXTENT_MAX:
            raise ValueError(f"a world of {self.width} x {self.height} is longer than {EXTENT_MAX} position units")
        if self.width % (self.cell * self.shards[0]) or self.height % (self.cell * self.shards[1]):
            raise ValueError(
                f"a world of {self.width} x {self.height} does not divide into {self.shards} shards of whole cells"
            )
        if self.shard_cells_x * self.shard_cells_y > SHARD_CELLS_MAX:
            raise ValueError(f"{self.shard_cells_x * self.shard_cells_y} cells in a shard, at most {SHARD_CELLS_MAX}")
        if not 1 <= self.tick_hz <= 128:
            raise ValueError(f"tick_hz {self.tick_hz} does not lie within 1..128")

    @property
    def cells_x(self) -> int:
        """Cells across the world."""
        return self.width // self.cell

    @property
    def cells_y(self) -> int:
        """Cells down the world."""
        return self.height // self.cell

    @property
    def shard_cells_x(self) -> int:
        """Cells across one shard."""
        return self.cells_x // self.shards[0]

    @property
    def shard_cells_y(self) -> int:
        """Cells down one shard."""
        return self.cells_y // self.shards[1]

    @property
    def shard_count(self) -> int:
        """Shards of the world."""
        return self.shards[0] * self.shards[1]

    @cached_property
    def cell_size(self) -> int:
        """Side of a cell in position units."""
        return self.cell * self.units_per_one

    @property
    def tick_interval_us(self) -> int:
        """Microseconds from one tick to the next."""
        return 1_000_000 // self.tick_hz

    def shard_of_cell(self, cell: int) -> int:
        """The shard that holds a cell."""
        cy, cx = divmod(cell, self.cells_x)
        return (cy // self.shard_cells_y) * self.shards[0] + cx // self.shard_cells_x

    def bounds(self, shard: int) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) of a shard in position units, upper bounds exclusive."""
        sy, sx = divmod(shard, self.shards[0])
        wide, high = self.shard_cells_x * self.cell_size, self.shard_cells_y * self.cell_size
        return sx * wide, sy * high, (sx + 1) * wide, (sy + 1) * high

    def cells_of(self, x: Ints, y: Ints) -> Ints:
        """World cell numbers of positions, int64[n]. Positions outside the world count to the nearest cell."""
        cx = np.clip(x // self.cell_size, 0, self.cells_x - 1)
        cy = np.clip(y // self.cell_size, 0, self.cells_y - 1)
        return cy * self.cells_x + cx

    def shards_of(self, x: Ints, y: Ints) -> Ints:
        """The shard that each position belongs to, int64[n]. Positions outside the world count to the nearest shard."""
        cy, cx = np.divmod(self.cells_of(x, y), self.cells_x)
        shards: Ints = (cy // self.shard_cells_y) * self.shards[0] + cx // self.shard_cells_x
        return shards

    @property
    def world_bounds(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) of the whole world in position units, upper bounds exclusive."""
        return 0, 0, self.cells_x * self.cell_size, self.cells_y * self.cell_size

    def view_of(self, cell: int) -> tuple[int, ...]:
        """Cells seen from a cell, ascending: those whose nearest point lies within `view` of its square."""
        return _view_of(self, cell)


@lru_cache(maxsize=65_536)
def _view_of(grid: Grid, cell: int) -> tuple[int, ...]:
    cy, cx = divmod(cell, grid.cells_x)
    reach = -(-grid.view // grid.cell)
    seen = []
    for y in range(max(0, cy - reach), min(grid.cells_y, cy + reach + 1)):
        for x in range(max(0, cx - reach), min(grid.cells_x, cx + reach + 1)):
            gap_x = max(0, abs(x - cx) - 1) * grid.cell
            gap_y = max(0, abs(y - cy) - 1) * grid.cell
            if gap_x * gap_x + gap_y * gap_y < grid.view * grid.view:
                seen.append(y * grid.cells_x + x)
    return tuple(seen)
