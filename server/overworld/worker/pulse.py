"""Notices that this process stood still, and what that makes doubtful. Pure: time is an argument, in seconds,
monotonic.

A worker that was stopped (SIGSTOP, a frozen virtual machine, a blocked loop) may wake up to an answer that was true
when Redis gave it and is not any more: somebody else may own the shard by now. So after a gap nothing is sent until
Redis has answered something that was asked after the gap.
"""

from __future__ import annotations


class Pulse:
    """The beat of one event loop. Call `beat` often (every tenth of `gap_s` will do) from a timer of that loop."""

    def __init__(self, gap_s: float, now_s: float) -> None:
        """`gap_s`: silence of the loop that counts as a gap; half the lease's time to live."""
        self._gap_s = gap_s
        self._last_s = now_s
        self._doubt_before_s = now_s
        self.gaps = 0
        """How many gaps there were."""

    def beat(self, now_s: float) -> bool:
        """The loop runs. Returns True where it had stood still since the last beat."""
        gap = now_s - self._last_s > self._gap_s
        if gap:
            self._doubt_before_s = now_s
            self.gaps += 1
        self._last_s = now_s
        return gap

    def trusts(self, asked_s: float, now_s: float) -> bool:
        """True where an answer to a question asked at `asked_s` still counts: no gap since. Beats as well."""
        self.beat(now_s)
        return asked_s >= self._doubt_before_s
