"""One player's session, from the client's side, without I/O: bytes and times in, bytes and verdicts out.

| state      | what the shell calls           | what follows                                            |
|------------|--------------------------------|---------------------------------------------------------|
| CONNECTING | `opened`                       | GREETING, with the hello in `outgoing`                  |
| GREETING   | `received`                     | PLAYING once the Welcome came                           |
| PLAYING    | `received`, `wake`, `submit`   |                                                         |
| LOST       | `opened` on a new socket       | GREETING; inputs not acknowledged are sent again        |
| OVER       | nothing                        |                                                         |

`closed` (also for a socket that never opened) leads to LOST or OVER and says what to do next. Time and chance are
arguments.

Promise: an input that `submit` took is sent again after every resume until it is acknowledged, and counted in exactly
one of `inputs_acked` and `inputs_abandoned` (the session ended first), unless the client stops before that.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from overworld.client.clock import ServerClock
from overworld.client.closes import CLOSE_CODES_FROM, BackOff, Next, Verdict, Wait, rule, told_s
from overworld.client.contract import PROTOCOL_VERSION, InputLayout, broken
from overworld.client.mirror import LightMirror
from overworld.client.statistics import Statistics
from overworld.errors import WireError
from overworld.wire.v1 import client_pb2 as pb

_NOTICES_MAX = 16
_GREETING_RATE = 60
"""Messages a second that go before the server named its limit: the hello."""


class State(enum.Enum):
    """Where the session stands (proto/README.md, "Connecting")."""

    CONNECTING = "connecting"
    GREETING = "greeting"
    PLAYING = "playing"
    LOST = "lost"
    OVER = "over"


@dataclass(frozen=True)
class SessionLimits:
    """What a client waits for, and how much it keeps."""

    inputs_unacked_max: int = 32
    """More are refused: the server closes a session with more than 32 waiting."""
    welcome_timeout_s: float = 30.0
    """From the opening of a socket, or the last sign of life on it. A gateway may search for a worker for long; then it
    says so, and gives up by itself."""
    silence_s: float = 15.0
    """A socket without a byte for so long is taken for dead."""
    ping_interval_s: float = 5.0
    steady_s: float = 5.0
    """After playing for so long, earlier failures no longer lengthen the back-off."""
    give_up_s: float = 300.0
    """Stop when there was no Welcome for so long."""
    tokens_max: int = 3
    """New tokens in a row that may be refused."""
    back_off: BackOff = field(default_factory=BackOff)


class Pace:
    """A bucket that holds two seconds' worth of messages, as the server's does, with a little left for safety."""

    def __init__(self, rate_per_s: float, now: float) -> None:
        self._rate = rate_per_s * 0.9
        self._left = self._most = 2 * self._rate
        self._at = now

    def take(self, wanted: int, now: float) -> int:
        """How many of `wanted` messages may go now; they count as sent."""
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        taken = min(wanted, int(self._left))
        self._left -= taken
        return taken


@dataclass
class _Unacked:
    seq: int
    data: bytes
    sent_at: float | None


class ClientSession:
    """See the module. `mirror` is a Mirror, or a LightMirror where nobody looks at the world."""

    def __init__(
        self,
        title: str,
        token: str,
        mirror: LightMirror,
        *,
        now: float,
        software: str = "overworld-python",
        limits: SessionLimits | None = None,
        statistics: Statistics | None = None,
    ) -> None:
        self.title = title
        self.token = token
        self.mirror = mirror
        self.limits = limits or SessionLimits()
        self.statistics = statistics if statistics is not None else Statistics()
        self.state = State.CONNECTING
        self.clock = ServerClock()
        self.session = 0
        self.notices: deque[tuple[int, str]] = deque(maxlen=_NOTICES_MAX)
        """(code, text) of the newest notices."""
        self.notices_seen = 0
        """How many there were, forgotten ones included."""
        self.stalled = False
        """The server has said that the player's part of the world stands still, and not that it goes on."""
        self.verdict: Verdict | None = None
        """What the last close led to."""
        self._software = software
        self._resume = b""
        self._fingerprint = ""
        self._last_seq = 0
        self._unacked: deque[_Unacked] = deque()
        self._outgoing: list[bytes] = []
        self._leaving = False
        self._attempts = 0
        self._tokens_refused = 0
        self._lost_at: float | None = None
        self._without_welcome_since = now
        self._opened_at = self._byte_at = self._ping_at = now
        self._head_at: dict[int, float] = {}
        self._pace = Pace(_GREETING_RATE, now)
        self._ping_interval_s = self.limits.ping_interval_s

    # ------------------------------------------------------------ for the player

    @property
    def unacked(self) -> int:
        """Inputs taken and not yet acknowledged."""
        return len(self._unacked)

    @property
    def unacked_seqs(self) -> list[int]:
        """Their numbers, in order."""
        return [unacked.seq for unacked in self._unacked]

    @property
    def last_seq(self) -> int:
        """The number of the newest input."""
        return self._last_seq

    def notices_since(self, seen: int) -> list[tuple[int, str]]:
        """The notices that came after so many had been seen, as far as they are kept."""
        fresh = min(self.notices_seen - seen, len(self.notices))
        return list(self.notices)[len(self.notices) - fresh :]

    @property
    def resuming(self) -> bool:
        """The next hello takes a session up again, so it needs no fresh token."""
        return bool(self._resume)

    def submit(
        self, kind: InputLayout, values: list[int], now: float, seen_tick: int = 0, due_tick: int = 0
    ) -> int | None:
        """Take an input of the player; it goes out now, or when the session plays again. Returns its number.

        None (counted as refused) where too many are unacknowledged, or the player is leaving. Raises ValueError for
        values out of bounds, and before the first Welcome.
        """
        if self.mirror.contract is None:
            raise ValueError("inputs are not known before the first Welcome")
        kind.check(values)
        if len(self._unacked) >= self.limits.inputs_unacked_max or self._leaving or self.state is State.OVER:
            self.statistics.inputs_refused += 1
            return None
        self._last_seq += 1
        message = pb.Input(seq=self._last_seq, kind=kind.number, values=values, seen_tick=seen_tick, due_tick=due_tick)
        data = pb.ClientMessage(input=message).SerializeToString()
        self._unacked.append(_Unacked(self._last_seq, data, None))
        self.statistics.inputs += 1
        if self.state is State.PLAYING:
            self._send_input(self._unacked[-1], now)
        return self._last_seq

    def bye(self) -> None:
        """Leave for good. The server answers with close 1000."""
        self._leaving = True
        if self.state is State.PLAYING:
            self._outgoing.append(pb.ClientMessage(bye=pb.Bye()).SerializeToString())

    # ------------------------------------------------------------ for the shell

    def outgoing(self, now: float) -> list[bytes]:
        """Messages to send on the socket now, in order, each given out once.

        No more than the server's message rate allows: ask again after every call that may have made some, and about
        once a second.
        """
        if not self._outgoing:
            return []
        allowed = self._pace.take(len(self._outgoing), now)
        out, self._outgoing = self._outgoing[:allowed], self._outgoing[allowed:]
        self.statistics.sent_bytes += sum(map(len, out))
        return out

    def opened(self, now: float) -> None:
        """A new socket is open."""
        assert self.state in (State.CONNECTING, State.LOST), self.state
        self.state = State.GREETING
        self.statistics.connects += 1
        self.clock = ServerClock()
        self._pace = Pace(_GREETING_RATE, now)
        self._head_at.clear()
        self._opened_at = self._byte_at = now
        hello = pb.Hello(
            protocol=PROTOCOL_VERSION, title=self.title, token=self.token, resume=self._resume, client=self._software
        )
        self._outgoing = [pb.ClientMessage(hello=hello).SerializeToString()]

    def received(self, data: bytes, now: float) -> bool:
        """A message from the server. False where it was dropped as old.

        Raises WireError where it breaks the protocol: the socket must then be closed with the error's code, and
        `closed` called with 1006.
        """
        self._byte_at = now
        try:
            frame = self.mirror.parse(data)
            return self._take(frame, len(data), now)
        except WireError:
            self.statistics.broken += 1
            raise

    def heard(self, now: float) -> None:
        """A byte came that was no message (a websocket ping or pong)."""
        self._byte_at = now

    def wake(self, now: float) -> str | None:
        """Call about once a second while a socket is open. Returns why the socket must be dropped, or None."""
        if self.state is State.GREETING and now - self._byte_at > self.limits.welcome_timeout_s:
            return f"no Welcome within {self.limits.welcome_timeout_s:g} s"
        if self.state is State.PLAYING:
            if now - self._byte_at > self.limits.silence_s:
                return f"no byte for {self.limits.silence_s:g} s"
            if now >= self._ping_at:
                self._ping_at = now + self._ping_interval_s
                ping = pb.Ping(nonce=self.clock.ask(now))
                self._outgoing.append(pb.ClientMessage(ping=ping).SerializeToString())
        return None

    def closed(self, code: int, reason: str, now: float, chance: float) -> Verdict:
        """The socket is gone, or could not be opened. `code` is as for `closes.rule`; `chance` lies in 0..1."""
        assert self.state is not State.OVER
        if code < CLOSE_CODES_FROM:
            self.statistics.connects_failed += 1
        else:
            self.statistics.closes[code] += 1
        if self.state is State.PLAYING:
            self._lost_at = self._without_welcome_since = now
            if now - self._opened_at >= self.limits.steady_s:
                self._attempts = 0
        self._outgoing = []
        self._attempts += 1
        self.verdict = self._judge(code, reason, now, chance)
        self.state = State.OVER if self.verdict.next is Next.STOP else State.LOST
        return self.verdict

    # ------------------------------------------------------------ closes

    def _judge(self, code: int, reason: str, now: float, chance: float) -> Verdict:
        following, wait = rule(code)
        if self._leaving:
            following = Next.STOP
        elif now - self._without_welcome_since > self.limits.give_up_s:
            following, reason = Next.STOP, f"gave up after {self.limits.give_up_s:g} s: {reason}"
        elif following is Next.REAUTHORISE:
            self._tokens_refused += 1
            if self._tokens_refused > self.limits.tokens_max:
                following = Next.STOP
        if following is Next.FRESH:
            self._resume = b""
        delay_s = 0.0
        if following is not Next.STOP and (wait is not Wait.NONE or self._attempts > 1):
            delay_s = self.limits.back_off.delay_s(self._attempts, chance)
            if wait is Wait.TOLD:
                delay_s = max(delay_s, told_s(reason) * (1 + chance / 4))
        return Verdict(following, delay_s, code, reason)

    # ------------------------------------------------------------ frames

    def _take(self, frame: Any, size: int, now: float) -> bool:
        statistics = self.statistics
        statistics.frames += 1
        statistics.frame_bytes += size
        if frame.welcomes and (self.state is not State.GREETING or len(frame.welcomes) > 1):
            raise broken("more than one Welcome on a socket")
        if not self.mirror.apply(frame):
            statistics.dropped += 1
            return False
        for welcome in frame.welcomes:
            self._welcomed(welcome, now)
        if frame.heads:
            self._time_heads(frame.heads, now)
        if frame.acks:
            self._acknowledge(now)
        for pong in frame.pongs:
            round_trip = self.clock.answer(pong.nonce, pong.server_time_us, now)
            if round_trip is not None:
                statistics.round_trip.record(round_trip)
        for notice in frame.notices:
            statistics.notices[notice.code] += 1
            self.notices.append((notice.code, notice.text))
            self.notices_seen += 1
            if notice.code in (pb.Notice.CODE_STALLED, pb.Notice.CODE_RESUMED):
                self.stalled = notice.code == pb.Notice.CODE_STALLED
        return True

    def _welcomed(self, welcome: pb.Welcome, now: float) -> None:
        self.state = State.PLAYING
        self.stalled = False
        self.statistics.welcomes += 1
        self._obey(welcome.limits, now)
        self._tokens_refused = 0
        if self._lost_at is not None:
            self.statistics.lost.record(now - self._lost_at)
            self._lost_at = None
        if self._resume and welcome.session == self.session:
            self.statistics.resumes += 1
            self._check_sent(welcome.last_seq)
            self._acknowledge(now)
            first = self._unacked[0].seq if self._unacked else self._last_seq + 1
            self.statistics.acks_rolled_back += first - 1 - welcome.last_seq
        else:
            self._abandon()
        if welcome.contract != self._fingerprint:
            # Other inputs than those the waiting ones were made for.
            self._abandon()
        self._resume, self.session, self._fingerprint = welcome.resume, welcome.session, welcome.contract
        self._number_from(welcome.last_seq + 1)
        for unacked in self._unacked:
            self._send_input(unacked, now)
        if self._leaving:
            self.bye()

    def _obey(self, limits: pb.Limits, now: float) -> None:
        """Keep to the server's limits from here on."""
        if limits.messages_per_second_max:
            self._pace = Pace(limits.messages_per_second_max, now)
        if limits.idle_seconds_max:
            self._ping_interval_s = min(self.limits.ping_interval_s, limits.idle_seconds_max / 3)
        self._ping_at = now

    def _abandon(self) -> None:
        self.statistics.inputs_abandoned += len(self._unacked)
        self._unacked.clear()

    def _number_from(self, first: int) -> None:
        """Number what is not acknowledged from `first` on. That is how it is numbered already, unless the server forgot
        inputs that it had acknowledged: commit level 0, or a world restored from a backup."""
        for seq, unacked in enumerate(self._unacked, first):
            if unacked.seq != seq:
                message = pb.ClientMessage.FromString(unacked.data)
                message.input.seq = unacked.seq = seq
                unacked.data = message.SerializeToString()
        self._last_seq = first - 1 + len(self._unacked)

    def _send_input(self, unacked: _Unacked, now: float) -> None:
        unacked.sent_at = now if unacked.sent_at is None else unacked.sent_at
        self._outgoing.append(unacked.data)
        self.statistics.inputs_sent += 1

    def _check_sent(self, seq: int) -> None:
        unsent = next((u.seq for u in self._unacked if u.sent_at is None), self._last_seq + 1)
        if seq >= unsent:
            raise broken(f"input {seq} is acknowledged and was never sent")

    def _acknowledge(self, now: float) -> None:
        acked = self.mirror.acked
        if acked > self._last_seq:
            raise broken(f"input {acked} is acknowledged and was never sent")
        while self._unacked and self._unacked[0].seq <= acked:
            done = self._unacked.popleft()
            self.statistics.inputs_acked += 1
            self.statistics.ack.record(now - (done.sent_at if done.sent_at is not None else now))

    def _time_heads(self, heads: Iterable[pb.TickHead], now: float) -> None:
        """Gaps are taken of the player's own shard: others come into view and leave it."""
        home = self.mirror.acked_at[0] if self.mirror.acked_at is not None else None
        for head in heads:
            shard = head.shard
            before = self._head_at.get(shard)
            if before is not None and (shard == home or home is None):
                self.statistics.gap.record(now - before)
            self._head_at[shard] = now
