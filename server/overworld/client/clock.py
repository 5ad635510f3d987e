"""The server's clock as the client knows it: offset and round trip, from pings. Pure: times are arguments, in seconds.

The sample with the shortest round trip of the last few tells the offset best, because its pong waited least on the way
(the clock filter of NTP, RFC 5905 section 10). Half its round trip bounds the error.
"""

from __future__ import annotations

from collections import deque

_SAMPLES_MAX = 16
_PINGS_MAX = 8
"""Pings that may be unanswered; the oldest is given up for a newer one."""


class ServerClock:
    """Estimates of one socket's server clock: another gateway has another one, so start anew with each socket."""

    def __init__(self) -> None:
        self._asked: dict[int, float] = {}
        self._next_nonce = 1
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES_MAX)
        self.round_trip_s = 0.0
        """Smoothed round trip; 0 until the first pong."""

    def ask(self, now: float) -> int:
        """The nonce for a ping that is sent now."""
        nonce = self._next_nonce
        self._next_nonce += 1
        self._asked[nonce] = now
        if len(self._asked) > _PINGS_MAX:
            del self._asked[next(iter(self._asked))]
        return nonce

    def answer(self, nonce: int, server_time_us: int, now: float) -> float | None:
        """Take a pong. Returns its round trip in seconds; None for a nonce that was not asked, or given up."""
        asked = self._asked.pop(nonce, None)
        if asked is None:
            return None
        round_trip = now - asked
        self._samples.append((round_trip, server_time_us / 1_000_000 - (asked + now) / 2))
        # One eighth of the news each time, as TCP does (RFC 6298).
        self.round_trip_s += (round_trip - self.round_trip_s) * (1 / 8 if self.round_trip_s else 1)
        return round_trip

    @property
    def offset_s(self) -> float | None:
        """Server time minus local time; None until the first pong."""
        return min(self._samples)[1] if self._samples else None

    @property
    def error_s(self) -> float | None:
        """The offset is right to within this; None until the first pong."""
        return min(self._samples)[0] / 2 if self._samples else None

    @property
    def round_trip_least_s(self) -> float:
        """The shortest round trip of the last few; 0 until the first pong."""
        return min(self._samples)[0] if self._samples else 0.0

    def server_time(self, now: float) -> float | None:
        """The server's monotonic time in seconds; None until the first pong."""
        offset = self.offset_s
        return now + offset if offset is not None else None
