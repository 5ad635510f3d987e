"""Where each player looks: the cell at the centre of the view, with hysteresis so that a ship on a border does not
flicker.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from overworld.world.grid import Grid
from overworld.world.interest import FOCUS_MARGIN_SHIFT, Places
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


class Focus:
    """From which plot each player looks, for gateways that must choose what is near. No part of the state: what was
    told is forgotten every `again_ticks`, and told anew.
    """

    def __init__(self, grid: Grid, places: Places, again_ticks: int) -> None:
        self._grid = grid
        self._places = places
        self._again_ticks = again_ticks
        self._age = 0
        self._sessions: Ints = np.zeros(0, np.int64)
        self._plots: Ints = np.zeros((2, 0), np.int64)

    def changes(self, tables: list[Table], players: Table) -> tuple[Ints, Ints]:
        """Sessions whose avatar has come to another plot since it was told, and the place (cell * plots of a cell +
        plot), int64[n] each. An avatar counts to its plot until it is 1/8 of a plot beyond it.
        """
        self._age += 1
        if self._age >= self._again_ticks:
            self._age, self._sessions, self._plots = 0, np.zeros(0, np.int64), np.zeros((2, 0), np.int64)
        sessions, plots = self._looking(tables, players)
        before, known = self._before(sessions)
        size, side = self._grid.cell_size, self._places.side
        margin = size >> FOCUS_MARGIN_SHIFT
        # In units of which a plot has `size`.
        beyond = plots - before * size
        stays = known & ((beyond >= -margin) & (beyond < size + margin)).all(axis=0)
        plots = np.where(stays, before, plots // size)
        moved = np.flatnonzero(~known | (plots != before).any(axis=0))
        self._sessions, self._plots = sessions, plots
        cells = plots[1, moved] // side * self._grid.cells_x + plots[0, moved] // side
        return sessions[moved], cells * self._places.of_cell + plots[1, moved] % side * side + plots[0, moved] % side

    def _looking(self, tables: list[Table], players: Table) -> tuple[Ints, Ints]:
        """Sessions with an avatar, ascending, and its place int64[2, n] within the world."""
        x0, y0, x1, y1 = self._grid.world_bounds
        found, at = [np.zeros(0, np.int64)], [np.zeros((2, 0), np.int64)]
        for kind, table in enumerate(tables):
            if table.kind.motion is None:
                continue
            mine = np.flatnonzero((players.avatar_kind == kind) & (players.online > 0))
            rows = table.rows_of(players.avatar[mine])
            mine, rows = mine[rows >= 0], rows[rows >= 0]
            x = np.minimum(np.maximum(table.public[0, rows], x0), x1 - 1)
            y = np.minimum(np.maximum(table.public[1, rows], y0), y1 - 1)
            found.append(players.session[mine])
            at.append(np.stack((x, y)) * self._places.side)
        sessions = np.concatenate(found)
        order = np.argsort(sessions, kind="stable")
        return sessions[order], np.concatenate(at, axis=1)[:, order]

    def _before(self, sessions: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        if not len(self._sessions):
            return np.zeros((2, len(sessions)), np.int64), np.zeros(len(sessions), np.bool_)
        at = np.minimum(np.searchsorted(self._sessions, sessions), len(self._sessions) - 1)
        return self._plots[:, at], self._sessions[at] == sessions
