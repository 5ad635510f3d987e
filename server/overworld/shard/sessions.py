"""Who plays: sessions begin, are lost, come back, are replaced and end, as part of the state.

A login is an input like any other, in the journal's order: the newest login of a player wins on every gateway and
worker alike, without a lock. Inputs belong to a session; those of one that is over are of nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overworld.shard.inputs import SessionEvent, no_ints
from overworld.world.state import Shard

Ints = npt.NDArray[np.int64]

REPLACED, SESSION_OVER = 4001, 4008


@dataclass(frozen=True)
class SessionChanges:
    """What a tick's events came to. `joining`, `leaving`, `fresh`: rows of the player table; `closed`: int64[2, n]
    (sessions, codes); `moved`: (session, shard, number), whose player lives in another shard since the message of that
    number.
    """

    joining: Ints
    leaving: Ints
    fresh: Ints
    joined: tuple[Ints, Ints]
    closed: Ints
    moved: list[tuple[int, int, int]]


def _no_changes() -> SessionChanges:
    none = no_ints()
    return SessionChanges(none, none, none, (none, none), np.zeros((2, 0), np.int64), [])


_NOTHING = _no_changes()


class Sessions:
    """The session rules over a shard's player table. Keeps no state but an index of it."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._index: tuple[Ints, Ints] | None = None

    def rows_of(self, sessions: Ints) -> Ints:
        """Rows of the players whose session it is now, int64 like `sessions`; -1 for a session that is not."""
        if self._index is None:
            column = self._shard.players.session
            rows = np.flatnonzero(column)
            order = rows[np.argsort(column[rows], kind="stable")]
            self._index = (column[order], order)
        known, rows = self._index
        if not len(known):
            return np.full(len(sessions), -1, np.int64)
        at = np.minimum(np.searchsorted(known, sessions), len(known) - 1)
        return np.where(known[at] == sessions, rows[at], -1)

    def forget_index(self) -> None:
        """The player table was changed from outside (a restored snapshot)."""
        self._index = None

    def apply(self, events: Iterable[tuple[SessionEvent, int, int]]) -> SessionChanges:
        """Apply a tick's events in order, then end the sessions whose grace time is over."""
        events = list(events)
        players = self._shard.players
        if not events and not self._overdue().any():
            return _NOTHING
        if events:
            self._admit([player for code, _, player in events if code in (SessionEvent.JOIN, SessionEvent.RESUME)])
        joining: dict[int, None] = {}
        leaving: dict[int, None] = {}
        fresh: dict[int, None] = {}
        closed: list[tuple[int, int]] = []
        moved: list[tuple[int, int, int]] = []
        for code, session, player in events:
            row = int(players.rows_of(np.array([player], np.int64))[0])
            if row >= 0 and players.away[row]:
                if code in (SessionEvent.JOIN, SessionEvent.RESUME):
                    moved.append((session, int(players.away[row]) - 1, int(players.away_number[row])))
            elif code in (SessionEvent.JOIN, SessionEvent.RESUME):
                self._join(row, session, code, joining, fresh, closed)
            elif row >= 0 and int(players.session[row]) == session:
                self._drop(row, code, leaving)
        self._expire(leaving)
        rows = np.array(list(fresh), np.int64)
        rows = rows[players.online[rows] > 0]
        if events or leaving:
            self._index = None
        return SessionChanges(
            joining=np.array(sorted(r for r in joining if r not in leaving), np.int64),
            leaving=np.array(sorted(r for r in leaving if r not in joining), np.int64),
            fresh=rows,
            joined=(players.session[rows].copy(), players.last_seq[rows].copy()),
            closed=np.array(closed, np.int64).reshape(-1, 2).T,
            moved=moved,
        )

    def kick(self) -> Ints:
        """End the sessions that the title asked to end. Returns int64[2, n]: sessions and close codes."""
        players = self._shard.players
        if not players.kick_code.any():
            return _NOTHING.closed
        rows = np.flatnonzero(players.kick_code)
        closed = np.stack((players.session[rows], players.kick_code[rows]))[:, players.session[rows] != 0]
        players.kick_code[rows] = 0
        players.online[rows] = 0
        players.session[rows] = 0
        # The avatar goes with the next tick's expiry.
        players.lost_tick[rows] = self._shard.tick - self._shard.contract.grace_ticks
        self._index = None
        return closed

    # ------------------------------------------------------------ one event

    def _admit(self, wanted: list[int]) -> None:
        ids = np.unique(np.array(wanted, np.int64))
        players = self._shard.players
        new = ids[players.rows_of(ids) < 0]
        if len(new):
            columns = np.zeros((len(players.kind.names), len(new)), np.int64)
            names = players.kind.names
            columns[names.index("avatar_kind")] = -1
            columns[names.index("view_cell")] = -1
            for column in self._shard.contract.player_columns:
                columns[names.index(column.name)] = column.field.default
            players.admit(new, columns)

    def _join(
        self,
        row: int,
        session: int,
        code: SessionEvent,
        joining: dict[int, None],
        fresh: dict[int, None],
        closed: list[tuple[int, int]],
    ) -> None:
        players = self._shard.players
        current = int(players.session[row])
        if current != session:
            if code is SessionEvent.RESUME:
                closed.append((session, SESSION_OVER))
                return
            if current:
                closed.append((current, REPLACED))
            players.session[row] = session
            players.last_seq[row] = 0
        players.online[row] = 1
        players.lost_tick[row] = 0
        players.view_cell[row] = -1
        fresh[row] = None
        if not players.inside[row]:
            players.inside[row] = 1
            joining[row] = None

    def _drop(self, row: int, code: SessionEvent, leaving: dict[int, None]) -> None:
        players = self._shard.players
        players.online[row] = 0
        if code is SessionEvent.LOST:
            players.lost_tick[row] = self._shard.tick
        else:
            players.session[row] = 0
            self._let_go(row, leaving)

    def _expire(self, leaving: dict[int, None]) -> None:
        players = self._shard.players
        for row in np.flatnonzero(self._overdue()):
            players.session[row] = 0
            self._let_go(int(row), leaving)

    def _overdue(self) -> npt.NDArray[np.bool_]:
        """Players who are gone for longer than their grace time, bool[players]."""
        players = self._shard.players
        overdue: npt.NDArray[np.bool_] = (players.inside > 0) & (players.online == 0)
        if overdue.any():
            overdue &= self._shard.tick - players.lost_tick >= self._shard.contract.grace_ticks
        return overdue

    def _let_go(self, row: int, leaving: dict[int, None]) -> None:
        self._shard.players.inside[row] = 0
        leaving[row] = None
