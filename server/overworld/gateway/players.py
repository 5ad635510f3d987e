"""Everybody who is connected: brings together connections, routes, views and the fan-out."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from array import array
from collections.abc import Callable, Iterable
from functools import partial

import structlog

from overworld import telemetry, tracing
from overworld.errors import LinkError, StoreError, WireError
from overworld.gateway import pieces
from overworld.gateway.codes import CloseCode, worker_reason
from overworld.gateway.connection import BURST_S, Connection
from overworld.gateway.crowds import Budget
from overworld.gateway.descriptors import lane_places
from overworld.gateway.fanout import Fanout
from overworld.gateway.foresight import judge_batch
from overworld.gateway.goodbyes import Goodbye, Goodbyes
from overworld.gateway.inputs import Forward, InputColumns, InputRules
from overworld.gateway.join_queue import JoinQueue
from overworld.gateway.lane import Lane, LaneLimits, open_lane
from overworld.gateway.lane_reader import LaneReader
from overworld.gateway.message import MessageLimits
from overworld.gateway.routing import Routing
from overworld.gateway.session import Attach, Detach, Session, SessionRules, SessionState
from overworld.gateway.suspicion import Suspicion
from overworld.gateway.ticks import Tick, decode
from overworld.gateway.tokens import GuestTokens, Login, ResumeTokens, audience_of
from overworld.gateway.views import Viewer, Views
from overworld.gateway.welcome import Welcomes
from overworld.link import Link, LinkCredentials
from overworld.link.keys import Key
from overworld.settings import GatewaySettings
from overworld.store.ports import Directory
from overworld.wire.v1 import client_pb2, link_pb2
from overworld.wire.v1.link_pb2 import LinkMessage
from overworld.world.contract import WorldContract
from overworld.world.home import home_shard

log = structlog.get_logger(__name__)

SESSION_BITS = 53
"""Session numbers are drawn from this many bits: JavaScript's numbers hold them."""
TOKEN_CHECK_S = 2.0
FULL_S = 1.0
"""After the last tick that says that the world is full."""
NOTICE_CHARS_MAX = 200
STANDS: dict[int, bool] = {client_pb2.Notice.CODE_STALLED: True, client_pb2.Notice.CODE_RESUMED: False}
"""What a worker's notice says of its shard."""

LINK_SILENT_S = 1.5
"""Players are told when nothing has come from their worker for so long; one that lives answers pings before."""


class Players:
    """The gateway's state, all of which can be lost with the process. A `Desk` and a `RouteEvents`."""

    def __init__(
        self, settings: GatewaySettings, contract: WorldContract, directory: Directory, cluster_key: Key, name: str
    ) -> None:
        audience = audience_of(contract.world, contract.title)
        self.settings = settings
        self.message_limits = MessageLimits(settings.message_bytes_max, settings.fragments_max, settings.assembly_s)
        self.guests = GuestTokens(cluster_key, audience, settings.token_ttl_s)
        self._resumes = ResumeTokens(cluster_key, audience, settings.resume_ttl_s)
        self.rules = SessionRules(
            title=contract.title,
            inputs=InputRules(contract),
            verifier=self.guests,
            resumes=self._resumes,
            home_of=partial(home_shard, shard_count=contract.grid.shard_count),
            inputs_waiting_max=settings.inputs_waiting_max,
            hello_s=settings.hello_s,
            world_wait_s=settings.world_wait_s,
            queue_wait_s=settings.queue_wait_s,
        )
        self._loop = asyncio.get_running_loop()
        self._grid = contract.grid
        self._directory = directory
        self._welcomes = Welcomes(contract, settings)
        budget = Budget(contract.grid, contract.interest, settings.client_bytes_per_s)
        self._views = Views(contract.grid, budget)
        self._weighed_s = self.now_s()
        self._goodbyes = Goodbyes()
        self._queue: JoinQueue[Connection] = JoinQueue(settings.queue_places_max, settings.queue_rate_per_s)
        self._full_interval_us = round(contract.grid.tick_interval_us * settings.full_dilation)
        self.suspicion = Suspicion()
        rate = float(settings.messages_per_second_max)
        limits = LaneLimits(settings.inputs_waiting_max, settings.message_bytes_max, rate, rate * BURST_S)
        self.lane: Lane | None = open_lane(contract, limits) if settings.lane else None
        """None where there is none."""
        self._lane_places = lane_places(settings.sockets_max) if self.lane is not None else 0
        self._reader: LaneReader | None = None
        if self.lane is not None:
            self._reader = LaneReader(self._loop, self.lane, settings.input_flush_s, self._inputs_came)
        self._fanout = Fanout(self._views, budget, self.lane, self.rules.told)
        self._connections: dict[Connection, None] = {}
        self._sessions: dict[int, Connection] = {}
        self._inputs: dict[int, InputColumns] = {}
        self._watches_due = self._silent = False
        self.paused = False
        """While an operator lets the world stand still: nobody has waited too long for it."""
        self._seen_shards: set[int] = set()
        self._token_checks: set[asyncio.Task[None]] = set()
        credentials = LinkCredentials(cluster_key, contract.play_fingerprint, name)
        self.routing = Routing(
            directory, contract.world, credentials, self, self._wanted, settings.link_timeout_s, random.Random()
        )

    # ------------------------------------------------------------ for the service

    @property
    def connections(self) -> Iterable[Connection]:
        """Connections that are not closed, oldest first."""
        return [connection for connection in self._connections if not connection.closed]

    def sweep(self) -> None:
        """What time alone brings; to be called a few times a second."""
        now_s = self.now_s()
        for connection in self._queue.due(now_s):
            connection.do(connection.session.let_in(now_s))
        silent = self.routing.silent_shards(LINK_SILENT_S)
        # Who was told of a silent worker is told once when it speaks again.
        tells, self._silent = bool(silent or self._silent), bool(silent)
        for connection in self.connections:
            if tells:
                connection.do(connection.session.hears_worker(connection.session.shard not in silent))
            if self.paused:
                connection.session.wait_on(now_s)
            connection.sweep(now_s)
        if now_s > self._weighed_s:
            self._views.weigh(now_s - self._weighed_s)
            self._weighed_s = now_s
            self._flush_watches_soon()

    def measure(self) -> None:
        """Bring the gauges up to date."""
        states = dict.fromkeys(SessionState, 0)
        for connection in self._connections:
            states[connection.session.state] += 1
        for state, count in states.items():
            telemetry.gateway_sessions.labels(state.value).set(count)
        telemetry.gateway_sockets.set(len(self._connections))
        telemetry.gateway_queue_length.set(len(self._queue))
        backlogs = [c.socket.backlog_bytes for c in self._connections if c.socket is not None]
        telemetry.gateway_backlog_bytes.set(sum(backlogs))
        waiting = max((c.session.inputs_waiting for c in self._connections if not c.in_lane), default=0)
        if self.lane is not None:
            waiting = max(waiting, self.lane.waiting_most)
            telemetry.gateway_lane_sessions.set(len(self.lane))
        fills = {
            "session_inputs": waiting / self.settings.inputs_waiting_max,
            "socket_bytes": max(backlogs, default=0) / self.settings.backlog_bytes_max,
            "link_bytes": self.routing.fill,
        }
        for queue, fill in fills.items():
            telemetry.queue_fill.labels(queue).set(fill)
        telemetry.gateway_cells.set(self._views.cells)
        telemetry.gateway_split_cells.set(self._views.split_cells)
        telemetry.gateway_short_viewers.set(self._views.short_viewers)
        telemetry.gateway_behind.set(sum(viewer.behind for viewer in self._fanout.viewers.values()))

    async def close(self) -> None:
        """Close all links; sockets are closed by then."""
        for check in self._token_checks:
            check.cancel()
        await asyncio.gather(*self._token_checks, return_exceptions=True)
        await self.routing.close()
        if self._reader is not None and self.lane is not None:
            self._reader.close()
            for connection in self._connections:
                connection.leave_lane()
            self.lane.close()
            self._reader = self.lane = None

    # ------------------------------------------------------------ Desk

    def now_s(self) -> float:
        """Monotonic."""
        return self._loop.time()

    def wall_s(self) -> float:
        """Since 1970."""
        return time.time()

    def fresh_session(self) -> int:
        """A session number nobody has had."""
        return secrets.randbits(SESSION_BITS) or 1

    def soon(self, callback: Callable[[], None]) -> None:
        """Call it at the next turn of the event loop."""
        self._loop.call_soon(callback)

    def opened(self, connection: Connection) -> None:
        """A socket is open."""
        self._connections[connection] = None

    def gone(self, connection: Connection) -> None:
        """A socket is gone."""
        self._connections.pop(connection, None)

    def use_token(self, connection: Connection, login: Login) -> None:
        """Find out whether the token is new, and tell the connection's session."""
        check = self._loop.create_task(self._use_token(connection, login))
        self._token_checks.add(check)
        check.add_done_callback(self._token_checks.discard)

    async def _use_token(self, connection: Connection, login: Login) -> None:
        first: bool | None = None
        try:
            async with asyncio.timeout(TOKEN_CHECK_S):
                first = await self._directory.use_once(login.token_id, login.use_within_s)
        except (StoreError, TimeoutError):
            telemetry.gateway_directory_failures_total.inc()
        connection.answer_token(first)

    def has_room(self, connection: Connection) -> bool:
        """Whether a new session may go in now; where not, it has a place in the queue. Raises WireError where that is
        full.
        """
        if not self._queue.closed(self.now_s()):
            return True
        if not self._queue.enter(connection):
            telemetry.gateway_dropped_total.labels("queue_full").inc()
            raise WireError(CloseCode.TRY_LATER, "the world and its queue are full: try again in 10 seconds")
        telemetry.gateway_queued_total.inc()
        return False

    def seek(self, connection: Connection, shard: int) -> None:
        """The session wants to attach to this shard."""
        session = connection.session
        before = self._sessions.get(session.session)
        if before is not None and before is not connection:
            before.close(CloseCode.REPLACED, "the session was taken up again on another socket", detach=False)
        self._sessions[session.session] = connection
        if self.routing.link_of(shard) is not None:
            connection.do(session.attach())
        else:
            self.routing.wake()

    def tell_worker(self, session: Session, what: Attach | Detach) -> None:
        """Send it to the worker of the shard it names."""
        link = self.routing.link_of(what.shard)
        if link is None:
            # Only a session between shards can have nobody to leave: the shard it goes to ends it by itself, late.
            telemetry.gateway_dropped_total.labels("detach_unreachable").inc()
            return
        message = LinkMessage()
        if isinstance(what, Attach):
            message.attach.MergeFrom(
                link_pb2.Attach(
                    shard=what.shard, session=session.session, player=session.player, resume=what.resume,
                    after_shard=what.after_shard, after_number=what.after_number,
                )
            )  # fmt: skip
        else:
            # Inputs that were taken before the goodbye count.
            self._flush_inputs(what.shard)
            self._goodbyes.said(session.session, what.shard, session.player, what.leaving, self.now_s())
            message.detach.MergeFrom(link_pb2.Detach(shard=what.shard, session=session.session, leaving=what.leaving))
        link.send(message)

    def forward(self, session: Session, item: Forward) -> None:
        """Send an input to the worker of the session's shard."""
        shard = session.shard
        columns = self._inputs.get(shard)
        if columns is None:
            columns = self._inputs[shard] = InputColumns(shard)
        if not columns:
            self._loop.call_later(self.settings.input_flush_s, self._flush_inputs, shard)
        columns.append(session.session, item)

    def welcome(self, session: Session, last_seq: int) -> bytes:
        """Frame bytes of the session's Welcome."""
        resume = self._resumes.issue(session.session, session.player, self.wall_s())
        return self._welcomes.piece(session.session, resume, last_seq)

    def admit(self, viewer: Viewer) -> None:
        """The session plays: ticks go to this viewer."""
        self._fanout.viewers[viewer.session] = viewer

    def enter_lane(self, connection: Connection) -> None:
        """It plays, and its socket reads."""
        if self.lane is not None and len(self.lane) < self._lane_places:
            connection.enter_lane(self.lane)

    def pause(self, viewer: Viewer) -> None:
        """The viewer's client does not read."""
        telemetry.gateway_dropped_total.labels("behind").inc()
        self._fanout.pause(viewer)
        self._flush_watches_soon()

    def resume(self, viewer: Viewer) -> None:
        """It reads again."""
        self._fanout.resume(viewer)
        self._flush_watches_soon()
        self._look_for_shards()

    def suspect(self, player: int, what: int | str, times: int = 1) -> None:
        """See `Suspicion.note`."""
        if (noted := self.suspicion.note(player, what, times)) is not None:
            telemetry.gateway_suspicious_total.labels(noted[0]).inc(times)
            if noted[1]:
                log.warning("player_suspicious", player=player, reason=noted[0])

    def leave(self, connection: Connection) -> None:
        """The session sees and sends nothing more here."""
        self._queue.leave(connection)
        number = connection.session.session
        if self._sessions.get(number) is connection:
            del self._sessions[number]
        viewer = connection.viewer
        if viewer is not None:
            self._views.remove(viewer)
            if self._fanout.viewers.get(number) is viewer:
                del self._fanout.viewers[number]
            self._flush_watches_soon()

    # ------------------------------------------------------------ RouteEvents

    def route_found(self, shard: int) -> None:
        """Attach the shard's sessions and watch its cells, as if nothing had been before."""
        for connection in self._living_in(shard):
            connection.do(connection.session.attach())
        self._views.found(shard)
        self._flush_watches()

    def route_lost(self, shard: int) -> None:
        """Sessions wait; what was not acked is kept by each of them."""
        now_s = self.now_s()
        for connection in self._living_in(shard):
            connection.session.lost(now_s)
        self._views.lost(shard)
        if shard in self._inputs:
            self._inputs[shard] = InputColumns(shard)

    def on_message(self, link: Link, message: LinkMessage) -> None:
        """A worker says something."""
        match message.WhichOneof("message"):
            case "output":
                self._output(link, message.output)
            case "refused":
                refused = message.refused
                self._end([(self._attached(refused.session, refused.shard, "refusal_stale"), refused.close_code)])
            case "notice":
                self._notice(message.notice)
            case other:
                telemetry.gateway_dropped_total.labels("link_message").inc()
                log.warning("unexpected_link_message", worker=link.remote, kind=other)

    # ------------------------------------------------------------ from workers

    def _output(self, link: Link, output: link_pb2.TickOutput) -> None:
        if self.routing.link_of(output.shard) is not link:
            telemetry.gateway_dropped_total.labels("output_not_owner").inc()
            return
        if not self._fanout.newer(output.shard, output.epoch, output.tick):
            telemetry.gateway_dropped_total.labels("output_stale").inc()
            return
        try:
            tick = decode(output, self._grid)
        except LinkError as error:
            log.error("worker_broke_the_format", worker=link.remote, reason=str(error))
            link.close(str(error))
            return
        if tick.tick_interval_us >= self._full_interval_us:
            self._queue.no_room(self.now_s(), FULL_S)
        with telemetry.gateway_fanout_seconds.time():
            ending = [(self._attached(session, tick.shard, "close_stale"), code) for session, code in tick.closed]
            self._join(tick)
            self._fanout.deliver(tick, self.now_s())
            # After the acks: for the shard it leaves they are the last.
            self._follow(tick)
            self._end(ending)
        self._flush_watches()
        self._look_for_shards()

    def _join(self, tick: Tick) -> None:
        for number, last_seq in tick.joined:
            connection = self._attached(number, tick.shard, "join_stale")
            if connection is None:
                continue
            since_s = connection.session.moving_since_s
            connection.do(connection.session.joined(last_seq))
            if since_s is not None and connection.session.serving:
                took_s, of = self.now_s() - since_s, tracing.of_session(number)
                telemetry.gateway_move_seconds.observe(took_s)
                tracing.spans.tell("session.handover", of, took_s, {"session": number, "shard": tick.shard})

    def _follow(self, tick: Tick) -> None:
        for number, shard, message in tick.moved:
            goodbye = None if number in self._sessions else self._goodbyes.take(number, tick.shard, self.now_s())
            if goodbye is not None:
                self._say_goodbye(number, goodbye, link_pb2.Attach(
                    shard=shard, session=number, player=goodbye.player, resume=True,
                    after_shard=tick.shard, after_number=message,
                ))  # fmt: skip
                continue
            connection = self._attached(number, tick.shard, "move_stale")
            if connection is not None:
                telemetry.gateway_moves_total.inc()
                connection.do(connection.session.moved(tick.shard, shard, message, self.now_s()))

    def _say_goodbye(self, number: int, goodbye: Goodbye, attach: link_pb2.Attach) -> None:
        """He left while his avatar crossed: the shard it went to must hear of it, and listens to whom it has alone."""
        link = self.routing.link_of(attach.shard)
        if link is None:
            telemetry.gateway_dropped_total.labels("detach_unreachable").inc()
            return
        link.send(LinkMessage(attach=attach))
        detach = link_pb2.Detach(shard=attach.shard, session=number, leaving=goodbye.leaving)
        link.send(LinkMessage(detach=detach))

    def _end(self, ending: Iterable[tuple[Connection | None, int]]) -> None:
        for connection, code in ending:
            if connection is not None:
                connection.do(connection.session.refused(code, worker_reason(code)))

    def _attached(self, number: int, shard: int, otherwise: str) -> Connection | None:
        """Who plays a session in a shard. None, counted as `otherwise`, where nobody here does (any more)."""
        connection = self._sessions.get(number)
        if connection is None or not connection.session.attached or connection.session.shard != shard:
            telemetry.gateway_dropped_total.labels(otherwise).inc()
            return None
        return connection

    def _notice(self, notice: link_pb2.ShardNotice) -> None:
        if notice.code not in client_pb2.Notice.Code.values():
            return
        piece = pieces.notice(client_pb2.Notice.Code.ValueType(notice.code), notice.text[:NOTICE_CHARS_MAX])
        stands = STANDS.get(notice.code)
        for connection in self._living_in(notice.shard):
            if connection.viewer is not None and not connection.viewer.behind:
                connection.send(piece)
                if stands is not None:
                    connection.session.shard_stands(stands)

    # ------------------------------------------------------------ to workers

    def _wanted(self) -> set[int]:
        homes = {connection.session.shard for connection in self._sessions.values()}
        return homes.union(self._views.shards)

    def _look_for_shards(self) -> None:
        """Views that reach over a border may need a shard that nobody needed before."""
        seen = set(self._views.shards)
        if not seen <= self._seen_shards:
            self.routing.wake()
        self._seen_shards = seen

    def _flush_inputs(self, shard: int) -> None:
        columns = self._inputs.get(shard)
        link = self.routing.link_of(shard)
        if not columns or link is None:
            return
        telemetry.gateway_input_batch.observe(len(columns))
        telemetry.gateway_inputs_total.inc(len(columns))
        link.send(columns.take())

    def _inputs_came(self, shard: int, count: int, inputs: LinkMessage) -> None:
        """Through the lane. Where the worker cannot be reached they stay with their sessions."""
        judge_batch(inputs.inputs, self.rules.told, self._sessions, self.now_s())
        # What came the other way came before.
        self._flush_inputs(shard)
        link = self.routing.link_of(shard)
        if link is not None:
            telemetry.gateway_input_batch.observe(count)
            telemetry.gateway_inputs_total.inc(count)
            link.send(inputs)

    def _flush_watches_soon(self) -> None:
        if not self._watches_due:
            self._watches_due = True
            self._loop.call_soon(self._flush_watches)

    def _flush_watches(self) -> None:
        self._watches_due = False
        for shard, begin, end in self._views.take_watches():
            link = self.routing.link_of(shard)
            if link is not None:
                watch = link_pb2.Watch(shard=shard, begin_u32=_u32(begin), end_u32=_u32(end))
                link.send(LinkMessage(watch=watch))
        for shard, split, unsplit, focus in self._views.take_splits():
            link = self.routing.link_of(shard)
            if link is not None:
                watch = link_pb2.Watch(shard=shard, split_u32=_u32(split), unsplit_u32=_u32(unsplit), focus=focus)
                link.send(LinkMessage(watch=watch))

    def _living_in(self, shard: int) -> list[Connection]:
        return [connection for connection in self._sessions.values() if connection.session.shard == shard]


def _u32(cells: list[int]) -> bytes:
    return array("I", cells).tobytes()
