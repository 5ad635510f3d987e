"""One shard on this worker, from the grant to the end of it.

    take over   claim the snapshots' manifest, recover the state, let the journal begin where the state ends
    run         tick until something ends it
    rebase      Redis lost the journal: save the state, begin a new journal at it, and run on
    yield       another worker follows and asks for it: after a tick, once its results are out, the head changes hands
    sleep       nobody needs it: its state is saved and leaves memory, until somebody comes
    hand back   orderly stop: everything committed, saved, the lease released

Whenever it appends nothing for a while it beats, so that nobody takes the shard for dead.
"""

from __future__ import annotations

import asyncio
import enum
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from overworld import telemetry
from overworld.errors import Fenced, OtherHead, OverworldError, StoreError
from overworld.shard.core import ShardCore
from overworld.store.ports import NONCE_BYTES, Grant, Refused
from overworld.worker import tasks
from overworld.worker.archiving import Archiver
from overworld.worker.audit import AuditRing
from overworld.worker.follower import Follower
from overworld.worker.hibernation import Counters, Doorbell
from overworld.worker.journal import Journal
from overworld.worker.post import NO_POST, Post
from overworld.worker.pulse import Pulse
from overworld.worker.receipts import OutboxCopy, Receipts, mend
from overworld.worker.reception import Reception
from overworld.worker.recovery import Recovered
from overworld.worker.shard_loop import End, ShardLoop
from overworld.worker.snapshots import Snapshotter
from overworld.worker.sweeps import Sweeper
from overworld.worker.takeover import HostLimits, Stores, TakeOver, tell_taken_over
from overworld.worker.yielding import Wish, Yielded, Yielding

log = structlog.get_logger(__name__)

DRAIN_POLL_S, REBASE_PAUSE_S = 0.005, 0.5


class Phase(enum.Enum):
    """Where a shard stands, for metrics and /readyz."""

    RECOVERING = "recovering"
    RUNNING = "running"
    STALLED = "stalled"
    PAUSED = "paused"
    ASLEEP = "asleep"
    AWAY = "away"
    STOPPING = "stopping"


class ShardHost:
    """Runs one shard under one grant (or, after a rebase, its successor)."""

    def __init__(
        self,
        grant: Grant,
        address: str,
        new_core: Callable[[], ShardCore],
        reception: Reception,
        stores: Stores,
        pulse: Pulse,
        limits: HostLimits,
        standby: Follower | None = None,
        post: Post = NO_POST,
    ) -> None:
        """`standby`: a state to go on from that was followed here, where there is one. `post`: hands the shard's mail
        over to the shards it is for.
        """
        self._grant = grant
        self._address = address
        self._new_core = new_core
        self._reception = reception
        self._stores = stores
        self._pulse = pulse
        self._limits = limits
        self._post = post
        self._copy = OutboxCopy()
        self._receipts: Receipts | None = None
        self._sweeper: Sweeper | None = None
        self._acquired_s = time.monotonic()
        self._journal: Journal | None = None
        self._loop: ShardLoop | None = None
        self._stopping = self._paused = self._claims_later = False
        self._away: Doorbell | None = None
        self._worked = (0, 0)
        self._standby = standby
        self._yielding = Yielding()
        self._first_tick = 0
        self.started = asyncio.Event()
        """Set once results of a tick that ran here are out, or `ended`."""
        self.ended = False
        self.took_s: dict[str, float] = {}
        """How long the steps of taking over took."""
        self.moved_to: tuple[str, int] | None = None
        """(address, epoch) of the worker that it was yielded to."""
        self.snapshots: Snapshotter | None = None
        self.archiver: Archiver | None = None
        self.audit = AuditRing(limits.audit_ticks)

    @property
    def shard(self) -> int:
        """Which shard."""
        return self._grant.shard

    @property
    def epoch(self) -> int:
        """The epoch it is run under."""
        return self._grant.epoch

    @property
    def core(self) -> ShardCore | None:
        """The shard's state once it is recovered."""
        return self._loop.core if self._loop else None

    @property
    def reception(self) -> Reception:
        """What gateways talk to."""
        return self._reception

    @property
    def held(self) -> int:
        """Ticks whose results wait for their commit."""
        return self._loop.held if self._loop else 0

    @property
    def snapshot_age_s(self) -> float:
        """Seconds since the newest snapshot saved here (or since this began)."""
        return time.monotonic() - (self.snapshots.saved_s if self.snapshots else self._acquired_s)

    @property
    def archive_lag_ticks(self) -> int:
        """Committed ticks that should be archived and are not yet."""
        return self.archiver.lag_ticks if self.archiver else 0

    @property
    def outbox_waiting(self) -> int:
        """Messages sent to other shards that these have not acked."""
        return self._receipts.waiting(self._loop.core) if self._receipts and self._loop else 0

    @property
    def worked(self) -> tuple[int, int]:
        """CPU time of all ticks run here, in nanoseconds, and how many those were."""
        cpu_ns, ticks = self._worked
        return (cpu_ns + self._loop.cpu_ns, ticks + self._loop.ticks_run) if self._loop else self._worked

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        if self._stopping:
            return Phase.STOPPING
        if self._loop is None:
            return Phase.AWAY if self._away is not None else Phase.RECOVERING
        if self._loop.asleep:
            return Phase.ASLEEP
        return Phase.STALLED if self._loop.stalled else Phase.PAUSED if self._paused else Phase.RUNNING

    def pause(self, paused: bool) -> None:
        """Let the shard stand still, with its players and its lease, or go on."""
        self._paused = paused
        if self._loop is not None:
            self._loop.paused = paused

    def stop(self) -> None:
        """End in order, at the next tick boundary."""
        self._stopping = True
        self._yielding.refuse("it is handed back")
        if self._loop is not None:
            self._loop.stop()
        if self._away is not None:
            self._away.ring()

    async def yield_to(self, wish: Wish, timeout_s: float) -> Yielded | str:
        """Give the shard to another worker after its next tick. Returns why not where that cannot be: then it goes on
        here. Bounded by `timeout_s`, then `settle_timeout_s` and the store's own limits.
        """
        if self._yielding.wished:
            return "it is on its way to another worker"
        if self.phase not in (Phase.RUNNING, Phase.PAUSED, Phase.ASLEEP, Phase.AWAY):
            return f"it is {self.phase.value}"
        if self._loop is not None:
            self._loop.end_after_tick()
        elif self._away is not None:
            self._away.ring()
        return await self._yielding.answer_to(wish, timeout_s)

    async def run(self) -> End:
        """Everything, to the end. Raises OverworldError where the shard cannot be taken over."""
        beats = asyncio.get_running_loop().create_task(self._beat())
        try:
            recovered = await self._take_over()
            self._begin(recovered.core, recovered.chain, self._age_s(recovered))
            tell_taken_over(self._grant, recovered, time.monotonic() - self._acquired_s)
            while True:
                loop = self._loop
                assert loop is not None
                end = await loop.run()
                if end is End.LEFT:
                    end = await self._stay_away()
                if end is End.YIELDING:
                    if await self._hand_over():
                        return End.MOVED
                    if self._loop is None:
                        await self._come_back()
                    continue
                if end is not End.REBASE:
                    break
                if not await self._rebase():
                    return End.FENCED
            if end is End.STOPPED and (self._loop is None or await self._settle()):
                await tasks.end([beats])
                await self._release()
            return end
        finally:
            self.ended = True
            self.started.set()
            self._yielding.refuse("it ended here")
            self._abandon()
            await tasks.end([beats])

    async def _beat(self) -> None:
        """Appends are the heartbeat. Where there are none for a while, because the shard is recovered, stands still,
        is given a new journal or saved for the last time, beat by hand.
        """
        while True:
            await asyncio.sleep(self._limits.loop.beat_s)
            journal = self._journal
            if journal is None or journal.trouble is not None:
                try:
                    await self._stores.ownership.beat(self._grant)
                except StoreError as error:
                    log.debug("beat_failed", shard=self.shard, reason=str(error))
            elif journal.idle_s >= self._limits.loop.beat_s:
                await journal.beat()

    # ------------------------------------------------------------ take over

    async def _take_over(self) -> Recovered:
        takeover = TakeOver(self._stores, self._grant, self._new_core, self._limits, self._copy)
        standby, self._standby = self._standby, None
        recovered = await takeover.run(standby)
        self.took_s, self._claims_later = takeover.took_s, takeover.claims_later
        self._reception.recovered(recovered.core, asyncio.get_running_loop().time())
        return recovered

    def _age_s(self, recovered: Recovered) -> float:
        """How far the newest snapshot is behind, in the shard's own time. One that has none is to get one soon."""
        if not recovered.wall_ms:
            return self._limits.snapshots.interval_s
        return recovered.replayed_ticks * recovered.core.contract.grid.tick_interval_us / 1e6

    def _begin(self, core: ShardCore, chain: bytes, snapshot_age_s: float) -> None:
        """Wire the parts of a shard that is ready to tick."""
        ownership, limits = self._stores.ownership, self._limits
        self._first_tick = core.tick + 1
        self._journal = Journal(ownership, self._grant, core.tick, chain, limits.journal, self._pulse, self._on_journal)
        self.archiver = self._new_archiver(self._journal)
        self._receipts = Receipts(ownership, self._grant, self._copy)
        self.snapshots = Snapshotter(
            self._stores.shelf,
            ownership,
            self._grant,
            self._new_core,
            limits.snapshots,
            limits.loop.phase,
            self.archiver,
            snapshot_age_s,
            self._receipts,
        )
        if self._claims_later:
            self.snapshots.claim_soon(self._journal.fence)
        if self._sweeper is not None:
            self._sweeper.close()
        self._sweeper = Sweeper(ownership, self.shard, core.contract.grid, self._reception)
        self._loop = ShardLoop(
            core,
            self.epoch,
            self._journal,
            self._reception,
            self.snapshots,
            self.audit,
            limits.loop,
            self._post,
            self._sweeper,
            self._copy,
            # Players have waited since its owner died; who yields it leaves most of an interval.
            overdue=not self._grant.yielded,
        )
        self._loop.paused = self._paused
        if self._paused:
            self.started.set()  # no tick will show it
        if self._stopping:
            self._loop.stop()

    def _new_archiver(self, journal: Journal) -> Archiver | None:
        """Archives this journal from now on, where there is an archive."""
        archive, limits = self._stores.archive, self._limits
        if self.archiver is not None:
            self.archiver.close()
        if archive is None:
            return None
        archiver = Archiver(
            archive, self._stores.ownership, self._grant, lambda: journal.committed, limits.archive, limits.loop.phase
        )
        archiver.start()
        return archiver

    def _on_journal(self) -> None:
        self._yielding.changed()
        if self._loop is not None and self._journal is not None:
            self._loop.on_journal()
            if self._journal.safe >= self._first_tick:
                self.started.set()

    async def _hand_over(self) -> bool:
        """The shard stands still after a tick, for another worker. False where it has to go on here."""
        assert self._journal is not None
        ownership, timeout_s = self._stores.ownership, self._limits.settle_timeout_s
        yielded = await self._yielding.hand_over(ownership, self._grant, self._journal, timeout_s, self._save_now)
        if yielded is not None:
            self.moved_to = yielded.grant.head.address, yielded.grant.epoch
        return yielded is not None

    async def _save_now(self) -> None:
        """The state as it stands. Nothing to do where it has left memory: it was saved then."""
        if self._loop is not None and self._journal is not None and self.snapshots is not None:
            await self.snapshots.save_now(self._loop.core, self._journal.chain)
            if self.archiver is not None:
                await self.archiver.catch_up()

    # ------------------------------------------------------------ nobody needs it

    async def _stay_away(self) -> End:
        """Save the state, drop it, and wait for somebody. Returns what ends the wait: YIELDING (also where it simply
        goes on: there is no wish then), STOPPED, FENCED.
        """
        assert self._loop is not None
        assert self._journal is not None
        assert self.snapshots is not None
        core, journal = self._loop.core, self._journal
        try:
            await self.snapshots.save_now(core, journal.chain)
        except OverworldError as error:
            log.warning("shard_stays", shard=self.shard, tick=core.tick, reason=str(error))
            # Not at once again: what cannot be saved now is tried when it has slept as long once more.
            self._loop.stay()
            return End.YIELDING
        self._away = Doorbell(self._limits.loop.rest.look_s)
        self._reception.on_call = self._away.ring
        counters = Counters.of(core)
        self._worked = self.worked
        self._loop = None
        self.audit = AuditRing(self._limits.audit_ticks)
        del core
        telemetry.shards_left_total.inc()
        log.info("shard_left_memory", shard=self.shard, epoch=self.epoch, tick=journal.tick)
        try:
            if self._reception.idle and not self._stopping:
                assert self._sweeper is not None
                wished = self._yielding

                def over() -> bool:
                    return self._stopping or wished.wished or journal.trouble is not None

                await self._away.wait(self._sweeper, counters, over)
            if self._stopping:
                return End.STOPPED
            if journal.trouble is not None:
                return End.FENCED
            if not self._yielding.wished:
                await self._come_back()
            return End.YIELDING
        finally:
            self._away = None

    async def _come_back(self) -> None:
        """Somebody needs the shard: its state is where it was saved, and the journal ends there. Raises
        OverworldError.
        """
        began_s = time.monotonic()
        head = await self._stores.ownership.look(self.shard)
        if head is None or (head.epoch, head.nonce) != (self._grant.epoch, self._grant.nonce):
            raise Fenced(f"shard {self.shard}: it has another owner since it left memory")
        assert self._journal is not None
        self._journal.close()
        self._grant = replace(self._grant, head=head)
        recovered = await self._take_over()
        self._begin(recovered.core, recovered.chain, self._age_s(recovered))
        telemetry.wakes_total.labels("away").inc()
        telemetry.wake_seconds.observe(time.monotonic() - began_s)

    # ------------------------------------------------------------ rebase

    async def _rebase(self) -> bool:
        """Make the state durable as a snapshot, begin a new journal at it, release what was held back. False where
        the shard is somebody else's by now.
        """
        assert self._loop is not None
        assert self._journal is not None
        before, core, chain = self._loop, self._loop.core, self._journal.chain
        self._journal.close()
        log.error("journal_lost", shard=self.shard, epoch=self.epoch, tick=core.tick, held=before.held)
        while not self._stopping:
            try:
                if not await self._restart_journal(core, chain):
                    return False
            except (Fenced, OtherHead) as error:
                log.warning("rebase_refused", shard=self.shard, reason=str(error))
                return False
            except OverworldError as error:
                log.warning("rebase_failed", shard=self.shard, reason=str(error))
                await asyncio.sleep(REBASE_PAUSE_S)
                continue
            before.release(core.tick)
            before.release_mail(core.tick)
            self._begin(core, chain, 0.0)
            telemetry.rebases_total.inc()
            log.warning("journal_begun_anew", shard=self.shard, epoch=self.epoch, tick=core.tick)
            return True
        return False

    async def _restart_journal(self, core: ShardCore, chain: bytes) -> bool:
        ownership, shelf = self._stores.ownership, self._stores.shelf
        head = await ownership.look(self.shard)
        if head is None:
            nonce = secrets.token_bytes(NONCE_BYTES)
            answer = await ownership.acquire(
                self.shard, None, self._address, self.epoch, nonce, core.contract.title_version
            )
            if isinstance(answer, Refused):
                return False
            self._grant, head = answer, answer.head
        if (head.epoch, head.nonce) != (self._grant.epoch, self._grant.nonce):
            return False
        await shelf.claim(self._grant)
        if self.archiver is not None and self._journal is not None:
            await self.archiver.bridge(self._journal.kept)
        saver = Snapshotter(
            shelf,
            ownership,
            self._grant,
            self._new_core,
            self._limits.snapshots,
            archiver=self.archiver,
            receipts=self._receipts,
        )
        await saver.save_now(core, chain)
        await mend(ownership, self._grant, head.tick, core, self._copy)
        await ownership.restart(self._grant, head.tick, head.chain, core.tick, chain)
        return True

    # ------------------------------------------------------------ the end

    async def _settle(self) -> bool:
        """Wait until everything is committed and sent, and save the state. False where the journal cannot be had."""
        assert self._journal is not None
        assert self._loop is not None
        assert self.snapshots is not None
        deadline_s = time.monotonic() + self._limits.drain_timeout_s
        while self._journal.held and self._journal.trouble is None and time.monotonic() < deadline_s:
            await asyncio.sleep(DRAIN_POLL_S)
        if self._journal.held or self._journal.trouble is not None:
            log.error("shard_not_drained", shard=self.shard, tick=self._journal.tick, held=self._journal.held)
            return False
        core = self._loop.core
        archiving = asyncio.ensure_future(self.archiver.catch_up()) if self.archiver else None
        try:
            await self.snapshots.save_now(core, self._journal.chain)
        except OverworldError as error:
            log.error("final_snapshot_failed", shard=self.shard, tick=core.tick, reason=str(error))
        if archiving is not None:
            await asyncio.wait([archiving], timeout=self._limits.drain_timeout_s)
        return True

    async def _release(self) -> None:
        """Give the lease back. Everything is saved: whoever takes the shard next need not replay."""
        assert self._journal is not None
        try:
            await self._stores.ownership.release(self._grant, self._journal.committed)
        except StoreError as error:
            log.error("release_failed", shard=self.shard, reason=str(error))
        else:
            log.info("shard_handed_back", shard=self.shard, epoch=self.epoch, tick=self._journal.tick)

    def _abandon(self) -> None:
        for part in (self._journal, self._sweeper, self.snapshots, self.archiver):
            if part is not None:
                part.close()
