"""How far ahead of the ticks that arrive a client plays, so that its inputs are there in time. Pure.

An input that is meant for tick k must reach the server before it steps k; the frame of k arrives here later by the way
down. So the lead is a round trip, what jitter adds to it, and what server processes take. Inputs that came late all the
same lengthen it; the surplus melts away again. The lead changes slowly, because the own avatar's time runs by it.
"""

from __future__ import annotations

_SERVER_S = 0.012
"""Gateway, step and journal, where they are quick."""
_LATE_S = 0.010
"""What one late input adds, and one more for each tick it was late."""
_SURPLUS_S_MAX = 0.25
_SURPLUS_MELTS = 0.005
"""Seconds a second."""
_SLEW_UP, _SLEW_DOWN = 0.10, 0.05
"""How much faster or slower the avatar's time may run while the lead grows or shrinks."""
LEAD_S_MAX = 0.6


class Lead:
    """`seconds` is the lead now. Call `advance` before reading it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._surplus_s = 0.0
        self._at: float | None = None

    def advance(self, round_trip_s: float, jitter_s: float, now: float) -> float:
        """The lead at `now`, given the least round trip of late and the greatest lateness of ticks."""
        wanted = min(round_trip_s + jitter_s + _SERVER_S + self._surplus_s, LEAD_S_MAX)
        if self._at is None:
            self.seconds = wanted
        else:
            passed = max(0.0, now - self._at)
            self._surplus_s = max(0.0, self._surplus_s - _SURPLUS_MELTS * passed)
            self.seconds = min(max(wanted, self.seconds - _SLEW_DOWN * passed), self.seconds + _SLEW_UP * passed)
        self._at = now
        return self.seconds

    def late(self, ticks: int) -> None:
        """An input was applied so many ticks after the one it was meant for."""
        self._surplus_s = min(_SURPLUS_S_MAX, self._surplus_s + _LATE_S * (1 + ticks))

    def restart(self) -> None:
        """Another socket, another way: the lead is measured anew."""
        self._at = None
        self._surplus_s = 0.0
