"""What a connection is told for which there is no room among those that ask for their upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from overworld import telemetry
from overworld.gateway.handshake import RETRY_AFTER_S

_WAIT_S = 0.5
_ANSWER = (
    f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_S}\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
).encode()


class Busy(asyncio.Protocol):
    """Tells a connection to come back: after its request, so that the answer is not lost to a reset, or soon.
    `turn_away` counts those that are being told, and says False where there are too many even of them.
    """

    def __init__(self, turn_away: Callable[[int], bool]) -> None:
        self._turn_away = turn_away
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        telemetry.gateway_refusals_total.labels("busy").inc()
        if self._turn_away(1):
            self._timer = asyncio.get_running_loop().call_later(_WAIT_S, self._answer)
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it asked
        self._answer()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        if self._timer is not None:
            self._timer.cancel()
        self._turn_away(-1)

    def _answer(self) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)
            self._transport.close()
