"""One websocket to the server: picows' events as messages, and the checks that picows leaves to its user.

Keeps no decisions: messages go to the session, and `gone` tells how the socket ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from overworld.client.closes import NO_CLOSE_CODE

_MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""Of a message in fragments. Whole ones are limited by picows."""
_REASON_BYTES_MAX = 123
_PROTOCOL_ERROR, _NOT_BINARY, _TOO_BIG = 1002, 1003, 1009


class Socket(WSListener):  # type: ignore[misc, unused-ignore]
    """`gone` is done with (close code, reason) once the socket is closed; 1006 where the server gave no code."""

    def __init__(
        self,
        on_open: Callable[[Socket], None],
        on_message: Callable[[Socket, bytes], None],
        on_control: Callable[[float], None],
    ) -> None:
        super().__init__()
        self.gone: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._on_open, self._on_message, self._on_control = on_open, on_message, on_control
        self._transport: WSTransport | None = None
        self._fragments: list[bytes] = []
        self._fragment_bytes = 0
        self._ending: tuple[int, str] | None = None
        self._abandoned = False

    # ------------------------------------------------------------ for the client

    def send(self, data: bytes) -> None:
        """One binary message."""
        if self._transport is not None and self._ending is None:
            self._transport.send(WSMsgType.BINARY, data)

    def close(self, code: int, reason: str) -> None:
        """The server broke a rule: tell it, and hang up. `gone` will say 1006 and the reason."""
        if self._transport is not None and self._ending is None:
            text = reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore").encode()
            self._transport.send_close(code, text)  # type: ignore[arg-type]
            self._end(NO_CLOSE_CODE, reason)

    def drop(self, reason: str) -> None:
        """Hang up without a word, as on a dead line."""
        self._end(NO_CLOSE_CODE, reason, graceful=False)

    def abandon(self) -> None:
        """Nobody is interested any more: hang up, now or as soon as it opens."""
        self._abandoned = True
        if not self.gone.done():
            self.gone.cancel()
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    # ------------------------------------------------------------ picows' events

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        if self._abandoned:
            transport.disconnect(graceful=False)
            return
        self._on_open(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """One websocket frame, of any kind."""
        kind = frame.msg_type
        if self._ending is not None or self._abandoned:
            return
        if kind == WSMsgType.BINARY and frame.fin and not self._fragments:
            self._on_message(self, frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            self._closed_by_server(transport, frame.get_payload_as_bytes())
        elif kind in (WSMsgType.PING, WSMsgType.PONG):
            self._on_control(time.monotonic())
        elif kind == WSMsgType.TEXT:
            self.close(_NOT_BINARY, "a text message from the server")
        else:
            self._take_fragment(kind, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' signature
        """The transport is closed."""
        if not self.gone.done():
            self.gone.set_result(self._ending or (NO_CLOSE_CODE, "connection lost"))

    # ------------------------------------------------------------ pieces

    def _take_fragment(self, kind: Any, frame: WSFrame) -> None:
        begins = kind == WSMsgType.BINARY
        if begins == bool(self._fragments):
            self.close(_PROTOCOL_ERROR, "fragments out of order")
            return
        self._fragments.append(frame.get_payload_as_bytes())
        self._fragment_bytes += len(self._fragments[-1])
        if self._fragment_bytes > _MESSAGE_BYTES_MAX:
            self.close(_TOO_BIG, "a message is too big")
        elif frame.fin:
            data = b"".join(self._fragments)
            self._fragments, self._fragment_bytes = [], 0
            self._on_message(self, data)

    def _closed_by_server(self, transport: WSTransport, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_CLOSE_CODE
        transport.send_close(code if code != NO_CLOSE_CODE else 1000)  # type: ignore[arg-type]
        self._end(code, payload[2:].decode(errors="replace"))

    def _end(self, code: int, reason: str, *, graceful: bool = True) -> None:
        if self._ending is None:
            self._ending = (code, reason)
        if self._transport is not None:
            self._transport.disconnect(graceful=graceful)
