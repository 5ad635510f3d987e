"""Brings a shard that was just acquired to where its last owner left it.

Tried in this order, each only where the one before did not work: the newest snapshot, older ones, the title's setup
(only while the journal still begins at tick 1); each followed by the journal up to the head. What does not verify is
said and passed over; where nothing verifies the shard stays down: it is never carried on from a state that may be
wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from overworld import telemetry
from overworld.errors import Corrupt, DivergenceError, JournalGap, RecordCorrupt, SnapshotCorrupt
from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.store.ports import READ_RECORDS_MAX, Head, JournalEntry, Ownership
from overworld.wire.v1 import record_pb2
from overworld.worker.follower import Follower
from overworld.worker.shelf import Shelf, Start

log = structlog.get_logger(__name__)

SLICE_S = 0.004
"""How long a replay may run before the other shards of this process get their turn."""


@dataclass(frozen=True)
class Recovered:
    """A core at `tick`, which follows `chain`. `beyond_head`: the journal ends before this state (Redis lost records
    that a snapshot covers), so it must begin anew here.
    """

    core: ShardCore
    chain: bytes
    epoch: int
    source: str
    replayed_ticks: int
    beyond_head: bool
    wall_ms: int = 0
    """When the snapshot it started from was taken; 0 where there was none."""
    notes: list[str] = field(default_factory=list)

    @property
    def tick(self) -> int:
        """The last tick of the state."""
        return self.core.tick


async def recover(
    new_core: Callable[[], ShardCore], shard: int, head: Head, ownership: Ownership, shelf: Shelf
) -> Recovered:
    """The state that `head` stands for. Raises Corrupt or DivergenceError where none verifies, StoreUnavailable."""
    began_s = time.monotonic()
    problems: list[str] = []
    last: Corrupt | DivergenceError | None = None
    found = await shelf.newest_first(shard)
    for start in [*found, *([None] if head.floor == 0 else [])]:
        try:
            recovered = await _follow(new_core(), start, head, ownership)
        except (SnapshotCorrupt, RecordCorrupt, JournalGap, DivergenceError) as error:
            last = error
            name = start.name if start else "setup"
            problems.append(f"{name}: {error}")
            log.error("recovery_attempt_failed", shard=shard, start=name, reason=str(error))
            if isinstance(error, DivergenceError):
                telemetry.divergence_total.inc()
                await _keep_evidence(error, head, shelf)
            continue
        recovered.notes.extend(problems)
        telemetry.replay_seconds.observe(time.monotonic() - began_s)
        return recovered
    reason = "; ".join(problems) or f"no snapshot can be read, and the journal begins after tick {head.floor}"
    if isinstance(last, DivergenceError):
        raise DivergenceError(reason)
    raise SnapshotCorrupt(f"shard {shard} cannot be recovered: {reason}")


async def _follow(core: ShardCore, start: Start | None, head: Head, ownership: Ownership) -> Recovered:
    restored = record_pb2.SnapshotHead()
    if start is None:
        core.setup()
        follower = Follower(core, b"")
    else:
        # The head within the snapshot, not the list it was found in: a rebuilt manifest does not know chains.
        restored = snapshot.restore(core, start.data)
        if start.chain and start.chain != restored.chain:
            raise SnapshotCorrupt(f"{start.name}: its manifest names another chain value")
        follower = Follower(core, restored.chain, restored.epoch)
    source, wall_ms = start.name if start else "setup", restored.wall_ms
    from_tick = core.tick
    if core.tick > head.tick:
        return Recovered(core, follower.chain, follower.epoch, source, 0, beyond_head=True, wall_ms=wall_ms)
    if core.tick < head.floor:
        raise JournalGap(f"tick {core.tick} to {head.floor}: trimmed from the journal")
    try:
        await _replay(follower, head.tick, ownership)
    except DivergenceError as error:
        raise _Diverged(str(error), core) from error
    if head.tick and follower.chain != head.chain:
        raise RecordCorrupt(f"tick {core.tick}: the journal's head has another chain value")
    return Recovered(
        core, follower.chain, follower.epoch, source, core.tick - from_tick, beyond_head=False, wall_ms=wall_ms
    )


async def _replay(follower: Follower, up_to_tick: int, ownership: Ownership) -> None:
    """Apply the journal, reading ahead, a slice of time at a go."""
    shard = follower.core.index
    page: list[JournalEntry] = []
    if follower.tick < up_to_tick:
        page = await ownership.read(shard, follower.tick, READ_RECORDS_MAX)
    while page:
        ahead = asyncio.ensure_future(ownership.read(shard, page[-1].tick, READ_RECORDS_MAX))
        try:
            await _apply(follower, page, up_to_tick)
            page = await ahead
        finally:
            ahead.cancel()
        if follower.tick >= up_to_tick:
            return
    if follower.tick < up_to_tick:
        raise JournalGap(f"shard {shard}: the journal ends at tick {follower.tick}, its head says {up_to_tick}")


async def _apply(follower: Follower, page: list[JournalEntry], up_to_tick: int) -> None:
    slice_ends_s = time.monotonic() + SLICE_S
    for entry in page:
        if entry.tick > up_to_tick:
            return
        follower.apply(entry)
        telemetry.replay_ticks_total.inc()
        if time.monotonic() > slice_ends_s:
            await asyncio.sleep(0)
            slice_ends_s = time.monotonic() + SLICE_S


class _Diverged(DivergenceError):
    """A DivergenceError that carries what the replay came to."""

    def __init__(self, reason: str, core: ShardCore) -> None:
        super().__init__(reason)
        self.core = core


async def _keep_evidence(error: DivergenceError, head: Head, shelf: Shelf) -> None:
    """The replay's state goes beside the snapshots; the other one is the snapshot and journal that led to it."""
    if isinstance(error, _Diverged):
        core = error.core
        data = snapshot.encode(snapshot.freeze(core), core, epoch=head.epoch, chain=b"", wall_ms=0)
        await shelf.keep_evidence(f"diverged/{core.contract.world}/{core.index}/{core.tick:012}-{head.epoch}", data)
