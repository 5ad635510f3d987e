"""A shard whose owners come and go, step by step and without timers: for tests of the archive and of time travel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from overworld.errors import StoreUnavailable
from overworld.game import contract_of
from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.store.archive import Archive
from overworld.store.blob_memory import MemoryBlobs, MemoryDisk
from overworld.store.memory import MemoryOwnership, MemoryRedis
from overworld.store.ports import AppendRequest, Grant
from overworld.store.snapshots import SnapshotBytes, SnapshotStore
from overworld.worker import records
from overworld.worker.archiving import ArchiveLimits, Archiver, archive_rest
from overworld.worker.history import History
from overworld.worker.recovery import recover
from tests.shard.meadow import Meadow

SHARD = 1
TICK_MS = 50
FIRST_MS = 1_800_000_000_000
DIGEST_TICKS = 5


@dataclass
class BlobWeather:
    """What goes wrong with blob storage. `calls_left`: how many more calls work; None: all. `lost`: objects whose names
    begin so cannot be reached.
    """

    calls_left: int | None = None
    lost: tuple[str, ...] = ()
    calls: int = 0

    async def before(self, call: str, subject: int | str | None) -> None:
        self.calls += 1
        if self.lost and str(subject).startswith(self.lost):
            raise StoreUnavailable(f"{call} of {subject}: cannot be reached")
        if self.calls_left is not None:
            if self.calls_left <= 0:
                raise StoreUnavailable(f"{call} of {subject}: blob storage is down")
            self.calls_left -= 1

    async def after(self, call: str, subject: int | str | None) -> None: ...


@dataclass
class World:
    """What outlives owners. `digests`: of the state after each record, by its chain value; `walls`: when it ran."""

    redis: MemoryRedis = field(default_factory=MemoryRedis)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    weather: BlobWeather = field(default_factory=BlobWeather)
    title: Meadow = field(default_factory=lambda: Meadow(sheep=12))
    now_ms: int = FIRST_MS
    owners: int = 0
    digests: dict[bytes, bytes] = field(default_factory=dict)
    walls: dict[bytes, int] = field(default_factory=dict)
    begun_anew: set[int] = field(default_factory=set)
    """Ticks at which a journal began anew because Redis had lost what led there."""

    def __post_init__(self) -> None:
        self.contract = contract_of(self.title, "test", seed=3)
        self.blobs = MemoryBlobs(self.disk, faults=self.weather)
        self.ownership = MemoryOwnership(self.redis, "test")
        self.shelf = SnapshotStore(self.blobs, "test")
        self.archive = Archive(self.blobs, "test")

    def new_core(self) -> ShardCore:
        return ShardCore(self.contract, self.title, SHARD)

    def history(self, *, redis: bool = True) -> History:
        return History(SHARD, self.archive, self.shelf, self.ownership if redis else None)

    async def owner(self, *, archives: bool = True) -> Owner:
        """The next one: takes the shard, whoever had it, and recovers it."""
        self.owners += 1
        seen = await self.ownership.look(SHARD)
        nonce = self.owners.to_bytes(16, "big")
        grant = await self.ownership.acquire(SHARD, seen, f"w:{self.owners}", await self.shelf.epoch(SHARD), nonce)
        assert isinstance(grant, Grant)
        await self.shelf.claim(grant)
        recovered = await recover(self.new_core, SHARD, grant.head, self.ownership, self.shelf)
        if recovered.beyond_head:
            if archives:
                await archive_rest(
                    self.archive, self.ownership, grant, recovered.core, recovered.chain, ArchiveLimits()
                )
                self.begun_anew.add(recovered.tick)
            await self.ownership.restart(grant, grant.head.tick, grant.head.chain, recovered.tick, recovered.chain)
            self.redis.primary.confirm(self.redis.primary.writes)
        return Owner(self, grant, recovered.core, recovered.chain, archives=archives)

    @property
    def head_tick(self) -> int:
        head = self.redis.primary.head(("test", SHARD))
        return head.tick if head is not None else 0

    @property
    def floor(self) -> int:
        head = self.redis.primary.head(("test", SHARD))
        return head.floor if head is not None else 0


class Owner:
    """A worker's doings for one shard, each when the test says so."""

    def __init__(self, world: World, grant: Grant, core: ShardCore, chain: bytes, *, archives: bool) -> None:
        self.world = world
        self.grant = grant
        self.core = core
        self.chain = chain
        limits = ArchiveLimits(interval_s=3600, state_interval_s=3600)
        archiver = Archiver(world.archive, world.ownership, grant, lambda: self.core.tick, limits)
        self.archiver = archiver if archives else None

    async def play(self, ticks: int) -> Owner:
        """Players come, walk and go; every record is committed."""
        for _ in range(ticks):
            await self.tick(self._inputs())
        return self

    def _inputs(self) -> TickInputs:
        tick, players = self.core.tick + 1, self.core.shard.players
        events: list[tuple[SessionEvent, int, int]] = []
        if tick % 7 == 1:
            events.append((SessionEvent.JOIN, 100 + tick, 10 + tick % 3))
        if tick % 11 == 3 and len(players):
            events.append((SessionEvent.LOST, int(players.session[0]), int(players.ids[0])))
        walking = np.flatnonzero(players.online > 0) if tick % 2 else np.zeros(0, np.int64)
        count = len(walking)
        return TickInputs(
            events=tuple(events),
            sessions=players.session[walking],
            seqs=players.last_seq[walking] + 1,
            kinds=np.zeros(count, np.int64),
            seen_ticks=np.zeros(count, np.int64),
            counts=np.full(count, 2, np.int64),
            values=np.tile(np.array([self.grant.epoch % 3 - 1, 1], np.int64), count),
        )

    async def tick(self, inputs: TickInputs) -> None:
        outcome = self.core.step(inputs)
        digest = self.core.tick % DIGEST_TICKS == 0
        made = records.pending(
            self.core,
            inputs,
            outcome,
            epoch=self.grant.epoch,
            chain=self.chain,
            wall_ms=self.world.now_ms,
            digest=digest,
        )
        request = AppendRequest(
            made.tick - 1, made.previous_chain, made.tick, made.chain, made.tick - 1, made.payload, made.outbox
        )
        assert (await self.world.ownership.append(self.grant, request)).appended
        self.chain = made.chain
        self.world.digests[made.chain] = self.core.digest()
        self.world.walls[made.chain] = self.world.now_ms
        self.world.now_ms += TICK_MS

    def state(self) -> SnapshotBytes:
        """As it is now."""
        frozen, wall_ms = snapshot.freeze(self.core), self.world.now_ms
        data = snapshot.encode(frozen, self.core, epoch=self.grant.epoch, chain=self.chain, wall_ms=wall_ms)
        return SnapshotBytes(self.core.tick, self.chain, frozen.state_digest, wall_ms, data)

    async def save(self) -> None:
        """A snapshot, and then the journal is trimmed as far as it may be."""
        saved = self.state()
        up_to_tick = await self.world.shelf.save(self.grant, saved)
        if self.archiver is not None:
            await self.archiver.taken(saved)
            up_to_tick = min(up_to_tick, self.archiver.archived_tick)
        await self.world.ownership.beat(self.grant, self.core.tick)
        if up_to_tick > 0:
            await self.world.ownership.trim(self.grant, up_to_tick)

    async def keep(self) -> None:
        """Archive the journal up to now. Raises StoreUnavailable."""
        assert self.archiver is not None
        await self.archiver.complete()

    async def stop(self) -> None:
        """In order."""
        assert self.archiver is not None
        await self.archiver.complete()
        await self.world.shelf.save(self.grant, self.state())
        await self.archiver.taken(self.state(), keep=True)
        await self.world.ownership.release(self.grant, self.core.tick)


async def chains(history: History, first: int, last: int, branch: str = "") -> list[bytes]:
    """Chain values of a stretch of a branch, as far as it can be read."""
    await history.look()
    track = history.named(branch) if branch else history.current
    return [entry.chain async for entry in history.entries(track, first - 1, last)]
