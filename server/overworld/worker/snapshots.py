"""Saves one shard's state every so often: columns copied at a tick's boundary, everything else off the loop's thread.

Only a committed tick is saved; its bytes are restored on a scratch core before they count, and read back by the
store. Then the journal is trimmed up to the second newest snapshot, never further (one bad snapshot must not be the
end of a world), and with an archive never further than that goes; and mail is acked and forgotten as far as that
allows (`receipts`). Where blob storage does not answer, play goes on and nothing is trimmed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from overworld import telemetry, tracing
from overworld.errors import Fenced, OverworldError, StoreError, StoreUnavailable
from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.shard.snapshot import Frozen
from overworld.store.ports import Grant, Ownership
from overworld.worker.archiving import Archiver
from overworld.worker.receipts import Receipts
from overworld.worker.shelf import Shelf, SnapshotBytes

log = structlog.get_logger(__name__)


FIRST_S_MIN = 0.25
"""A shard that was just taken over gets this much time for its players before it is saved."""
CLAIM_PAUSE_S_MIN, CLAIM_PAUSE_S_MAX = 0.25, 5.0
"""Between tries to claim the manifest, where play goes on meanwhile."""


@dataclass(frozen=True)
class SnapshotLimits:
    """See WorkerSettings for what they mean."""

    interval_s: float = 10.0
    timeout_s: float = 60.0


@dataclass(frozen=True)
class _Taken:
    """A copied state, waiting for its tick's commit."""

    frozen: Frozen
    chain: bytes
    wall_ms: int
    outbox: tuple[bytes, ...]


class Snapshotter:
    """The snapshots of one shard under one grant."""

    def __init__(
        self,
        shelf: Shelf,
        ownership: Ownership,
        grant: Grant,
        new_core: Callable[[], ShardCore],
        limits: SnapshotLimits,
        phase: float = 0.0,
        archiver: Archiver | None = None,
        age_s: float = 0.0,
        receipts: Receipts | None = None,
    ) -> None:
        """`new_core`: makes the scratch core that a snapshot is tried on. `phase`: 0 to 1, spreads shards'
        snapshots. `archiver`: gets every state, and nothing is trimmed that it has not archived. `age_s`: how far the
        newest snapshot is behind already, in the shard's own time. `receipts`: acks what the snapshots cover.
        """
        self._shelf = shelf
        self._ownership = ownership
        self._grant = grant
        self._new_core = new_core
        self._limits = limits
        self._archiver = archiver
        self._receipts = receipts
        # A shard that keeps losing its owners must not have longer and longer journals to replay.
        first_s = limits.interval_s * (0.5 + phase / 2) - age_s
        self._due_s = time.monotonic() + max(FIRST_S_MIN * (1 + phase), first_s)
        self._taken: _Taken | None = None
        self._saving: asyncio.Task[None] | None = None
        self._claiming: asyncio.Task[None] | None = None
        self._failing = False
        self.saved_tick = -1
        """Of the newest snapshot saved under this grant."""
        self.saved_s = time.monotonic()
        """When that was (or when this began)."""

    def after_tick(self, core: ShardCore, chain: bytes) -> None:
        """Copy the state if one is due and none is on its way. Call right after the tick's append."""
        if self._taken is not None or time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + self._limits.interval_s
        self._taken = self._take(core, chain)
        if self._receipts is not None:
            self._receipts.note(core)

    def committed(self, tick: int) -> None:
        """Everything up to this tick is committed: a state that waited for that is saved."""
        if self._taken is not None and self._taken.frozen.tick <= tick and self._saving is None:
            taken = self._taken
            self._saving = asyncio.get_running_loop().create_task(self._save_and_trim(taken))

    async def save_now(self, core: ShardCore, chain: bytes) -> None:
        """Save the state of a committed tick, in the archive as well (an orderly stop, or a journal that must begin
        anew). Raises StoreError.
        """
        await self.settle()
        if self._receipts is not None:
            await self._receipts.load(core)
        await self._save(self._take(core, chain), keep=True)

    async def settle(self) -> None:
        """Wait for a snapshot that is on its way."""
        if self._saving is not None:
            await asyncio.wait([self._saving])

    def claim_soon(self, on_fenced: Callable[[], None]) -> None:
        """Claim the manifest beside the ticks, for as long as that takes. `on_fenced`: a later owner has."""
        self._claiming = asyncio.get_running_loop().create_task(self._claim(on_fenced))

    def close(self) -> None:
        """Abandon what is on its way."""
        for task in (self._saving, self._claiming):
            if task is not None:
                task.cancel()

    # ------------------------------------------------------------ inside

    async def _claim(self, on_fenced: Callable[[], None]) -> None:
        pause_s, failing = CLAIM_PAUSE_S_MIN, False
        while True:
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    await self._shelf.claim(self._grant)
            except Fenced as error:
                log.error("claim_fenced", shard=self._grant.shard, epoch=self._grant.epoch, reason=str(error))
                on_fenced()
                return
            except (OverworldError, TimeoutError) as error:
                telemetry.claims_failed_total.inc()
                if not failing:
                    failing = True
                    log.error("claim_failed", shard=self._grant.shard, epoch=self._grant.epoch, reason=str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, CLAIM_PAUSE_S_MAX)
            else:
                return

    def _take(self, core: ShardCore, chain: bytes) -> _Taken:
        outbox = self._receipts.unacked if self._receipts is not None else ()
        return _Taken(snapshot.freeze(core), chain, time.time_ns() // 1_000_000, outbox)

    async def _save_and_trim(self, taken: _Taken) -> None:
        try:
            covered_tick = await self._save(taken)
            await self._trim(covered_tick)
            if self._receipts is not None:
                await self._receipts.settle(covered_tick)
            if self._failing:
                self._failing = False
                log.info("snapshots_work_again", shard=self._grant.shard, tick=taken.frozen.tick)
        except Fenced as error:
            log.warning("snapshot_fenced", shard=self._grant.shard, tick=taken.frozen.tick, reason=str(error))
        except OverworldError as error:
            telemetry.snapshot_failed_total.labels(type(error).__name__).inc()
            if not self._failing:
                self._failing = True
                log.error("snapshot_failed", shard=self._grant.shard, tick=taken.frozen.tick, reason=str(error))
        finally:
            self._taken = None
            self._saving = None

    async def _save(self, taken: _Taken, *, keep: bool = False) -> int:
        """Returns the tick up to which the journal may be trimmed."""
        shard, epoch = self._grant.shard, self._grant.epoch
        about = {"shard": shard, "epoch": epoch, "tick": taken.frozen.tick}
        with tracing.spans.timed("shard.snapshot", tracing.of_shard(shard, epoch), about):
            return await self._encode_and_save(taken, keep=keep)

    async def _encode_and_save(self, taken: _Taken, *, keep: bool) -> int:
        data = await asyncio.to_thread(self._encode, taken)
        frozen = taken.frozen
        stored = SnapshotBytes(frozen.tick, taken.chain, frozen.state_digest, taken.wall_ms, data)
        # Beside it, not after it: at an orderly stop players wait for both.
        archiving = asyncio.ensure_future(self._archiver.taken(stored, keep=keep)) if self._archiver else None
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                trim_tick = await self._shelf.save(self._grant, stored)
            if archiving is not None:
                await archiving
        except TimeoutError as error:
            raise StoreUnavailable(
                f"snapshot of tick {frozen.tick}: not saved within {self._limits.timeout_s:g} s"
            ) from error
        finally:
            if archiving is not None:
                archiving.cancel()
        self.saved_tick = frozen.tick
        self.saved_s = time.monotonic()
        return trim_tick

    def _encode(self, taken: _Taken) -> bytes:
        """In a thread: the bytes, tried on a scratch core. Raises SnapshotCorrupt where they do not give the
        state.
        """
        scratch = self._new_core()
        data = snapshot.encode(
            taken.frozen,
            scratch,
            epoch=self._grant.epoch,
            chain=taken.chain,
            wall_ms=taken.wall_ms,
            outbox=taken.outbox,
        )
        snapshot.restore(scratch, data)
        return data

    async def _trim(self, up_to_tick: int) -> None:
        if self._archiver is not None:
            up_to_tick = min(up_to_tick, self._archiver.archived_tick)
        if up_to_tick <= 0:
            return
        try:
            await self._ownership.trim(self._grant, up_to_tick)
        except StoreError as error:
            log.warning("trim_failed", shard=self._grant.shard, up_to_tick=up_to_tick, reason=str(error))
