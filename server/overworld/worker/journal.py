"""Appends one shard's records: the shell around `ring`, which decides.

`append` never waits. Up to `in_flight_max` records are on their way at once, in order; failures are tried again for
as long as the shard lives, because the records are the only copy of what players did. `safe` is the tick up to which
results may be released: committed, and confirmed by an answer that is younger than any standstill of this process.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from overworld import telemetry
from overworld.errors import Fenced, StoreError
from overworld.store.ports import AppendRequest, CommitLevel, Grant, JournalEntry, Ownership
from overworld.worker.pulse import Pulse
from overworld.worker.ring import Next, Pending, Ring

log = structlog.get_logger(__name__)

RETRY_PAUSE_S_MIN, RETRY_PAUSE_S_MAX = 0.02, 0.5


class Trouble(enum.Enum):
    """Why a journal has stopped."""

    FENCED = "fenced"
    """Somebody else owns the shard, or its journal is no longer ours: destroy it."""
    REBASE = "rebase"
    """Redis was wiped, or went back further than we remember: a new journal must begin at a new snapshot."""


@dataclass(frozen=True)
class JournalLimits:
    """See WorkerSettings for what they mean."""

    in_flight_max: int = 2
    kept_max: int = 200


class Journal:
    """The journal of one shard under one grant. `on_change` is called when `safe` grew or `trouble` came up."""

    def __init__(
        self,
        ownership: Ownership,
        grant: Grant,
        tick: int,
        chain: bytes,
        limits: JournalLimits,
        pulse: Pulse,
        on_change: Callable[[], None],
    ) -> None:
        """`tick`, `chain`: the head as this owner's state has it."""
        self._ownership = ownership
        self._grant = grant
        self._ring = Ring(tick, chain, in_flight_max=limits.in_flight_max, kept_max=limits.kept_max)
        self._pulse = pulse
        self._on_change = on_change
        self._at_once = ownership.commit.level is CommitLevel.L0
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._resume: asyncio.TimerHandle | None = None
        self._pause_s = 0.0
        self._answered_s = self._loop.time()
        self._failing = False
        self._closed = False
        self.safe = tick
        """Results up to this tick may be released."""
        self.trouble: Trouble | None = None
        self.head_seen: tuple[int, bytes] = (tick, chain)
        """The journal's head by the last answer that told it."""

    @property
    def tick(self) -> int:
        """The newest record's tick."""
        return self._ring.tick

    @property
    def chain(self) -> bytes:
        """The newest record's chain value."""
        return self._ring.chain

    @property
    def committed(self) -> int:
        """The newest tick at its commit level."""
        return self._ring.committed

    @property
    def held(self) -> int:
        """Records not committed yet."""
        return self._ring.held

    @property
    def kept(self) -> list[JournalEntry]:
        """The newest records, committed or not, as far back as they are kept."""
        epoch = self._grant.epoch
        return [JournalEntry(record.tick, epoch, record.chain, record.payload) for record in self._ring.kept]

    @property
    def idle_s(self) -> float:
        """Seconds since the store last took something from us."""
        return self._loop.time() - self._answered_s

    def append(self, record: Pending) -> None:
        """Send a record as soon as those before it allow. The caller bounds `held`."""
        self._ring.push(record)
        self._pump()
        if self._at_once and self.trouble is None and self._pulse.trusts(self._answered_s, self._loop.time()):
            # Not from within: the caller has not put the tick's results where they can be released yet.
            self._loop.call_soon(self._release, self._ring.tick)

    async def beat(self) -> None:
        """Show that the owner lives, where nothing else has for a while. Failures are left to the next beat."""
        asked_s = self._loop.time()
        try:
            await self._ownership.beat(self._grant, self._ring.committed)
        except Fenced:
            await self._stop_by_head()
        except StoreError as error:
            log.debug("beat_failed", shard=self._grant.shard, reason=str(error))
        else:
            self._answered(asked_s)

    def fence(self) -> None:
        """Somebody else's claim to the shard was found elsewhere: as if an append had been refused."""
        self._stop(Trouble.FENCED)

    def close(self) -> None:
        """Send nothing more. Appends on their way are abandoned: whether they arrive is for the next owner to see."""
        self._closed = True
        if self._resume is not None:
            self._resume.cancel()
        for task in self._tasks:
            task.cancel()

    # ------------------------------------------------------------ inside

    def _pump(self) -> None:
        if self._closed or self.trouble is not None or self._resume is not None:
            return
        while (request := self._ring.take()) is not None:
            task = self._loop.create_task(self._send(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send(self, request: AppendRequest) -> None:
        asked_s = self._loop.time()
        try:
            answer = await self._ownership.append(self._grant, request)
        except StoreError as error:
            self._failed(request, error)
            return
        if self._closed:
            return
        self.head_seen = (answer.tick, answer.chain)
        match self._ring.answered(request.tick, answer):
            case Next.GO_ON:
                self._pause_s = 0.0
                if self._failing:
                    self._failing = False
                    log.info("journal_back", shard=self._grant.shard, tick=request.tick, held=self._ring.held)
                self._answered(asked_s)
                self._pump()
            case Next.RETRY:
                self._retry_soon()
            case Next.REBASE:
                self._stop(Trouble.REBASE)
            case Next.STOP:
                self._stop(Trouble.FENCED)

    def _failed(self, request: AppendRequest, error: StoreError) -> None:
        if self._closed:
            return
        if not self._failing:
            self._failing = True
            log.warning("journal_append_failed", shard=self._grant.shard, tick=request.tick, reason=str(error))
        self._ring.failed(request.tick)
        self._retry_soon()

    def _retry_soon(self) -> None:
        """Wait a little, longer each time, and go on once every answer is in."""
        telemetry.records_resent_total.inc()
        if self._resume is not None or self._ring.in_flight:
            return
        self._resume = self._loop.call_later(self._pause_s, self._go_on)
        self._pause_s = min(max(2 * self._pause_s, RETRY_PAUSE_S_MIN), RETRY_PAUSE_S_MAX)

    def _go_on(self) -> None:
        self._resume = None
        self._pump()

    def _answered(self, asked_s: float) -> None:
        """The store took something that was sent at `asked_s`."""
        self._answered_s = self._loop.time()
        if self._pulse.trusts(asked_s, self._answered_s):
            self._release(self._ring.tick if self._at_once else self._ring.committed)
        elif not self._ring.held and not self._closed:
            # Nothing else is on its way that could confirm it: ask.
            task = self._loop.create_task(self.beat())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _stop_by_head(self) -> None:
        """A beat was refused: by another owner, or by a store that knows of none?"""
        try:
            head = await self._ownership.look(self._grant.shard)
        except StoreError:
            return
        self._stop(Trouble.REBASE if head is None else Trouble.FENCED)

    def _release(self, tick: int) -> None:
        if tick > self.safe and not self._closed:
            self.safe = tick
            self._on_change()

    def _stop(self, trouble: Trouble) -> None:
        if self.trouble is None and not self._closed:
            self.trouble = trouble
            self._on_change()
