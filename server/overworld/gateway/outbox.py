"""Frames of one delivery on their way to viewers: at once to each, or all in one call to those in the lane."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from overworld.gateway.crowds import Watcher, hand_out
from overworld.gateway.lane import Lane
from overworld.gateway.views import Viewer

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

    def flush(self, ack_tail: bytes) -> int:
        """Send what the lane is to send. Returns the bytes of own pieces."""
        if self._lane is None or not len(self._lane):
            return 0
        own = self._lane.send(self._frames, self._counts, self._slots, ack_tail, self._own)
        self._frames, self._counts, self._slots, self._own = [], [], [], {}
        return own
