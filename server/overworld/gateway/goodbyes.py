"""Sessions that ended here a moment ago. Pure: time is an argument, in seconds, monotonic.

A player may leave in the very moment in which his avatar crosses into another shard: the shard that is told does not
have him any more, and its word of where he went finds no session here. Then the other shard is told.
"""

from __future__ import annotations

from dataclasses import dataclass

KEPT_S = 3.0
KEPT_MAX = 4096
"""Beyond it the oldest are forgotten: their avatars wait out the grace time."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """How a session ended. `leaving`: the player said so."""

    shard: int
    player: int
    leaving: bool
    until_s: float


class Goodbyes:
    """The newest of them, by session."""

    def __init__(self) -> None:
        self._kept: dict[int, Goodbye] = {}

    def said(self, session: int, shard: int, player: int, leaving: bool, now_s: float) -> None:
        """A shard was told that the session is over."""
        while self._kept and (len(self._kept) >= KEPT_MAX or next(iter(self._kept.values())).until_s < now_s):
            del self._kept[next(iter(self._kept))]
        self._kept.pop(session, None)
        self._kept[session] = Goodbye(shard, player, leaving, now_s + KEPT_S)

    def take(self, session: int, shard: int, now_s: float) -> Goodbye | None:
        """What the shard was told of the session; None where that was nothing, or too long ago."""
        found = self._kept.get(session)
        if found is None or found.shard != shard or found.until_s < now_s:
            return None
        del self._kept[session]
        return found
