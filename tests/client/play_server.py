"""A little game server on real sockets, with one session for each token, that misbehaves on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from overworld.wire.v1 import client_pb2 as pb
from tests.client.session_server import SessionServer

TICK_S = 0.01
Models = dict[str, SessionServer]
"""Each player's session, by token."""


class PlayServer:
    """`url` is its game socket. `hellos`, `byes` and `closed_by_client` (close codes) are what clients sent."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.url = ""
        self.hellos: list[pb.Hello] = []
        self.byes = 0
        self.closed_by_client: list[int] = []
        self.refuse: HTTPStatus | None = None
        self.refuse_tokens: set[str] = set()
        self.answering = True
        self._players: set[_Player] = set()

    @property
    def model(self) -> SessionServer:
        """The only player's session."""
        (model,) = self.models.values()
        return model

    def close_all(self, code: int, reason: str = "") -> None:
        """Close every socket with a code."""
        for player in list(self._players):
            player.close(code, reason)

    def reset_all(self) -> None:
        """Cut every socket without a word."""
        for player in list(self._players):
            player.transport.disconnect(graceful=False)

    def send_all(self, kind: WSMsgType, data: bytes, *, fin: bool = True) -> None:
        """Send one websocket frame to everybody."""
        for player in list(self._players):
            player.transport.send(kind, data, fin)

    def tick(self) -> None:
        """One tick for everybody who plays."""
        for player in self._players:
            if player.model is not None and self.answering:
                player.transport.send(WSMsgType.BINARY, player.model.next_frame())

    def accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        """picows' listener factory."""
        assert request.path == b"/play"
        if self.refuse is not None:
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(self.refuse), None)
        return _Player(self)

    def joined(self, player: _Player) -> None:
        """A socket opened."""
        self._players.add(player)

    def left(self, player: _Player) -> None:
        """A socket closed."""
        self._players.discard(player)


class _Player(WSListener):  # type: ignore[misc, unused-ignore]
    transport: WSTransport

    def __init__(self, server: PlayServer) -> None:
        super().__init__()
        self._server = server
        self.model: SessionServer | None = None

    def close(self, code: int, reason: str) -> None:
        self.transport.send_close(code, reason.encode())  # type: ignore[arg-type]
        self.transport.disconnect()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self._server.joined(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._server.left(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if frame.msg_type == WSMsgType.CLOSE:
            self._server.closed_by_client.append(int.from_bytes(payload[:2], "big"))
            transport.disconnect()
            return
        if frame.msg_type != WSMsgType.BINARY or not self._server.answering:
            return
        message = pb.ClientMessage.FromString(payload)
        if message.HasField("hello"):
            self._server.hellos.append(message.hello)
            if message.hello.token in self._server.refuse_tokens:
                self.close(4003, "not authorised")
                return
            self.model = self._server.models.setdefault(message.hello.token, SessionServer())
        if message.HasField("bye"):
            self._server.byes += 1
            self.close(1000, "bye")
            return
        if self.model is not None:
            for answer in self.model.take(payload):
                transport.send(WSMsgType.BINARY, answer)


@asynccontextmanager
async def serving(models: Models | None = None) -> AsyncIterator[PlayServer]:
    """A server that ticks, on a free port of the loopback. Servers that share `models` share their sessions."""
    server = PlayServer({} if models is None else models)
    listening = await ws_create_server(server.accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"ws://127.0.0.1:{port}/play"

    async def ticking() -> None:
        while True:
            server.tick()
            await asyncio.sleep(TICK_S)

    ticker = asyncio.create_task(ticking())
    try:
        yield server
    finally:
        ticker.cancel()
        server.reset_all()
        listening.close()
        await asyncio.wait([ticker])
