"""Messages between shards: numbered, written with their tick, read only once committed. Memory twin and real Redis."""

from __future__ import annotations

import pytest

from overworld.errors import StoreRefused, TooBig
from overworld.store.ports import MESSAGE_BYTES_MAX, MESSAGES_PER_APPEND_MAX, OutboxMessage, Ownership, Verdict
from tests.store.writer import head_of, take

pytestmark = pytest.mark.asyncio


def message(to_shard: int, number: int, body: bytes = b"") -> OutboxMessage:
    return OutboxMessage(to_shard, number, body or b"to %d number %d" % (to_shard, number))


async def test_a_receiver_sees_only_messages_of_committed_ticks(ownership: Ownership) -> None:
    sender = await take(ownership)
    await sender.write(outbox=[message(1, 1), message(2, 1), message(1, 2)])
    assert await ownership.read_outbox(0, 1, 0) == [], "tick 1 is written, but not declared committed"
    await sender.write(outbox=[message(1, 3)])
    found = await ownership.read_outbox(0, 1, 0)
    assert [(m.number, m.tick, m.body) for m in found] == [(1, 1, b"to 1 number 1"), (2, 1, b"to 1 number 2")]
    assert [m.number for m in await ownership.read_outbox(0, 2, 0)] == [1]
    await ownership.beat(sender.grant, committed=2)
    assert [m.number for m in await ownership.read_outbox(0, 1, 0)] == [1, 2, 3]


async def test_reading_goes_on_after_a_number_in_pages(ownership: Ownership) -> None:
    sender = await take(ownership)
    for number in range(1, 8):
        await sender.write(outbox=[message(1, number)])
    await ownership.beat(sender.grant, committed=7)
    assert [m.number for m in await ownership.read_outbox(0, 1, 2, 3)] == [3, 4, 5]
    assert [m.number for m in await ownership.read_outbox(0, 1, 7)] == []
    assert await ownership.read_outbox(0, 9, 0) == []
    assert await ownership.read_outbox(9, 0, 0) == []


async def test_a_record_tried_again_does_not_send_its_messages_twice(ownership: Ownership) -> None:
    sender = await take(ownership)
    request = sender.next_request(outbox=[message(1, 1)])
    assert (await ownership.append(sender.grant, request)).verdict is Verdict.APPENDED
    assert (await ownership.append(sender.grant, request)).verdict is Verdict.ALREADY
    await ownership.beat(sender.grant, committed=1)
    assert [m.number for m in await ownership.read_outbox(0, 1, 0)] == [1]


@pytest.mark.parametrize("number", [1, 2, 4], ids=["again", "again the newest", "one skipped"])
async def test_a_number_that_does_not_follow_refuses_the_whole_record(ownership: Ownership, number: int) -> None:
    sender = await take(ownership)
    await sender.write(outbox=[message(1, 1), message(1, 2)])
    with pytest.raises(StoreRefused, match=f"ends at 2, message {number} does not follow"):
        await sender.write(outbox=[message(2, 1), message(1, number)])
    head = head_of(await ownership.look(0))
    assert (head.tick, head.chain) == (sender.tick, sender.chain)
    assert len(await ownership.read(0, 0)) == 1
    assert (await sender.write(outbox=[message(2, 1), message(1, 3)])).verdict is Verdict.APPENDED


async def test_receivers_ack_and_the_sender_forgets(ownership: Ownership) -> None:
    sender, receiver = await take(ownership, 0), await take(ownership, 1)
    for number in range(1, 6):
        await sender.write(outbox=[message(1, number)])
    await ownership.beat(sender.grant, committed=5)
    assert await ownership.outbox_acks(0, [1, 2]) == {1: 0, 2: 0}
    await ownership.ack_outbox(receiver.grant, 0, 3)
    await ownership.ack_outbox(receiver.grant, 0, 2)
    assert await ownership.outbox_acks(0, [1, 2]) == {1: 3, 2: 0}, "an ack never goes back"
    assert await ownership.outbox_acks(0, []) == {}
    await ownership.trim_outbox(sender.grant, 1, 3)
    await ownership.trim_outbox(sender.grant, 1, 3)
    await ownership.trim_outbox(sender.grant, 7, 3)
    assert [m.number for m in await ownership.read_outbox(0, 1, 0)] == [4, 5]


async def test_numbers_go_on_after_everything_was_forgotten(ownership: Ownership) -> None:
    sender = await take(ownership)
    await sender.write(outbox=[message(1, n) for n in range(1, 501)])
    await sender.write()
    await ownership.trim_outbox(sender.grant, 1, 500)
    assert await ownership.read_outbox(0, 1, 0) == []
    with pytest.raises(StoreRefused, match="ends at 500, message 1 does not follow"):
        await sender.write(outbox=[message(1, 1)])
    assert (await sender.write(outbox=[message(1, 501)])).verdict is Verdict.APPENDED


async def test_an_outbox_that_is_put_anew_holds_just_that_and_appends_go_on_after_it(ownership: Ownership) -> None:
    sender = await take(ownership)
    await sender.write(outbox=[message(1, 1), message(1, 2), message(2, 1)])
    await sender.write()
    put = [OutboxMessage(1, n, b"put %d" % n, 1) for n in range(7, 207)]
    for _ in range(2):
        await ownership.put_outbox(sender.grant, 1, put)
        assert await ownership.read_outbox(0, 1, 0, 500) == put
    with pytest.raises(StoreRefused, match="ends at 206, message 3 does not follow"):
        await sender.write(outbox=[message(1, 3)])
    assert (await sender.write(outbox=[message(1, 207), message(2, 2)])).verdict is Verdict.APPENDED


async def test_after_an_outbox_was_emptied_numbers_begin_where_the_sender_likes(ownership: Ownership) -> None:
    sender = await take(ownership)
    await sender.write(outbox=[message(1, 1), message(1, 2)])
    await sender.write()
    await ownership.put_outbox(sender.grant, 1, [])
    assert await ownership.read_outbox(0, 1, 0) == []
    assert (await sender.write(outbox=[message(1, 2)])).verdict is Verdict.APPENDED
    await ownership.put_outbox(sender.grant, 7, [])


async def test_a_journal_that_begins_anew_at_another_past_takes_its_outboxes_and_acks_along(
    ownership: Ownership,
) -> None:
    sender = await take(ownership)
    await sender.write(outbox=[message(1, 1), message(2, 1)])
    await sender.write()
    await ownership.ack_outbox(sender.grant, 5, 9)
    await ownership.restart(sender.grant, 2, sender.chain, 2, b"the same tick")
    assert len(await ownership.read_outbox(0, 1, 0)) == 1, "of the same past: they stay"
    assert await ownership.outbox_acks(5, [0]) == {0: 9}
    for _ in range(2):
        await ownership.restart(sender.grant, 2, b"the same tick", 1, b"another", outboxes=[1, 2, 3])
        assert [await ownership.read_outbox(0, to_shard, 0) for to_shard in (1, 2)] == [[], []]
        assert await ownership.outbox_acks(5, [0]) == {0: 0}
    await ownership.ack_outbox(sender.grant, 5, 4)
    assert await ownership.outbox_acks(5, [0]) == {0: 4}


async def test_an_outbox_with_a_message_over_the_limit_is_refused_unsent(ownership: Ownership) -> None:
    sender = await take(ownership)
    with pytest.raises(TooBig):
        await ownership.put_outbox(sender.grant, 1, [OutboxMessage(1, 1, b"x" * (MESSAGE_BYTES_MAX + 1), 1)])


async def test_acks_do_not_look_like_life(ownership: Ownership) -> None:
    """A candidate must see silence where the owner's tick stands still, even if a last ack arrives."""
    receiver = await take(ownership, 1)
    seen = head_of(await ownership.look(1))
    await ownership.ack_outbox(receiver.grant, 0, 3)
    assert head_of(await ownership.look(1)).same_life(seen)


async def test_messages_over_the_limits_are_refused_unsent(ownership: Ownership) -> None:
    sender = await take(ownership)
    with pytest.raises(TooBig):
        await sender.write(outbox=[message(1, 1, b"x" * (MESSAGE_BYTES_MAX + 1))])
    with pytest.raises(TooBig):
        await sender.write(outbox=[message(1, n) for n in range(1, MESSAGES_PER_APPEND_MAX + 2)])
    assert (await sender.write(outbox=[message(1, 1, b"x" * MESSAGE_BYTES_MAX)])).verdict is Verdict.APPENDED
