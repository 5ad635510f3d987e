"""Where each player looks: the cell at the centre of the view, with hysteresis so that a ship on a border does not
flicker.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from overworld.world.grid import Grid
from overworld.world.table import Table

Ints = npt.NDArray[np.int64]

_MARGIN_SHIFT = 3
"""A view's centre moves once the avatar is 1/8 of a cell beyond its cell."""


def view_cells(grid: Grid, shard: int, tables: list[Table], players: Table) -> Ints:
    """The world cell each player's view is centred on, int64[players]. Players without an avatar keep theirs, or get
    the shard's middle.
    """
    x0, y0, x1, y1 = grid.bounds(shard)
    middle = int(grid.cells_of(np.array([(x0 + x1) // 2]), np.array([(y0 + y1) // 2]))[0])
    centre = np.where(players.view_cell < 0, middle, players.view_cell)
    size, margin = grid.cell_size, grid.cell_size >> _MARGIN_SHIFT
    for kind, table in enumerate(tables):
        if table.kind.motion is None:
            continue
        mine = np.flatnonzero(players.avatar_kind == kind)
        if not len(mine):
            continue
        rows = table.rows_of(players.avatar[mine])
        mine, rows = mine[rows >= 0], rows[rows >= 0]
        x, y = table.public[0, rows], table.public[1, rows]
        old_y, old_x = np.divmod(players.view_cell[mine], grid.cells_x)
        far_x, far_y = x - old_x * size, y - old_y * size
        stays = (far_x >= -margin) & (far_x < size + margin) & (far_y >= -margin) & (far_y < size + margin)
        stays &= players.view_cell[mine] >= 0
        centre[mine] = np.where(stays, players.view_cell[mine], grid.cells_of(x, y))
    return centre
