"""Game sockets on the simulated network: messages with a length before them, instead of websockets.

Everything above the socket library is the product's: the connection, its session, the fan-out, and on the other side
the client's session.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from overworld.gateway.connection import Connection
from overworld.gateway.message import Opcode
from overworld.gateway.players import Players

_HEAD = struct.Struct("<IB")
_CLOSE = struct.Struct("<H")


class Messages(asyncio.Protocol):
    """Cuts a stream into (opcode, payload)."""

    def __init__(self) -> None:
        self._buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            length, opcode = _HEAD.unpack_from(self._buffer)
            if len(self._buffer) < _HEAD.size + length:
                return
            payload = self._buffer[_HEAD.size : _HEAD.size + length]
            self._buffer = self._buffer[_HEAD.size + length :]
            self.on_message(opcode, payload)

    def on_message(self, opcode: int, payload: bytes) -> None:
        raise NotImplementedError

    def put(self, opcode: int, payload: bytes) -> None:
        """Send one message; nothing where the connection is gone."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_HEAD.pack(len(payload), opcode) + payload)


class GatewaySide(Messages):
    """Stands in for `overworld.gateway.socket.GameSocket`."""

    address = "127.0.0.1"
    way = None
    """There is no descriptor that compiled code could read from or write to."""

    def __init__(self, players: Players) -> None:
        super().__init__()
        self._handler = Connection(players)
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._handler.on_open(self)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._handler.on_lost(0)

    def on_message(self, opcode: int, payload: bytes) -> None:
        if not self._closing:
            self._handler.on_frame(opcode, True, False, payload)

    def send(self, buffer: bytearray, offset: int) -> None:
        """As the real one: the bytes from `offset` on."""
        self.put(Opcode.BINARY, bytes(buffer[offset:]))

    def send_pieces(self, data: bytes) -> None:
        """Ready frame bytes."""
        self.put(Opcode.BINARY, data)

    def ping(self) -> None:
        """Make the client answer."""
        self.put(Opcode.PING, b"")

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self.put(Opcode.PONG, payload)

    def close(self, code: int, reason: str) -> None:
        """Say why, then close."""
        if not self._closing and self.transport is not None:
            self._closing = True
            self.put(Opcode.CLOSE, _CLOSE.pack(code) + reason.encode())
            self.transport.close()


class ClientSide(Messages):
    """What a simulated client has instead of a websocket."""

    def __init__(self, on_binary: Callable[[bytes], None], on_closed: Callable[[int, str], None]) -> None:
        super().__init__()
        self._on_binary = on_binary
        self._on_closed = on_closed
        self._code, self._reason = 1006, "the connection was lost"
        self._over = False

    def on_message(self, opcode: int, payload: bytes) -> None:
        if self._over:
            return
        if opcode == Opcode.BINARY:
            self._on_binary(payload)
        elif opcode == Opcode.PING:
            self.put(Opcode.PONG, b"")
        elif opcode == Opcode.CLOSE:
            self._code = _CLOSE.unpack_from(payload)[0]
            self._reason = payload[_CLOSE.size :].decode()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over:
            self._over = True
            self._on_closed(self._code, self._reason)

    def drop(self) -> None:
        """Close from this side."""
        if self.transport is not None:
            self.transport.close()


async def serve(players: Players, host: str, port: int) -> Any:
    """Accept game sockets for a gateway."""
    return await asyncio.get_running_loop().create_server(lambda: GatewaySide(players), host, port)
