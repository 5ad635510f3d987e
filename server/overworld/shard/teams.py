"""What only an entity's own team may see: its team columns, encoded once for each (cell, team).

    a row came into a cell                 -> told to its team there
    it has other values                    -> told to its team; in a split cell once a second, when it has its turn
    it is of another team                  -> gone for the old one, told to the new one
    a gateway asks for a cell's keyframe   -> all of the cell's rows, by team

Rows go by index, as everywhere on the wire: `Replication` must have numbered them for this tick. What is told is
values, never differences: so a viewer who has just come to a team may take whatever comes, and gets the rest with a
keyframe. The price is some columns told again. A piece has a *place*, `team * cells of the world + cell`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overworld.errors import TitleError
from overworld.shard.streams import SplitCells
from overworld.wire import cells as wire
from overworld.wire import varint
from overworld.wire.cells import TEAM_GONE, TEAM_TOLD, Part, Streams
from overworld.world.fields import TEAM_MAX, WIRE_MAX
from overworld.world.grid import Grid
from overworld.world.table import Table

Ints = npt.NDArray[np.int64]

_CELL, _TEAM, _VALUES = 0, 1, 2
"""Rows of `Shadow.team`: the shard's own number of the cell, the team, and what was told."""


_NONE: Ints = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class ForTeams:
    """What a tick has for teams only: pieces that changed, and those of the cells that keyframes are wanted of; None
    where there are none. `update_cells`, `keyframe_cells`: the world cell of each piece, int64.
    """

    updates: Streams | None
    update_cells: Ints
    keyframes: Streams | None
    keyframe_cells: Ints


class Teams:
    """One shard's tables with team columns, and what their teams were told. Pure; no part of the state."""

    def __init__(self, grid: Grid, tables: list[Table], world: Callable[[Ints], Ints]) -> None:
        """`world` turns numbers of the shard's cells into those of the world."""
        self._cells = grid.cells_x * grid.cells_y
        self._tables = [(kind, table) for kind, table in enumerate(tables) if table.kind.team]
        self._world = world

    def __bool__(self) -> bool:
        return bool(self._tables)

    def updates(self, split: SplitCells) -> Streams | None:
        """What changed since the last call; None where nothing did. Call once a tick, when all tables' rows have been
        numbered. Raises TitleError for a team or a value that the wire does not carry.
        """
        parts: list[Part] = []
        for kind, table in self._tables:
            if len(table):
                self._changes(kind, table, split, parts)
        return wire.write_teams(parts, self.cells_of)

    def keyframes(self, rows: Callable[[int], Ints]) -> Streams | None:
        """All that teams know of some rows: `rows` gives those of a kind, int64[n]. None where that is nothing."""
        parts: list[Part] = []
        for kind, table in self._tables:
            self._tell(kind, table, rows(kind), parts)
        return wire.write_teams(parts, self.cells_of)

    def of_tick(self, updates: Streams | None, keyframes: Streams | None) -> ForTeams | None:
        """Both together; None where there is neither."""
        if updates is None and keyframes is None:
            return None
        cells = [self.cells_of(each.places) if each is not None else _NONE for each in (updates, keyframes)]
        return ForTeams(updates, cells[0], keyframes, cells[1])

    def cells_of(self, places: Ints) -> Ints:
        """The world cells of places, int64[n]."""
        cells: Ints = places % self._cells
        return cells

    def _changes(self, kind: int, table: Table, split: SplitCells, parts: list[Part]) -> None:
        told, now = _told(table), _current(table)
        differs = now != told
        moved, sided = differs[_CELL], differs[_TEAM]
        # What nobody may see need not be told.
        differs[_VALUES:] &= now[_TEAM] > 0
        tell = differs.any(axis=0)
        if not tell.any():
            return
        if split.any:
            tell &= moved | sided | split.may_tell(now[_CELL], table.ids)
        lost = np.flatnonzero(sided & ~moved & (told[_TEAM] > 0))
        if len(lost):
            lost, places = self._in_order(table, lost)
            parts.append(Part.of_rows(TEAM_GONE, kind, places, wire.gaps(places, table.shadow.rank[lost])))
        told[:, tell] = now[:, tell]
        self._tell(kind, table, np.flatnonzero(tell), parts)

    def _tell(self, kind: int, table: Table, rows: Ints, parts: list[Part]) -> None:
        told = _told(table)
        rows = rows[told[_TEAM, rows] > 0]
        if not len(rows):
            return
        rows, places = self._in_order(table, rows)
        records = np.concatenate((wire.gaps(places, table.shadow.rank[rows])[None], told[_VALUES:, rows]))
        parts.append(Part.of_rows(TEAM_TOLD, kind, places, varint.zigzag(records.T.ravel()), len(records)))

    def _in_order(self, table: Table, rows: Ints) -> tuple[Ints, Ints]:
        """Rows sorted by their place (by the team that was told) and index within it, and the places, int64[n] each."""
        told = _told(table)
        places = told[_TEAM, rows] * self._cells + self._world(told[_CELL, rows])
        order = np.lexsort((table.shadow.rank[rows], places))
        return rows[order], places[order]


def _told(table: Table) -> Ints:
    told = table.shadow.team
    assert told is not None
    return told


def _current(table: Table) -> Ints:
    """Cell, team and values of each row as they are, int64[2 + team columns, rows]."""
    kind = table.kind
    now = np.concatenate(
        (
            table.shadow.cell[None],
            table.columns[kind.names.index(kind.team_column)][None],
            table.columns[kind.team_first : kind.team_first + len(kind.team)],
        )
    )
    if int(now[_TEAM].min()) < 0 or int(now[_TEAM].max()) > TEAM_MAX:
        raise TitleError(f"{kind.name}.{kind.team_column} left the range of teams (0..{TEAM_MAX})")
    values = now[_VALUES:]
    if int(values.max()) > WIRE_MAX or int(values.min()) < -WIRE_MAX:
        column = int(np.flatnonzero((np.abs(values) > WIRE_MAX).any(axis=1))[0])
        raise TitleError(f"{kind.name}.{kind.team[column].name} left the range of the wire (+-{WIRE_MAX})")
    return now
