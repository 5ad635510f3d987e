"""What only the in-memory twins can do: lose writes, keep somebody on a dead primary, refuse, lose answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from overworld.errors import AlreadyThere, NotReplicated, StoreUnavailable
from overworld.store.blob_memory import MemoryBlobs
from overworld.store.memory import MemoryOwnership, MemoryRedis
from overworld.store.ports import CommitLevel, CommitPolicy, Grant, OutboxMessage, Verdict
from tests.store.writer import Writer, fresh_nonce, head_of, request_after, take

pytestmark = pytest.mark.asyncio
L2 = CommitPolicy(CommitLevel.L2)


class Scripted:
    """Does what the test says: names of calls to refuse, to answer into nothing, or to hold until released."""

    def __init__(self) -> None:
        self.refuse: list[str] = []
        self.lose_answer: list[str] = []
        self.hold: dict[str, asyncio.Event] = {}
        self.began: list[str] = []

    async def before(self, call: str, subject: int | str | None) -> None:
        self.began.append(call)
        if call in self.refuse:
            self.refuse.remove(call)
            raise StoreUnavailable(f"{call} of {subject} refused")
        if call in self.hold:
            await self.hold[call].wait()

    async def after(self, call: str, subject: int | str | None) -> None:
        if call in self.lose_answer:
            self.lose_answer.remove(call)
            raise StoreUnavailable(f"the answer to {call} of {subject} was lost")


async def test_a_failover_at_l1_loses_exactly_the_newest_writes() -> None:
    redis = MemoryRedis()
    ownership = MemoryOwnership(redis, "w")
    owner = await take(ownership)
    await owner.write(outbox=[OutboxMessage(1, 1, b"a")])
    await owner.write_many(4)
    redis.fail_over(lose_newest=3)
    assert [entry.tick for entry in await ownership.read(0, 0)] == [1, 2]
    answer = await owner.write()
    assert (answer.verdict, answer.tick, answer.chain) == (Verdict.OTHER_HEAD, 2, owner.written[1].chain)
    for request in owner.written[2:]:
        assert (await ownership.append(owner.grant, request)).verdict is Verdict.APPENDED
    assert (await owner.write()).verdict is Verdict.APPENDED


async def test_a_failover_takes_back_every_kind_of_write() -> None:
    redis = MemoryRedis()
    ownership = MemoryOwnership(redis, "w")
    owner = await take(ownership)
    await owner.write(outbox=[OutboxMessage(1, 1, b"a"), OutboxMessage(2, 1, b"b")])
    await owner.write_many(5)
    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: ownership.beat(owner.grant, committed=5),
        lambda: owner.write(outbox=[OutboxMessage(1, 2, b"c")]),
        lambda: ownership.trim(owner.grant, 3),
        lambda: ownership.trim_outbox(owner.grant, 1, 1),
        lambda: ownership.put_outbox(owner.grant, 1, [OutboxMessage(1, 7, b"z", 1)]),
        lambda: ownership.ack_outbox(owner.grant, 4, 9),
        lambda: ownership.restart(owner.grant, owner.tick, owner.chain, 50, b"elsewhere"),
        lambda: ownership.restart(owner.grant, 50, b"elsewhere", 40, b"back", outboxes=[1, 2]),
        lambda: ownership.release(owner.grant),
    ]

    async def everything() -> list[object]:
        head = head_of(await ownership.look(0))
        outboxes = [await ownership.read_outbox(0, to_shard, 0) for to_shard in (1, 2)]
        return [head, await ownership.read(0, head.floor), outboxes, await ownership.outbox_acks(4, [0])]

    states = [await everything()]
    for step in steps:
        await step()
        states.append(await everything())
    assert len({repr(state) for state in states}) == len(states)
    while states:
        assert await everything() == states.pop()
        redis.fail_over(lose_newest=1)


async def test_what_l2_confirmed_is_never_lost() -> None:
    redis = MemoryRedis()
    guarded, unguarded = MemoryOwnership(redis, "w", L2), MemoryOwnership(redis, "w")
    owner = await take(guarded)
    await owner.write_many(5)
    other = await take(unguarded, shard=1)
    await other.write_many(5)
    redis.fail_over(lose_newest=1000)
    assert head_of(await guarded.look(0)).tick == 5
    assert await unguarded.look(1) is None


async def test_an_owner_that_stays_on_the_old_primary_is_confirmed_by_nobody() -> None:
    redis = MemoryRedis()
    old_side, new_side = MemoryOwnership(redis, "w", L2), MemoryOwnership(redis, "w", L2)
    owner = await take(old_side)
    await owner.write_many(2)
    old_side.stay_on(redis.fail_over(lose_newest=0))
    with pytest.raises(NotReplicated):
        await owner.write()
    assert head_of(await old_side.look(0)).tick == 3, "it is there, where nobody will look"
    assert head_of(await new_side.look(0)).tick == 2
    successor = await take(new_side)
    assert (await successor.write()).verdict is Verdict.APPENDED
    old_side.stay_on(None)
    assert (await owner.write()).verdict is Verdict.FENCED


async def test_equal_epochs_after_a_failover_are_told_apart_by_nonce() -> None:
    redis = MemoryRedis()
    ownership = MemoryOwnership(redis, "w")
    first = await take(ownership)
    redis.fail_over(lose_newest=1)
    second = await take(ownership)
    assert first.grant.epoch == second.grant.epoch == 1
    assert (await first.write()).verdict is Verdict.FENCED
    assert (await second.write()).verdict is Verdict.APPENDED


async def test_a_refused_call_did_nothing_and_a_lost_answer_did_everything() -> None:
    faults = Scripted()
    ownership = MemoryOwnership(MemoryRedis(), "w", faults=faults)
    owner = await take(ownership)
    request = owner.next_request()
    faults.refuse = ["append"]
    with pytest.raises(StoreUnavailable, match="refused"):
        await ownership.append(owner.grant, request)
    assert head_of(await ownership.look(0)).tick == 0
    faults.lose_answer = ["append"]
    with pytest.raises(StoreUnavailable, match="lost"):
        await ownership.append(owner.grant, request)
    assert head_of(await ownership.look(0)).tick == 1
    assert (await ownership.append(owner.grant, request)).verdict is Verdict.ALREADY

    faults.lose_answer = ["acquire"]
    seen, nonce = await ownership.look(0), fresh_nonce()
    with pytest.raises(StoreUnavailable):
        await ownership.acquire(0, seen, "10.0.0.2:7000", 0, nonce)
    grant = await ownership.acquire(0, seen, "10.0.0.2:7000", 0, nonce)
    assert isinstance(grant, Grant)
    assert grant.epoch == 2


async def test_delayed_writes_of_a_shard_keep_their_order_and_hold_up_no_other_shard() -> None:
    faults = Scripted()
    ownership = MemoryOwnership(MemoryRedis(), "w", faults=faults)
    slow = await take(ownership)
    faults.hold = {"append": asyncio.Event()}
    first = slow.next_request()
    second = request_after(first.tick, first.chain)
    writing = asyncio.gather(*(ownership.append(slow.grant, request) for request in (first, second)))
    await asyncio.sleep(0)
    assert (await take(ownership, shard=1)).grant.epoch == 1
    assert faults.began.count("append") == 1
    faults.hold["append"].set()
    assert [answer.verdict for answer in await writing] == [Verdict.APPENDED] * 2


async def test_a_full_store_refuses_appends_and_nothing_else() -> None:
    redis = MemoryRedis()
    ownership = MemoryOwnership(redis, "w")
    owner = await take(ownership)
    await owner.write_many(2)
    redis.primary.full = True
    with pytest.raises(StoreUnavailable, match="full"):
        await owner.write()
    await ownership.beat(owner.grant, committed=2)
    assert await ownership.trim(owner.grant, 2) == 2


async def test_l2_without_replicas_says_so_until_one_is_back() -> None:
    redis = MemoryRedis()
    ownership = MemoryOwnership(redis, "w", L2)
    owner = await take(ownership)
    redis.primary.replicas = 0
    request = owner.next_request()
    with pytest.raises(NotReplicated):
        await ownership.append(owner.grant, request)
    redis.primary.replicas = 1
    assert (await ownership.append(owner.grant, request)).verdict is Verdict.ALREADY


async def test_a_wiped_store_fences_with_epoch_0() -> None:
    redis = MemoryRedis()
    ownership = MemoryOwnership(redis, "w")
    owner = await take(ownership)
    redis.wipe()
    answer = await Writer(ownership, owner.grant).write()
    assert (answer.verdict, answer.epoch) == (Verdict.FENCED, 0)


async def test_faults_of_blobs_are_the_drivers_too() -> None:
    faults = Scripted()
    blobs = MemoryBlobs(faults=faults)
    faults.refuse, faults.lose_answer = ["put_new"], ["put_new"]
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await blobs.put_new("a", b"1")
    with pytest.raises(AlreadyThere):
        await blobs.put_new("a", b"1")
