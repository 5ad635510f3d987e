"""Brings a shard that was just acquired to where its last owner left it.

Tried in this order, each only where the one before did not work: the newest snapshot, older ones, the title's setup
(only while the journal still begins at tick 1); each followed by the journal up to the head. What does not verify is
said and passed over; where nothing verifies the shard stays down: it is never carried on from a state that may be
wrong. A worker that followed the shard already tries what it has before all of these (`carry_on`): only the records it
has not read yet are missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from overworld import telemetry
from overworld.errors import Corrupt, DivergenceError, FormatTooNew, JournalGap, RecordCorrupt, SnapshotCorrupt
from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.store.ports import READ_RECORDS_MAX, Head, JournalEntry, Ownership
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
    outbox: tuple[bytes, ...] = ()
    """Messages to other shards that the snapshot remembers, where the journal ends before it."""
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
                await keep_evidence(error, head.epoch, shelf)
            continue
        recovered.notes.extend(problems)
        telemetry.replay_seconds.observe(time.monotonic() - began_s)
        return recovered
    reason = "; ".join(problems) or f"no snapshot can be read, and the journal begins after tick {head.floor}"
    if isinstance(last, DivergenceError):
        raise DivergenceError(reason)
    raise SnapshotCorrupt(f"shard {shard} cannot be recovered: {reason}")


async def carry_on(follower: Follower, head: Head, ownership: Ownership, shelf: Shelf) -> Recovered | None:
    """As `recover`, from a follower's state. None where that is of no use, and `recover` has to do. Raises
    StoreUnavailable.
    """
    from_tick = follower.tick
    try:
        if follower.tick > head.tick or follower.tick < head.floor:
            raise JournalGap(f"the journal holds ticks {head.floor + 1} to {head.tick}, the follower is at {from_tick}")
        await _replay_to(follower, head, ownership)
    except (RecordCorrupt, JournalGap, DivergenceError, FormatTooNew) as error:
        log.error("standby_of_no_use", shard=follower.core.index, tick=from_tick, reason=str(error))
        if isinstance(error, DivergenceError):
            await keep_evidence(error, head.epoch, shelf)
        return None
    return Recovered(
        follower.core, follower.chain, follower.epoch, "standby", follower.tick - from_tick, beyond_head=False
    )


def begin(core: ShardCore, start: Start | None) -> tuple[Follower, int]:
    """A follower at a snapshot, or at the title's setup; and when the snapshot was taken in ms, 0 for the setup. Raises
    SnapshotCorrupt, FormatTooNew.
    """
    if start is None:
        core.setup()
        return Follower(core, b""), 0
    version = snapshot.read_head(start.data).title_version
    if version > core.contract.title_version:
        raise FormatTooNew(
            f"{start.name}: written by version {version} of {core.contract.title}, this is "
            f"{core.contract.title_version}: run the newer version"
        )
    # The head within the snapshot, not the list it was found in: a rebuilt manifest does not know chains.
    restored = snapshot.restore(core, start.data)
    if start.chain and start.chain != restored.chain:
        raise SnapshotCorrupt(f"{start.name}: its manifest names another chain value")
    return Follower(core, restored.chain, restored.epoch), restored.wall_ms


async def _follow(core: ShardCore, start: Start | None, head: Head, ownership: Ownership) -> Recovered:
    follower, wall_ms = begin(core, start)
    source = start.name if start else "setup"
    from_tick = core.tick
    if core.tick > head.tick:
        outbox = tuple(snapshot.read_head(start.data).outbox) if start else ()
        return Recovered(
            core, follower.chain, follower.epoch, source, 0, beyond_head=True, wall_ms=wall_ms, outbox=outbox
        )
    if core.tick < head.floor:
        raise JournalGap(f"tick {core.tick} to {head.floor}: trimmed from the journal")
    await _replay_to(follower, head, ownership)
    return Recovered(
        core, follower.chain, follower.epoch, source, core.tick - from_tick, beyond_head=False, wall_ms=wall_ms
    )


async def _replay_to(follower: Follower, head: Head, ownership: Ownership) -> None:
    try:
        await _replay(follower, head.tick, ownership)
    except DivergenceError as error:
        raise Diverged(str(error), follower.core) from error
    if head.tick and follower.chain != head.chain:
        raise RecordCorrupt(f"tick {follower.tick}: the journal's head has another chain value")


async def _replay(follower: Follower, up_to_tick: int, ownership: Ownership) -> None:
    """Apply the journal, reading ahead, a slice of time at a go."""
    shard = follower.core.index
    page: list[JournalEntry] = []
    if follower.tick < up_to_tick:
        page = await ownership.read(shard, follower.tick, READ_RECORDS_MAX)
    while page:
        ahead = asyncio.ensure_future(ownership.read(shard, page[-1].tick, READ_RECORDS_MAX))
        try:
            await apply(follower, page, up_to_tick, lambda: False)
            page = await ahead
        finally:
            ahead.cancel()
        if follower.tick >= up_to_tick:
            return
    if follower.tick < up_to_tick:
        raise JournalGap(f"shard {shard}: the journal ends at tick {follower.tick}, its head says {up_to_tick}")


async def apply(follower: Follower, page: list[JournalEntry], up_to_tick: int, over: Callable[[], bool]) -> None:
    """Apply a page, a slice of time at a go, until `over` says that the follower is somebody else's."""
    slice_ends_s = time.monotonic() + SLICE_S
    for entry in page:
        if entry.tick > up_to_tick:
            return
        follower.apply(entry)
        telemetry.replay_ticks_total.inc()
        if time.monotonic() > slice_ends_s:
            await asyncio.sleep(0)
            if over():
                return
            slice_ends_s = time.monotonic() + SLICE_S


class Diverged(DivergenceError):
    """A DivergenceError that carries what the replay came to."""

    def __init__(self, reason: str, core: ShardCore) -> None:
        super().__init__(reason)
        self.core = core


async def keep_evidence(error: DivergenceError, epoch: int, shelf: Shelf) -> None:
    """Count it. The replay's state goes beside the snapshots; the other one is the snapshot and journal that led to
    it.
    """
    telemetry.divergence_total.inc()
    if isinstance(error, Diverged):
        core = error.core
        data = snapshot.encode(snapshot.freeze(core), core, epoch=epoch, chain=b"", wall_ms=0)
        await shelf.keep_evidence(f"diverged/{core.contract.world}/{core.index}/{core.tick:012}-{epoch}", data)
