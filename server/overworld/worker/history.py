"""One shard's past, from wherever it is kept: archived segments and states, snapshots, and the journal in Redis.

A journal that was given up and went on otherwise is a tree (see `overworld.store.branches`). A `Track` is one way
through it as an operator sees it: the current one leads to the journal's head, others to where a journal was given up
(a restore, a Redis that lost its newest records) or to where a gap begins. Reads only, and may run beside a live owner
that archives and trims meanwhile.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from overworld.errors import Corrupt, JournalGap, Missing, NotKept, SettingsError, SnapshotCorrupt
from overworld.shard import record, snapshot
from overworld.shard.core import ShardCore
from overworld.store.archive import Archive, Restored, Segment, State
from overworld.store.branches import Branch, branch_to, other_branches
from overworld.store.ports import CommitLevel, Head, JournalEntry, Ownership
from overworld.store.snapshots import Start
from overworld.wire.v1 import record_pb2
from overworld.worker.follower import Follower
from overworld.worker.shelf import Shelf
from overworld.world.contract import WorldContract

log = structlog.get_logger(__name__)

PAGE_RECORDS = 200
LOOKS_MAX = 5
SEGMENTS_CACHED = 8
NAME_DIGITS = 8
CURRENT = "current"


@dataclass(frozen=True)
class Track:
    """A way through the past that ends in (tick, chain). `branch`: what is archived of it; the rest of the current one
    is in Redis.
    """

    tick: int
    chain: bytes
    branch: Branch
    current: bool

    @property
    def name(self) -> str:
        """What operators call it."""
        return self.chain.hex()[:NAME_DIGITS]

    @property
    def after_tick(self) -> int:
        """Its first record is of the tick after this one."""
        return self.branch.after_tick


@dataclass
class Found:
    """A state to replay from, ready to be fed. `source`: where it came from, for people."""

    follower: Follower
    source: str
    problems: list[str] = field(default_factory=list)


class History:
    """See the module. `ownership` None: do without Redis, from the archive alone."""

    def __init__(self, shard: int, archive: Archive, shelf: Shelf, ownership: Ownership | None) -> None:
        self.shard = shard
        self._archive = archive
        self._shelf = shelf
        self._ownership = ownership
        self._from_tick = 0
        self._torn: set[str] = set()
        self._cached: OrderedDict[str, list[JournalEntry]] = OrderedDict()
        self.states: list[State] = []
        self.tracks: list[Track] = []
        """The current one first, as far back as was looked."""
        self.head: Head | None = None

    # ------------------------------------------------------------ what there is

    async def look_near(self, *, tick: int | None = None, wall_ms: int | None = None) -> None:
        """See what is kept, back to the newest archived state at or before a tick or a time. Raises as `look`."""
        states = await self._archive.states(self.shard)
        if wall_ms is not None:
            near = max((s for s in states if s.wall_ms <= wall_ms), key=lambda s: s.wall_ms, default=None)
        else:
            near = max((s for s in states if tick is None or s.tick <= tick), default=None)
        await self.look(near.tick if near is not None else 0)

    async def look(self, from_tick: int = 0) -> None:
        """See what is kept, back to a tick at least. Raises NotKept where that is nothing, StoreUnavailable."""
        self._from_tick = from_tick
        # In this order: what is trimmed from Redis meanwhile is in the archive by the time that is listed, and what
        # the archive holds then is at or before the head.
        begins = await self._where_redis_begins()
        self.states = await self._archive.states(self.shard)
        newest = max([state.tick for state in self.states] + ([begins[0]] if begins else []), default=0)
        listed = await self._archive.segments(self.shard, from_tick, newest)
        segments = [segment for segment in listed if segment.name not in self._torn]
        self.head = await self._ownership.look(self.shard) if self._ownership is not None else None
        if begins is not None and self.head is not None:
            end = await self._where_archive_ends(begins, segments, self.head.tick)
            tip = (self.head.tick, self.head.chain or record.GENESIS)
        elif segments:
            newest_segment = max(segments, key=lambda s: (s.epoch, s.last))
            end = tip = (newest_segment.last, newest_segment.chain)
        else:
            raise NotKept(f"shard {self.shard}: nothing of it is kept, neither in Redis nor in the archive")
        current = await branch_to(*end, segments, self)
        self.tracks = [Track(*tip, current, current=True)]
        for branch in await other_branches([current], segments, self):
            self.tracks.append(Track(branch.tick, branch.chain, branch, current=False))

    async def _where_redis_begins(self) -> tuple[int, bytes] | None:
        """(tick, chain) before the oldest record of the journal there; None where there is no journal."""
        if self._ownership is None:
            return None
        for _ in range(LOOKS_MAX):
            head = await self._ownership.look(self.shard)
            if head is None:
                return None
            try:
                oldest = await self._ownership.read(self.shard, head.floor, 1)
            except JournalGap:
                # Trimmed in between.
                continue
            if oldest:
                return oldest[0].tick - 1, record.decode(oldest[0].payload).previous
            return head.tick, head.chain or record.GENESIS
        raise JournalGap(f"shard {self.shard}: its journal begins elsewhere at every look")

    async def _where_archive_ends(
        self, begins: tuple[int, bytes], segments: Sequence[Segment], head_tick: int
    ) -> tuple[int, bytes]:
        """The newest record of the journal in Redis that is archived as well: (tick, chain); else where that begins."""
        assert self._ownership is not None
        for segment in sorted(segments, key=lambda s: (s.last, s.epoch), reverse=True):
            if segment.last <= begins[0]:
                break
            if segment.last <= head_tick:
                with contextlib.suppress(JournalGap):
                    page = await self._ownership.read(self.shard, segment.last - 1, 1)
                    if page and page[0].chain == segment.chain:
                        return segment.last, segment.chain
        return begins

    @property
    def current(self) -> Track:
        """The track that leads to the journal's head."""
        return self.tracks[0]

    def named(self, name: str) -> Track:
        """The track whose name begins so; "current" is one, too. Raises NotKept."""
        if name == CURRENT:
            return self.current
        found = [track for track in self.tracks if track.chain.hex().startswith(name.lower())]
        if len(found) != 1:
            known = ", ".join(track.name for track in self.tracks)
            raise NotKept(f"shard {self.shard}: {len(found)} branches are called {name!r}; there are {known}")
        return found[0]

    def _again(self, track: Track) -> Track:
        """The same track after another look."""
        if track.current:
            return self.current
        return next((t for t in self.tracks if t.chain == track.chain and not t.current), track)

    async def restores(self) -> list[Restored]:
        """Notes of what was done to the shard."""
        return await self._archive.restores(self.shard)

    # ------------------------------------------------------------ records

    async def entries(self, track: Track, after_tick: int, up_to_tick: int) -> AsyncIterator[JournalEntry]:
        """Records after_tick + 1 .. up_to_tick. Raises NotKept where one of them is kept nowhere, Corrupt."""
        at, looks = after_tick, 0
        while at < up_to_tick:
            try:
                page = await self._page(track, at)
            except (Corrupt, Missing) as error:
                # Torn, or trimmed since we looked: perhaps it is archived elsewhere by now.
                looks += 1
                if looks > LOOKS_MAX:
                    raise
                log.warning("history_looked_again", shard=self.shard, tick=at + 1, reason=str(error))
                await self.look(min(self._from_tick, at))
                track = self._again(track)
                continue
            for entry in page:
                if at < entry.tick <= up_to_tick:
                    at = entry.tick
                    yield entry

    async def _page(self, track: Track, at: int) -> list[JournalEntry]:
        """Some records, the one after `at` among them."""
        span = track.branch.span_of(at + 1)
        if span is not None:
            return [entry for entry in await self._read(span.segment) if entry.tick <= span.last]
        if track.current and self._ownership is not None and self.head is not None and at >= track.branch.tick:
            page = await self._ownership.read(self.shard, at, PAGE_RECORDS)
            if page:
                return page
        raise NotKept(f"shard {self.shard}: tick {at + 1} of branch {track.name} is kept nowhere; {self._kept(track)}")

    def _kept(self, track: Track) -> str:
        """For people: what a track has."""
        return f"it has ticks {track.after_tick + 1} to {track.tick}"

    async def _read(self, segment: Segment) -> list[JournalEntry]:
        known = self._cached.get(segment.name)
        if known is not None:
            self._cached.move_to_end(segment.name)
            return known
        try:
            entries = await self._archive.read(segment)
        except (Corrupt, Missing):
            self._torn.add(segment.name)
            raise
        self._cached[segment.name] = entries
        if len(self._cached) > SEGMENTS_CACHED:
            self._cached.popitem(last=False)
        return entries

    async def chain_at(self, segment: Segment, tick: int) -> bytes | None:
        """See `branches.Inside`."""
        try:
            return (await self._read(segment))[tick - segment.first].chain
        except (Corrupt, Missing) as error:
            log.error("segment_unusable", shard=self.shard, reason=str(error))
            return None

    async def chain_of(self, track: Track, tick: int) -> bytes:
        """The chain value at a tick of a track. Raises NotKept, Corrupt."""
        if tick == 0:
            return record.GENESIS
        if tick == track.tick:
            return track.chain
        if tick == track.after_tick and track.branch.spans:
            return track.branch.spans[0].segment.previous
        async for entry in self.entries(track, tick, tick + 1):
            return record.decode(entry.payload).previous
        raise AssertionError("entries gives the record or raises")

    async def fork(self, one: Track, other: Track) -> int:
        """The last tick that two tracks have in common; 0 where, as far as they are kept, they have none. Raises
        Corrupt.
        """
        low, high = max(one.after_tick, other.after_tick), min(one.tick, other.tick)
        if low > high or await self.chain_of(one, low) != await self.chain_of(other, low):
            return 0
        # What has the same chain value has the same past: the first tick that differs is found by halving.
        while low < high:
            middle = (low + high + 1) // 2
            if await self.chain_of(one, middle) == await self.chain_of(other, middle):
                low = middle
            else:
                high = middle - 1
        return low

    # ------------------------------------------------------------ times

    async def wall_ms(self, track: Track, tick: int) -> int:
        """When a tick ran, milliseconds since 1970. Raises NotKept, Corrupt."""
        async for entry in self.entries(track, tick - 1, tick):
            return record.decode(entry.payload).wall_ms
        raise AssertionError("entries gives the record or raises")

    async def tick_at(self, track: Track, wall_ms: int) -> tuple[int, int] | None:
        """The newest tick that ran at or before a time, and when it ran; None where all of the track is later."""
        found = await self._tick_in_redis(track, wall_ms)
        for span in reversed(track.branch.spans) if found is None else ():
            if span.segment.wall_first_ms <= wall_ms:
                return await self._newest(track, span.segment.first - 1, span.last, wall_ms)
        return found

    async def _tick_in_redis(self, track: Track, wall_ms: int) -> tuple[int, int] | None:
        if not track.current or track.branch.tick >= track.tick:
            return None
        return await self._newest(track, track.branch.tick, track.tick, wall_ms)

    async def _newest(self, track: Track, after_tick: int, up_to_tick: int, wall_ms: int) -> tuple[int, int] | None:
        found = None
        async for entry in self.entries(track, after_tick, up_to_tick):
            ran_ms = record.decode(entry.payload).wall_ms
            if ran_ms <= wall_ms:
                found = (entry.tick, ran_ms)
        return found

    # ------------------------------------------------------------ states

    async def start(self, track: Track, tick: int, new_core: Callable[[], ShardCore]) -> tuple[Track, Found]:
        """The newest kept state of a track at or before a tick; the track as it was found (further back, perhaps).

        Raises NotKept where there is none, SettingsError where the world is not the one these settings say.
        """
        problems: list[str] = []
        track = self._again(track)
        for candidate in await self._candidates(tick):
            if candidate.tick < self._from_tick:
                await self.look(candidate.tick)
                track = self._again(track)
            if candidate.tick < track.after_tick:
                break
            try:
                if candidate.chain and candidate.chain != await self.chain_of(track, candidate.tick):
                    continue
                start = await self._archive.read_state(candidate) if isinstance(candidate, State) else candidate
                found = self._restored(start, new_core())
            except (Corrupt, Missing) as error:
                problems.append(str(error))
                continue
            if found.follower.chain == await self.chain_of(track, candidate.tick):
                found.problems = problems
                return track, found
        if self._from_tick:
            await self.look(0)
            track = self._again(track)
        if track.after_tick:
            text = "; ".join([f"branch {track.name} has no state at or before tick {tick}", *problems])
            raise NotKept(f"shard {self.shard}: {text}; {self._kept(track)}")
        core = new_core()
        await self._same_world(core.contract)
        core.setup()
        return track, Found(Follower(core, b""), "the title's setup", problems)

    async def _same_world(self, contract: WorldContract) -> None:
        """A setup needs no state, and so would not notice that it is another world's."""
        for state in reversed(self.states):
            with contextlib.suppress(Corrupt, Missing):
                start = await self._archive.read_state(state)
                self._check_contract(contract, snapshot.read_head(start.data), start.name)
                return

    def _check_contract(self, contract: WorldContract, head: record_pb2.SnapshotHead, name: str) -> None:
        if head.title_version == contract.title_version and not _same_but_for_commit_level(contract, head.contract):
            raise SettingsError(
                f"shard {self.shard}: {name} is of another world contract: check OVERWORLD_SHARDS and "
                f"OVERWORLD_SEED, and that {contract.title} {contract.title_version} declares what it declared then"
            )

    async def _candidates(self, tick: int) -> list[State | Start]:
        """Archived states and snapshots at or before a tick, newest first."""
        snapshots = await self._shelf.newest_first(self.shard)
        both: list[State | Start] = [*self.states, *snapshots]
        return sorted((start for start in both if start.tick <= tick), key=lambda s: (s.tick, s.epoch), reverse=True)

    def _restored(self, start: Start, core: ShardCore) -> Found:
        head = snapshot.restore(core, start.data)
        contract = core.contract
        self._check_contract(contract, head, start.name)
        if head.title_version == contract.title_version and core.digest() != head.state_digest:
            raise SnapshotCorrupt(f"{start.name}: the state does not give the digest written with it")
        if start.chain and start.chain != (head.chain or record.GENESIS):
            raise SnapshotCorrupt(f"{start.name}: its name has another chain value")
        # Not the epoch of whoever wrote the state: after a restore it is that of another branch than the records'.
        kept = "an archived state" if start.name.startswith("archive/") else "a snapshot"
        return Found(Follower(core, head.chain or record.GENESIS), kept)


def _same_but_for_commit_level(contract: WorldContract, fingerprint: str) -> bool:
    """The commit level is in the contract for processes to agree on, and may change between runs of a world."""
    return any(replace(contract, commit_level=level).fingerprint == fingerprint for level in CommitLevel)
