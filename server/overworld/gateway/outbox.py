"""Frames of one delivery on their way to viewers: at once to each, or all in one call to those in the lane."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from overworld.gateway.crowds import Watcher, hand_out
from overworld.gateway.lane import Lane
from overworld.gateway.views import Group, Viewer

Ints = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

HEADROOM_BYTES = 14
"""Room before a frame for the socket library to write its header in place."""


class Outbox:
    """Empty between deliveries. What bounds it: each viewer gets at most one frame a delivery."""

    def __init__(self, lane: Lane | None) -> None:
        self._lane = lane
        self._frames: list[bytes] = []
        self._counts: list[int] = []
        self._slots: list[int] = []
        self._own: dict[int, bytes] = {}

    def take_own(self, viewers: Iterable[Viewer]) -> None:
        """What is these viewers' own (`Viewer.extra`) goes behind their frames. Of all others it is found by `add`."""
        if self._lane is None:
            return
        for viewer in viewers:
            if viewer.slot >= 0 and viewer.extra:
                self._own[viewer.slot] = viewer.extra
                viewer.extra = b""

    def add(self, frame: bytearray, viewers: Collection[Watcher]) -> int:
        """A frame, HEADROOM_BYTES before it, for viewers. Returns the bytes of their own pieces, as far as they are
        sent already.
        """
        if self._lane is None or not len(self._lane):
            return hand_out(frame, HEADROOM_BYTES, viewers)
        slots = [viewer.slot for viewer in viewers]
        self._frames.append(bytes(memoryview(frame)[HEADROOM_BYTES:]))
        self._counts.append(len(slots))
        self._slots += slots
        if min(slots, default=0) >= 0:
            return 0
        return hand_out(frame, HEADROOM_BYTES, [viewer for viewer in viewers if viewer.slot < 0])

    def add_runs(
        self, groups: Sequence[Group], head: bytes, data: bytes, cuts: Ints, run_counts: I32, ack_tail: bytes
    ) -> tuple[int, Ints] | None:
        """The same for all groups at once, each of whose frames is `head` and its runs of `data`; see `Lane.send_runs`,
        also for what is returned. None, and nothing sent, where somebody is not in the lane.
        """
        if self._lane is None or not len(self._lane):
            return None
        slots = array("i", [viewer.slot for group in groups for viewer in group.viewers])
        if min(slots, default=0) < 0:
            return None
        self._give_own()
        counts = array("i", [len(group.viewers) for group in groups])
        return self._lane.send_runs(head, data, cuts, run_counts, counts, slots, ack_tail)

    def flush(self, ack_tail: bytes) -> int:
        """Send what the lane has yet to send. Returns the bytes of own pieces."""
        if self._lane is None or not len(self._lane):
            return 0
        self._give_own()
        own = 0
        if self._frames:
            own = self._lane.send(self._frames, self._counts, self._slots, ack_tail)
            self._frames, self._counts, self._slots = [], [], []
        return own + self._lane.send_rest(ack_tail)

    def _give_own(self) -> None:
        if self._own and self._lane is not None:
            self._lane.own(self._own)
            self._own = {}
