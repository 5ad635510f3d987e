"""One in-memory Redis node: what the Lua scripts do, as plain methods that never await.

Each write leaves an undo step behind, so that a failover can lose the newest of them. `confirmed` counts the writes a
replica has acknowledged (a WAIT that succeeded): those cannot be lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from overworld.errors import Fenced, OtherHead, StoreRefused, StoreUnavailable
from overworld.store.ports import (
    TRIM_STEP_RECORDS,
    AppendAnswer,
    AppendRequest,
    Grant,
    Head,
    JournalEntry,
    OutboxMessage,
    Refused,
    Role,
    Verdict,
)

UNDO_STEPS_MAX = 20_000

ShardKey = tuple[str, int]
"""(world, shard)"""


@dataclass
class ShardState:
    """outboxes: waiting messages by receiver; numbers: the last number each ever had; acks: by sender."""

    head: Head | None = None
    journal: list[JournalEntry] = field(default_factory=list)
    outboxes: dict[int, list[OutboxMessage]] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    acks: dict[int, int] = field(default_factory=dict)

    def copy(self) -> ShardState:
        outboxes = {to_shard: list(messages) for to_shard, messages in self.outboxes.items()}
        return ShardState(self.head, list(self.journal), outboxes, dict(self.numbers), dict(self.acks))


Undo = Callable[["MemoryNode"], None]


class MemoryNode:
    """replicas: how many follow this node now. full: appends are refused, as by a Redis at its maxmemory."""

    def __init__(self) -> None:
        self.replicas = 1
        self.full = False
        self.members: dict[Role, dict[str, tuple[str, dict[str, float], int, str]]] = {role: {} for role in Role}
        self.used_tokens: set[str] = set()
        self.leads: dict[str, tuple[str, float]] = {}
        self.flags: dict[str, dict[str, str]] = {}
        self._shards: dict[ShardKey, ShardState] = {}
        self._undo: deque[Undo] = deque(maxlen=UNDO_STEPS_MAX)
        self._writes = 0
        self._confirmed = 0

    # ------------------------------------------------------------ replication

    @property
    def writes(self) -> int:
        """Position of the newest write in the stream that replicas follow."""
        return self._writes

    def confirm(self, position: int) -> None:
        """A WAIT was answered by enough replicas: nothing up to this position can be lost any more."""
        self._confirmed = max(self._confirmed, position)

    def promoted(self, lose_newest: int) -> MemoryNode:
        """The replica that takes over: this node without its newest unconfirmed writes (at most lose_newest)."""
        node = MemoryNode()
        node.members = {role: dict(members) for role, members in self.members.items()}
        node.used_tokens = set(self.used_tokens)
        node.leads = dict(self.leads)
        node.flags = {world: dict(flags) for world, flags in self.flags.items()}
        node._shards = {key: state.copy() for key, state in self._shards.items()}
        node._undo = deque(self._undo, maxlen=UNDO_STEPS_MAX)
        node._writes, node._confirmed = self._writes, self._confirmed
        for _ in range(min(lose_newest, node._writes - node._confirmed, len(node._undo))):
            node._undo.pop()(node)
            node._writes -= 1
        return node

    def wipe(self) -> None:
        """FLUSHALL."""
        self._shards.clear()
        self._undo.clear()
        self._writes = self._confirmed = 0
        for members in self.members.values():
            members.clear()
        self.used_tokens.clear()
        self.leads.clear()
        self.flags.clear()

    def _wrote(self, undo: Undo) -> None:
        self._undo.append(undo)
        self._writes += 1

    # ------------------------------------------------------------ heads

    def head(self, key: ShardKey) -> Head | None:
        state = self._shards.get(key)
        return state.head if state is not None else None

    def journal_of(self, world: str, shard: int) -> list[JournalEntry]:
        """The journal as this node holds it, for checkers. Not a copy: read only."""
        state = self._shards.get((world, shard))
        return state.journal if state is not None else []

    def floor_of(self, world: str, shard: int) -> int:
        """The tick up to which records were trimmed, for checkers."""
        head = self.head((world, shard))
        return head.floor if head is not None else 0

    def _state(self, key: ShardKey) -> ShardState:
        return self._shards.setdefault(key, ShardState())

    def _set_head(self, key: ShardKey, head: Head) -> None:
        before = self._state(key).head

        def undo(node: MemoryNode) -> None:
            node._state(key).head = before

        self._state(key).head = head
        self._wrote(undo)

    def _owned(self, key: ShardKey, grant: Grant) -> Head:
        """The head, if the grant still holds. Raises Fenced."""
        head = self.head(key)
        if head is None or (head.epoch, head.nonce) != (grant.epoch, grant.nonce):
            shows = 0 if head is None else head.epoch
            raise Fenced(f"shard {grant.shard}: epoch {grant.epoch} is over, the head shows epoch {shows}")
        return head

    def acquire(
        self, key: ShardKey, seen: Head | None, address: str, min_epoch: int, nonce: bytes, version: int = 0
    ) -> Grant | Refused:
        head = self.head(key)
        if head is not None and head.nonce == nonce:
            head = replace(head, beat=head.beat + 1)
            self._set_head(key, head)
            return Grant(key[1], head.epoch, nonce, head)
        if head is None:
            if seen is not None:
                return Refused(None)
            head = Head(min_epoch + 1, nonce, address, 0, b"", 0, 0, 1, version)
        else:
            if not head.same_life(seen):
                return Refused(head)
            epoch = max(head.epoch, min_epoch) + 1
            head = replace(head, epoch=epoch, nonce=nonce, address=address, beat=head.beat + 1, version=version)
        self._set_head(key, head)
        return Grant(key[1], head.epoch, nonce, head)

    def beat(self, key: ShardKey, grant: Grant, committed: int | None, release: bool) -> None:
        head = self._owned(key, grant)
        if committed is not None and committed > head.tick:
            raise StoreRefused(
                f"shard {grant.shard}: tick {committed} cannot be committed: the journal ends at {head.tick}"
            )
        head = replace(head, beat=head.beat + 1, committed=max(head.committed, committed or 0))
        self._set_head(key, replace(head, address="") if release else head)

    # ------------------------------------------------------------ journal

    def append(self, key: ShardKey, grant: Grant, request: AppendRequest) -> AppendAnswer:
        if self.full:
            raise StoreUnavailable(f"shard {grant.shard} tick {request.tick}: the store is full")
        head = self.head(key)
        if head is None or (head.epoch, head.nonce) != (grant.epoch, grant.nonce):
            if head is None:
                return AppendAnswer(Verdict.FENCED, 0, 0, b"")
            return AppendAnswer(Verdict.FENCED, head.epoch, head.tick, head.chain)
        if (head.tick, head.chain) != (request.previous_tick, request.previous_chain):
            if (head.tick, head.chain) != (request.tick, request.chain):
                return AppendAnswer(Verdict.OTHER_HEAD, head.epoch, head.tick, head.chain)
            self._set_head(key, replace(head, beat=head.beat + 1))
            return AppendAnswer(Verdict.ALREADY, head.epoch, head.tick, head.chain)
        state = self._state(key)
        self._check_outbox(state, request)
        numbers_before = dict(state.numbers)
        state.journal.append(JournalEntry(request.tick, grant.epoch, request.chain, request.payload))
        for message in request.outbox:
            state.outboxes.setdefault(message.to_shard, []).append(replace(message, tick=request.tick))
            state.numbers[message.to_shard] = message.number
        committed = max(head.committed, request.committed)
        state.head = replace(head, tick=request.tick, chain=request.chain, committed=committed)
        receivers = [message.to_shard for message in request.outbox]

        def undo(node: MemoryNode) -> None:
            state = node._state(key)
            state.head = head
            state.journal.pop()
            for to_shard in receivers:
                state.outboxes[to_shard].pop()
            state.numbers = dict(numbers_before)

        self._wrote(undo)
        return AppendAnswer(Verdict.APPENDED, head.epoch, request.tick, request.chain)

    @staticmethod
    def _check_outbox(state: ShardState, request: AppendRequest) -> None:
        last = dict(state.numbers)
        for message in request.outbox:
            before = last.get(message.to_shard)
            if before is not None and message.number != before + 1:
                text = f"outbox {message.to_shard} ends at {before}, message {message.number} does not follow"
                raise StoreRefused(f"tick {request.tick}: {text}")
            last[message.to_shard] = message.number

    def restart(
        self,
        key: ShardKey,
        grant: Grant,
        seen_tick: int,
        seen_chain: bytes,
        tick: int,
        chain: bytes,
        outboxes: Sequence[int] = (),
    ) -> None:
        head = self._owned(key, grant)
        if (head.tick, head.chain, head.floor) == (tick, chain, tick):
            self._set_head(key, replace(head, beat=head.beat + 1))
            return
        if (head.tick, head.chain) != (seen_tick, seen_chain):
            raise OtherHead(f"shard {grant.shard}: the journal ends at tick {head.tick}, not at {seen_tick}")
        state = self._state(key)
        before = state.copy()
        state.journal = []
        state.head = replace(head, tick=tick, chain=chain, committed=tick, floor=tick, beat=head.beat + 1)
        for to_shard in outboxes:
            state.outboxes[to_shard] = []
            state.numbers.pop(to_shard, None)
        if outboxes:
            state.acks.clear()

        def undo(node: MemoryNode) -> None:
            node._shards[key] = before.copy()

        self._wrote(undo)

    def read(self, key: ShardKey, after_tick: int, count: int) -> list[JournalEntry]:
        state = self._shards.get(key)
        if state is None or not state.journal:
            return []
        # Ticks are contiguous, so the place follows from the tick.
        start = max(0, after_tick + 1 - state.journal[0].tick)
        return state.journal[start : start + count]

    def trim_step(self, key: ShardKey, grant: Grant, up_to_tick: int) -> int:
        """One bounded step; returns the floor it reached."""
        head = self._owned(key, grant)
        if up_to_tick > head.committed:
            text = f"cannot trim up to tick {up_to_tick}: committed is {head.committed}"
            raise StoreRefused(f"shard {grant.shard}: {text}")
        if up_to_tick <= head.floor:
            return head.floor
        target = min(up_to_tick, head.floor + TRIM_STEP_RECORDS)
        state = self._state(key)
        cut = sum(1 for entry in state.journal[: TRIM_STEP_RECORDS + 1] if entry.tick <= target)
        removed, state.journal = state.journal[:cut], state.journal[cut:]
        state.head = replace(head, floor=target)

        def undo(node: MemoryNode) -> None:
            node._state(key).head = head
            node._state(key).journal[:0] = removed

        self._wrote(undo)
        return target

    # ------------------------------------------------------------ outboxes

    def read_outbox(self, key: ShardKey, to_shard: int, after_number: int, count: int) -> list[OutboxMessage]:
        state = self._shards.get(key)
        if state is None or state.head is None:
            return []
        found = [message for message in state.outboxes.get(to_shard, []) if message.number > after_number][:count]
        return [message for message in found if message.tick <= state.head.committed]

    def ack_outbox(self, key: ShardKey, grant: Grant, from_shard: int, number: int) -> None:
        self._owned(key, grant)
        state = self._state(key)
        before = state.acks.get(from_shard, 0)
        if number <= before:
            return
        state.acks[from_shard] = number

        def undo(node: MemoryNode) -> None:
            node._state(key).acks[from_shard] = before

        self._wrote(undo)

    def acked(self, key: ShardKey, from_shard: int) -> int:
        state = self._shards.get(key)
        return state.acks.get(from_shard, 0) if state is not None else 0

    def trim_outbox(self, key: ShardKey, grant: Grant, to_shard: int, up_to_number: int) -> None:
        self._owned(key, grant)
        state = self._state(key)
        messages = state.outboxes.get(to_shard, [])
        removed = [message for message in messages if message.number <= up_to_number]
        if not removed:
            return
        state.outboxes[to_shard] = messages[len(removed) :]

        def undo(node: MemoryNode) -> None:
            node._state(key).outboxes[to_shard][:0] = removed

        self._wrote(undo)

    def put_outbox(self, key: ShardKey, grant: Grant, to_shard: int, messages: Sequence[OutboxMessage]) -> None:
        head = self._owned(key, grant)
        state = self._state(key)
        before, number_before = state.outboxes.get(to_shard, []), state.numbers.get(to_shard)
        state.outboxes[to_shard] = list(messages)
        state.numbers.pop(to_shard, None)
        if messages:
            state.numbers[to_shard] = messages[-1].number
        state.head = replace(head, beat=head.beat + 1)

        def undo(node: MemoryNode) -> None:
            state = node._state(key)
            state.head = head
            state.outboxes[to_shard] = list(before)
            state.numbers.pop(to_shard, None)
            if number_before is not None:
                state.numbers[to_shard] = number_before

        self._wrote(undo)
