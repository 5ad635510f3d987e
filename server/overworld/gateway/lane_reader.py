"""When the lane is read: at once where all was quiet, and then every few milliseconds for as long as something comes.

So a lone input goes on without a wait, and of many those of a few milliseconds share one wake-up of the event loop and
one message to the worker. One turn reads a bounded number of sockets; what is left waits for the next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from overworld.gateway.lane import Lane
from overworld.gateway.lane_library import EVENTS_MAX
from overworld.wire.v1.link_pb2 import LinkMessage

ROUNDS_MAX = 4
"""Of EVENTS_MAX sockets, in one turn of the event loop: about 4 ms of it."""


class LaneReader:
    """Reads a lane. `on_inputs` gets (shard, how many, message for its worker)."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lane: Lane,
        pause_s: float,
        on_inputs: Callable[[int, int, LinkMessage], None],
    ) -> None:
        self._loop = loop
        self._lane = lane
        self._pause_s = pause_s
        self._on_inputs = on_inputs
        self._timer: asyncio.Handle | None = None
        self._closed = False
        loop.add_reader(lane.descriptor, self._awake)

    def close(self) -> None:
        """Read no more."""
        self._closed = True
        self._loop.remove_reader(self._lane.descriptor)
        if self._timer is not None:
            self._timer.cancel()

    def _awake(self) -> None:
        self._loop.remove_reader(self._lane.descriptor)
        self._read()

    def _read(self) -> None:
        something = False
        for _ in range(ROUNDS_MAX):
            ready, raws = self._lane.read(self._loop.time())
            for shard, count, message in self._lane.inputs():
                self._on_inputs(shard, count, message)
            # After the inputs that came before them.
            for line, data in raws:
                line.holder.on_raw(line, data)
            if self._closed:
                return
            something = something or ready > 0
            if ready < EVENTS_MAX:
                break
        else:
            self._timer = self._loop.call_soon(self._read)
            return
        if something:
            self._timer = self._loop.call_later(self._pause_s, self._read)
        else:
            self._loop.add_reader(self._lane.descriptor, self._awake)
