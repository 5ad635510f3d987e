"""One client from its first message to its close. Sans-I/O: messages, answers and times come in, `Effect`s come out.

    GREETING --hello--> CHECKING --token is new--> ATTACHING --joined--> PLAYING
        |                |  \\--no room--> QUEUED --room--^                 |
        |   \\--hello with resume-----------------/                         |
        \\-------------------------- end ----------------------------------> OVER

A session outlives its worker: while PLAYING, `serving` says whether a worker has it. Inputs are kept until they are
acked, and sent again to the next worker, which ignores what it has applied already. It outlives its shard, too: where
its player goes to live in another one (`moved`), it attaches there, and the rest is as after a worker's death. A login
begins at the player's home shard and follows it the same way.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from overworld.errors import WireError
from overworld.gateway.codes import CloseCode
from overworld.gateway.foresight import Foresight
from overworld.gateway.inputs import Forward, InputRules
from overworld.gateway.line import InputLine, Line
from overworld.gateway.tokens import Login, ResumeTokens, Verifier
from overworld.gateway.welcome import PROTOCOL
from overworld.wire.v1 import client_pb2 as pb

CLIENT_CHARS_MAX = 64
SEARCHING_AFTER_S = 0.5
"""A client is told that its worker is being looked for when that takes longer than this."""


class SessionState(enum.Enum):
    """Where a session stands."""

    GREETING = "greeting"
    CHECKING = "checking"
    QUEUED = "queued"
    ATTACHING = "attaching"
    PLAYING = "playing"
    OVER = "over"


@dataclass(frozen=True)
class SessionRules:
    """What all sessions of one gateway share. `home_of` gives the shard a player lives in."""

    title: str
    inputs: InputRules
    verifier: Verifier
    resumes: ResumeTokens
    home_of: Callable[[int], int]
    inputs_waiting_max: int = 32
    hello_s: float = 5.0
    world_wait_s: float = 20.0
    queue_wait_s: float = 25.0
    told: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The newest (epoch, tick) that shards have told here; the fan-out keeps it."""


@dataclass(frozen=True, slots=True)
class UseToken:
    """Find out whether the login's token is used for the first time, then call `token_used`."""

    login: Login


@dataclass(frozen=True, slots=True)
class Seek:
    """Attach to the shard when it can be reached: call `attach` then."""

    shard: int


@dataclass(frozen=True, slots=True)
class Attach:
    """Ask the shard's worker to let the session play; once it has applied `after_shard`'s message `after_number`, where
    that is not 0: the player is in it.
    """

    shard: int
    resume: bool
    after_shard: int = 0
    after_number: int = 0


@dataclass(frozen=True, slots=True)
class Detach:
    """Tell the shard's worker that the socket is gone."""

    shard: int
    leaving: bool


@dataclass(frozen=True, slots=True)
class Greet:
    """Send the Welcome."""

    last_seq: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a Notice."""

    code: pb.Notice.Code.ValueType


@dataclass(frozen=True, slots=True)
class Answer:
    """Send a Pong."""

    nonce: int


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket."""

    code: int
    reason: str


Effect = UseToken | Seek | Attach | Detach | Forward | Greet | Tell | Answer | Close
Effects = Sequence[Effect]


class Session:
    """The state machine. `fresh` is the number the session gets if it is a new one. Times: `now_s` is monotonic,
    `wall_s` counts from 1970.
    """

    def __init__(self, rules: SessionRules, fresh: int, now_s: float) -> None:
        self._rules = rules
        self.state = SessionState.GREETING
        self.session = fresh
        self.player = 0
        self.shard = -1
        self.attached = False
        """True while a worker has been asked to serve the session."""
        self.serving = False
        """True while a worker does."""
        self.client = ""
        """The client software's name, as it gave it; for logs."""
        self.duplicates = 0
        """Inputs that had come before, and were not passed on again."""
        self.moving_since_s: float | None = None
        """When the player left the shard that served it; None while it is not between shards."""
        self.foresight = Foresight()
        self._after = (0, 0)
        self._resume = False
        self.line: Line = InputLine()
        """The numbering of its inputs."""
        self._told = False
        self._stalled = False
        """The worker's own word, and the last it gave: that its shard stands still."""
        self._unserved_s = math.inf
        self.deadline_s = now_s + rules.hello_s
        """When `check` has something to do."""

    @property
    def inputs_waiting(self) -> int:
        """Inputs sent and not yet acked."""
        return self.line.waiting

    # ------------------------------------------------------------ from the client

    def received(self, message: pb.ClientMessage, now_s: float, wall_s: float) -> Effects:
        """One message of the client. Raises WireError where the socket must be closed."""
        kind = message.WhichOneof("message")
        if kind == "input" and self.state is SessionState.PLAYING:
            item = self.input(message.input, now_s)
            return () if item is None else (item,)
        if kind is None:
            raise WireError(CloseCode.BAD_MESSAGE, "a ClientMessage with nothing in it")
        if (kind == "hello") != (self.state is SessionState.GREETING):
            raise WireError(CloseCode.HELLO_EXPECTED, "hello must be the first message, and comes once")
        if kind == "hello":
            return self._hello(message.hello, now_s, wall_s)
        if kind == "ping":
            return (Answer(message.ping.nonce),)
        if kind == "bye":
            return (*self.end(leaving=True), Close(CloseCode.BYE, "bye"))
        raise WireError(CloseCode.POLICY, "an input before the Welcome")

    def _hello(self, hello: pb.Hello, now_s: float, wall_s: float) -> Effects:
        rules = self._rules
        self.client = hello.client[:CLIENT_CHARS_MAX]
        if hello.protocol != PROTOCOL:
            text = f"this server speaks protocol {PROTOCOL}, not {hello.protocol}"
            raise WireError(CloseCode.PROTOCOL_VERSION, text)
        if hello.title != rules.title:
            raise WireError(CloseCode.UNKNOWN_TITLE, f"this cluster runs {rules.title}")
        if hello.resume:
            resume = rules.resumes.open(hello.resume, wall_s)
            self.session, self.player, self._resume = resume.session, resume.player, True
            self.foresight.resumed(now_s)
            return self._seek(now_s)
        login = rules.verifier.verify(hello.token, wall_s)
        self.player = login.player
        self.state = SessionState.CHECKING
        return (UseToken(login),)

    def input(self, message: pb.Input, now_s: float) -> Forward | None:
        """One input of the client; only while PLAYING. What is to be forwarded now. Raises WireError."""
        values = self._rules.inputs.check(message.kind, message.values)
        seq, line = message.seq, self.line
        last_sent = line.last_sent
        if seq != last_sent + 1:
            if seq <= last_sent:
                self.duplicates += 1
                return None
            text = f"input {seq} after input {last_sent}"
            raise WireError(CloseCode.INPUT_GAP, text)
        if line.waiting >= self._rules.inputs_waiting_max:
            raise WireError(CloseCode.POLICY, f"more than {self._rules.inputs_waiting_max} inputs wait to be applied")
        seen_tick = message.seen_tick
        if seen_tick:
            mark = self._rules.told.get(self.shard)
            if mark is not None and seen_tick > mark[1]:
                self.foresight.ahead(seen_tick, self._rules.told, now_s)
        item = Forward(seq, message.kind, seen_tick, values, message.due_tick)
        line.push(item)
        return item if self.serving else None

    # ------------------------------------------------------------ from the token ledger and the worker

    def token_used(self, first: bool | None, now_s: float, room: bool = True) -> Effects:
        """The answer to `UseToken`: None where nobody could tell. Without `room` the session waits in the queue, until
        `let_in`. Raises WireError.
        """
        if self.state is not SessionState.CHECKING:
            return ()
        if first is None:
            raise WireError(CloseCode.TRY_LATER, "logins are not possible now: try again in 2 seconds")
        if not first:
            raise WireError(CloseCode.NOT_AUTHORISED, "the token is not good here")
        if not room:
            self.state, self.deadline_s = SessionState.QUEUED, now_s + self._rules.queue_wait_s
            return (Tell(pb.Notice.CODE_QUEUED),)
        return self._seek(now_s)

    def let_in(self, now_s: float) -> Effects:
        """There is room for the session, which waited for it."""
        return self._seek(now_s) if self.state is SessionState.QUEUED else ()

    def _seek(self, now_s: float) -> Effects:
        self.shard = self._rules.home_of(self.player)
        self.state = SessionState.ATTACHING
        self._unserve(now_s)
        return (Seek(self.shard),)

    def attach(self) -> Effects:
        """The shard's worker can be reached, and does not know of this session."""
        if self.state not in (SessionState.ATTACHING, SessionState.PLAYING):
            return ()
        self.attached = True
        return (Attach(self.shard, self._resume, *self._after),)

    def moved(self, from_shard: int, to_shard: int, number: int, now_s: float) -> Effects:
        """The player lives in another shard since `from_shard`'s message of this number: follow it. Nothing where the
        session is not attached to `from_shard` (any more).
        """
        if not self.attached or self.shard != from_shard:
            return ()
        self.attached = False
        self._serve(False)
        self.foresight.moved(from_shard, to_shard, now_s)
        self.shard, self._after = to_shard, (from_shard, number)
        if self.moving_since_s is None:
            self.moving_since_s = now_s
        if self._unserved_s == math.inf:
            # Else the wait goes on that has begun already: it bounds any chain of moves.
            self._unserve(now_s)
        return (Seek(to_shard),)

    def lost(self, now_s: float) -> None:
        """The shard's worker cannot be reached any more."""
        if self.attached:
            self.attached = False
            self._serve(False)
            if self.state is SessionState.PLAYING:
                self._unserve(now_s)

    def joined(self, last_seq: int) -> Effects:
        """The worker has the session; `last_seq` is the last input it has applied."""
        if self.state not in (SessionState.ATTACHING, SessionState.PLAYING) or not self.attached:
            return ()
        effects: list[Effect] = []
        if self.state is SessionState.ATTACHING:
            self.state, self._resume = SessionState.PLAYING, True
            self.line = InputLine(last_seq)
            effects.append(Greet(last_seq))
        elif last_seq < self.line.applied:
            # Only a world without a journal goes back. Its inputs cannot be numbered on.
            return (*self.end(leaving=False), Close(CloseCode.SESSION_OVER, "the world went back in time"))
        else:
            self.acked(last_seq)
            effects += self.line.kept()
        self._serve(True)
        self._after, self.moving_since_s = (0, 0), None
        if self._told or self._stalled:
            # Whoever said that its shard stands still may be gone: the one who serves now cannot know what was told.
            effects.append(Tell(pb.Notice.CODE_RESUMED))
        self._told = self._stalled = False
        self._unserved_s = self.deadline_s = math.inf
        return effects

    def acked(self, seq: int) -> None:
        """The worker has applied the inputs up to `seq`."""
        self.line.acked(seq)

    def refused(self, code: int, reason: str) -> Effects:
        """The worker will not have the session, or says that its socket must be closed."""
        return (*self.end(leaving=False), Close(code, reason))

    # ------------------------------------------------------------ time, and the end

    def check(self, now_s: float) -> Effects:
        """What time alone brings. Raises WireError 4002 without a hello in time, 4009 without a worker for too long."""
        if now_s < self.deadline_s:
            return ()
        if self.state is SessionState.GREETING:
            raise WireError(CloseCode.HELLO_EXPECTED, f"no hello within {self._rules.hello_s:g} s")
        if self.state is SessionState.QUEUED:
            raise WireError(CloseCode.TRY_LATER, "the world is full: try again in 10 seconds")
        if now_s - self._unserved_s >= self._rules.world_wait_s:
            raise WireError(CloseCode.WORLD_UNAVAILABLE, "no worker runs the player's part of the world now")
        self.deadline_s = self._unserved_s + self._rules.world_wait_s
        if self._told or self.state not in (SessionState.ATTACHING, SessionState.PLAYING):
            return ()
        self._told = True
        return (Tell(pb.Notice.CODE_SEARCHING),)

    def hears_worker(self, hears: bool) -> Effects:
        """Whether anything comes from the worker that serves the session. Called again and again."""
        if not self.serving or hears != self._told:
            return ()
        self._told = not hears
        if self._stalled:
            return ()
        return (Tell(pb.Notice.CODE_RESUMED if hears else pb.Notice.CODE_STALLED),)

    def shard_stands(self, stands: bool) -> None:
        """The shard's worker says of it that it stands still, or goes on, and the player is told so."""
        self._stalled = stands
        if not stands:
            self._told = False

    def wait_on(self, now_s: float) -> None:
        """A wait for a worker begins anew: the world stands still because somebody wants it so."""
        if self._unserved_s < now_s:
            self._unserved_s = now_s

    def end(self, leaving: bool) -> Effects:
        """The socket is gone, or will be. `leaving`: the player said goodbye."""
        here = self.attached or self.moving_since_s is not None
        self.attached = False
        self._serve(False)
        self.moving_since_s = None
        self.state = SessionState.OVER
        self.deadline_s = math.inf
        return (Detach(self.shard, leaving),) if here else ()

    def _serve(self, serving: bool) -> None:
        self.serving = serving
        self.line.serve(self.shard if serving else -1)

    def _unserve(self, now_s: float) -> None:
        self._unserved_s = now_s
        self.deadline_s = now_s + min(SEARCHING_AFTER_S, self._rules.world_wait_s)
