"""A shard's newest journal records, and what each answer of the store means for them. Pure: the shell makes the
calls.

Records stay here until they are committed, and for a while longer: a Redis that comes back with an older head (a
restart, a failover) gets the missing ones again, the same bytes, from here. Losing a committed record then takes the
loss of the worker and of Redis at once.

    answer         where the head is             what follows
    appended       at this record                it and everything before it is committed
    unknown        ?                             wait for the others in flight, then send again from here
    other head     at a record of the ring       send again from that record (already there = committed)
    other head     before the ring               rebase: a new snapshot, and a journal that starts at it
    other head     ahead of the ring             dead branch: stop
    fenced         another owner's               stop
    fenced         nowhere (epoch 0: wiped)      rebase
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

from overworld.store.ports import AppendAnswer, AppendRequest, OutboxMessage, Verdict


@dataclass(frozen=True, slots=True)
class Pending:
    """One record as it is appended."""

    tick: int
    previous_chain: bytes
    chain: bytes
    payload: bytes
    outbox: tuple[OutboxMessage, ...] = ()


class Next(enum.Enum):
    """What the shell has to do after an answer."""

    GO_ON = "go_on"
    RETRY = "retry"
    REBASE = "rebase"
    STOP = "stop"


class Ring:
    """The records of one shard under one grant."""

    def __init__(self, tick: int, chain: bytes, *, in_flight_max: int, kept_max: int) -> None:
        """`tick`, `chain`: the journal's head when this owner took over. `kept_max`: committed records kept for
        repair."""
        self._in_flight_max = in_flight_max
        self._kept_max = kept_max
        self._records: deque[Pending] = deque()
        self._tick = tick
        self._base = (tick, chain)
        self._next = tick + 1
        self._in_flight = 0
        self._resume: int | None = None
        self.committed = tick
        """Everything up to this tick has reached its commit level."""
        self.resent = 0
        """Records sent again, ever."""

    # ------------------------------------------------------------ what is where

    @property
    def tick(self) -> int:
        """The newest record's tick."""
        return self._tick

    @property
    def chain(self) -> bytes:
        """The newest record's chain value."""
        return self._records[-1].chain if self._records else self._base[1]

    @property
    def held(self) -> int:
        """Records that are not committed."""
        return self._tick - self.committed

    @property
    def kept(self) -> tuple[Pending, ...]:
        """The records that are still here, oldest first."""
        return tuple(self._records)

    @property
    def in_flight(self) -> int:
        """Appends without an answer."""
        return self._in_flight

    def _record(self, tick: int) -> Pending:
        return self._records[tick - self._records[0].tick]

    # ------------------------------------------------------------ events

    def push(self, record: Pending) -> None:
        """A tick ran. The caller bounds `held`."""
        assert record.tick == self._tick + 1, f"tick {record.tick} does not follow {self._tick}"
        assert record.previous_chain == self.chain
        self._records.append(record)
        self._tick = record.tick

    def take(self) -> AppendRequest | None:
        """The next record to send, or None where there is none, enough are in flight, or answers must come in
        first.
        """
        if self._next > self._tick or self._in_flight >= self._in_flight_max or self._resume is not None:
            return None
        record = self._record(self._next)
        self._next += 1
        self._in_flight += 1
        return AppendRequest(
            previous_tick=record.tick - 1,
            previous_chain=record.previous_chain,
            tick=record.tick,
            chain=record.chain,
            committed=min(self.committed, record.tick - 1),
            payload=record.payload,
            outbox=record.outbox,
        )

    def answered(self, tick: int, answer: AppendAnswer) -> Next:
        """The store answered the append of `tick`."""
        self._in_flight -= 1
        if answer.appended:
            # The records form a chain: where this one stands, all before it stand.
            self.committed = max(self.committed, tick)
            self._forget_old()
            return self._after_answer(Next.GO_ON)
        if answer.verdict is Verdict.FENCED:
            return Next.REBASE if answer.epoch == 0 else Next.STOP
        return self._other_head(answer)

    def failed(self, tick: int) -> Next:
        """No answer to the append of `tick`: whether it was written is unknown."""
        self._in_flight -= 1
        self._resume_at(tick)
        return self._after_answer(Next.RETRY)

    def _other_head(self, answer: AppendAnswer) -> Next:
        if answer.tick > self._tick:
            return Next.STOP
        if (answer.tick, answer.chain) == self._base:
            self._resume_at(answer.tick + 1)
        elif self._records and answer.tick >= self._records[0].tick:
            if self._record(answer.tick).chain != answer.chain:
                return Next.STOP
            # Sent once more, it is answered "already there", and that answer is at the commit level.
            self._resume_at(answer.tick if answer.tick > self.committed else answer.tick + 1)
        else:
            return Next.REBASE
        return self._after_answer(Next.RETRY)

    def _resume_at(self, tick: int) -> None:
        self._resume = tick if self._resume is None else min(self._resume, tick)

    def _after_answer(self, then: Next) -> Next:
        """Once nothing is in flight any more, sending may start again where it has to."""
        if self._resume is not None and self._in_flight == 0:
            self.resent += self._next - self._resume
            self._next, self._resume = self._resume, None
        return then

    def _forget_old(self) -> None:
        while self._records and self._records[0].tick <= min(self.committed, self._next - 1) - self._kept_max:
            gone = self._records.popleft()
            self._base = (gone.tick, gone.chain)
