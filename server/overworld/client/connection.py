"""The client that plays: a session on real sockets, which reconnects by itself.

    async with Client("ws://127.0.0.1:8001/play", token, "frontier") as client:
        client.send("Steer", thrust=1)
        await client.until(lambda c: c.session.unacked == 0, timeout_s=1)
        print(client.mirror.own())

All decisions are the session's (`overworld.client.protocol`); this shell opens sockets, carries bytes and keeps time.
It reads the monotonic clock itself, because uvloop's `loop.time` counts whole milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol, Self

import structlog
from picows import WSError, WSHandshakeError, ws_connect

from overworld.client.beat import Beats
from overworld.client.closes import TOLD_S_MAX, Next, Verdict
from overworld.client.contract import ClientContract
from overworld.client.interpolation import Interpolator, Sight
from overworld.client.mirror import LightMirror, Mirror
from overworld.client.numbers import Numbers, numbers_of
from overworld.client.prediction import Predictor
from overworld.client.presence import Listeners, Presence
from overworld.client.protocol import ClientSession, SessionLimits, State
from overworld.client.rates import Traffic
from overworld.client.socket import Socket
from overworld.client.statistics import Statistics
from overworld.client.steering import Steering
from overworld.errors import ClientStopped, WireError

log = structlog.get_logger(__name__)


class Witness(Protocol):
    """Told of all that one client lives through, for whoever checks it afterwards. Must be quick and must not fail."""

    def connecting(self, url: str) -> None:
        """A socket is being opened."""

    def received(self, data: bytes) -> None:
        """A message of the server's, before it is applied."""

    def sent(self, data: bytes) -> None:
        """A message to the server."""

    def broke(self, error: WireError) -> None:
        """The message received last broke a rule of the protocol."""

    def gone(self, verdict: Verdict) -> None:
        """The socket is gone, or did not open; this is what follows."""


TokenSource = Callable[[], Awaitable[str]]
"""Gives a new token whenever one is needed. Raises OSError or TimeoutError where it cannot."""
PredictorMaker = Callable[[ClientContract], Predictor]
"""Makes a player's predictor, with the title's rule, once the world is known."""


@dataclass(frozen=True)
class ClientOptions:
    """How a client connects. `light`: keep ticks, acks and the avatar, and no picture of the world."""

    light: bool = False
    connect_timeout_s: float = 10.0
    token_timeout_s: float = 10.0
    leave_timeout_s: float = 2.0
    wake_interval_s: float = 1.0
    frame_bytes_max: int = 8 * 1024 * 1024
    ssl_context: ssl.SSLContext | None = None
    limits: SessionLimits = field(default_factory=SessionLimits)


class Client:
    """One player. `urls`: one game socket or several gateways', tried in turn. `token`: one, or where to get them.

    `on_frame` is called after every frame that was applied, on the event loop; it must be quick.

    With `predictor` (made at the first Welcome), inputs act on the own avatar at once, and `steering` says where to
    draw it. Times that its parts ask for are those of `time.monotonic()`.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        token: str | TokenSource,
        title: str,
        *,
        options: ClientOptions | None = None,
        statistics: Statistics | None = None,
        chance: random.Random | None = None,
        witness: Witness | None = None,
        predictor: PredictorMaker | None = None,
    ) -> None:
        self.options = options or ClientOptions()
        self.on_frame: Callable[[Client], None] | None = None
        self._urls = [urls] if isinstance(urls, str) else list(urls)
        assert self._urls
        self._url = 0
        self.url = ""
        """The address in use."""
        self._token = token
        self._chance = chance or random.Random()
        self._witness = witness
        self._mirror = LightMirror() if self.options.light else Mirror()
        self._presence: Presence | None = None
        self._interpolator: Interpolator | None = None
        self.beats = Beats()
        """The shards' timelines; kept once `steering` or `interpolator` needs them."""
        self.traffic = Traffic()
        self._states: Listeners[[State, Verdict | None]] = Listeners()
        self._notices: Listeners[[int, str]] = Listeners()
        self._welcomes: Listeners[[ClientContract]] = Listeners()
        self._told = State.CONNECTING
        self._loop = asyncio.get_running_loop()
        limits = self.options.limits
        if isinstance(token, str):
            # Nowhere to get another one: a refused token is the end.
            limits = replace(limits, tokens_max=0)
        self.session = ClientSession(
            title,
            token if isinstance(token, str) else "",
            self._mirror,
            now=time.monotonic(),
            limits=limits,
            statistics=statistics,
        )
        self.steering: Steering | None = None
        self._predictor = predictor
        self._socket: Socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._changed: asyncio.Future[None] | None = None
        self._stopped: ClientStopped | None = None

    # ------------------------------------------------------------ for the player

    @property
    def mirror(self) -> Mirror:
        """The world as the player sees it. Raises TypeError for a light client."""
        if not isinstance(self._mirror, Mirror):
            raise TypeError("a light client keeps no picture of the world")
        return self._mirror

    @property
    def presence(self) -> Presence:
        """Callbacks for entities that come, change and go, and the picture without gaps between shards. Made when it is
        first asked for; until then it costs nothing. Raises TypeError for a light client.
        """
        if self._presence is None:
            self._presence = Presence(self.mirror)
        return self._presence

    @property
    def interpolator(self) -> Interpolator:
        """Where to draw others, between ticks. Made when it is first asked for, as `presence`, which it goes by."""
        if self._interpolator is None:
            self._interpolator = Interpolator(self.presence, self.beats)
        return self._interpolator

    @property
    def statistics(self) -> Statistics:
        """What was counted so far, in figures that add up over clients."""
        return self.session.statistics

    def numbers(self) -> Numbers:
        """What an overlay shows, now."""
        return numbers_of(self, time.monotonic())

    def drawing(self) -> tuple[Presence | None, Interpolator | None]:
        """`presence` and `interpolator`, as far as they were asked for."""
        return self._presence, self._interpolator

    def on_state(self, listener: Callable[[State, Verdict | None], object]) -> Callable[[], None]:
        """Called with each new state, and with what follows upon a close. Returns what takes it off; so do the next."""
        return self._states.add(listener)

    def on_notice(self, listener: Callable[[int, str], object]) -> Callable[[], None]:
        """Called with (code, text) of each notice: `overworld.wire.v1.client_pb2.Notice`."""
        return self._notices.add(listener)

    def on_welcome(self, listener: Callable[[ClientContract], object]) -> Callable[[], None]:
        """Called upon each Welcome, so once a socket, with what it tells of the world."""
        return self._welcomes.add(listener)

    def home_shard(self) -> int | None:
        """The shard of the own avatar; None where it is in no cell that we see."""
        if self._presence is not None and self._mirror.avatar is not None:
            seen = self._presence.get(self._mirror.avatar.entity)
        else:
            seen = self._mirror.own() if isinstance(self._mirror, Mirror) else None
        contract = self._mirror.contract
        return contract.shard_of(seen.cell) if seen is not None and contract is not None else None

    def seen(self) -> float:
        """The tick, with its fraction, at which the player sees others of the avatar's shard now: a little in the past
        by `interpolator`, and no later than the newest that was told; where that was never asked for, the newest. 0
        where it is not known.
        """
        shard = self.home_shard() if self._interpolator is not None else None
        if self._interpolator is None or shard is None or shard not in self.beats:
            return float(self._mirror.home_tick())
        told = self._mirror.ticks.get(shard, (0, 0))[1]
        return min(float(told), max(0.0, self._interpolator.tick(shard, time.monotonic())))

    def sight(self, now: float | None = None) -> Sight | None:
        """What is drawn of others in the avatar's shard, now; None where nothing is."""
        shard = self.home_shard()
        return self.interpolator.sight(shard, time.monotonic() if now is None else now) if shard is not None else None

    @property
    def stopped(self) -> ClientStopped | None:
        """Why the client will not connect again; None while it plays or tries to."""
        return self._stopped

    @property
    def playing(self) -> bool:
        """True between a Welcome and the loss of its socket."""
        return self.session.state is State.PLAYING

    def send(self, kind: str | type, **fields: int) -> int | None:
        """Submit an input: a kind's name (or the title's class of that name) and its fields; those not given are 0.

        Returns its number, or None where too many are unacknowledged (counted as refused). While the socket is lost,
        inputs wait for the next one. Raises ValueError for fields that are unknown or out of bounds.
        """
        contract = self._mirror.contract
        if contract is None:
            raise ValueError("inputs are not known before the first Welcome")
        layout = contract.input(kind if isinstance(kind, str) else kind.__name__)
        return self.submit(layout.number, layout.values(fields))

    def submit(
        self, number: int, values: list[int], *, seen_tick: int | None = None, aimed: bool = False
    ) -> int | None:
        """As `send`, for the number of a kind and values in wire order. `seen_tick`: what `sight` gave; `aimed`: it is
        judged by what is drawn now (see `Steering.send`).
        """
        contract = self._mirror.contract
        if contract is None:
            raise ValueError("inputs are not known before the first Welcome")
        now, layout = time.monotonic(), contract.inputs[number]
        tick = int(self.seen()) if seen_tick is None else seen_tick
        if self.steering is not None:
            fields = {name: value for (name, _, _), value in zip(layout.fields, values, strict=True)}
            seq = self.steering.send(layout.name, fields, now, tick, aimed=aimed)
        else:
            seq = self.session.submit(layout, values, now, tick)
        self._flush(now)
        return seq

    def push(self) -> None:
        """Send what the session has to say: after inputs made through `steering`."""
        self._flush(time.monotonic())

    def cut(self) -> None:
        """Hang up without a word, as a dead line does. The client takes its session up again by itself."""
        if self._socket is not None:
            self._socket.drop("cut by its player")

    async def frame(self, timeout_s: float) -> None:
        """Wait for the next frame. Raises TimeoutError, and ClientStopped where the session is over."""
        if self._stopped is not None:
            raise self._stopped
        if self._changed is None:
            self._changed = self._loop.create_future()
        async with asyncio.timeout(timeout_s):
            await asyncio.shield(self._changed)

    async def until(self, happened: Callable[[Client], bool], timeout_s: float) -> None:
        """Wait until something is so, asking after every frame. Raises TimeoutError and ClientStopped."""
        async with asyncio.timeout(timeout_s):
            while not happened(self):
                await self.frame(timeout_s)

    # ------------------------------------------------------------ coming and going

    async def start(self) -> None:
        """Begin to connect, and to reconnect ever after."""
        assert self._task is None
        self._task = asyncio.create_task(self._run(), name="overworld-client")

    async def stop(self) -> None:
        """Say bye, wait a little for the server's answer, and close."""
        self._leaving.set()
        self.session.bye()
        self._flush(time.monotonic())
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.options.leave_timeout_s):
                    await asyncio.wait([self._task])
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._socket is not None:
            self._socket.abandon()

    async def __aenter__(self) -> Self:
        await self.start()
        try:
            await self.until(lambda client: client.playing, self._first_welcome_timeout_s())
        except BaseException:
            await self.stop()
            raise
        return self

    def _first_welcome_timeout_s(self) -> float:
        """Longer than the session's own patience, so that it is the session that says why."""
        options, limits = self.options, self.options.limits
        attempt_s = options.token_timeout_s + options.connect_timeout_s + limits.welcome_timeout_s
        return limits.give_up_s + attempt_s + TOLD_S_MAX + limits.back_off.max_s

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _run(self) -> None:
        """Socket after socket, until a verdict says stop."""
        stopped = ClientStopped(0, "stopped by its player")
        try:
            verdict = Verdict(Next.RESUME, 0.0, 0, "")
            while verdict.next is not Next.STOP and not self._leaving.is_set():
                if verdict.next is Next.REAUTHORISE:
                    self.session.token = ""
                verdict = await self._one_socket()
                await self._pause(verdict.delay_s)
            if verdict.next is Next.STOP:
                stopped = ClientStopped(verdict.code, verdict.reason)
        finally:
            self._stopped = stopped
            self._wake_waiters()

    async def _pause(self, delay_s: float) -> None:
        if delay_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._leaving.wait()

    async def _one_socket(self) -> Verdict:
        """Connect, play until the socket is gone, and judge that."""
        url = self.url = self._urls[self._url % len(self._urls)]
        self._url += 1
        if self._witness is not None:
            self._witness.connecting(url)
        socket = Socket(self._opened, self._received, self.session.heard)
        try:
            gone = await self._get_token() or await self._connect(socket, url) or await self._play(socket)
        finally:
            socket.abandon()
            self._socket = None
        verdict = self.session.closed(*gone, time.monotonic(), self._chance.random())
        self._tell_state(verdict)
        if self._witness is not None:
            self._witness.gone(verdict)
        return verdict

    async def _get_token(self) -> tuple[int, str] | None:
        """None once there is a token; else (0, why not). A token is good for one login; a resume needs no new one."""
        if isinstance(self._token, str) or (self.session.token and self.session.resuming):
            return None
        try:
            async with asyncio.timeout(self.options.token_timeout_s):
                self.session.token = await self._token()
        except (OSError, TimeoutError) as error:
            return 0, f"no token: {error!r}"
        return None

    async def _connect(self, socket: Socket, url: str) -> tuple[int, str] | None:
        """None once connected; else (HTTP status or 0, why not)."""
        timeout_s = self.options.connect_timeout_s
        try:
            async with asyncio.timeout(timeout_s + 1):
                await ws_connect(
                    lambda: socket, url, ssl_context=self.options.ssl_context, websocket_handshake_timeout=timeout_s,
                    max_frame_size=self.options.frame_bytes_max, max_redirects=0, logger_name=None,
                )  # fmt: skip
        except WSHandshakeError as error:
            return (int(error.response.status) if error.response is not None else 0), str(error)
        except (WSError, OSError, TimeoutError) as error:
            return 0, repr(error)
        return None

    async def _play(self, socket: Socket) -> tuple[int, str]:
        """Keep time until the socket is gone. Returns its close code and reason."""
        wake: asyncio.TimerHandle | None = None

        def keep_time() -> None:
            nonlocal wake
            now = time.monotonic()
            why = self.session.wake(now)
            if why is not None:
                socket.drop(why)
                return
            self._flush(now)
            wake = self._loop.call_later(self.options.wake_interval_s, keep_time)

        keep_time()
        try:
            return await socket.gone
        finally:
            if wake is not None:
                wake.cancel()

    # ------------------------------------------------------------ the socket's events

    def _opened(self, socket: Socket) -> None:
        now = time.monotonic()
        self._socket = socket
        self.session.opened(now)
        self._tell_state(None)
        self._flush(now)

    def _received(self, socket: Socket, data: bytes) -> None:
        now = time.monotonic()
        if self._witness is not None:
            self._witness.received(data)
        welcomes, notices = self._mirror.welcomes, self.session.notices_seen
        try:
            applied = self.session.received(data, now)
        except WireError as error:
            log.warning("client_frame_broken", code=error.close_code, reason=error.reason)
            if self._witness is not None:
                self._witness.broke(error)
            socket.close(error.close_code, error.reason)
            return
        self.traffic.received(len(data), now)
        if applied:
            self._draw(now)
        self._flush(now)
        if applied:
            self._tell_state(None)
            self._tell(welcomes, notices)
            if self.on_frame is not None:
                self.on_frame(self)
            self._wake_waiters()

    def _draw(self, now: float) -> None:
        """A frame has been applied: what is drawn goes on from it."""
        contract = self._mirror.contract
        if contract is None:
            return
        if self.steering is None and self._predictor is not None:
            self.steering = Steering(self.session, self._predictor(contract), self.beats)
        if self.steering is not None:
            self.steering.frame(now)
        if self._interpolator is not None:
            if self.steering is None:
                self.beats.frame(self._mirror, now)
                shard = self.home_shard()
                if shard is not None:
                    self.beats.stand(shard, self.session.stalled, now)
            self._interpolator.frame(now)

    def _tell(self, welcomes: int, notices: int) -> None:
        """What a frame brought besides the world; before it there had been so many."""
        contract = self._mirror.contract
        if contract is not None and self._mirror.welcomes > welcomes:
            self._welcomes.tell(contract)
        for code, text in self.session.notices_since(notices):
            self._notices.tell(code, text)

    def _tell_state(self, verdict: Verdict | None) -> None:
        state = self.session.state
        if state is not self._told or verdict is not None:
            self._told = state
            self._states.tell(state, verdict)

    def _flush(self, now: float) -> None:
        if self._socket is not None:
            for data in self.session.outgoing(now):
                self._socket.send(data)
                self.traffic.sent(len(data), now)
                if self._witness is not None:
                    self._witness.sent(data)

    def _wake_waiters(self) -> None:
        if self._changed is not None:
            changed, self._changed = self._changed, None
            if self._stopped is not None:
                changed.set_exception(self._stopped)
                changed.exception()
            else:
                changed.set_result(None)
