"""What other shards sent to a shard and no tick has taken yet. Pure and bounded.

Messages come in any order, more than once, or not at all: handed over by their senders as soon as they are committed,
and read from the senders' outboxes where that failed. A tick gets each exactly once and in order.

| bound | beyond it |
|---|---|
| messages of one sender waiting | the highest number is dropped: the outbox still has it, and the lowest is due first |
| bytes of one sender waiting | the same |
| messages and bytes of one tick | the rest waits for the next tick; senders take turns at coming first |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from overworld.shard.inputs import ShardMessage

MESSAGE_COST_BYTES = 32
"""What a message takes in a record beside its body."""


@dataclass
class MailboxCounters:
    """What the mailbox turned away, by reason; monotonic."""

    duplicate: int = 0
    overflow: int = 0


@dataclass(slots=True)
class _Sender:
    """Waiting messages of one sender by number. `taken`: the last number a tick has had."""

    waiting: dict[int, ShardMessage] = field(default_factory=dict)
    bytes: int = 0
    taken: int = 0


class Mailbox:
    """The mail of one shard under one grant: `received` never goes back while it lives."""

    def __init__(self, messages_max: int = 1024, bytes_max: int = 4 << 20) -> None:
        """Both bounds are of each sender."""
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._senders: dict[int, _Sender] = {}
        self._first = 0
        self.counters = MailboxCounters()

    def __len__(self) -> int:
        """Messages waiting."""
        return sum(len(sender.waiting) for sender in self._senders.values())

    @property
    def fill(self) -> float:
        """How full it is of the mail of one sender, at most, as a part of the bound."""
        return max(
            (max(len(s.waiting) / self._messages_max, s.bytes / self._bytes_max) for s in self._senders.values()),
            default=0.0,
        )

    def arrive(self, message: ShardMessage) -> bool:
        """A message was handed over or read. False where it is no news, or there was no room for it."""
        sender = self._senders.setdefault(message.from_shard, _Sender())
        if message.number <= sender.taken or message.number in sender.waiting:
            self.counters.duplicate += 1
            return False
        sender.waiting[message.number] = message
        sender.bytes += len(message.body) + MESSAGE_COST_BYTES
        # What is missing before the others must always find room, or nothing would ever move again.
        kept = True
        while len(sender.waiting) > self._messages_max or (sender.bytes > self._bytes_max and len(sender.waiting) > 1):
            highest = max(sender.waiting)
            sender.bytes -= len(sender.waiting.pop(highest).body) + MESSAGE_COST_BYTES
            self.counters.overflow += 1
            kept = kept and highest != message.number
        return kept

    def take(self, received: Callable[[int], int], bytes_max: int, messages_max: int) -> tuple[ShardMessage, ...]:
        """The messages of the next tick, sorted by (sender, number), without gaps from `received(sender)` + 1 on.
        They count as received from now on. A message above `bytes_max` goes alone.
        """
        taken: list[ShardMessage] = []
        for index in self._in_turn():
            sender = self._senders[index]
            self._forget(sender, received(index))
            while (message := sender.waiting.get(sender.taken + 1)) is not None:
                cost = len(message.body) + MESSAGE_COST_BYTES
                if len(taken) >= messages_max or (taken and cost > bytes_max):
                    self._first = index
                    return tuple(sorted(taken, key=_place))
                bytes_max -= cost
                taken.append(message)
                del sender.waiting[message.number]
                sender.bytes -= cost
                sender.taken = message.number
        return tuple(sorted(taken, key=_place))

    def reached(self, from_shard: int, received: int) -> int:
        """The last number of a sender without a gap before it, of those taken and waiting."""
        sender = self._senders.get(from_shard)
        if sender is None:
            return received
        number = max(received, sender.taken)
        while number + 1 in sender.waiting:
            number += 1
        return number

    def gaps(self, received: Callable[[int], int]) -> tuple[int, ...]:
        """Senders that have a message waiting and lack the one that is due, ascending."""
        found = [
            index
            for index, sender in self._senders.items()
            if sender.waiting and max(received(index), sender.taken) + 1 not in sender.waiting
        ]
        return tuple(sorted(found))

    # ------------------------------------------------------------ inside

    def _in_turn(self) -> list[int]:
        """Senders with something waiting; the one that was cut off last comes first."""
        waiting = sorted(index for index, sender in self._senders.items() if sender.waiting)
        return [i for i in waiting if i >= self._first] + [i for i in waiting if i < self._first]

    def _forget(self, sender: _Sender, received: int) -> None:
        """Drop what the state has already."""
        sender.taken = max(sender.taken, received)
        old = [number for number in sender.waiting if number <= sender.taken]
        for number in old:
            sender.bytes -= len(sender.waiting.pop(number).body) + MESSAGE_COST_BYTES
        self.counters.duplicate += len(old)


def _place(message: ShardMessage) -> tuple[int, int]:
    return message.from_shard, message.number
