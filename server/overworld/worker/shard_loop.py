"""One shard, ticking. `ShardLoop._tick` is the data path of the whole server, one line a step.

The rules it keeps: results leave only after their tick is committed (`Journal.safe`), in order; what is held back is
bounded, and past the bound the shard stands still and says so; a shard that is no longer ours is dropped without
another word.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections import deque
from dataclasses import dataclass, field

import structlog

from overworld import telemetry
from overworld.errors import TitleError
from overworld.shard.core import ShardCore
from overworld.shard.inputs import ShardMessage, TickInputs, TickOutcome, no_ints
from overworld.store.ports import OutboxMessage
from overworld.wire.cells import NOTHING
from overworld.wire.v1 import client_pb2, link_pb2
from overworld.worker import records
from overworld.worker.audit import AuditRing
from overworld.worker.clock import TickClock
from overworld.worker.dilation import Pace
from overworld.worker.hibernation import Doorbell, Rest, RestLimits
from overworld.worker.journal import Journal, Trouble
from overworld.worker.post import Post
from overworld.worker.publisher import Crowding, TickStamp, outputs
from overworld.worker.receipts import OutboxCopy
from overworld.worker.reception import Outlet, Reception
from overworld.worker.ring import Pending
from overworld.worker.snapshots import Snapshotter
from overworld.worker.sweeps import Sweeper

log = structlog.get_logger(__name__)


WEIGHED_EVERY = 8


class End(enum.Enum):
    """Why a shard's loop returned."""

    STOPPED = "stopped"
    FENCED = "fenced"
    REBASE = "rebase"
    TITLE_FAILED = "title_failed"
    YIELDING = "yielding"
    """Stands still after a tick, so that another worker may have it; `run` again goes on."""
    LEFT = "left"
    """Nobody needs it: its state may leave memory."""
    MOVED = "moved"
    """Another worker has it by now."""


@dataclass(frozen=True)
class LoopLimits:
    """See WorkerSettings for what they mean. `phase`: where in an interval this shard's ticks stand, 0 to 1. `beat_s`:
    how long an owner may be silent.
    """

    ticks_held_max: int = 40
    digest_ticks: int = 20
    phase: float = 0.0
    beat_s: float = 0.25
    rest: RestLimits = field(default_factory=RestLimits)
    pace: Pace = field(default_factory=Pace)
    """How fast ticks go now: one for all shards of a worker."""


@dataclass(slots=True)
class _Held:
    """One tick's results, waiting for its commit."""

    tick: int
    encoded_s: float
    messages: list[tuple[Outlet, bytes]]


@dataclass(slots=True)
class _Mail:
    """One tick's messages to other shards, and the same as their outboxes have them."""

    tick: int
    messages: tuple[ShardMessage, ...]
    bodies: tuple[OutboxMessage, ...]


class ShardLoop:
    """Runs one shard under one grant, from a state that is ready to tick."""

    def __init__(
        self,
        core: ShardCore,
        epoch: int,
        journal: Journal,
        reception: Reception,
        snapshots: Snapshotter,
        audit: AuditRing,
        limits: LoopLimits,
        post: Post,
        sweeper: Sweeper,
        copy: OutboxCopy,
        *,
        overdue: bool = False,
    ) -> None:
        """`journal` must call `on_journal` on every change. `post` hands mail to other shards over, `sweeper` fetches
        theirs, `copy` remembers ours until they ack it. `overdue`: see `TickClock`.
        """
        self._core = core
        self._epoch = epoch
        self._journal = journal
        self._reception = reception
        self._snapshots = snapshots
        self._audit = audit
        self._limits = limits
        self._post = post
        self._sweeper = sweeper
        self._copy = copy
        self._loop = asyncio.get_running_loop()
        self._held: deque[_Held] = deque()
        self._mail: deque[_Mail] = deque()
        self._stopping = False
        self._yielding = False
        self._told_stalled = self._told_paused = False
        self.paused = False
        """While true no tick is run; players are told when that begins and ends."""
        self.cpu_ns = 0
        """CPU time of all ticks run here, about."""
        self.ticks_run = 0
        self._interval_us = core.contract.grid.tick_interval_us
        self._clock = TickClock(self._interval_us, limits.phase, time.monotonic_ns(), overdue=overdue)
        self._rest = Rest(limits.rest, self._loop.time())
        self._doorbell = Doorbell(min(limits.rest.look_s, max(limits.rest.leave_s, 0.05)))
        self.asleep = False
        """True while nobody needs a tick, and none is run."""
        reception.on_call = self._doorbell.ring
        reception.watches.retell_split()

    @property
    def core(self) -> ShardCore:
        """The shard."""
        return self._core

    @property
    def held(self) -> int:
        """Ticks whose results wait for their commit."""
        return len(self._held)

    @property
    def stalled(self) -> bool:
        """True while the shard stands still because too much is held back."""
        return self._journal.held >= self._limits.ticks_held_max

    def stop(self) -> None:
        """End at the next tick boundary."""
        self._stopping = True
        self._doorbell.ring()

    def end_after_tick(self) -> None:
        """Return right after the next tick: what is left of its interval is there for a handover."""
        self._yielding = True
        self._doorbell.ring()

    def stay(self) -> None:
        """Its state cannot leave memory now: count the idle time anew."""
        self._rest.busy(self._loop.time())

    async def run(self) -> End:
        """Tick until stopped, or until the shard cannot go on here."""
        try:
            while await self._until_due():
                self._tick_and_weigh()
                self.ticks_run += 1
                if self._yielding:
                    break
        except TitleError as error:
            log.error("title_failed", shard=self._core.index, tick=self._core.tick, reason=str(error), exc_info=error)
            return End.TITLE_FAILED
        if self._yielding and not self._over:
            self._yielding = False
            return End.YIELDING
        if self._journal.trouble is None:
            return End.STOPPED if self._stopping else End.LEFT
        return End.FENCED if self._journal.trouble is Trouble.FENCED else End.REBASE

    def _tick_and_weigh(self) -> None:
        """Tick. One of `WEIGHED_EVERY` is weighed for all: the clock of CPU time alone costs some 15 us."""
        if self.ticks_run % WEIGHED_EVERY:
            self._tick()
            return
        began_ns = time.thread_time_ns()
        self._tick()
        self.cpu_ns += WEIGHED_EVERY * (time.thread_time_ns() - began_ns)

    # ------------------------------------------------------------ the data path

    def _tick(self) -> None:
        began_ns = time.monotonic_ns()
        skipped_before = self._clock.skipped_ticks
        late_ns = self._clock.begin_tick(began_ns)
        if self._clock.skipped_ticks > skipped_before:
            telemetry.ticks_skipped_total.inc(self._clock.skipped_ticks - skipped_before)
        dilated_us = self._keep_pace(late_ns)
        inputs, refused = self._reception.take(self._core, self._loop.time())  # 1. the inputs of this tick
        outcome = self._core.step(inputs)  # 2. pure
        self._note(outcome)
        split = self._reception.watches.take_split()
        if split is not None:
            self._core.split(split)
        updates = self._core.encode()  # 3. each changed cell once
        wanted = self._reception.watches.wanted
        keyframes = self._core.keyframes(wanted) if len(wanted) else NOTHING
        stamp = TickStamp(self._core.index, self._epoch, self._core.tick, dilated_us)
        watches, routes = self._reception.watches, self._reception.routes
        record = self._record(inputs, outcome)
        self._journal.append(record)  # 4. compare-and-swap, on its way while we go on
        self._hold_mail(outcome, record)
        results = outputs(stamp, outcome, refused, updates, keyframes, watches, routes, self._crowding())
        self._hold(results)  # 5. until it is committed
        self._audit.keep(self._core)
        self._snapshots.after_tick(self._core, self._journal.chain)
        self._sweeper.after_tick(self._core, self._loop.time())
        self._measure(late_ns, time.monotonic_ns() - began_ns, len(inputs))

    def _keep_pace(self, late_ns: int) -> int:
        """From the next tick on intervals are as long as all shards' here. Returns how long one is in microseconds; 0
        where it is the title's.
        """
        self._limits.pace.began(late_ns, self._clock.interval_us * 1000)
        interval_us = round(self._interval_us * self._limits.pace.factor)
        if interval_us != self._clock.interval_us:
            self._clock.stretch(interval_us)
        return interval_us if interval_us != self._interval_us else 0

    def on_journal(self) -> None:
        """6. Publish what is committed, in order. The journal calls this whenever something changed."""
        if self._journal.trouble is None:
            self.release(self._journal.safe)
            # At L0 results may run ahead of the store. Mail may not: its receiver makes it part of its own journal.
            self.release_mail(min(self._journal.safe, self._journal.committed))
            self._snapshots.committed(self._journal.committed)

    def release(self, up_to_tick: int) -> None:
        """Send the results of ticks that are durable."""
        # Not the loop's clock: it stands still within an iteration, and counts whole milliseconds.
        now_s = time.perf_counter()
        while self._held and self._held[0].tick <= up_to_tick:
            held = self._held.popleft()
            for link, body in held.messages:
                link.send_serialized(body)
                telemetry.output_bytes.inc(len(body))
            telemetry.release_seconds.observe(now_s - held.encoded_s)
            telemetry.ticks_released_total.inc()
        self._audit.commit(up_to_tick)

    def release_mail(self, up_to_tick: int) -> None:
        """Hand the messages of committed ticks over to the shards they are for."""
        while self._mail and self._mail[0].tick <= up_to_tick:
            mail = self._mail.popleft()
            self._post.send(mail.messages, mail.bodies)

    # ------------------------------------------------------------ pieces

    def _record(self, inputs: TickInputs, outcome: TickOutcome) -> Pending:
        return records.pending(
            self._core,
            inputs,
            outcome,
            epoch=self._epoch,
            chain=self._journal.chain,
            wall_ms=time.time_ns() // 1_000_000,
            digest=self._core.tick % self._limits.digest_ticks == 0,
        )

    def _crowding(self) -> Crowding | None:
        """What this tick has for clients that cannot be told everything; None where there are none."""
        streams = self._core.streams
        focused = self._reception.watches.any_focused
        if streams is None and not focused:
            return None
        cells = self._core.places.cells_of(streams.places) if streams is not None else no_ints()
        if streams is not None:
            telemetry.stream_bytes.inc(len(streams.data))
        focus = self._core.focus() if focused else (no_ints(), no_ints())
        return Crowding(streams, cells, focus, self._core.populations)

    def _note(self, outcome: TickOutcome) -> None:
        """What the step found wrong, and who came with it."""
        self._reception.arrived(outcome, self._loop.time())
        for alarm in outcome.alarms:
            telemetry.core_alarms_total.inc()
            log.error("core_alarm", shard=self._core.index, tick=self._core.tick, alarm=alarm)
        if outcome.undelivered:
            telemetry.title_messages_undelivered_total.inc(outcome.undelivered)

    def _hold_mail(self, outcome: TickOutcome, record: Pending) -> None:
        if outcome.outbox:
            self._mail.append(_Mail(self._core.tick, outcome.outbox, record.outbox))
            self._copy.add(record.outbox, self._core.tick)

    def _hold(self, messages: list[tuple[Outlet, bytes]]) -> None:
        self._held.append(_Held(self._core.tick, time.perf_counter(), messages))

    def _measure(self, late_ns: int, took_ns: int, inputs: int) -> None:
        telemetry.ticks_total.inc()
        telemetry.tick_seconds.observe(took_ns / 1e9)
        telemetry.tick_late_seconds.observe(late_ns / 1e9)
        if inputs:
            telemetry.inputs_applied_total.inc(inputs)
        budget_ns = self._interval_us * 1000
        telemetry.tick_budget_used.observe(took_ns / budget_ns)
        if took_ns > budget_ns:
            telemetry.tick_over_budget_total.inc()

    # ------------------------------------------------------------ when

    async def _until_due(self) -> bool:
        """Wait for the next tick. False where there will be none, or not before another worker may have the shard."""
        interval_s = self._core.contract.grid.tick_interval_us / 1e6
        while not self._over:
            self._tell_of_stall()
            if self.stalled:
                await self._stand_still(interval_s)
                continue
            if self.paused:
                await self._pause(interval_s)
                if self._yielding:
                    return False
                continue
            if self._rests():
                await self._sleep()
                if self._yielding or self._rest.leaves(self._loop.time()):
                    return False
                continue
            wait_ns = self._clock.wait_ns(time.monotonic_ns())
            # Yield even when late: other shards and the answers of the store come first.
            await asyncio.sleep(wait_ns / 1e9)
            if wait_ns == 0:
                return not self._over
        return False

    async def _stand_still(self, poll_s: float) -> None:
        """Run no tick until most of what is held back has gone out."""
        telemetry.stalls_total.inc()
        log.warning("shard_stalled", shard=self._core.index, tick=self._core.tick, held=self._journal.held)
        self._reception.stalled = True
        while not (self._over or self._caught_up):
            await asyncio.sleep(poll_s)
        self._reception.stalled = False
        skipped = self._clock.skip(time.monotonic_ns())
        telemetry.ticks_skipped_total.inc(skipped)
        log.info("shard_resumed", shard=self._core.index, tick=self._core.tick, skipped_ticks=skipped)

    async def _pause(self, poll_s: float) -> None:
        """Run no tick while an operator wants it so. Appends are missing for as long: whoever runs us beats."""
        if not self._told_paused:
            self._told_paused = True
            log.info("shard_paused", shard=self._core.index, tick=self._core.tick)
            self._notice(client_pb2.Notice.CODE_STALLED, "the world is paused")
        while self.paused and not (self._over or self._yielding):
            await asyncio.sleep(poll_s)
        if not self.paused:
            self._told_paused = False
            # Nobody waits for these: they were not missed.
            self._clock.skip(time.monotonic_ns())
            log.info("shard_goes_on", shard=self._core.index, tick=self._core.tick)
            self._notice(client_pb2.Notice.CODE_RESUMED, "the world goes on")

    def _rests(self) -> bool:
        """True where nobody has needed a tick for long enough."""
        now_s = self._loop.time()
        shard = self._core.shard
        if not self._reception.idle or shard.players.inside.any() or self._core.title.awake(shard):
            self._rest.busy(now_s)
        return self._rest.sleeps(now_s)

    async def _sleep(self) -> None:
        """Run no tick until somebody comes, or until the state may leave memory."""
        log.debug("shard_sleeps", shard=self._core.index, tick=self._core.tick)
        self.asleep = True

        def over() -> bool:
            leaves = self._rest.leaves(self._loop.time()) and not self._journal.held
            return self._over or self._yielding or self.paused or leaves

        if await self._doorbell.wait(self._sweeper, self._core, over) or self.paused:
            self._rest.busy(self._loop.time())
            telemetry.wakes_total.labels("asleep").inc()
        self.asleep = False
        # Nobody waits for these: they were not missed.
        self._clock.skip(time.monotonic_ns())

    @property
    def _over(self) -> bool:
        return self._stopping or self._journal.trouble is not None

    @property
    def _caught_up(self) -> bool:
        return self._journal.held * 4 <= self._limits.ticks_held_max

    def _tell_of_stall(self) -> None:
        """Players are told before the world stands still: what they see does so already."""
        if not self._told_stalled and self._journal.held * 2 >= self._limits.ticks_held_max:
            self._told_stalled = True
            self._notice(client_pb2.Notice.CODE_STALLED, "the world stands still: its results cannot be made durable")
        elif self._told_stalled and self._caught_up:
            self._told_stalled = False
            self._notice(client_pb2.Notice.CODE_RESUMED, "the world goes on")

    def _notice(self, code: int, text: str) -> None:
        notice = link_pb2.ShardNotice(shard=self._core.index, code=code, text=text)
        body = link_pb2.LinkMessage(notice=notice).SerializeToString()
        for link in self._reception.links:
            link.send_serialized(body)
