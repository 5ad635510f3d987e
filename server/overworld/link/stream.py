"""The link's bytes: framing, liveness and bounds over one TCP stream, inside TLS where the accepting side says so.

Bounds and what happens beyond them (each counted in `telemetry.link_lost_total` by cause):

| bound | default | beyond it |
|---|---|---|
| a received frame | 16 MiB (1 KiB before the handshake is done) | the link is closed |
| bytes waiting to be sent | 16 MiB | the link is closed: its peer is too slow to be of use, and gets everything anew |
| handshake | 5 s | the link is closed |
| silence | 5 s, pings after 0.6 s | the link is closed |
| handshakes at once | 64 | the newest is closed |
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import structlog
from google.protobuf.message import DecodeError

from overworld import telemetry
from overworld.errors import LinkError
from overworld.link.busy import BusyMeter
from overworld.link.handshake import (
    NONCE_BYTES,
    GatewayHandshake,
    HandshakeState,
    LinkCredentials,
    Step,
    WorkerHandshake,
)
from overworld.link.tls import OwnCertificate, binding_shown, connecting, encrypt
from overworld.wire.v1.link_pb2 import LinkMessage, LinkPing, LinkPong

log = structlog.get_logger(__name__)

_LENGTH = struct.Struct("<I")
_BUFFER_BYTES = 256 << 10
_PROBE = LinkMessage(ping=LinkPing(nonce=2))
"""Asked to measure; pings with another nonce are asked to hear anything at all."""
_HANDSHAKE_FRAME_BYTES_MAX = 1024
_LINGER_S = 1.0


@dataclass(frozen=True)
class LinkLimits:
    """Bounds of one link; see the module's table."""

    frame_bytes_max: int = 16 << 20
    write_bytes_max: int = 16 << 20
    handshake_s: float = 5.0
    ping_s: float = 0.6
    silence_s: float = 5.0
    handshakes_max: int = 64


DEFAULT_LIMITS = LinkLimits()


class LinkPeer(Protocol):
    """Who owns a link. Both are called on the event loop's thread and must not block."""

    def on_message(self, link: Link, message: LinkMessage) -> None:
        """One message, in order. The first may come before `connect` has returned."""

    def on_lost(self, link: Link, reason: str) -> None:
        """The link is closed, by whichever side. Called exactly once, and never from within `send` or `close`."""


class Link(asyncio.BufferedProtocol):
    """One side of an authenticated stream. Made by `listen` and `connect`."""

    def __init__(
        self,
        handshake: WorkerHandshake | GatewayHandshake,
        limits: LinkLimits,
        on_ready: Callable[[Link], LinkPeer],
        on_done: Callable[[Link], None],
        certificate: OwnCertificate | None = None,
    ) -> None:
        """`certificate`: what the accepting side encrypts with; without one it does not."""
        self._handshake = handshake
        self._certificate = certificate
        self._encrypting: asyncio.Task[None] | None = None
        self._held = False
        """TLS stands or will, and the transport that answers go into is not known yet."""
        self._limits = limits
        self._on_ready = on_ready
        self._on_done = on_done
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._tcp: asyncio.Transport | None = None
        """What carries the transport: itself, or what is below TLS."""
        self._peer: LinkPeer | None = None
        self._buffer = bytearray(_BUFFER_BYTES)
        self._start = self._end = 0
        self._frame_bytes_max = _HANDSHAKE_FRAME_BYTES_MAX
        self._heard_s = self._expected_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._probed_s: float | None = None
        self._round_trip_s = 0.0
        self._busy = BusyMeter()
        self._cause = ""
        self.reason = ""
        """Why the link is closed; empty while it is not."""
        self.busy = 0.0
        """How busy the other side's process was when it answered the last `probe`, 0 to 1: see `link.busy`."""
        self.address = ""
        """The other side's host:port."""

    # ------------------------------------------------------------ for its owner

    @property
    def remote(self) -> str:
        """The other side's name, as it gave it in the handshake."""
        return self._handshake.remote

    @property
    def encrypted(self) -> bool:
        """Whether TLS stands."""
        return self._transport is not self._tcp

    @property
    def closed(self) -> bool:
        """True from the moment either side closed it; nothing is sent or received any more."""
        return bool(self._cause)

    @property
    def heard_s(self) -> float:
        """When the last byte came, on the loop's clock, in seconds. A peer that lives answers pings."""
        return self._heard_s

    @property
    def silent_s(self) -> float:
        """For how long nothing has come, though this process would have seen it. Twice ping_s and a round trip are
        nothing to worry about.
        """
        now = self._loop.time()
        stood_still = now - self._expected_s > self._limits.ping_s / 2
        return 0.0 if stood_still else now - self._heard_s

    @property
    def lag_s(self) -> float:
        """How long the other side took to answer the last `probe`, in seconds; or for how long it has not answered,
        where that is longer already.
        """
        if self._probed_s is None:
            return self._round_trip_s
        return max(self._round_trip_s, self._loop.time() - self._probed_s)

    def probe(self) -> None:
        """Ask for an answer, if none is awaited."""
        if self._probed_s is None and not self._cause:
            self._probed_s = self._loop.time()
            self.send(_PROBE)

    @property
    def buffered_bytes(self) -> int:
        """Bytes handed to `send` that the kernel has not taken yet."""
        if self._transport is None or self._tcp is None:
            return 0
        below = self._tcp.get_write_buffer_size() if self._tcp is not self._transport else 0
        return self._transport.get_write_buffer_size() + below

    @property
    def fill(self) -> float:
        """The same as a part of what may wait, 0 to 1."""
        return self.buffered_bytes / self._limits.write_bytes_max

    def send(self, message: LinkMessage) -> None:
        """Send one message; never blocks. On a closed link the message is dropped and counted. Closes the link where
        more than `write_bytes_max` bytes would wait.
        """
        self.send_serialized(message.SerializeToString())

    def send_serialized(self, body: bytes) -> None:
        """As `send`, for the bytes of a LinkMessage."""
        if self._cause or self._transport is None:
            telemetry.link_dropped_total.inc()
            return
        telemetry.link_bytes_total.labels("out").inc(len(body) + _LENGTH.size)
        if self.buffered_bytes + len(body) > self._limits.write_bytes_max:
            telemetry.link_dropped_total.inc()
            self._lose("overflow", f"more than {self._limits.write_bytes_max} bytes wait to be sent", flush=False)
            return
        self._transport.writelines((_LENGTH.pack(len(body)), body))

    def close(self, reason: str) -> None:
        """Close after what is buffered has been sent, or a second has passed."""
        self._lose("closed", reason, flush=True)

    # ------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self._tcp = cast("asyncio.Transport", transport)
        peername = transport.get_extra_info("peername") or ("?", 0)
        self.address = f"{peername[0]}:{peername[1]}"
        self._timer = self._loop.call_later(self._limits.handshake_s, self._handshake_late)
        if self._certificate is None:
            self._challenge()
            return
        # uvloop reads whatever comes until TLS has the connection, and a gateway says nothing before it is challenged:
        # so that is done next, after the task's first step. What comes even earlier is no proof, and ends the link.
        self._begin_tls(self._certificate.context, server=True)
        self._loop.call_soon(self._challenge)

    def _challenge(self) -> None:
        for message in self._handshake.start():
            self.send(message)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio passes it
        return memoryview(self._buffer)[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._cause:
            return
        self._end += nbytes
        self._heard_s = self._loop.time()
        telemetry.link_bytes_total.labels("in").inc(nbytes)
        if self._transport is not None and not self._held:
            self._read_frames()

    def _read_frames(self) -> None:
        while self._end - self._start >= _LENGTH.size and not self._cause:
            size = _LENGTH.unpack_from(self._buffer, self._start)[0]
            if size > self._frame_bytes_max:
                self._lose("too_big", f"a frame of {size} bytes, at most {self._frame_bytes_max}", flush=False)
                return
            begin = self._start + _LENGTH.size
            if self._end - begin < size:
                break
            self._start = begin + size
            self._frame(bytes(memoryview(self._buffer)[begin : begin + size]))
        self._make_room()

    def eof_received(self) -> bool:
        self._lose("lost", "the other side closed the link", flush=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return
        if not self._cause:
            self._cause, self.reason = "lost", f"the connection was lost: {exc}" if exc else "the connection was lost"
        if self._timer is not None:
            self._timer.cancel()
        telemetry.link_lost_total.labels(self._cause).inc()
        self._transport = self._tcp = None
        self._buffer = bytearray()
        self._on_done(self)
        if self._peer is not None:
            telemetry.links.dec()
            log.info("link_lost", remote=self.remote, address=self.address, reason=self.reason)
            self._peer.on_lost(self, self.reason)

    # ------------------------------------------------------------ inside

    def _frame(self, body: bytes) -> None:
        try:
            message = LinkMessage.FromString(body)
        except DecodeError:
            self._lose("bad_message", "received bytes that are not a LinkMessage", flush=False)
            return
        if self._peer is None:
            self._greet(message)
            return
        kind = message.WhichOneof("message")
        if kind == "ping":
            self._answer(message.ping.nonce)
        elif kind == "pong":
            if message.pong.nonce == _PROBE.ping.nonce and self._probed_s is not None:
                self._round_trip_s, self._probed_s = self._loop.time() - self._probed_s, None
                self.busy = min(message.pong.busy_permille, 1000) / 1000
        elif kind is not None:
            self._peer.on_message(self, message)

    def _answer(self, nonce: int) -> None:
        busy = round(1000 * self._busy.take()) if nonce == _PROBE.ping.nonce else 0
        self.send(LinkMessage(pong=LinkPong(nonce=nonce, busy_permille=busy)))

    def _greet(self, message: LinkMessage) -> None:
        step = self._handshake.receive(message)
        if step.state is not HandshakeState.ENCRYPTING:
            self._take(step)
        elif self._end != self._start:
            # Said before TLS stands, so anybody may have said it.
            self._lose("bad_message", "received bytes between the challenge and TLS", flush=False)
        else:
            self._begin_tls(connecting(), server=False)

    def _begin_tls(self, context: ssl.SSLContext, *, server: bool) -> None:
        assert self._transport is not None
        self._transport.pause_reading()
        self._held = True
        self._encrypting = self._loop.create_task(self._encrypt(self._transport, context, server=server))

    async def _encrypt(self, tcp: asyncio.Transport, context: ssl.SSLContext, *, server: bool) -> None:
        try:
            inside = await encrypt(tcp, self, context, server=server, timeout_s=self._limits.handshake_s)
        except ConnectionError as error:
            self._lose("refused", str(error), flush=False)
            self.connection_lost(None)
            return
        if self._cause or self._transport is None:
            inside.abort()
            return
        self._transport, self._held = inside, False
        if isinstance(self._handshake, GatewayHandshake):
            self._take(self._handshake.encrypted(binding_shown(inside)))
        self._read_frames()

    def _take(self, step: Step) -> None:
        for answer in step.send:
            self.send(answer)
        if step.state is HandshakeState.REFUSED:
            log.warning("link_refused", address=self.address, reason=step.reason)
            self._lose("refused", step.reason, flush=True)
        elif step.state is HandshakeState.READY:
            assert self._timer is not None
            self._timer.cancel()
            self._frame_bytes_max = self._limits.frame_bytes_max
            self._watch_silence()
            telemetry.links.inc()
            log.info("link_up", remote=self.remote, address=self.address)
            self._peer = self._on_ready(self)

    def _make_room(self) -> None:
        """After every whole frame is taken: move the rest to the front, and make the buffer fit the frame to come."""
        if self._cause:
            return
        left = self._end - self._start
        need = _BUFFER_BYTES
        if left >= _LENGTH.size:
            need = max(need, _LENGTH.size + int(_LENGTH.unpack_from(self._buffer, self._start)[0]))
        if need > len(self._buffer) or (left == 0 and len(self._buffer) > 4 * _BUFFER_BYTES):
            grown = bytearray(need)
            grown[:left] = memoryview(self._buffer)[self._start : self._end]
            self._buffer, self._start, self._end = grown, 0, left
        elif left == 0:
            self._start = self._end = 0
        elif len(self._buffer) - self._start < need:
            self._buffer[:left] = self._buffer[self._start : self._end]
            self._start, self._end = 0, left

    def _watch_silence(self) -> None:
        self._expected_s = self._loop.time() + self._limits.ping_s
        self._timer = self._loop.call_at(self._expected_s, self._check_silence)

    def _check_silence(self) -> None:
        now = self._loop.time()
        silent_s = now - self._heard_s
        # A timer that is late itself says that this process stood still: bytes may be waiting unread.
        late = now - self._expected_s > self._limits.ping_s
        if silent_s >= self._limits.silence_s and not late:
            self._lose("silent", f"no byte for {self._limits.silence_s} s", flush=False)
            return
        if silent_s >= self._limits.ping_s:
            self.send(LinkMessage(ping=LinkPing(nonce=1)))
        self._watch_silence()

    def _handshake_late(self) -> None:
        self._lose("refused", f"the handshake took longer than {self._limits.handshake_s} s", flush=False)

    def _lose(self, cause: str, reason: str, flush: bool) -> None:
        if self._cause:
            return
        self._cause, self.reason = cause, reason
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is None:
            return
        if flush:
            self._transport.close()
            self._timer = self._loop.call_later(_LINGER_S, self._transport.abort)
        else:
            self._transport.abort()


class LinkServer:
    """A listening socket and the links it accepted."""

    def __init__(self, server: asyncio.Server, links: set[Link]) -> None:
        self._server = server
        self._links = links

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def links(self) -> frozenset[Link]:
        """Links now open, those still shaking hands included."""
        return frozenset(self._links)

    async def close(self) -> None:
        """Stop listening, close every link and wait until they are gone (at most two seconds)."""
        self._server.close()
        for link in tuple(self._links):
            link.close("this side stops")
        deadline = asyncio.get_running_loop().time() + 2 * _LINGER_S
        while self._links and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.005)


async def listen(
    host: str,
    port: int,
    credentials: LinkCredentials,
    on_link: Callable[[Link], LinkPeer],
    limits: LinkLimits = DEFAULT_LIMITS,
    certificate: OwnCertificate | None = None,
) -> LinkServer:
    """Accept links on host:port (0: any free port). `on_link` is called for each one whose handshake is done, and gives
    its owner. `certificate`: encrypt them all; whoever cannot is refused. Raises LinkError where the port cannot be
    had.
    """
    binding = certificate.binding if certificate is not None else b""
    links: set[Link] = set()
    greeting: set[Link] = set()

    def ready(link: Link) -> LinkPeer:
        greeting.discard(link)
        return on_link(link)

    def done(link: Link) -> None:
        greeting.discard(link)
        links.discard(link)

    def accept() -> asyncio.BaseProtocol:
        if len(greeting) >= limits.handshakes_max:
            telemetry.link_lost_total.labels("busy").inc()
            return _Busy()
        handshake = WorkerHandshake(credentials, secrets.token_bytes(NONCE_BYTES), binding)
        link = Link(handshake, limits, ready, done, certificate)
        greeting.add(link)
        links.add(link)
        return link

    try:
        server = await asyncio.get_running_loop().create_server(accept, host, port)
    except OSError as error:
        raise LinkError(f"cannot listen on {host}:{port}: {error}") from error
    return LinkServer(server, links)


async def connect(
    host: str,
    port: int,
    credentials: LinkCredentials,
    peer: LinkPeer,
    timeout_s: float,
    limits: LinkLimits = DEFAULT_LIMITS,
) -> Link:
    """Open a link and shake hands. Raises LinkError where that does not succeed within `timeout_s`."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Link] = loop.create_future()

    def ready(link: Link) -> LinkPeer:
        if not outcome.done():
            outcome.set_result(link)
        return peer

    def done(link: Link) -> None:
        if not outcome.done():
            outcome.set_exception(LinkError(f"{host}:{port}: {link.reason}"))

    handshake = GatewayHandshake(credentials, secrets.token_bytes(NONCE_BYTES))
    link: Link | None = None
    try:
        async with asyncio.timeout(timeout_s):
            _, link = await loop.create_connection(lambda: Link(handshake, limits, ready, done), host, port)
            return await asyncio.shield(outcome)
    except OSError as error:
        what = f"no answer within {timeout_s} s" if isinstance(error, TimeoutError) else str(error)
        raise LinkError(f"{host}:{port}: {what}") from error
    finally:
        if link is not None and (not outcome.done() or outcome.cancelled()):
            link.close("gave up connecting")
            outcome.cancel()


class _Busy(asyncio.Protocol):
    """Turns a connection away at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()
