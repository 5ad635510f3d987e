"""How long members have been silent, judged by the reader's own monotonic clock.

A member's count moves with each announcement. Nobody's clock is compared with anybody else's: what counts is for how
long *this* reader has seen no change. A count that went back (Redis failed over) is a change too.
"""

from __future__ import annotations

from collections.abc import Iterable


class SilenceWatch:
    """Pure: time comes in as an argument."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def look(self, counts: Iterable[tuple[str, int]], now_s: float) -> dict[str, float]:
        """Seconds of silence by member name. 0 for one seen for the first time; who is gone is forgotten."""
        seen: dict[str, tuple[int, float]] = {}
        for name, count in counts:
            before = self._seen.get(name)
            seen[name] = before if before is not None and before[0] == count else (count, now_s)
        self._seen = seen
        return {name: now_s - since_s for name, (_, since_s) in seen.items()}
