"""Sessions that were sent here before their player arrived. Pure: time is an argument, in seconds, monotonic.

A shard that an entity left tells the gateway at once where its player lives from then on, and by which message he
travels; the gateway may be faster than the message. Its attach waits here until that message has been applied. Bounds:
so many sessions, and each for so long; beyond them the gateway is told to try later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from overworld.shard.inputs import SessionEvent
from overworld.wire.v1 import link_pb2

L = TypeVar("L")


@dataclass(slots=True)
class Held(Generic[L]):
    """One attach. `left`: how its socket ended while it waited."""

    link: L
    attach: link_pb2.Attach
    until_s: float
    left: SessionEvent | None = None


class HeldAttaches(Generic[L]):
    """The waiting attaches of one shard. `L` is whatever stands for a link; links are compared by identity."""

    def __init__(self, sessions_max: int, wait_s: float) -> None:
        self._sessions_max = sessions_max
        self._wait_s = wait_s
        self._held: dict[int, Held[L]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, link: L, attach: link_pb2.Attach, now_s: float) -> bool:
        """Let it wait. False where there is no room. A later attach of the session takes the place of an earlier."""
        if attach.session not in self._held and len(self._held) >= self._sessions_max:
            return False
        self._held[attach.session] = Held(link, attach, now_s + self._wait_s)
        return True

    def detach(self, session: int, link: L, event: SessionEvent) -> bool:
        """The socket of a waiting session is gone: its shard will learn that when it can. False where none waits."""
        held = self._held.get(session)
        if held is None or held.link is not link:
            return False
        held.left = event
        return True

    def lose_link(self, link: L) -> None:
        """The stream broke: whoever comes for its sessions will say so anew."""
        self._held = {session: held for session, held in self._held.items() if held.link is not link}

    def due(self, received: Callable[[int], int], now_s: float) -> tuple[list[Held[L]], list[Held[L]]]:
        """(those whose message has been applied, those who have waited too long), in order of arrival; all leave."""
        if not self._held:
            return [], []
        ready = [h for h in self._held.values() if received(h.attach.after_shard) >= h.attach.after_number]
        late = [h for h in self._held.values() if h.until_s <= now_s and h not in ready]
        for held in [*ready, *late]:
            del self._held[held.attach.session]
        return ready, late
