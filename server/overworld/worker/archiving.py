"""Archives one shard's journal while it is played: records as segments, and now and then a state to replay from.

A state is kept every so often, at an orderly stop (another version of the title can go on only from there), and where
records are missing before it.

The journal in Redis is trimmed only up to `archived_tick`, so that whoever runs the shard next finds in Redis all that
the archive still lacks, and goes on where it ends: after a `kill -9` as after an orderly stop. Where the archive ends
is found by chain values, not by ticks: a journal that was given up (a restore, a Redis that lost its newest records)
stays in the archive beside the one that was played on.

Where blob storage does not answer, play goes on, nothing is trimmed, and it is tried again at every interval. The price
is memory in Redis: the journal's bytes, for as long as it lasts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from overworld import telemetry
from overworld.errors import Corrupt, Fenced, Missing, OverworldError, RecordCorrupt
from overworld.shard import record, snapshot
from overworld.shard.core import ShardCore
from overworld.store.archive import SEGMENT_RECORDS_MAX, Archive, Segment
from overworld.store.ports import Grant, JournalEntry, Ownership
from overworld.store.snapshots import SnapshotBytes

log = structlog.get_logger(__name__)

PAGE_RECORDS = 100
SEGMENT_BYTES_MAX = 16 << 20


@dataclass(frozen=True)
class ArchiveLimits:
    """See WorkerSettings for what they mean."""

    interval_s: float = 5.0
    state_interval_s: float = 300.0
    timeout_s: float = 60.0


class Archiver:
    """The archive of one shard under one grant."""

    def __init__(
        self,
        archive: Archive,
        ownership: Ownership,
        grant: Grant,
        committed: Callable[[], int],
        limits: ArchiveLimits,
        phase: float = 0.0,
    ) -> None:
        """`committed`: the newest committed tick. `phase`: 0 to 1, spreads shards' segments."""
        self._archive = archive
        self._ownership = ownership
        self._grant = grant
        self._committed = committed
        self._limits = limits
        self._phase = phase
        self._ready = False
        self._chain = b""
        self._state_due_s = 0.0
        self._turn = asyncio.Lock()
        self._failing = False
        self._task: asyncio.Task[None] | None = None
        self.archived_tick = 0
        """Everything up to this tick that there ever was of this journal is archived: it may be trimmed."""

    @property
    def lag_ticks(self) -> int:
        """Committed ticks that are not archived; all that Redis has, as long as the end of the archive is not known."""
        after_tick = self.archived_tick if self._ready else self._grant.head.floor
        return max(0, self._committed() - after_tick)

    def start(self) -> None:
        """Archive every so often until closed."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._ended)

    def close(self) -> None:
        """Stop where it stands: what is not archived is still in Redis."""
        if self._task is not None:
            self._task.cancel()

    async def catch_up(self) -> None:
        """Archive now whatever is committed (the owner stops)."""
        await self._try(self.complete)

    async def complete(self) -> None:
        """As `catch_up`, for one who cannot go on without it. Raises StoreError."""
        await self.prepare()
        # What is committed meanwhile is the next round's: a segment is to be long.
        up_to_tick = self._committed()
        while self.archived_tick < up_to_tick:
            entries = await self._read(up_to_tick)
            if not entries:
                return
            await self._put(entries)

    async def prepare(self) -> None:
        """Find where the archive ends. Raises StoreError."""
        if not self._ready:
            await self._begin()

    async def taken(self, snapshot: SnapshotBytes, *, keep: bool = False) -> None:
        """A state of this shard was taken and tried: archive it where one is due, or where it is to be kept anyhow."""
        await self._try(lambda: self._keep(snapshot) if keep else self._keep_if_due(snapshot))

    async def bridge(self, entries: Sequence[JournalEntry]) -> None:
        """Redis lost the journal and it will begin anew: archive what the owner still has in memory."""
        await self._try(lambda: self._bridge(entries))

    # ------------------------------------------------------------ every so often

    async def _run(self) -> None:
        await asyncio.sleep(self._limits.interval_s * self._phase)
        while True:
            await self._try(self.complete)
            await asyncio.sleep(self._limits.interval_s)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("archiver_crashed", shard=self._grant.shard, reason=repr(error), exc_info=error)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it, one at a time; a failure is counted, told once, and left to the next try."""
        shard = self._grant.shard
        try:
            async with asyncio.timeout(self._limits.timeout_s), self._turn:
                await work()
        except (OverworldError, TimeoutError) as error:
            telemetry.archive_failed_total.labels(type(error).__name__).inc()
            if not self._failing:
                self._failing = True
                reason = str(error) or f"not done within {self._limits.timeout_s:g} s"
                log.error("archive_failed", shard=shard, archived_tick=self.archived_tick, reason=reason)
        else:
            if self._failing:
                self._failing = False
                log.info("archive_works_again", shard=shard, archived_tick=self.archived_tick)

    async def _read(self, up_to_tick: int) -> list[JournalEntry]:
        """The records of the next segment."""
        entries: list[JournalEntry] = []
        size, after_tick = 0, self.archived_tick
        while after_tick < up_to_tick and len(entries) + PAGE_RECORDS <= SEGMENT_RECORDS_MAX:
            page = await self._ownership.read(self._grant.shard, after_tick, min(PAGE_RECORDS, up_to_tick - after_tick))
            entries += page
            size += sum(len(entry.payload) for entry in page)
            if not page or size >= SEGMENT_BYTES_MAX:
                break
            after_tick = page[-1].tick
        return entries

    async def _put(self, entries: Sequence[JournalEntry]) -> None:
        wall_first_ms, wall_last_ms = await asyncio.to_thread(checked_walls, entries, self._chain)
        segment, size = await self._archive.put(
            self._grant.shard, entries, self._chain, wall_first_ms, wall_last_ms
        )  # fmt: skip
        self.archived_tick, self._chain = segment.last, segment.chain
        telemetry.archive_segments_total.inc()
        telemetry.archive_records_total.inc(len(entries))
        telemetry.archive_bytes.inc(size)

    # ------------------------------------------------------------ where to go on

    async def _begin(self) -> None:
        """Find where the archive of this very journal ends. Raises Fenced."""
        shard = self._grant.shard
        head = await self._ownership.look(shard)
        if head is None or (head.epoch, head.nonce) != (self._grant.epoch, self._grant.nonce):
            raise Fenced(f"shard {shard}: epoch {self._grant.epoch} is over")
        oldest = await self._ownership.read(shard, head.floor, 1)
        floor_chain = record.decode(oldest[0].payload).previous if oldest else head.chain or record.GENESIS
        states = await self._archive.states(shard)
        segments = await self._archive.segments(shard, head.floor, head.tick)
        end = await self._end(segments, head.floor, floor_chain, head.tick)
        if end is None and head.floor and (states or segments):
            telemetry.archive_gaps_total.inc()
            log.warning("archive_gap", shard=shard, goes_on_after_tick=head.floor)
        self.archived_tick, self._chain = end or (head.floor, floor_chain)
        newest_ms = max((state.wall_ms for state in states), default=0) if end or not head.floor else 0
        age_s = max(0.0, time.time() - newest_ms / 1000)
        self._state_due_s = time.monotonic() + max(0.0, self._limits.state_interval_s - age_s)
        self._ready = True
        log.info("archive_goes_on", shard=shard, epoch=self._grant.epoch, after_tick=self.archived_tick)

    async def _end(
        self, segments: Sequence[Segment], floor: int, floor_chain: bytes, head_tick: int
    ) -> tuple[int, bytes] | None:
        """An archived record that is on our journal, as new as can be told: (tick, chain)."""
        for segment in sorted(segments, key=lambda s: (s.last, s.epoch), reverse=True):
            if segment.last > head_tick or await self._chain_at(segment.last, floor, floor_chain) != segment.chain:
                continue
            if await self._chain_in(segment, segment.last) is not None:
                return segment.last, segment.chain
        # A segment of a journal that was given up in its middle: where this owner took over, or where Redis begins.
        for tick in (max(self._grant.head.tick, floor), floor):
            inside = [segment for segment in segments if segment.first <= tick < segment.last]
            chain = await self._chain_at(tick, floor, floor_chain) if inside else b""
            for segment in inside:
                if await self._chain_in(segment, tick) == chain:
                    return tick, chain
        return None

    async def _chain_at(self, tick: int, floor: int, floor_chain: bytes) -> bytes:
        """Of our own journal."""
        if tick == floor:
            return floor_chain
        page = await self._ownership.read(self._grant.shard, tick - 1, 1)
        return page[0].chain if page else b""

    async def _chain_in(self, segment: Segment, tick: int) -> bytes | None:
        """Of a segment; None where it cannot be read: a torn one is not counted on."""
        try:
            return (await self._archive.read(segment))[tick - segment.first].chain
        except (Corrupt, Missing) as error:
            log.error("segment_unusable", shard=self._grant.shard, reason=str(error))
            return None

    # ------------------------------------------------------------ states, and the end

    async def _keep_if_due(self, snapshot: SnapshotBytes) -> None:
        await self.prepare()
        if time.monotonic() >= self._state_due_s:
            await self._keep(snapshot)

    async def _keep(self, snapshot: SnapshotBytes) -> None:
        chain = snapshot.chain or record.GENESIS
        await self._archive.put_state(
            self._grant.shard, snapshot.tick, self._grant.epoch, snapshot.wall_ms, chain, snapshot.data
        )
        self._state_due_s = time.monotonic() + self._limits.state_interval_s
        telemetry.archive_states_total.inc()

    async def _bridge(self, entries: Sequence[JournalEntry]) -> None:
        missing = [entry for entry in entries if entry.tick > self.archived_tick]
        if not self._ready or not missing or missing[0].tick != self.archived_tick + 1:
            return
        for at in range(0, len(missing), SEGMENT_RECORDS_MAX):
            await self._put(missing[at : at + SEGMENT_RECORDS_MAX])


async def archive_rest(
    archive: Archive, ownership: Ownership, grant: Grant, core: ShardCore, chain: bytes, limits: ArchiveLimits
) -> None:
    """Archive what Redis still has of a journal that is about to begin anew at `core`, and that state: nothing leads
    to it any more. Failures are told and left at that.
    """
    archiver = Archiver(archive, ownership, grant, lambda: grant.head.tick, limits)
    await archiver.catch_up()
    wall_ms = time.time_ns() // 1_000_000
    data = snapshot.encode(snapshot.freeze(core), core, epoch=grant.epoch, chain=chain, wall_ms=wall_ms)
    await archiver.taken(SnapshotBytes(core.tick, chain, core.digest(), wall_ms, data), keep=True)


def checked_walls(entries: Sequence[JournalEntry], previous: bytes) -> tuple[int, int]:
    """When the first and the last of consecutive records ran. Raises RecordCorrupt where one of them is damaged or does
    not follow the one before it, beginning with the chain value `previous`.
    """
    walls = []
    for entry in entries:
        found = record.decode(entry.payload)
        if found.tick != entry.tick or found.previous != previous:
            raise RecordCorrupt(f"tick {entry.tick}: does not follow the record before it")
        if record.chain(previous, entry.payload) != entry.chain:
            raise RecordCorrupt(f"tick {entry.tick}: its chain value is another one")
        previous = entry.chain
        walls.append(found.wall_ms)
    return walls[0], walls[-1]
