"""Who owns a shard: acquire, beat, release, fencing. The same suite for the in-memory twin and real Redis."""

from __future__ import annotations

import asyncio

import pytest

from overworld.errors import Fenced, StoreRefused
from overworld.store.ports import Grant, Ownership, Refused, Verdict
from tests.store.writer import forged, fresh_nonce, head_of, take

pytestmark = pytest.mark.asyncio


async def test_a_shard_nobody_ever_owned_has_no_head_and_can_be_taken(ownership: Ownership) -> None:
    assert await ownership.look(4) is None
    nonce = fresh_nonce()
    grant = await ownership.acquire(4, None, "10.0.0.1:7000", 0, nonce)
    assert isinstance(grant, Grant)
    assert (grant.shard, grant.epoch, grant.nonce) == (4, 1, nonce)
    assert (grant.head.tick, grant.head.chain, grant.head.committed, grant.head.floor) == (0, b"", 0, 0)
    assert await ownership.look(4) == grant.head
    assert head_of(await ownership.look(4)).address == "10.0.0.1:7000"


async def test_the_epoch_grows_with_every_owner_and_starts_above_the_lowest_epoch_given(ownership: Ownership) -> None:
    first = await take(ownership, min_epoch=41)
    second = await take(ownership, min_epoch=7)
    third = await take(ownership, min_epoch=99)
    assert [owner.grant.epoch for owner in (first, second, third)] == [42, 43, 100]


async def test_a_candidate_is_refused_when_the_owner_has_appended_since_it_looked(ownership: Ownership) -> None:
    owner = await take(ownership)
    seen = await ownership.look(0)
    await owner.write()
    answer = await ownership.acquire(0, seen, "10.0.0.2:7000", 0, fresh_nonce())
    assert isinstance(answer, Refused)
    assert head_of(answer.head).tick == 1
    assert (await owner.write()).verdict is Verdict.APPENDED


async def test_a_candidate_is_refused_when_the_owner_has_beaten_since_it_looked(ownership: Ownership) -> None:
    owner = await take(ownership)
    seen = await ownership.look(0)
    await ownership.beat(owner.grant)
    assert isinstance(await ownership.acquire(0, seen, "10.0.0.2:7000", 0, fresh_nonce()), Refused)


async def test_a_candidate_who_saw_no_head_is_refused_where_there_is_one(ownership: Ownership) -> None:
    await take(ownership)
    assert isinstance(await ownership.acquire(0, None, "10.0.0.2:7000", 0, fresh_nonce()), Refused)


async def test_of_many_candidates_at_once_exactly_one_wins(ownership: Ownership) -> None:
    for shard in range(40):
        if shard % 2:
            await take(ownership, shard)
        seen = await ownership.look(shard)
        answers = await asyncio.gather(
            *(ownership.acquire(shard, seen, f"10.0.0.{n}:7000", 0, fresh_nonce()) for n in range(1, 6))
        )
        winners = [answer for answer in answers if isinstance(answer, Grant)]
        assert len(winners) == 1
        assert head_of(await ownership.look(shard)).nonce == winners[0].nonce


async def test_acquiring_again_with_the_same_nonce_is_the_same_grant(ownership: Ownership) -> None:
    nonce = fresh_nonce()
    first = await ownership.acquire(0, None, "10.0.0.1:7000", 0, nonce)
    again = await ownership.acquire(0, None, "10.0.0.1:7000", 0, nonce)
    assert isinstance(first, Grant)
    assert isinstance(again, Grant)
    assert (first.epoch, first.nonce) == (again.epoch, again.nonce)


async def test_the_former_owner_is_fenced_from_every_write(ownership: Ownership) -> None:
    zombie = await take(ownership)
    await zombie.write_many(3)
    successor = await take(ownership, address="10.0.0.2:7000")
    assert (successor.tick, successor.chain) == (zombie.tick, zombie.chain)

    answer = await zombie.write()
    assert (answer.verdict, answer.epoch, answer.tick) == (Verdict.FENCED, 2, 3)
    for refused in (
        ownership.beat(zombie.grant),
        ownership.release(zombie.grant),
        ownership.trim(zombie.grant, 1),
        ownership.restart(zombie.grant, zombie.tick, zombie.chain, 9, b"x"),
        ownership.ack_outbox(zombie.grant, 1, 5),
        ownership.trim_outbox(zombie.grant, 1, 5),
        ownership.put_outbox(zombie.grant, 1, []),
    ):
        with pytest.raises(Fenced, match="epoch 1 is over, the head shows epoch 2"):
            await refused
    assert (await successor.write()).verdict is Verdict.APPENDED
    assert [entry.epoch for entry in await ownership.read(0, 0)] == [1, 1, 1, 2]


async def test_an_equal_epoch_with_another_nonce_is_fenced(ownership: Ownership) -> None:
    """After a Redis failover two workers can hold the same epoch; the nonce tells them apart."""
    owner = await take(ownership)
    twin = forged(owner.grant, nonce=fresh_nonce())
    assert (await ownership.append(twin, owner.next_request())).verdict is Verdict.FENCED
    with pytest.raises(Fenced):
        await ownership.beat(twin)
    assert (await owner.write()).verdict is Verdict.APPENDED


async def test_a_nonce_of_the_right_owner_does_not_help_an_old_epoch(ownership: Ownership) -> None:
    owner = await take(ownership, min_epoch=5)
    assert (await ownership.append(forged(owner.grant, epoch=5), owner.next_request())).verdict is Verdict.FENCED


async def test_an_owner_of_a_shard_whose_head_is_gone_is_fenced_with_epoch_0(ownership: Ownership) -> None:
    owner = await take(ownership)
    elsewhere = Grant(77, owner.grant.epoch, owner.grant.nonce, owner.grant.head)
    answer = await ownership.append(elsewhere, owner.next_request())
    assert (answer.verdict, answer.epoch, answer.tick, answer.chain) == (Verdict.FENCED, 0, 0, b"")


async def test_release_clears_the_address_and_keeps_the_epoch(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(2)
    await ownership.release(owner.grant, committed=2)
    head = head_of(await ownership.look(0))
    assert head.released
    assert (head.epoch, head.tick, head.committed) == (1, 2, 2)
    successor = await take(ownership)
    assert successor.grant.epoch == 2
    assert not successor.grant.head.released


async def test_a_beat_can_declare_ticks_committed_but_none_that_is_not_there(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(3)
    await ownership.beat(owner.grant, committed=3)
    assert head_of(await ownership.look(0)).committed == 3
    await ownership.beat(owner.grant, committed=1)
    assert head_of(await ownership.look(0)).committed == 3, "committed never goes back"
    with pytest.raises(StoreRefused, match="tick 4 cannot be committed: the journal ends at 3"):
        await ownership.beat(owner.grant, committed=4)


async def test_shards_do_not_meet(ownership: Ownership) -> None:
    owners = [await take(ownership, shard) for shard in range(5)]
    await asyncio.gather(*(owner.write(b"of %d" % owner.grant.shard) for owner in owners))
    for shard in range(5):
        assert [entry.payload for entry in await ownership.read(shard, 0)] == [b"of %d" % shard]
