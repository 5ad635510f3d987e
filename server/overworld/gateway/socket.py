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
from overworld.gateway.busy import Busy
from overworld.gateway.codes import CloseCode, reason_bytes
from overworld.gateway.handshake import UpgradePolicy
from overworld.gateway.lane import LaneLine
from overworld.gateway.lane_library import Track
from overworld.gateway.limits import AddressCounts, SocketLimits
from overworld.gateway.message import Opcode
from overworld.gateway.tls import PlayersTls, TlsDoor, TlsListener

log = structlog.get_logger(__name__)

HEADROOM_BYTES = 14
LINGER_S = 1.0
"""How long a closed socket waits for the client's answer before it is torn down."""
_READ_BUFFER_BYTES = 4096
_BACKLOG = 1024
"""Connections that the kernel accepts before we do."""
_CLOSE = int(Opcode.CLOSE)
_BINARY = cast("WSMsgType", int(Opcode.BINARY))

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


class GameSocket(WSListener):
    """One client's socket."""

    def __init__(self, handler: SocketHandler, limits: SocketLimits, address: str) -> None:
        self._handler = handler
        self._limits = limits
        self._transport: WSTransport | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._closing = False
        self._reader: _Followed | None = None
        self._line: LaneLine | None = None
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
            self._note_backlog()

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        if self._transport is not None:
            self._transport.send_pong(payload)
            self._note_backlog()

    def close(self, code: int, reason: str) -> None:
        """Say why, wait a little for the client's answer, and tear the socket down."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        telemetry.gateway_closes_total.labels(str(code)).inc()
        self._transport.send_close(code, reason_bytes(reason))  # type: ignore[arg-type]
        self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._abort)

    # ------------------------------------------------------------ the lane

    def follow(self, reader: _Followed) -> None:
        """Who reads it, and knows where its bytes stand."""
        self._reader = reader

    @property
    def way(self) -> tuple[int, Track] | None:
        """Its descriptor and where its bytes stand; None where it cannot be read but here."""
        if self._transport is None or self._closing or self._reader is None or self._reader.track is None:
            return None
        tcp = self._transport.underlying_transport
        if tcp.is_closing() or tcp.get_extra_info("ssl_object") is not None:
            return None
        return int(tcp.get_extra_info("socket").fileno()), self._reader.track

    def enter_lane(self, line: LaneLine) -> None:
        """From now on the lane reads it, and writes to it what is not sent here."""
        assert self._transport is not None
        self._line = line
        self._transport.underlying_transport.pause_reading()
        self._note_backlog()

    def leave_lane(self, track: Track) -> None:
        """It is read here again. `track`: where its bytes stand."""
        self._line = None
        if self._reader is not None:
            self._reader.track = track
        if self._transport is not None and not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.resume_reading()

    def feed(self, data: bytes) -> bool:
        """Bytes of the client that the lane has read. False where it is read no more: a close is under way."""
        transport = self._transport
        if transport is not None and self._reader is not None and not transport.is_disconnected:
            self._reader.feed(data)
            self._note_backlog()
        return transport is not None and not (transport.is_close_frame_sent or transport.is_disconnected)

    def write(self, data: bytes) -> None:
        """Bytes of frames that the kernel did not take."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.write(data)
            self._note_backlog()

    def _note_backlog(self) -> None:
        if self._line is not None:
            self._line.block(self.backlog_bytes > 0)

    def _send_beside(self, frame: bytearray, offset: int) -> None:
        assert self._transport is not None
        self._transport.send_reuse_external_bytearray(_BINARY, frame, offset)
        self._note_backlog()

    # ------------------------------------------------------------ picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._transport = transport
        tcp = transport.underlying_transport
        tcp.set_write_buffer_limits(high=self._limits.backlog_bytes_max, low=self._limits.backlog_bytes_low)
        if self._reader is not None:
            self.send = self._send_beside
        else:
            self.send = partial(transport.send_reuse_external_bytearray, _BINARY)
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

    def __init__(
        self,
        policy: UpgradePolicy,
        limits: SocketLimits,
        make_handler: Callable[[], SocketHandler],
        follow: Callable[[Track, bytes], None] | None = None,
        tls: PlayersTls | None = None,
    ) -> None:
        """`follow` keeps a track of a client's bytes, so that a lane can read on; None where there is no lane. `tls`:
        without it sockets are plain, and what stands in front of the gateway encrypts them; with it none enters a lane.
        """
        self._follow = follow
        self._policy = policy
        self._limits = limits
        self._make_handler = make_handler
        self._server: asyncio.Server | TlsListener | None = None
        if tls is not None:
            self._server = TlsListener(self, tls, limits.upgrade_s, lambda passed: _Accepted(self, passed))
        self._addresses = AddressCounts()
        self._handshakes: Counter[str] = Counter()
        self._accepted: set[_Accepted | TlsDoor] = set()
        self._turned_away = 0
        self._port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises SettingsError where the port cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            if isinstance(self._server, TlsListener):
                self._port = self._server.listen(host, port, _BACKLOG)
                return
            self._server = await loop.create_server(self._accept, host, port, backlog=_BACKLOG)
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

    def _accept(self) -> _Accepted:
        return _Accepted(self) if self._follow is None else _Followed(self, self._follow)

    # ------------------------------------------------------------ for _Accepted and TlsDoor

    def may_greet(self, address: str) -> bool:
        """Whether one more connection may send its upgrade request. No address may take more than half of the room."""
        here, limit = self._handshakes.total(), self._limits.handshakes_max
        return here < limit and self._handshakes[address] < max(1, limit // 2)

    def greet(self, accepted: _Accepted | TlsDoor, address: str) -> None:
        """A connection was accepted, and has yet to ask for its upgrade."""
        self._accepted.add(accepted)
        self._handshakes[address] += 1
        self._addresses.add(address)

    def greeted(self, address: str) -> None:
        """It asked, or went away."""
        self._handshakes[address] -= 1
        if not self._handshakes[address]:
            del self._handshakes[address]

    def gone(self, accepted: _Accepted | TlsDoor, address: str) -> None:
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

    def __init__(self, server: SocketServer, passed: Callable[[], None] | None = None) -> None:
        limits = server.limits
        self._passed = passed
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
        if self._passed is not None:
            self._passed()
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else "?"
        if not self._server.may_greet(self._address):
            busy = Busy(self._server.turn_away)
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


class _Followed(_Accepted):
    """The same, with an eye on where frames begin: the library does not tell how much of one it holds."""

    def __init__(self, server: SocketServer, follow: Callable[[Track, bytes], None]) -> None:
        super().__init__(server)
        self._follow = follow
        self._room = memoryview(b"")
        self._fresh = True
        self.track: Track | None = None
        """None where it is not known: before the upgrade, and for good where its request came in pieces."""

    def get_buffer(self, sizehint: int) -> memoryview:
        self._room = super().get_buffer(sizehint)
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._room[:nbytes])
        if self._fresh:
            self._fresh = False
            _, end, data = data.partition(b"\r\n\r\n")
            self.track = Track() if end else None
        if self.track is not None:
            self._follow(self.track, data)
        super().buffer_updated(nbytes)

    def feed(self, data: bytes) -> None:
        """Bytes that were read and followed elsewhere."""
        rest = memoryview(data)
        while rest:
            room = super().get_buffer(-1)
            size = min(len(room), len(rest))
            room[:size] = rest[:size]
            super().buffer_updated(size)
            rest = rest[size:]

    def _judge(self, request: WSUpgradeRequest) -> GameSocket | WSUpgradeResponseWithListener:
        answer = super()._judge(request)
        if isinstance(answer, GameSocket):
            answer.follow(self)
        return answer
