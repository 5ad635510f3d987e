"""What only its owner may see: each player's `Own` piece, sent when it changed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from overworld.wire import varint
from overworld.world.table import Table

Ints = npt.NDArray[np.int64]

_OWN_TAG, _ENTITY_TAG, _KIND_TAG, _VALUES_TAG = 0x32, 0x08, 0x10, 0x1A


class Owns:
    """Remembers what each player was last told of its avatar. Not state."""

    def __init__(self) -> None:
        self._ids: Ints = np.zeros(0, np.int64)
        self._told: Ints = np.zeros((0, 2), np.int64)

    def changed(self, tables: list[Table], players: Table, fresh: Ints) -> tuple[Ints, Ints, bytes]:
        """Pieces for online players whose avatar or owner columns changed, and for those at rows `fresh` whatever
        changed.

        Returns (sessions int64[n], piece sizes int64[n], the pieces one after another).
        """
        if not len(fresh) and not players.online.any():
            return np.zeros(0, np.int64), np.zeros(0, np.int64), b""
        now = _current(tables, players)
        if len(self._ids) != len(players) or self._told.shape[1] != now.shape[1]:
            told = np.full_like(now, -1)
            rows = players.rows_of(self._ids)
            told[rows[rows >= 0], : self._told.shape[1]] = self._told[rows >= 0]
            self._ids, self._told = players.ids.copy(), told
        tell = (now != self._told).any(axis=1)
        tell[fresh] = True
        rows = np.flatnonzero(tell & (players.online > 0))
        self._told[rows] = now[rows]
        if not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64), b""
        counts = np.array([len(t.kind.owner) for t in tables] + [0], np.int64)[now[rows, 1]]
        sizes, data = encode(now[rows], counts)
        return players.session[rows].copy(), sizes, data


def _current(tables: list[Table], players: Table) -> Ints:
    """(avatar id, avatar kind or -1, owner columns...) of every player, int64[players, 2 + most owner columns]."""
    most = max((len(t.kind.owner) for t in tables), default=0)
    now = np.zeros((len(players), 2 + most), np.int64)
    now[:, 1] = -1
    for kind, table in enumerate(tables):
        mine = np.flatnonzero(players.avatar_kind == kind)
        if not len(mine):
            continue
        rows = table.rows_of(players.avatar[mine])
        mine, rows = mine[rows >= 0], rows[rows >= 0]
        now[mine, 0], now[mine, 1] = players.avatar[mine], kind
        now[mine, 2 : 2 + len(table.kind.owner)] = table.private[:, rows].T
    return now


def encode(rows: Ints, counts: Ints) -> tuple[Ints, bytes]:
    """`Own` pieces of rows (entity, kind, values...), int64[n, 2 + most], of which `counts` int64[n] values each are
    real.

    A player without an avatar (kind -1) gets entity 0 and kind 0. Returns (sizes int64[n], bytes).
    """
    n, width = rows.shape
    body = np.zeros((n, 4), np.int64)
    body[:, 0], body[:, 2] = _ENTITY_TAG, _KIND_TAG
    body[:, 1], body[:, 3] = rows[:, 0], np.maximum(rows[:, 1], 0)
    values = varint.zigzag(rows[:, 2:])
    real = np.arange(width - 2) < counts[:, None]
    value_sizes = varint.sizes(values.ravel()).reshape(values.shape) * real
    values_bytes = value_sizes.sum(axis=1)
    body_sizes = varint.sizes(body.ravel()).reshape(body.shape)
    with_values = values_bytes > 0
    inner = body_sizes.sum(axis=1) + with_values * (1 + varint.sizes(values_bytes) + values_bytes)
    head = np.stack((np.full(n, _OWN_TAG), inner), axis=1)
    part = np.stack((np.full(n, _VALUES_TAG), values_bytes), axis=1)
    stream = np.concatenate((head, body, part, values), axis=1)
    shown = np.concatenate((np.ones((n, 6), np.bool_), np.repeat(with_values[:, None], 2, axis=1), real), axis=1)
    return 1 + varint.sizes(inner) + inner, varint.encode(stream[shown]).tobytes()
