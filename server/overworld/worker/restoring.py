"""Brings shards back to an earlier tick. The world must stand still, or be taken from its owners by force.

Every shard's state is rebuilt first, without touching anything. Then, shard by shard under a lease of our own: what
only Redis has of the journal is archived, the state becomes the newest snapshot, the journal begins anew at it, the
outboxes get what was on its way then (`cuts`), and a note of it goes beside the archive. What was given up stays in the
archive as a branch: nothing is deleted, and a restore can be undone by another one.

Cut short at any point (a kill, a store that fails), a shard is either as it was or restored; doing it again is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from overworld.errors import Fenced, StoreError, StoreUnavailable
from overworld.shard import record, snapshot
from overworld.shard.core import ShardCore
from overworld.store.archive import Archive, Restored
from overworld.store.ports import NONCE_BYTES, Grant, Head, OutboxMessage, Ownership, Refused
from overworld.store.snapshots import SnapshotBytes, SnapshotStore
from overworld.worker.archiving import ArchiveLimits, Archiver
from overworld.worker.history import History
from overworld.worker.moments import Moment, Place, find
from overworld.worker.records import outbox_messages

log = structlog.get_logger(__name__)

ADDRESS = "127.0.0.1:1"
"""Ours while we hold a lease: a port where nobody answers, so that gateways go on looking for an owner."""
ACQUIRE_TRIES_MAX = 100
BEAT_S = 0.2
LOOK_S = 0.25


@dataclass(frozen=True)
class Plan:
    """One shard's state as it shall be. `head`: as it was when the plan was made. Of the ticks that were replayed:
    `sent`, the messages; `applied`, the tick of each message of another shard, by (sender, number). `mail`: what each
    outbox shall hold, by receiver.
    """

    shard: int
    head: Head | None
    place: Place
    core: ShardCore
    chain: bytes
    source: str
    replayed_ticks: int
    sent: Sequence[OutboxMessage] = ()
    applied: Mapping[tuple[int, int], int] = field(default_factory=dict)
    mail: Mapping[int, Sequence[OutboxMessage]] = field(default_factory=dict)

    @property
    def tick(self) -> int:
        """The tick it goes back to."""
        return self.place.tick

    @property
    def from_tick(self) -> int:
        """The tick of the state that the replay began at."""
        return self.tick - self.replayed_ticks


@dataclass(frozen=True)
class Outcome:
    """What was done to one shard. `archived_records`: saved from Redis before the journal began anew."""

    shard: int
    epoch: int
    tick: int
    from_epoch: int
    from_tick: int
    archived_records: int


async def plan(history: History, moment: Moment, branch: str, new_core: Callable[[], ShardCore]) -> Plan:
    """Find the tick and rebuild its state. Writes nothing. Raises NotKept, Corrupt, DivergenceError, FormatTooNew."""
    place = await find(history, moment, branch)
    track, found = await history.start(place.track, place.tick, new_core)
    follower, from_tick = found.follower, found.follower.tick
    sent: list[OutboxMessage] = []
    applied: dict[tuple[int, int], int] = {}
    async for entry in history.entries(track, from_tick, place.tick):
        sent += outbox_messages(follower.apply(entry))
        messages = record.decode(entry.payload).inputs.messages
        applied |= {(message.from_shard, message.number): entry.tick for message in messages}
    # The store's word for "before the first record" is the empty chain.
    chain = follower.chain if follower.tick else b""
    replayed = place.tick - from_tick
    return Plan(history.shard, history.head, place, follower.core, chain, found.source, replayed, sent, applied)


async def live_owners(ownership: Ownership, shards: Iterable[int], watch_s: float) -> dict[int, Head]:
    """Shards whose owner did something within `watch_s`, with their heads. Those released in order need no watching."""
    first = {shard: await ownership.look(shard) for shard in shards}
    waiting = {shard: head for shard, head in first.items() if head is not None and not head.released}
    live: dict[int, Head] = {}
    deadline_s = time.monotonic() + watch_s
    while waiting and time.monotonic() < deadline_s:
        await asyncio.sleep(LOOK_S)
        for shard in list(waiting):
            head = await ownership.look(shard)
            if head is not None and not head.same_life(waiting[shard]):
                del waiting[shard]
                if not head.released:
                    live[shard] = head
    return dict(sorted(live.items()))


class Restorer:
    """Carries plans out."""

    def __init__(self, ownership: Ownership, shelf: SnapshotStore, archive: Archive) -> None:
        self._ownership = ownership
        self._shelf = shelf
        self._archive = archive

    async def restore(self, plans: Sequence[Plan], *, force: bool, done: Callable[[Outcome], object]) -> None:
        """Take all the shards, restore each (`done` is told), give them back. Raises Fenced where an owner lives or
        comes up meanwhile (with `force`, it is taken from), StoreError.
        """
        async with contextlib.AsyncExitStack() as stack:
            grants = [await stack.enter_async_context(self._held(shard_plan, force)) for shard_plan in plans]
            for shard_plan, grant in zip(plans, grants, strict=True):
                done(await self._restore(shard_plan, grant))

    async def _restore(self, shard_plan: Plan, grant: Grant) -> Outcome:
        head, shard = grant.head, shard_plan.shard
        await self._shelf.claim(grant)
        archiver = Archiver(self._archive, self._ownership, grant, lambda: head.tick, ArchiveLimits())
        await archiver.prepare()
        missing = max(0, head.tick - archiver.archived_tick)
        await archiver.complete()
        wall_ms = time.time_ns() // 1_000_000
        core, chain = shard_plan.core, shard_plan.chain
        data = snapshot.encode(snapshot.freeze(core), core, epoch=grant.epoch, chain=chain, wall_ms=wall_ms)
        saved = SnapshotBytes(core.tick, chain, core.digest(), wall_ms, data)
        # Beside the later ones: until the journal begins anew, those are what the shard goes on from.
        await self._shelf.save(grant, saved, keep_later=True)
        first_chain = chain or record.GENESIS
        await self._archive.put_state(shard, core.tick, grant.epoch, wall_ms, first_chain, data)
        shards = range(core.contract.grid.shard_count)
        # The outboxes go in one step with the journal: cut short here, a receiver misses messages, and says so.
        await self._ownership.restart(grant, head.tick, head.chain, core.tick, chain, outboxes=shards)
        for to_shard, messages in shard_plan.mail.items():
            await self._ownership.put_outbox(grant, to_shard, [replace(m, tick=core.tick) for m in messages])
        before = shard_plan.head
        outcome = Outcome(shard, grant.epoch, core.tick, before.epoch if before else 0, head.tick, missing)
        await self._archive.note_restore(shard, _note(outcome, chain, head, wall_ms))
        log.info("shard_restored", shard=shard, epoch=grant.epoch, tick=core.tick, from_tick=head.tick)
        return outcome

    @contextlib.asynccontextmanager
    async def _held(self, shard_plan: Plan, force: bool) -> AsyncIterator[Grant]:
        grant = await self._acquire(shard_plan, force)
        beats = asyncio.get_running_loop().create_task(self._beat(grant))
        try:
            yield grant
        finally:
            beats.cancel()
            with contextlib.suppress(Fenced):
                await self._ownership.release(grant)

    async def _acquire(self, shard_plan: Plan, force: bool) -> Grant:
        """A live owner's head moves all the time: only with force is it tried again and again."""
        shard, seen = shard_plan.shard, shard_plan.head
        min_epoch, version = await self._shelf.epoch(shard), shard_plan.core.contract.title_version
        for _ in range(ACQUIRE_TRIES_MAX if force else 1):
            nonce = secrets.token_bytes(NONCE_BYTES)
            try:
                answer = await self._ownership.acquire(shard, seen, ADDRESS, min_epoch, nonce, version)
            except StoreUnavailable:
                answer = await self._ownership.acquire(shard, seen, ADDRESS, min_epoch, nonce, version)
            if not isinstance(answer, Refused):
                return answer
            seen = answer.head
        owner = seen.address if seen is not None else "nobody"
        raise Fenced(f"shard {shard}: its head moves, {owner} is at it; stop the workers first")

    async def _beat(self, grant: Grant) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            with contextlib.suppress(StoreError):
                await self._ownership.beat(grant)


def _note(outcome: Outcome, chain: bytes, head: Head, wall_ms: int) -> Restored:
    return Restored(
        epoch=outcome.epoch,
        tick=outcome.tick,
        chain=(chain or record.GENESIS).hex(),
        from_epoch=outcome.from_epoch,
        from_tick=outcome.from_tick,
        from_chain=(head.chain or record.GENESIS).hex(),
        wall_ms=wall_ms,
    )
