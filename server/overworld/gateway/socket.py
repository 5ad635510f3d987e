"""Game sockets: websockets over TCP, by picows. The only module that knows which library serves them.

What is done here because the library leaves it to the application: who may upgrade (`handshake`), how many may be
about to, a send buffer of known size in the kernel, and a close that the other side gets to see.

A frame is sent from a buffer with room for its header before it, so that it goes to the kernel without a copy.
"""

from __future__ import annotations

import asyncio
import logging
import socket as sockets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import structlog
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSAutoPingStrategy, WSProtocol  # type: ignore[attr-defined]

from overworld import telemetry
from overworld.errors import SettingsError
from overworld.gateway.codes import CloseCode, reason_bytes
from overworld.gateway.handshake import RETRY_AFTER_S, UpgradePolicy
from overworld.gateway.limits import AddressCounts
from overworld.gateway.message import Opcode

log = structlog.get_logger(__name__)

HEADROOM_BYTES = 14
LINGER_S = 1.0
"""How long a closed socket waits for the client's answer before it is torn down."""
_READ_BUFFER_BYTES = 4096
_CLOSE = int(Opcode.CLOSE)
_BUSY_WAIT_S = 0.5
_BUSY = (
    f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER_S}\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
).encode()

# The library's own log would write a line for every hostile client. What matters is counted, and logged once.
_quiet = logging.getLogger("overworld.gateway.picows")
_quiet.setLevel(logging.CRITICAL + 1)


class SocketHandler(Protocol):
    """Whom a game socket tells. Called on the event loop's thread."""

    def on_open(self, socket: GameSocket) -> None:
        """The upgrade is done."""

    def on_frame(self, opcode: int, fin: bool, reserved: bool, payload: bytes) -> None:
        """A data, ping or pong frame. None comes after `close`."""

    def on_paused(self) -> None:
        """More bytes wait to be read by the client than the backlog allows."""

    def on_resumed(self) -> None:
        """The backlog is low again. Both may be called from within a send."""

    def on_lost(self, code: int) -> None:
        """The socket is gone, whoever closed it. `code`: of a close that the library sent by itself, else 0."""


@dataclass(frozen=True)
class SocketLimits:
    """See GatewaySettings."""

    frame_bytes_max: int
    upgrade_s: float
    handshakes_max: int
    backlog_bytes_max: int
    backlog_bytes_low: int
    kernel_buffer_bytes: int


class GameSocket(WSListener):
    """One client's socket."""

    def __init__(self, handler: SocketHandler, limits: SocketLimits, address: str) -> None:
        self._handler = handler
        self._limits = limits
        self._transport: WSTransport | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._closing = False
        self.address = address
        """The client's IP address."""
        self.send: Callable[[bytearray, int], None] = _unopened
        """Sends buffer[offset:] as one binary message; never blocks. The HEADROOM_BYTES before it are written over."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes sent that the kernel has not taken yet."""
        transport = self._transport
        return 0 if transport is None else transport.underlying_transport.get_write_buffer_size()

    def send_pieces(self, data: bytes) -> None:
        """Send ready frame bytes."""
        self.send(bytearray(HEADROOM_BYTES) + data, HEADROOM_BYTES)

    def ping(self) -> None:
        """Make the client's library answer."""
        if self._transport is not None:
            self._transport.send_ping()

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        if self._transport is not None:
            self._transport.send_pong(payload)

    def close(self, code: int, reason: str) -> None:
        """Say why, wait a little for the client's answer, and tear the socket down."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        telemetry.gateway_closes_total.labels(str(code)).inc()
        self._transport.send_close(code, reason_bytes(reason))  # type: ignore[arg-type]
        self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._abort)

    # ------------------------------------------------------------ picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        tcp = transport.underlying_transport
        tcp.set_write_buffer_limits(high=self._limits.backlog_bytes_max, low=self._limits.backlog_bytes_low)
        self.send = partial(transport.send_reuse_external_bytearray, cast("WSMsgType", int(Opcode.BINARY)))
        self._handler.on_open(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame of the client."""
        # Asking the library for it makes an enumeration's member each time: once is enough.
        opcode: int = frame.msg_type  # type: ignore[assignment]
        if opcode == _CLOSE:
            self._client_closes(transport, frame)
        elif not self._closing:
            reserved = frame.rsv1 or frame.rsv2 or frame.rsv3
            try:
                self._handler.on_frame(opcode, frame.fin, reserved, frame.get_payload_as_bytes())
            except Exception:
                # A fault of ours: the library closes this one socket with 1011.
                log.exception("game_socket_failed")
                raise

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        if self._linger is not None:
            self._linger.cancel()
        code = 0
        if not self._closing:
            # The library closes by itself where a frame is malformed, and tells only here.
            done: Any = transport.close_handshake
            code = int(done.sent.code) if done is not None and done.sent is not None else 0
            telemetry.gateway_closes_total.labels(str(code) if code else "lost").inc()
        self._handler.on_lost(code)
        self._transport = None

    def pause_writing(self) -> None:
        """The backlog is over its limit."""
        if not self._closing:
            self._handler.on_paused()

    def resume_writing(self) -> None:
        """The backlog is low again."""
        if not self._closing:
            self._handler.on_resumed()

    def _client_closes(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self._closing:
            self._closing = True
            telemetry.gateway_closes_total.labels("client").inc()
            if frame.rsv1 or frame.rsv2 or frame.rsv3:
                transport.send_close(CloseCode.PROTOCOL_ERROR)  # type: ignore[arg-type]
            else:
                transport.send_close(frame.get_close_code() if frame.payload_size else CloseCode.BYE)  # type: ignore[arg-type]
        transport.disconnect()
        if self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._abort)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=False)


def _unopened(frame: bytearray, offset: int) -> None:  # noqa: ARG001 - stands in for a send
    raise AssertionError("a socket is sent to before it is open")


class SocketServer:
    """Listens, judges upgrades, and makes a `GameSocket` of each that passes."""

    def __init__(self, policy: UpgradePolicy, limits: SocketLimits, make_handler: Callable[[], SocketHandler]) -> None:
        self._policy = policy
        self._limits = limits
        self._make_handler = make_handler
        self._server: asyncio.Server | None = None
        self._addresses = AddressCounts()
        self._handshakes: Counter[str] = Counter()
        self._accepted: set[_Accepted] = set()
        self._turned_away = 0
        self._port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises SettingsError where the port cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Accepted(self), host, port, backlog=1024)
        except OSError as error:
            raise SettingsError(
                f"the game socket's port {host}:{port} cannot be had: {error.strerror or error}"
            ) from error
        self._port = int(self._server.sockets[0].getsockname()[1])

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def open(self) -> int:
        """TCP connections now open, those before their upgrade included."""
        return self._addresses.total

    @property
    def fill(self) -> dict[str, float]:
        """How full the server is of handshakes and of sockets, as parts of their bounds."""
        return {
            "handshakes": self._handshakes.total() / self._limits.handshakes_max,
            "sockets": self._addresses.total / self._policy.sockets_max,
        }

    def stop_accepting(self) -> None:
        """Listen no more; open sockets stay."""
        if self._server is not None:
            self._server.close()

    def abort_all(self) -> None:
        """Tear every connection down without a word."""
        for accepted in tuple(self._accepted):
            accepted.abort()

    async def close(self, timeout_s: float) -> int:
        """Wait until every open socket is gone, then tear down the rest. Returns how many of them there were."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while self._upgraded and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.sleep(0.01)
        left = self._upgraded
        self.abort_all()
        while self._accepted and asyncio.get_running_loop().time() < deadline_s + LINGER_S:
            await asyncio.sleep(0.01)
        return left

    @property
    def _upgraded(self) -> int:
        return self._addresses.total - self._handshakes.total()

    # ------------------------------------------------------------ for _Accepted

    def may_greet(self, address: str) -> bool:
        """Whether one more connection may send its upgrade request. No address may take more than half of the room."""
        here, limit = self._handshakes.total(), self._limits.handshakes_max
        return here < limit and self._handshakes[address] < max(1, limit // 2)

    def greet(self, accepted: _Accepted, address: str) -> None:
        """A connection was accepted, and has yet to ask for its upgrade."""
        self._accepted.add(accepted)
        self._handshakes[address] += 1
        self._addresses.add(address)

    def greeted(self, address: str) -> None:
        """It asked, or went away."""
        self._handshakes[address] -= 1
        if not self._handshakes[address]:
            del self._handshakes[address]

    def gone(self, accepted: _Accepted, address: str) -> None:
        """A connection is closed."""
        self._accepted.discard(accepted)
        self._addresses.remove(address)

    def turn_away(self, delta: int) -> bool:
        """Count connections that are being told to come back. False where there are too many even of those."""
        self._turned_away += delta
        return self._turned_away <= 4 * self._limits.handshakes_max

    def judge(self, address: str, request: WSUpgradeRequest) -> GameSocket | WSUpgradeResponseWithListener:
        """The answer to an upgrade request."""
        headers = request.headers
        # The library wants the header to be exactly "upgrade"; browsers may send a list (RFC 9110, section 7.6.1).
        options = {option.strip().lower() for value in headers.getall("Connection", ()) for option in value.split(",")}
        if "upgrade" in options:
            headers["Connection"] = "Upgrade"
        others, of_address = self._addresses.total - 1, self._addresses[address] - 1
        refusal = self._policy.judge(request.path, lambda name: headers.getall(name, ()), others, of_address)
        if refusal is None:
            return GameSocket(self._make_handler(), self._limits, address)
        telemetry.gateway_refusals_total.labels(refusal.reason).inc()
        body = f"{refusal.text}\n".encode()
        response = WSUpgradeResponse.create_error_response(refusal.status, body, refusal.headers)
        return WSUpgradeResponseWithListener(response, None)

    @property
    def limits(self) -> SocketLimits:
        """The limits it was given."""
        return self._limits


class _Accepted(WSProtocol):  # type: ignore[misc]
    """The library's protocol, with the accepting and losing of a connection in view. (The library's own server tells of
    a connection only after its upgrade, so that half-open ones could not be counted.)
    """

    def __init__(self, server: SocketServer) -> None:
        limits = server.limits
        super().__init__(
            None,
            None,
            False,
            self._judge,
            _quiet,
            True,
            limits.upgrade_s,
            False,
            20,
            20,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,
            limits.frame_bytes_max,
            None,
            _READ_BUFFER_BYTES,
        )
        self._server = server
        self._address = ""
        self._greeting = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else "?"
        if not self._server.may_greet(self._address):
            busy = _Busy(self._server)
            transport.set_protocol(busy)
            busy.connection_made(transport)
            return
        buffer_bytes = self._server.limits.kernel_buffer_bytes
        transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, buffer_bytes)
        self._greeting = True
        self._server.greet(self, self._address)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._greeting:
            telemetry.gateway_refusals_total.labels("unfinished").inc()
        self._greeted()
        self._server.gone(self, self._address)

    def abort(self) -> None:
        """Tear it down without a word."""
        self.transport.disconnect(graceful=False)

    def _judge(self, request: WSUpgradeRequest) -> GameSocket | WSUpgradeResponseWithListener:
        self._greeted()
        return self._server.judge(self._address, request)

    def _greeted(self) -> None:
        if self._greeting:
            self._greeting = False
            self._server.greeted(self._address)


class _Busy(asyncio.Protocol):
    """Tells a connection to come back: after its request, so that the answer is not lost to a reset, or soon."""

    def __init__(self, server: SocketServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        telemetry.gateway_refusals_total.labels("busy").inc()
        if self._server.turn_away(1):
            self._timer = asyncio.get_running_loop().call_later(_BUSY_WAIT_S, self._answer)
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it asked
        self._answer()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        if self._timer is not None:
            self._timer.cancel()
        self._server.turn_away(-1)

    def _answer(self) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(_BUSY)
            self._transport.close()
