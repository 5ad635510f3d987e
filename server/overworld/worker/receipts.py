"""What of the mail between shards need not be kept any more, and a copy of what still has to be.

A receiver acks what the older of its two kept snapshots covers: whatever it may have to replay from, every message is
either in that state or still in its sender's outbox. A sender forgets what its receivers have acked, never more.
Both happen when a snapshot has been saved; where that fails, with the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from overworld import telemetry
from overworld.errors import StoreError
from overworld.shard.core import ShardCore
from overworld.store.ports import READ_RECORDS_MAX, Grant, OutboxMessage, Ownership
from overworld.wire.v1 import record_pb2

log = structlog.get_logger(__name__)

COPY_BYTES_MAX = 16 << 20
PAGE_MESSAGES = 200


class OutboxCopy:
    """One shard's messages that are not acked, as its owner remembers them: what it mends the outboxes with where Redis
    has lost them while their sender lived. Beyond `bytes_max` the oldest are forgotten; then Redis alone has them.
    """

    def __init__(self, bytes_max: int = COPY_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: dict[int, deque[OutboxMessage]] = {}
        self._loaded: set[int] = set()

    def add(self, messages: Iterable[OutboxMessage], tick: int) -> None:
        """A tick's messages."""
        for message in messages:
            kept = self._kept.setdefault(message.to_shard, deque())
            kept.append(OutboxMessage(message.to_shard, message.number, message.body, tick))
            self._bytes += len(message.body)
        while self._bytes > self._bytes_max:
            longest = max(self._kept.values(), key=len)
            self._bytes -= len(longest.popleft().body)

    def forget(self, to_shard: int, up_to_number: int) -> None:
        """The receiver has acked them."""
        kept = self._kept.get(to_shard, deque())
        while kept and kept[0].number <= up_to_number:
            self._bytes -= len(kept.popleft().body)

    def of(self, to_shard: int) -> list[OutboxMessage]:
        """What is remembered of the messages to a shard, in order."""
        return list(self._kept.get(to_shard, ()))

    def bodies(self) -> tuple[bytes, ...]:
        """Everything that is remembered, by receiver and number."""
        return tuple(message.body for to_shard in sorted(self._kept) for message in self._kept[to_shard])

    def take_in(self, bodies: Sequence[bytes], tick: int) -> None:
        """What a snapshot of `tick` remembered. Call before anything else is added."""
        messages = [record_pb2.ShardMessage.FromString(body) for body in bodies]
        self.add((OutboxMessage(m.to_shard, m.number, b) for m, b in zip(messages, bodies, strict=True)), tick)

    async def load(self, ownership: Ownership, shard: int, to_shards: Iterable[int]) -> None:
        """Once for each receiver: what an owner before this one left in the outbox. Raises StoreError."""
        for to_shard in to_shards:
            if to_shard in self._loaded:
                continue
            kept = self._kept.setdefault(to_shard, deque())
            found = [m for m in await stored(ownership, shard, to_shard) if not kept or m.number < kept[0].number]
            size = sum(len(m.body) for m in found)
            if self._bytes + size <= self._bytes_max:
                kept.extendleft(reversed(found))
                self._bytes += size
            self._loaded.add(to_shard)


class Receipts:
    """Acks and trims of one shard under one grant."""

    def __init__(self, ownership: Ownership, grant: Grant, copy: OutboxCopy, timeout_s: float = 10.0) -> None:
        self._ownership = ownership
        self._grant = grant
        self._copy = copy
        self._timeout_s = timeout_s
        self._noted: dict[int, dict[int, int]] = {}
        self._sent: dict[int, int] = {}
        self._acked: dict[int, int] = {}
        self._forgotten: dict[int, int] = {}
        self._failing = False

    def note(self, core: ShardCore) -> None:
        """The state of this tick is copied for a snapshot: what has it received, what had it sent?"""
        neighbours = core.shard.neighbours
        others = neighbours.ids.tolist()
        self._noted[core.tick] = dict(zip(others, neighbours.received.tolist(), strict=True))
        self._sent = sent(core)

    @property
    def unacked(self) -> tuple[bytes, ...]:
        """Messages sent and not acked, as far as they are remembered."""
        return self._copy.bodies()

    async def load(self, core: ShardCore) -> None:
        """Remember what an owner before this one left in the outboxes. What cannot be read is left out, and said."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._copy.load(self._ownership, self._grant.shard, list(sent(core)))
        except (StoreError, TimeoutError) as error:
            log.warning("outboxes_unread", shard=self._grant.shard, reason=str(error) or "no answer in time")

    def waiting(self, core: ShardCore) -> int:
        """Messages sent that their receivers had not acked when a snapshot was last saved."""
        return sum(number - self._forgotten.get(to_shard, 0) for to_shard, number in sent(core).items())

    async def settle(self, covered_tick: int) -> None:
        """A snapshot was saved, and of the two that are kept the older is of `covered_tick`; 0 where there is one."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._ack(covered_tick)
                await self._trim()
        except (StoreError, TimeoutError) as error:
            telemetry.mail_receipts_failed_total.labels(type(error).__name__).inc()
            if not self._failing:
                self._failing = True
                log.warning("receipts_failed", shard=self._grant.shard, reason=str(error) or "no answer in time")
        else:
            self._failing = False

    async def _ack(self, covered_tick: int) -> None:
        # Of a snapshot that an earlier owner saved the counters are not known here: the next one will do.
        covered = self._noted.get(covered_tick, {})
        for from_shard, number in covered.items():
            if number > self._acked.get(from_shard, 0):
                await self._ownership.ack_outbox(self._grant, from_shard, number)
                self._acked[from_shard] = number
        self._noted = {tick: noted for tick, noted in self._noted.items() if tick >= covered_tick}

    async def _trim(self) -> None:
        to_shards = list(self._sent)
        if not to_shards:
            return
        shard = self._grant.shard
        for to_shard, number in (await self._ownership.outbox_acks(shard, to_shards)).items():
            # An ack beyond what was sent is of a branch that was given up: it says nothing about these messages.
            if self._forgotten.get(to_shard, 0) < number <= self._sent[to_shard]:
                await self._ownership.trim_outbox(self._grant, to_shard, number)
                self._copy.forget(to_shard, number)
                self._forgotten[to_shard] = number
        await self._copy.load(self._ownership, shard, to_shards)


async def mend(ownership: Ownership, grant: Grant, head_tick: int, core: ShardCore, copy: OutboxCopy) -> int:
    """The journal, which ends at `head_tick`, is to begin anew at the later state of `core`: let every outbox end where
    that state has it. What neither the store nor the owner remembers is replaced by messages without content. Returns
    how many of those there are; raises StoreError.
    """
    # The messages of its last ticks may not have been declared committed, and would not be seen.
    await ownership.beat(grant, head_tick)
    lost = 0
    counters = sent(core)
    for to_shard in range(core.contract.grid.shard_count):
        found = {m.number: m for m in await stored(ownership, grant.shard, to_shard)}
        found |= {m.number: m for m in copy.of(to_shard)}
        messages, filled = mended(found, grant.shard, to_shard, counters.get(to_shard, 0), head_tick)
        lost += filled
        await ownership.put_outbox(grant, to_shard, messages)
    if lost:
        telemetry.mail_lost_total.inc(lost)
        log.error("outboxes_mended", shard=grant.shard, tick=core.tick, messages_lost=lost)
    return lost


def mended(
    found: Mapping[int, OutboxMessage], shard: int, to_shard: int, last: int, tick: int
) -> tuple[list[OutboxMessage], int]:
    """(messages without gaps from the first that was found up to `last`, how many of them are empty). All are of ticks
    up to `tick`.
    """
    first = min((number for number in found if number <= last), default=last + 1)
    messages = [found.get(n) or empty(shard, to_shard, n) for n in range(first, last + 1)]
    # The state they belong to is saved: they may be read at once, also by an owner who has to do this again.
    messages = [replace(m, tick=min(m.tick, tick)) for m in messages]
    return messages, sum(number not in found for number in range(first, last + 1))


def empty(shard: int, to_shard: int, number: int) -> OutboxMessage:
    """A message that moves its receiver's counter and does nothing else."""
    body = record_pb2.ShardMessage(from_shard=shard, to_shard=to_shard, number=number)
    return OutboxMessage(to_shard, number, body.SerializeToString(deterministic=True))


def sent(core: ShardCore) -> dict[int, int]:
    """Number of the last message to each shard that ever got one."""
    neighbours = core.shard.neighbours
    pairs = zip(neighbours.ids.tolist(), neighbours.sent.tolist(), strict=True)
    return {to_shard: number for to_shard, number in pairs if number}


async def stored(ownership: Ownership, shard: int, to_shard: int) -> list[OutboxMessage]:
    """All messages of an outbox whose ticks are committed. Raises StoreError."""
    assert PAGE_MESSAGES <= READ_RECORDS_MAX
    found: list[OutboxMessage] = []
    while True:
        page = await ownership.read_outbox(shard, to_shard, found[-1].number if found else 0, PAGE_MESSAGES)
        found += page
        if len(page) < PAGE_MESSAGES:
            return found
