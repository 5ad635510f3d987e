"""What goes over a client's sockets now, per second, for an overlay. Pure: times are arguments, in seconds."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 2.0
_YOUNG_S = 0.25
_ENTRIES_MAX = 4096
"""A bound on the memory of one window, whatever comes in: beyond it the oldest entries go."""


class Rate:
    """A sum over the last two seconds, per second."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, int]] = deque()
        self._sum = 0
        self._since: float | None = None

    def add(self, amount: int, now: float) -> None:
        """So much went over."""
        self._since = now if self._since is None else self._since
        self._entries.append((now, amount))
        self._sum += amount
        self._expire(now)

    def per_second(self, now: float) -> float:
        """How much a second; 0 before anything went over."""
        self._expire(now)
        if self._since is None:
            return 0.0
        return self._sum / min(_WINDOW_S, max(_YOUNG_S, now - self._since))

    def _expire(self, now: float) -> None:
        entries = self._entries
        while entries and (entries[0][0] <= now - _WINDOW_S or len(entries) > _ENTRIES_MAX):
            self._sum -= entries.popleft()[1]


class Traffic:
    """Bytes in and out, and messages in."""

    def __init__(self) -> None:
        self.bytes_in, self.bytes_out, self.frames = Rate(), Rate(), Rate()

    def received(self, size: int, now: float) -> None:
        """A message of the server's."""
        self.bytes_in.add(size, now)
        self.frames.add(1, now)

    def sent(self, size: int, now: float) -> None:
        """A message to the server."""
        self.bytes_out.add(size, now)
