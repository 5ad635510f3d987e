"""One socket with its session: reads messages, lets the session decide, and does what it says."""

from __future__ import annotations

import structlog
from google.protobuf.message import DecodeError

from overworld import telemetry, tracing
from overworld.errors import WireError
from overworld.gateway import pieces
from overworld.gateway.codes import CloseCode
from overworld.gateway.desk import Desk
from overworld.gateway.inputs import Forward
from overworld.gateway.lane import Lane, LaneLine
from overworld.gateway.limits import TokenBucket
from overworld.gateway.message import MessageReader, Opcode
from overworld.gateway.session import (
    Answer,
    Attach,
    Close,
    Detach,
    Effects,
    Greet,
    Seek,
    Session,
    SessionState,
    Tell,
    UseToken,
)
from overworld.gateway.socket import GameSocket
from overworld.gateway.suspicion import SEEN_AHEAD
from overworld.gateway.transport import Transport
from overworld.gateway.views import Viewer
from overworld.wire.v1.client_pb2 import ClientMessage, Input

log = structlog.get_logger(__name__)

BURST_S = 2.0
"""The message rate's bucket holds this many seconds' worth."""

_INPUT_TAG, _HEAD_BYTES, _SHORT_BYTES_MAX = 0x12, 2, 127
"""A ClientMessage begins so that holds an Input of up to 127 bytes."""

_EXPECTED = frozenset({CloseCode.BYE, CloseCode.RESTARTING, CloseCode.REPLACED, CloseCode.SILENT})


class Connection:
    """A `SocketHandler`. Made at the upgrade, gone with the socket."""

    def __init__(self, desk: Desk) -> None:
        now_s = desk.now_s()
        settings = desk.settings
        self._desk = desk
        self._reader = MessageReader(desk.message_limits)
        rate = settings.messages_per_second_max
        self._bucket: TokenBucket | LaneLine = TokenBucket(rate, rate * BURST_S, now_s)
        self._line: LaneLine | None = None
        self._heard_s = now_s
        self._calm_until_s = 0.0
        """Nothing but the session's and the reader's deadlines is to be looked at before."""
        self._pinged = False
        self._choked = False
        self._set_aside = False
        self._behind_s = 0.0
        self._closed = False
        self._opened_s = now_s
        self._resumed: bool | None = None
        """Whether its session had been there before; None until it is known whose it is."""
        self.session = Session(desk.rules, desk.fresh_session(), now_s)
        self.viewer: Viewer | None = None
        self.socket: Transport | None = None

    @property
    def closed(self) -> bool:
        """True once nothing more is sent to the client."""
        return self._closed

    # ------------------------------------------------------------ SocketHandler

    def on_open(self, socket: GameSocket) -> None:
        """The upgrade is done."""
        self.on_transport(socket)

    def on_frame(self, opcode: int, fin: bool, reserved: bool, payload: bytes) -> None:
        """A frame of the client."""
        now_s = self._heard_s = self._desk.now_s()
        self._pinged = False
        try:
            message = self._reader.frame(opcode, fin, reserved, payload, now_s)
            if message is None:
                if opcode >= Opcode.CLOSE:
                    self._control(opcode, payload, now_s)
                return
        except WireError as error:
            self.close(error.close_code, error.reason)
            return
        self.on_message(message, now_s)

    # ------------------------------------------------------------ whatever the transport

    def on_transport(self, transport: Transport) -> None:
        """There is a way to the client."""
        self.socket = transport
        self._desk.opened(self)

    def on_message(self, message: bytes, now_s: float) -> None:
        """A whole message of the client."""
        self._heard_s = now_s
        try:
            self._take_token(now_s)
            session = self.session
            if session.state is SessionState.PLAYING and _is_input_alone(message):
                item = session.input(_parsed_input(message), now_s)
                if item is not None:
                    self._desk.forward(session, item)
            else:
                self.do(session.received(_parsed(message), now_s, self._desk.wall_s()))
        except WireError as error:
            self.close(error.close_code, error.reason)

    def on_paused(self) -> None:
        """The client does not read what it is sent."""
        self._choked = True
        self._calm_until_s = 0.0
        self.leave_lane()
        if self.viewer is not None and not self.viewer.behind:
            self.viewer.behind = True
            self._behind_s = self._desk.now_s()
        # Not at once: this may be called in the middle of a fan-out.
        self._desk.soon(self._settle)

    def on_resumed(self) -> None:
        """The client has read most of it."""
        self._choked = False
        self._desk.soon(self._settle)

    def on_lost(self, code: int) -> None:
        """The socket is gone."""
        if code and not self._closed:
            self._log_close(code, "a malformed frame")
            self._desk.suspect(self.session.player, code)
        self._leave()
        self._desk.gone(self)

    # ------------------------------------------------------------ the lane

    @property
    def in_lane(self) -> bool:
        """Whether compiled code reads it and writes to it."""
        return self._line is not None

    def enter_lane(self, lane: Lane) -> None:
        """Into it, where that is possible now. Only while it plays."""
        way = self.socket.way if self.socket is not None and not self._closed and not self._choked else None
        if way is None or self._line is not None or self.viewer is None or not isinstance(self._bucket, TokenBucket):
            return
        session, (descriptor, track) = self.session, way
        line = lane.enter(self, descriptor, session.session, session.line, self._bucket, track, self._desk.now_s())
        if line is None:
            return
        self._line = self._bucket = session.line = line
        line.serve(session.shard if session.serving else -1)
        self.viewer.slot = line.slot
        assert self.socket is not None
        self.socket.enter_lane(line)

    def leave_lane(self) -> None:
        """Out of it, where it is in it; all goes on the other way."""
        line, self._line = self._line, None
        if line is None:
            return
        self._heard_s = max(self._heard_s, line.heard_s)
        self.session.line, self._bucket, track = line.leave()
        if self.viewer is not None:
            self.viewer.slot = -1
        if self.socket is not None:
            self.socket.leave_lane(track)

    def on_raw(self, line: LaneLine, data: bytes) -> None:
        """Bytes that are not for the lane. Empty: nothing more can be read, and the socket is to find out why."""
        here = line is self._line
        if (not data and here) or (data and self.socket is not None and not self.socket.feed(data)):
            self.leave_lane()

    def on_left(self, line: LaneLine, data: bytes) -> None:
        """Bytes that the kernel did not take."""
        if self.socket is not None and (line is self._line or not self._closed):
            self.socket.write(data)

    # ------------------------------------------------------------ from the desk

    def do(self, effects: Effects) -> None:
        """What the session decided."""
        for effect in effects:
            match effect:
                case Forward():
                    self._desk.forward(self.session, effect)
                case Answer(nonce):
                    self._pong(nonce)
                case Tell(code):
                    self.send(pieces.notice(code))
                case Greet(last_seq):
                    self._greet(last_seq)
                case UseToken(login):
                    self._desk.use_token(self, login)
                case Seek(shard):
                    self._desk.seek(self, shard)
                case Attach() | Detach():
                    if self._resumed is None and isinstance(effect, Attach):
                        self._resumed = effect.resume
                    self._desk.tell_worker(self.session, effect)
                case Close(code, reason):
                    self.close(code, reason)

    def send(self, data: bytes) -> None:
        """Ready frame bytes for this client alone."""
        if self.socket is not None and not self._closed:
            self.socket.send_pieces(data)

    def answer_token(self, first: bool | None) -> None:
        """Whether the login's token was used for the first time; None where nobody could tell."""
        try:
            room = not first or self._desk.has_room(self)
            self.do(self.session.token_used(first, self._desk.now_s(), room))
        except WireError as error:
            self.close(error.close_code, error.reason)

    def close(self, code: int, reason: str, detach: bool = True) -> None:
        """End it, and tell the client why. Without `detach` the worker is not told: another socket has the session."""
        if self._closed:
            return
        if code not in _EXPECTED:
            self._log_close(code, reason)
            self._desk.suspect(self.session.player, code)
        self._leave(detach)
        if self.socket is not None:
            self.socket.close(code, reason)

    def sweep(self, now_s: float) -> None:
        """What time alone brings; called a few times a second."""
        calm_until_s = min(self._calm_until_s, self.session.deadline_s, self._reader.deadline_s)
        if now_s < calm_until_s and not self.session.foresight.pending:
            return
        settings = self._desk.settings
        silent_s = now_s - self._heard_s
        if self._line is not None and silent_s * 2 > settings.idle_s and self._line.heard_s > self._heard_s:
            self._heard_s, self._pinged = self._line.heard_s, False
            silent_s = now_s - self._heard_s
        try:
            self._reader.check(now_s)
            lies = self.session.foresight.settled(now_s)
            if lies:
                self._desk.suspect(self.session.player, SEEN_AHEAD, lies)
            if now_s >= self.session.deadline_s:
                self.do(self.session.check(now_s))
            if self.viewer is not None and self.viewer.behind and now_s - self._behind_s > settings.behind_s:
                raise WireError(CloseCode.TOO_SLOW, f"updates were not read for {settings.behind_s:g} s")
            if silent_s > settings.idle_s:
                raise WireError(CloseCode.SILENT, f"not a byte for {settings.idle_s} s")
        except WireError as error:
            self.close(error.close_code, error.reason)
            return
        if silent_s * 2 > settings.idle_s:
            if not self._pinged and self.socket is not None:
                self._pinged = True
                self.socket.ping()
        elif self.viewer is None or not self.viewer.behind:
            self._calm_until_s = self._heard_s + settings.idle_s / 2

    # ------------------------------------------------------------ inside

    def _control(self, opcode: int, payload: bytes, now_s: float) -> None:
        self._take_token(now_s)
        if opcode == Opcode.PING and self.socket is not None:
            if self.viewer is not None and self.viewer.behind:
                telemetry.gateway_dropped_total.labels("pong_behind").inc()
            else:
                self.socket.pong(payload)

    def _pong(self, nonce: int) -> None:
        if self.viewer is not None and self.viewer.behind:
            telemetry.gateway_dropped_total.labels("pong_behind").inc()
        else:
            self.send(pieces.pong(nonce, int(self._desk.now_s() * 1e6)))

    def _take_token(self, now_s: float) -> None:
        if not self._bucket.take(now_s):
            rate = self._desk.settings.messages_per_second_max
            raise WireError(CloseCode.POLICY, f"more than {rate} messages a second")

    def _greet(self, last_seq: int) -> None:
        assert self.socket is not None
        session = self.session
        self.send(self._desk.welcome(session, last_seq))
        self._tell_span("session.join", {"resumed": bool(self._resumed)})
        self.viewer = Viewer(session.session, self.socket.send, session.acked)
        self._desk.admit(self.viewer)
        self._desk.enter_lane(self)

    def _settle(self) -> None:
        """Set the viewer aside, or take it back, whichever the socket said last."""
        if self._closed or self.viewer is None or not self.viewer.behind:
            return
        if not self._set_aside:
            self._set_aside = True
            self._desk.pause(self.viewer)
        if not self._choked:
            self._set_aside = False
            self._desk.resume(self.viewer)
            self._desk.enter_lane(self)

    def _leave(self, detach: bool = True) -> None:
        if self._closed:
            return
        self.leave_lane()
        self._closed = True
        if self._resumed is not None:
            name = "session.resumed" if self._resumed else "session"
            self._tell_span(name, {"state": self.session.state.value}, whole=not self._resumed)
        ends = self.session.end(leaving=False)
        telemetry.gateway_dropped_total.labels("input_duplicate").inc(self.session.duplicates)
        self._desk.leave(self)
        if detach:
            self.do(ends)

    def _tell_span(self, name: str, about: dict[str, tracing.Value], *, whole: bool = False) -> None:
        """From the socket's opening until now."""
        session, seconds = self.session, self._desk.now_s() - self._opened_s
        of = tracing.of_session(session.session)
        about |= {"session": session.session, "shard": session.shard}
        tracing.spans.tell(name, of, seconds, about, whole=whole)

    def _log_close(self, code: int, reason: str) -> None:
        address = self.socket.address if self.socket is not None else ""
        session = self.session
        log.info(
            "socket_closed",
            code=int(code),
            reason=reason,
            address=address,
            session=session.session,
            shard=session.shard,
            state=session.state.value,
            client=session.client,
        )


def _is_input_alone(message: bytes) -> bool:
    """Whether the message is one short Input and nothing else, as nearly all are: no need to look which it is."""
    size = len(message) - _HEAD_BYTES
    return 0 <= size <= _SHORT_BYTES_MAX and message[0] == _INPUT_TAG and message[1] == size


def _parsed_input(message: bytes) -> Input:
    try:
        return Input.FromString(message[_HEAD_BYTES:])
    except DecodeError:
        raise WireError(CloseCode.BAD_MESSAGE, "the bytes are not a ClientMessage") from None


def _parsed(message: bytes) -> ClientMessage:
    try:
        return ClientMessage.FromString(message)
    except DecodeError:
        raise WireError(CloseCode.BAD_MESSAGE, "the bytes are not a ClientMessage") from None
