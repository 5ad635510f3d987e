"""Which gateway link each session of a shard is on. Pure: time is an argument, in seconds, monotonic.

A session without a link is not lost yet: its gateway may have died or merely lost this stream, and the player comes
back through the same or another gateway. Only after a wait does the shard learn that the socket is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
L = TypeVar("L")

NO_LINK = -1


@dataclass(slots=True)
class _Route(Generic[L]):
    player: int
    link: L | None
    until_s: float = 0.0


class Routes(Generic[L]):
    """The sessions of one shard. `L` is whatever stands for a link; links are compared by identity."""

    def __init__(self) -> None:
        self._routes: dict[int, _Route[L]] = {}
        self._waiting: set[int] = set()
        self._index: tuple[Ints, Ints] | None = None
        self._links: list[L] = []

    def __len__(self) -> int:
        return len(self._routes)

    def __contains__(self, session: int) -> bool:
        return session in self._routes

    # ------------------------------------------------------------ events

    def attach(self, session: int, player: int, link: L) -> None:
        """The session speaks through this link from now on."""
        self._routes[session] = _Route(player, link)
        self._waiting.discard(session)
        self._index = None

    def detach(self, session: int, link: L) -> int | None:
        """The session's socket is gone. Returns its player, or None where the session is on another link by now."""
        route = self._routes.get(session)
        if route is None or route.link is not link:
            return None
        self.drop((session,))
        return route.player

    def lose_link(self, link: L, until_s: float) -> int:
        """The stream broke: its sessions may be attached anew until then. Returns how many there are."""
        lost = [(session, route) for session, route in self._routes.items() if route.link is link]
        for session, route in lost:
            route.link, route.until_s = None, until_s
            self._waiting.add(session)
        self._index = None
        return len(lost)

    def adopt(self, sessions: Iterable[tuple[int, int]], until_s: float) -> None:
        """(session, player) found online in a recovered state: no link has them yet, unless it attached meanwhile."""
        for session, player in sessions:
            if session not in self._routes:
                self._routes[session] = _Route(player, None, until_s)
                self._waiting.add(session)
        self._index = None

    def expired(self, now_s: float) -> list[tuple[int, int]]:
        """(session, player) whose wait is over, ascending; they are forgotten."""
        over = sorted(s for s in self._waiting if self._routes[s].until_s <= now_s)
        found = [(session, self._routes[session].player) for session in over]
        self.drop(over)
        return found

    def drop(self, sessions: Iterable[int]) -> None:
        """These sessions are over."""
        for session in sessions:
            if self._routes.pop(session, None) is not None:
                self._index = None
            self._waiting.discard(session)

    # ------------------------------------------------------------ look-up

    @property
    def links(self) -> list[L]:
        """The links that have a session, in the order that `slots` counts by."""
        self._build()
        return self._links

    def link_of(self, session: int) -> L | None:
        """The link of one session; None without one."""
        route = self._routes.get(session)
        return route.link if route else None

    def player_of(self, session: int) -> int | None:
        """The player of one session; None where it is not here."""
        route = self._routes.get(session)
        return route.player if route else None

    def slots(self, sessions: Ints) -> Ints:
        """Index into `links` of each session's link, int64 like `sessions`; NO_LINK where it has none."""
        known, slots = self._build()
        if not len(known):
            return np.full(len(sessions), NO_LINK, np.int64)
        at = np.minimum(np.searchsorted(known, sessions), len(known) - 1)
        return np.where(known[at] == sessions, slots[at], NO_LINK)

    def _build(self) -> tuple[Ints, Ints]:
        if self._index is None:
            self._links = []
            slot_of: dict[int, int] = {}
            sessions, slots = [], []
            for session in sorted(self._routes):
                link = self._routes[session].link
                if link is None:
                    continue
                if id(link) not in slot_of:
                    slot_of[id(link)] = len(self._links)
                    self._links.append(link)
                sessions.append(session)
                slots.append(slot_of[id(link)])
            self._index = (np.array(sessions, np.int64), np.array(slots, np.int64))
        return self._index
