"""Owners as the tests speak of them: who acquires a shard and writes numbered, chained records to it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace

from overworld.store.ports import AppendAnswer, AppendRequest, Grant, Head, OutboxMessage, Ownership, Refused

_NONCES = itertools.count(1)


def fresh_nonce() -> bytes:
    """Different at each call; not random, so that a failing test fails again."""
    return next(_NONCES).to_bytes(16, "big")


def chained(previous: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(previous + payload, digest_size=16).digest()


def request_after(
    head_tick: int,
    head_chain: bytes,
    payload: bytes = b"record",
    committed: int = 0,
    outbox: Sequence[OutboxMessage] = (),
) -> AppendRequest:
    chain = chained(head_chain, b"%d %b" % (head_tick + 1, payload))
    return AppendRequest(head_tick, head_chain, head_tick + 1, chain, committed, payload, outbox)


class Writer:
    """An owner that keeps every record it wrote, so that it can append them again."""

    def __init__(self, ownership: Ownership, grant: Grant) -> None:
        self.ownership = ownership
        self.grant = grant
        self.tick = grant.head.tick
        self.chain = grant.head.chain
        self.committed = grant.head.committed
        self.written: list[AppendRequest] = []

    def next_request(self, payload: bytes = b"record", outbox: Sequence[OutboxMessage] = ()) -> AppendRequest:
        return request_after(self.tick, self.chain, payload, self.committed, outbox)

    async def write(self, payload: bytes = b"record", outbox: Sequence[OutboxMessage] = ()) -> AppendAnswer:
        request = self.next_request(payload, outbox)
        answer = await self.ownership.append(self.grant, request)
        if answer.appended:
            self.advance(request)
        return answer

    def advance(self, request: AppendRequest) -> None:
        self.written.append(request)
        self.tick, self.chain, self.committed = request.tick, request.chain, request.tick

    async def write_many(self, count: int, payload: bytes = b"record") -> None:
        for _ in range(count):
            answer = await self.write(payload)
            assert answer.appended, answer


async def take(ownership: Ownership, shard: int = 0, address: str = "10.0.0.1:7000", min_epoch: int = 0) -> Writer:
    """Acquire a shard on suspicion: whatever its head shows now."""
    seen = await ownership.look(shard)
    grant = await ownership.acquire(shard, seen, address, min_epoch, fresh_nonce())
    assert not isinstance(grant, Refused), grant
    return Writer(ownership, grant)


def forged(grant: Grant, *, epoch: int | None = None, nonce: bytes | None = None) -> Grant:
    """The same grant with another epoch or nonce, as a zombie or an impostor would use."""
    return replace(grant, epoch=grant.epoch if epoch is None else epoch, nonce=grant.nonce if nonce is None else nonce)


def head_of(found: Head | None) -> Head:
    assert found is not None
    return found
