"""From the grant of a shard to a state that is ready to tick: once for each owner.

claim      the snapshots' manifest: from now on no earlier owner can write there. Beside the first ticks, where the
           owner before yielded the shard to a follower that stands ready: nobody waits for blob storage then
recover    from a follower that stands ready, else from the newest good snapshot, and the journal
mend       where the journal ends before the state (Redis lost records): it begins anew there
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from overworld import telemetry, tracing
from overworld.errors import FormatTooNew, StoreUnavailable
from overworld.shard.core import ShardCore
from overworld.store.archive import Archive
from overworld.store.ports import Grant, Ownership
from overworld.worker.archiving import ArchiveLimits, archive_rest
from overworld.worker.follower import Follower
from overworld.worker.journal import JournalLimits
from overworld.worker.receipts import OutboxCopy, mend
from overworld.worker.recovery import Recovered, carry_on, recover
from overworld.worker.shard_loop import LoopLimits
from overworld.worker.shelf import Shelf
from overworld.worker.snapshots import SnapshotLimits

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class HostLimits:
    """Everything a shard's parts are bounded by."""

    journal: JournalLimits
    loop: LoopLimits
    snapshots: SnapshotLimits
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)
    audit_ticks: int = 0
    recovery_timeout_s: float = 120.0
    drain_timeout_s: float = 10.0
    settle_timeout_s: float = 1.0
    """How long a shard that is to move may stand still for its last commits."""


@dataclass(frozen=True)
class Stores:
    """Where a world's shards are kept. `archive`: None where nothing is kept for good."""

    ownership: Ownership
    shelf: Shelf
    archive: Archive | None = None


class TakeOver:
    """One shard's recovery under one grant."""

    def __init__(
        self, stores: Stores, grant: Grant, new_core: Callable[[], ShardCore], limits: HostLimits, copy: OutboxCopy
    ) -> None:
        self._stores = stores
        self._grant = grant
        self._new_core = new_core
        self._limits = limits
        self._copy = copy
        self._acquired_s = time.monotonic()
        self.took_s: dict[str, float] = {}
        """How long the steps took."""
        self.claims_later = False
        """True where the snapshots' manifest is still to be claimed, beside the first ticks."""

    async def run(self, standby: Follower | None = None) -> Recovered:
        """Claim the snapshots' manifest, recover the state, see to it that the journal begins where the state ends.
        `standby`: a follower of the shard, where there is one. Raises OverworldError where that cannot be.
        """
        try:
            async with asyncio.timeout(self._limits.recovery_timeout_s):
                recovered = await self._recover(standby)
                if recovered.beyond_head:
                    head = self._grant.head
                    await self._keep_what_is_left(recovered)
                    self._copy.take_in(recovered.outbox, recovered.tick)
                    # Before the journal begins anew: cut short, this is done again.
                    await mend(self._stores.ownership, self._grant, head.tick, recovered.core, self._copy)
                    await self._stores.ownership.restart(
                        self._grant, head.tick, head.chain, recovered.tick, recovered.chain
                    )
        except TimeoutError as error:
            raise StoreUnavailable(
                f"shard {self._grant.shard}: not recovered in {self._limits.recovery_timeout_s:g} s"
            ) from error
        log.info(
            "shard_recovered",
            shard=self._grant.shard,
            epoch=self._grant.epoch,
            tick=recovered.tick,
            source=recovered.source,
            replayed_ticks=recovered.replayed_ticks,
            seconds=round(time.monotonic() - self._acquired_s, 3),
        )
        self._tell_of_loss(recovered)
        return recovered

    async def _recover(self, standby: Follower | None) -> Recovered:
        """Claim the snapshots' manifest, and find the state."""
        ownership, shelf, head = self._stores.ownership, self._stores.shelf, self._grant.head
        if standby is not None and self._grant.yielded:
            recovered = await carry_on(standby, head, ownership, shelf)
            self.took_s["replay"] = time.monotonic() - self._acquired_s
            if recovered is not None:
                # Blob storage may take as long as it likes: who yielded knew that no epoch was lost, and whatever it
                # may still save is a committed tick of these very records.
                self.claims_later = True
                telemetry.standby_takeovers_total.inc()
                return recovered
            standby = None
        # Before any manifest is read, or anything of ours sent. With a follower at hand nothing is read from there, so
        # both go at once.
        claim = asyncio.ensure_future(self._claim())
        recovered = None
        try:
            if standby is not None:
                recovered = await carry_on(standby, head, ownership, shelf)
                self.took_s["replay"] = time.monotonic() - self._acquired_s
            await claim
        finally:
            claim.cancel()
        if recovered is not None:
            telemetry.standby_takeovers_total.inc()
            return recovered
        try:
            return await recover(self._new_core, self._grant.shard, head, ownership, shelf)
        except FormatTooNew:
            # For a worker of the newer version, at once: nothing was sent or written under this epoch.
            await self._stores.ownership.release(self._grant)
            raise

    async def _claim(self) -> None:
        await self._stores.shelf.claim(self._grant)
        self.took_s["claim"] = time.monotonic() - self._acquired_s

    async def _keep_what_is_left(self, recovered: Recovered) -> None:
        """The journal ends before the state and will begin anew there: archive both, records in between are lost."""
        archive, ownership = self._stores.archive, self._stores.ownership
        if archive is not None:
            await archive_rest(archive, ownership, self._grant, recovered.core, recovered.chain, self._limits.archive)

    def _tell_of_loss(self, recovered: Recovered) -> None:
        """Redis came back without records, and their owner is gone: what players did since the snapshot may be lost."""
        head = self._grant.head
        if recovered.beyond_head:
            telemetry.journals_lost_total.inc()
            log.error(
                "ticks_lost",
                shard=self._grant.shard,
                journal_ends_at_tick=head.tick,
                continues_at_tick=recovered.tick,
                lost_s_max=round(time.time() - recovered.wall_ms / 1000, 1),
            )
        elif self._grant.epoch > 1 and not head.tick:
            log.warning("shard_starts_over", shard=self._grant.shard, epoch=self._grant.epoch)


def tell_taken_over(grant: Grant, recovered: Recovered, took_s: float) -> None:
    """A shard is about to run its first tick here, this long after it was acquired."""
    telemetry.takeover_seconds.observe(took_s)
    of, core = tracing.of_shard(grant.shard, grant.epoch), recovered.core
    about: dict[str, tracing.Value] = {"shard": grant.shard, "epoch": grant.epoch, "tick": core.tick}
    about |= {"source": recovered.source, "replayed_ticks": recovered.replayed_ticks}
    tracing.spans.tell("shard.takeover", of, took_s, about, whole=True)
