"""Where arenas lie: one cell each, so far apart that nobody sees from one into another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from overworld.game import Grid, Ints


@dataclass(frozen=True)
class Islands:
    """The arenas of one shard: x0 and y0 int64[arenas], their lower corners; `side`, all in position units."""

    x0: Ints
    y0: Ints
    side: int

    def __len__(self) -> int:
        return len(self.x0)


@lru_cache(maxsize=256)
def islands_of(grid: Grid, bounds: tuple[int, int, int, int]) -> Islands:
    """As many arenas as fit. A view reaches `grid.view` beyond its own cell: so many empty cells lie between two
    arenas, and at the shard's far sides, where the next shard's first arena may lie.
    """
    pitch = 1 + -(-grid.view // grid.cell)
    x, y = (
        bounds[axis] + np.arange(cells // pitch, dtype=np.int64) * pitch * grid.cell_size
        for axis, cells in enumerate((grid.shard_cells_x, grid.shard_cells_y))
    )
    corner_x, corner_y = np.tile(x, len(y)), np.repeat(y, len(x))
    for corner in (corner_x, corner_y):
        corner.setflags(write=False)
    return Islands(corner_x, corner_y, grid.cell_size)
