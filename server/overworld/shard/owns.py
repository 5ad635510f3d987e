"""What only its owner may see: each player's `Own` piece, sent when it changed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from overworld.errors import TitleError
from overworld.wire import varint
from overworld.world.fields import TEAM_MAX
from overworld.world.table import Table

Ints = npt.NDArray[np.int64]

_OWN_TAG, _ENTITY_TAG, _KIND_TAG, _VALUES_TAG, _TEAM_TAG = 0x32, 0x08, 0x10, 0x1A, 0x20
_NOBODY = (np.zeros(0, np.int64), np.zeros(0, np.int64))


class Owns:
    """Remembers what each player was last told of its avatar, and which team it is of. Not state."""

    def __init__(self, has_teams: bool = False) -> None:
        """`has_teams`: whether any entity has columns for its team only. Elsewhere nobody is told of teams."""
        self._has_teams = has_teams
        self.sides: tuple[Ints, Ints] = _NOBODY
        """Of the last `changed`: sessions whose team is another than was told, and all at rows `fresh`; and the team, 0
        for none. int64[n] each.
        """
        self._ids: Ints = np.zeros(0, np.int64)
        self._told: Ints = np.zeros((0, 2), np.int64)

    def changed(self, tables: list[Table], players: Table, fresh: Ints) -> tuple[Ints, Ints, bytes]:
        """Pieces for online players whose avatar or owner columns changed, and for those at rows `fresh` whatever
        changed.

        Returns (sessions int64[n], piece sizes int64[n], the pieces one after another).
        """
        self.sides = _NOBODY
        if not len(fresh) and not players.online.any():
            return np.zeros(0, np.int64), np.zeros(0, np.int64), b""
        now = _current(tables, players, self._has_teams)
        if len(self._ids) != len(players) or self._told.shape[1] != now.shape[1]:
            told = np.full_like(now, -1)
            rows = players.rows_of(self._ids)
            told[rows[rows >= 0], : self._told.shape[1]] = self._told[rows >= 0]
            self._ids, self._told = players.ids.copy(), told
        tell = (now != self._told).any(axis=1)
        tell[fresh] = True
        rows = np.flatnonzero(tell & (players.online > 0))
        if self._has_teams:
            sided = now[:, 2] != self._told[:, 2]
            sided[fresh] = True
            at = rows[sided[rows]]
            self.sides = (players.session[at].copy(), now[at, 2])
        self._told[rows] = now[rows]
        if not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), b""
        counts = np.array([len(t.kind.owner) for t in tables] + [0], np.int64)[now[rows, 1]]
        sizes, data = encode(now[rows], counts)
        return players.session[rows].copy(), sizes, data


def _current(tables: list[Table], players: Table, has_teams: bool) -> Ints:
    """(avatar id, avatar kind or -1, team, owner columns...) of every player, int64[players, 3 + most owner columns].
    Raises TitleError for a number that is no team.
    """
    most = max((len(t.kind.owner) for t in tables), default=0)
    now = np.zeros((len(players), 3 + most), np.int64)
    now[:, 1] = -1
    for kind, table in enumerate(tables):
        mine = np.flatnonzero(players.avatar_kind == kind)
        if not len(mine):
            continue
        rows = table.rows_of(players.avatar[mine])
        mine, rows = mine[rows >= 0], rows[rows >= 0]
        now[mine, 0], now[mine, 1] = players.avatar[mine], kind
        if has_teams and table.kind.team_column:
            teams = table.columns[table.kind.names.index(table.kind.team_column), rows]
            if ((teams < 0) | (teams > TEAM_MAX)).any():
                raise TitleError(f"{table.kind.name}.{table.kind.team_column} left the range of teams (0..{TEAM_MAX})")
            now[mine, 2] = teams
        now[mine, 3 : 3 + len(table.kind.owner)] = table.private[:, rows].T
    return now


def encode(rows: Ints, counts: Ints) -> tuple[Ints, bytes]:
    """`Own` pieces of rows (entity, kind, team, values...), int64[n, 3 + most], of which `counts` int64[n] values each
    are real.

    A player without an avatar (kind -1) gets entity 0 and kind 0; team 0 is not sent. Returns (sizes int64[n], bytes).
    """
    n, width = rows.shape
    body = np.zeros((n, 4), np.int64)
    body[:, 0], body[:, 2] = _ENTITY_TAG, _KIND_TAG
    body[:, 1], body[:, 3] = rows[:, 0], np.maximum(rows[:, 1], 0)
    values = varint.zigzag(rows[:, 3:])
    real = np.arange(width - 3) < counts[:, None]
    value_sizes = varint.sizes(values.ravel()).reshape(values.shape) * real
    values_bytes = value_sizes.sum(axis=1)
    body_sizes = varint.sizes(body.ravel()).reshape(body.shape)
    with_values = values_bytes > 0
    with_team = rows[:, 2] > 0
    inner = body_sizes.sum(axis=1) + with_values * (1 + varint.sizes(values_bytes) + values_bytes)
    inner += with_team * (1 + varint.sizes(rows[:, 2]))
    head = np.stack((np.full(n, _OWN_TAG), inner), axis=1)
    part = np.stack((np.full(n, _VALUES_TAG), values_bytes), axis=1)
    team = np.stack((np.full(n, _TEAM_TAG), rows[:, 2]), axis=1)
    stream = np.concatenate((head, body, part, values, team), axis=1)
    always = np.ones((n, 6), np.bool_)
    twice = [np.repeat(each[:, None], 2, axis=1) for each in (with_values, with_team)]
    shown = np.concatenate((always, twice[0], real, twice[1]), axis=1)
    return 1 + varint.sizes(inner) + inner, varint.encode(stream[shown]).tobytes()
