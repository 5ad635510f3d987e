"""The numbering of one session's inputs, and those that wait for their ack. Pure.

`gateway/lane.LaneLine` is its twin in compiled code, for sessions whose inputs are read there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from overworld.gateway.inputs import Forward


class Line(Protocol):
    """What a session asks of either."""

    @property
    def last_sent(self) -> int:
        """Number of the last input taken."""

    @property
    def applied(self) -> int:
        """Number of the last input that a worker has applied, as far as is known."""

    @property
    def waiting(self) -> int:
        """How many inputs were taken and are not yet applied."""

    def push(self, item: Forward) -> None:
        """Take the input of the next number."""

    def acked(self, seq: int) -> None:
        """The inputs up to `seq` are applied."""

    def kept(self) -> Sequence[Forward]:
        """The inputs that wait, in order."""

    def serve(self, shard: int) -> None:
        """The shard whose worker serves the session; -1: nobody does."""


class InputLine:
    """A `Line` in plain Python. `last_seq` is the last input applied before."""

    __slots__ = ("_waiting", "applied", "last_sent")

    def __init__(self, last_seq: int = 0) -> None:
        self.last_sent = self.applied = last_seq
        self._waiting: deque[Forward] = deque()

    @property
    def waiting(self) -> int:
        """How many inputs were taken and are not yet applied."""
        return len(self._waiting)

    def push(self, item: Forward) -> None:
        """Take the input of the next number."""
        self.last_sent = item.seq
        self._waiting.append(item)

    def acked(self, seq: int) -> None:
        """The inputs up to `seq` are applied. (Acks only grow: older ticks are dropped before.)"""
        self.applied = max(self.applied, seq)
        waiting = self._waiting
        while waiting and waiting[0].seq <= seq:
            waiting.popleft()

    def kept(self) -> Sequence[Forward]:
        """The inputs that wait, in order."""
        return tuple(self._waiting)

    def serve(self, shard: int) -> None:
        """Nothing here depends on it."""
