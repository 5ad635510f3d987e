"""Reads the outboxes of other shards, so that no message depends on its being handed over. `SweepBook` decides (pure),
`Sweeper` makes the calls.

    sender                                            read
    any, at takeover                                  at once, all of them
    one of whose messages a tick is missing            at once
    itself, a neighbour, or who ever sent or got mail  every three seconds; four times as often in the first two
                                                       seconds, while senders may not have heard who runs the shard
    any other                                          twice a minute
    any whose last read failed                         after a second
    any whose last read filled a page                  as soon as what was read has been taken in

Nothing waits for a sweep: the shard ticks from the start, and applies what is read when it has come. A shard that
stands still reads nothing, for it could not apply it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import structlog

from overworld import telemetry
from overworld.errors import LinkError, StoreError
from overworld.shard.inputs import ShardMessage
from overworld.store.ports import OutboxMessage, Ownership
from overworld.worker.post import message_of
from overworld.worker.reception import Reception
from overworld.world.grid import Grid

log = structlog.get_logger(__name__)


class Counted(Protocol):
    """What a sweep must know of the shard it reads for; `ShardCore` does."""

    def received(self, from_shard: int) -> int:
        """Number of the last message of that shard that was applied; 0 where none was."""

    def knows(self, shard: int) -> bool:
        """True where messages have passed between the two."""


@dataclass(frozen=True)
class SweepLimits:
    """Times in seconds. `young_s`: how long after takeover the near are read four times as often. `again_s`: after a
    read that failed. `pause_s`: between two reads of one sender at the least. `at_once_max`: reads on their way at any
    time.
    """

    near_s: float = 3.0
    far_s: float = 30.0
    young_s: float = 2.0
    again_s: float = 1.0
    pause_s: float = 0.1
    timeout_s: float = 2.0
    at_once_max: int = 4
    page_messages: int = 200


@dataclass(slots=True)
class _Sender:
    due_s: float
    read_s: float = float("-inf")
    reading: bool = False


class SweepBook:
    """When each shard's outbox is to be read. Pure: time is an argument, in seconds, monotonic."""

    def __init__(self, shard: int, grid: Grid, limits: SweepLimits, now_s: float) -> None:
        self._limits = limits
        self._young_until_s = now_s + limits.young_s
        self._near = frozenset((shard, *neighbours(grid, shard)))
        self._senders = {index: _Sender(now_s) for index in range(grid.shard_count)}
        self._next_s = now_s

    @property
    def reading(self) -> int:
        """Reads on their way."""
        return sum(sender.reading for sender in self._senders.values())

    def due(self, now_s: float, gaps: Collection[int]) -> list[int]:
        """Senders to read now, neighbours first; they count as being read until `read` or `failed`."""
        if now_s < self._next_s and not gaps:
            return []
        room = self._limits.at_once_max - self.reading
        ready = sorted(
            (index not in gaps, index not in self._near, sender.due_s, index)
            for index, sender in self._senders.items()
            if not sender.reading
            and (sender.due_s <= now_s or (index in gaps and now_s - sender.read_s >= self._limits.pause_s))
        )
        chosen = [index for *_, index in ready[: max(0, room)]]
        for index in chosen:
            self._senders[index].reading = True
        self._plan()
        return chosen

    def read(self, index: int, now_s: float, *, known: bool, full: bool) -> None:
        """A read was answered. `known`: mail has passed between the two. `full`: there may be more."""
        near_s = self._limits.near_s if now_s >= self._young_until_s else self._limits.near_s / 4
        wait_s = near_s if known or index in self._near else self._limits.far_s
        self._done(index, now_s, self._limits.pause_s if full else wait_s)

    def failed(self, index: int, now_s: float) -> None:
        """A read was not answered."""
        self._done(index, now_s, self._limits.again_s)

    def _done(self, index: int, now_s: float, wait_s: float) -> None:
        sender = self._senders[index]
        sender.reading, sender.read_s, sender.due_s = False, now_s, now_s + wait_s
        self._plan()

    def _plan(self) -> None:
        """When to look again at the earliest; a full house looks when a read has ended."""
        if self.reading >= self._limits.at_once_max:
            self._next_s = float("inf")
        else:
            self._next_s = min((s.due_s for s in self._senders.values() if not s.reading), default=float("inf"))


class Sweeper:
    """The sweeps of one shard under one grant."""

    def __init__(
        self, ownership: Ownership, shard: int, grid: Grid, reception: Reception, limits: SweepLimits | None = None
    ) -> None:
        self._ownership = ownership
        self._shard = shard
        self._reception = reception
        self._limits = limits or SweepLimits()
        self._loop = asyncio.get_running_loop()
        self._book = SweepBook(shard, grid, self._limits, self._loop.time())
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing = False
        self._missing: dict[int, tuple[int, int]] = {}

    def after_tick(self, core: Counted, now_s: float) -> None:
        """Begin the reads that are due."""
        for sender in self._book.due(now_s, self._reception.mailbox.gaps(core.received)):
            task = self._loop.create_task(self._read(core, sender))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Read nothing more."""
        for task in self._tasks:
            task.cancel()

    # ------------------------------------------------------------ inside

    async def _read(self, core: Counted, sender: int) -> None:
        after = self._reception.mailbox.reached(sender, core.received(sender))
        page = self._limits.page_messages
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                found = await self._ownership.read_outbox(sender, self._shard, after, page)
            fresh = self._take(core, sender, found)
        except (StoreError, TimeoutError, LinkError) as error:
            telemetry.mail_sweep_failed_total.labels(type(error).__name__).inc()
            if not self._failing:
                self._failing = True
                log.warning("sweep_failed", shard=self._shard, sender=sender, reason=str(error) or "no answer in time")
            self._book.failed(sender, self._loop.time())
            return
        if self._failing:
            self._failing = False
            log.info("sweeps_work_again", shard=self._shard, sender=sender)
        if fresh:
            telemetry.mail_swept_total.inc(fresh)
        known = core.knows(sender)
        self._book.read(sender, self._loop.time(), known=known, full=len(found) == page)

    def _take(self, core: Counted, sender: int, found: list[OutboxMessage]) -> int:
        """Put what was read into the mailbox. Returns how much of it was news. Raises LinkError."""
        messages = [message_of(message.body) for message in found]
        for message, stored in zip(messages, found, strict=True):
            place = (message.from_shard, message.to_shard, message.number)
            if place != (sender, self._shard, stored.number):
                raise LinkError(f"outbox of shard {sender} holds message {place} under number {stored.number}")
        if messages:
            messages = self._lost(core, sender, messages[0].number) + messages
        return self._reception.messages(messages, self._loop.time())

    def _lost(self, core: Counted, sender: int, first: int) -> list[ShardMessage]:
        """Empty messages in the place of those that no outbox has any more, once two reads have shown it.

        Outboxes are trimmed only up to what their receivers have acked. So a hole means that the store has lost what
        it had promised to keep, and the sender could not mend it; to wait for it would hold up all that comes after.
        """
        reached = self._reception.mailbox.reached(sender, core.received(sender))
        if first <= reached + 1:
            self._missing.pop(sender, None)
            return []
        if self._missing.get(sender) != (reached, first):
            self._missing[sender] = (reached, first)
            return []
        del self._missing[sender]
        telemetry.mail_lost_total.inc(first - 1 - reached)
        log.error("mail_lost", shard=self._shard, sender=sender, first=reached + 1, last=first - 1)
        return [ShardMessage(sender, self._shard, number, 0, b"") for number in range(reached + 1, first)]


def neighbours(grid: Grid, shard: int) -> list[int]:
    """The shards around a shard, ascending; up to eight."""
    across = grid.shards[0]
    y, x = divmod(shard, across)
    return [
        ny * across + nx
        for ny in range(max(0, y - 1), min(grid.shards[1], y + 2))
        for nx in range(max(0, x - 1), min(across, x + 2))
        if (nx, ny) != (x, y)
    ]
