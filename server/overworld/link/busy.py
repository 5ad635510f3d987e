"""How busy a process is: the part of the time in which it ran, or was ready to run and got no core.

The second half matters where processes share cores: one that runs a third of the time may have no time left, because
the others run for the rest of it. Linux tells it for each thread (`schedstat`: nanoseconds run, nanoseconds waited);
elsewhere only the first half is known, and a shared core looks emptier than it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

SPAN_S_MIN = 0.1
"""A shorter time says nothing: the last answer stands."""


class BusyMeter:
    """Of this process; made on the event loop's thread, whose waits it counts."""

    def __init__(
        self,
        now_s: Callable[[], float] | None = None,
        ran_s: Callable[[], float] | None = None,
        waited_s: Callable[[], float] | None = None,
    ) -> None:
        """`ran_s`: CPU seconds of all threads so far; `waited_s`: how long the loop's thread was ready in vain."""
        self._now_s, self._ran_s = now_s or time.monotonic, ran_s or time.process_time
        self._waited_s = waited_s or waits_of(threading.get_native_id())
        self._at_s, self._spent_s = self._now_s(), self._ran_s() + self._waited_s()
        self._busy = 0.0

    def take(self) -> float:
        """Since it was last asked, 0 to 1."""
        now_s = self._now_s()
        span_s = now_s - self._at_s
        if span_s >= SPAN_S_MIN:
            spent_s = self._ran_s() + self._waited_s()
            self._busy = min(1.0, max(0.0, (spent_s - self._spent_s) / span_s))
            self._at_s, self._spent_s = now_s, spent_s
        return self._busy


def waits_of(thread: int) -> Callable[[], float]:
    """Tells how many seconds a thread of this process was ready to run and had no core; 0 where nobody knows."""
    path = Path(f"/proc/self/task/{thread}/schedstat")

    def waited_s() -> float:
        try:
            return int(path.read_bytes().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0

    return waited_s
