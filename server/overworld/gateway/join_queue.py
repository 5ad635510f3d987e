"""Who wants to play while there is no room: a queue before the world. Pure: time is an argument, in seconds.

    the world has room      new sessions go in at once, unless others wait already
    it has none             they wait in the order they came; a queue that is full turns them away
    it has room again       those who wait go in, so many a second: not all at once, or it is full again

Sessions that are taken up again do not wait: their avatars are in the world.
"""

from __future__ import annotations

from typing import Generic, TypeVar

W = TypeVar("W")


class JoinQueue(Generic[W]):
    """`places_max`: who waits at most. `rate_per_s`: how many go in when there is room again."""

    def __init__(self, places_max: int, rate_per_s: float) -> None:
        self._places_max = places_max
        self._rate_per_s = rate_per_s
        self._waiting: dict[W, None] = {}
        self._free_s = 0.0
        self._due_s = float("-inf")
        self.turned_away = 0
        """Who came when the queue was full, ever."""

    def __len__(self) -> int:
        return len(self._waiting)

    def no_room(self, now_s: float, for_s: float) -> None:
        """The world has no room, and none is expected for so long."""
        self._free_s = max(self._free_s, now_s + for_s)

    def closed(self, now_s: float) -> bool:
        """True where whoever comes now has to wait."""
        return now_s < self._free_s or bool(self._waiting)

    def enter(self, who: W) -> bool:
        """Wait at the end. False where there is no place left."""
        if len(self._waiting) >= self._places_max:
            self.turned_away += 1
            return False
        self._waiting[who] = None
        return True

    def leave(self, who: W) -> None:
        """Wait no longer."""
        self._waiting.pop(who, None)

    def due(self, now_s: float) -> list[W]:
        """Who goes in now, the first first. Call a few times a second."""
        if now_s < self._free_s or not self._waiting:
            return []
        # At most a second's worth at once, however long ago the last one went in.
        self._due_s = max(self._due_s, now_s - 1.0)
        chosen: list[W] = []
        while self._waiting and self._due_s + 1 / self._rate_per_s <= now_s:
            self._due_s += 1 / self._rate_per_s
            who = next(iter(self._waiting))
            del self._waiting[who]
            chosen.append(who)
        return chosen
