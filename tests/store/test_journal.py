"""The journal: compare-and-swap appends, reading, trimming, restarting. Memory twin and real Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from overworld.errors import JournalGap, OtherHead, StoreRefused, TooBig
from overworld.store.ports import PAYLOAD_BYTES_MAX, AppendRequest, Ownership, Verdict
from tests.store.writer import head_of, request_after, take

pytestmark = pytest.mark.asyncio


async def test_records_come_back_as_they_were_written(ownership: Ownership) -> None:
    owner = await take(ownership)
    payloads = [b"", b"\x00\xff\r\n", b"x" * 5000, bytes(range(256))]
    for payload in payloads:
        assert (await owner.write(payload)).verdict is Verdict.APPENDED
    entries = await ownership.read(0, 0)
    assert [entry.payload for entry in entries] == payloads
    assert [(entry.tick, entry.epoch, entry.chain) for entry in entries] == [
        (request.tick, 1, request.chain) for request in owner.written
    ]
    head = head_of(await ownership.look(0))
    assert (head.tick, head.chain, head.committed) == (4, owner.chain, 3)


async def test_the_same_record_again_is_already_there(ownership: Ownership) -> None:
    owner = await take(ownership)
    request = owner.next_request()
    assert (await ownership.append(owner.grant, request)).verdict is Verdict.APPENDED
    answer = await ownership.append(owner.grant, request)
    assert (answer.verdict, answer.appended, answer.tick) == (Verdict.ALREADY, True, 1)
    assert len(await ownership.read(0, 0)) == 1


async def test_a_record_that_does_not_follow_the_head_is_told_where_the_head_is(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(3)
    ahead = request_after(5, b"somewhere", b"")
    behind = owner.written[0]
    branch = request_after(owner.tick, b"another chain", b"")
    for request in (ahead, behind, branch):
        answer = await ownership.append(owner.grant, request)
        assert (answer.verdict, answer.epoch, answer.tick, answer.chain) == (Verdict.OTHER_HEAD, 1, 3, owner.chain)
    assert (await owner.write()).verdict is Verdict.APPENDED


async def test_another_record_of_the_newest_tick_is_not_taken_for_it(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(2)
    rival = request_after(1, owner.written[0].chain, b"something else")
    answer = await ownership.append(owner.grant, rival)
    assert (answer.verdict, answer.tick, answer.chain) == (Verdict.OTHER_HEAD, 2, owner.chain)


async def test_two_records_in_flight_are_taken_in_order(ownership: Ownership) -> None:
    owner = await take(ownership)
    first = owner.next_request()
    second = request_after(first.tick, first.chain)
    third = request_after(second.tick, second.chain)
    answers = await asyncio.gather(*(ownership.append(owner.grant, request) for request in (first, second, third)))
    assert [answer.verdict for answer in answers] == [Verdict.APPENDED] * 3


async def test_committed_never_goes_back(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(3)
    await ownership.append(owner.grant, replace(owner.next_request(), committed=0))
    assert head_of(await ownership.look(0)).committed == 2


async def test_reading_is_paged_and_ends_at_the_end(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(7)
    pages = [await ownership.read(0, after, 3) for after in (0, 3, 6, 7, 100)]
    assert [[entry.tick for entry in page] for page in pages] == [[1, 2, 3], [4, 5, 6], [7], [], []]
    assert await ownership.read(99, 0) == []


async def test_trimming_stops_at_committed_and_says_the_new_floor(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(10)
    assert await ownership.trim(owner.grant, 4) == 4
    assert await ownership.trim(owner.grant, 4) == 4
    assert await ownership.trim(owner.grant, 2) == 4, "the floor never goes back"
    with pytest.raises(StoreRefused, match="committed is 9"):
        await ownership.trim(owner.grant, 10)
    assert [entry.tick for entry in await ownership.read(0, 4)] == [5, 6, 7, 8, 9, 10]
    assert head_of(await ownership.look(0)).floor == 4
    assert (await owner.write()).verdict is Verdict.APPENDED


async def test_trimming_many_records_goes_in_steps_to_the_end(ownership: Ownership) -> None:
    owner = await take(ownership)
    requests: list[AppendRequest] = []
    tick, chain = 0, b""
    for _ in range(650):
        requests.append(request_after(tick, chain, b"r", committed=tick))
        tick, chain = requests[-1].tick, requests[-1].chain
    await asyncio.gather(*(ownership.append(owner.grant, request) for request in requests))
    assert await ownership.trim(owner.grant, 649) == 649
    assert [entry.tick for entry in await ownership.read(0, 649)] == [650]


async def test_a_reader_below_the_floor_is_told_that_records_are_missing(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(5)
    await ownership.trim(owner.grant, 3)
    with pytest.raises(JournalGap, match="has tick 4 where 2 should be"):
        await ownership.read(0, 1)


async def test_an_owner_can_trim_everything_it_committed_and_go_on(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(5)
    await ownership.beat(owner.grant, committed=5)
    assert await ownership.trim(owner.grant, 5) == 5
    assert await ownership.read(0, 5) == []
    assert (await owner.write()).verdict is Verdict.APPENDED
    assert [entry.tick for entry in await ownership.read(0, 5)] == [6]


async def test_a_restart_lets_the_journal_begin_after_a_tick(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(2)
    await ownership.restart(owner.grant, owner.tick, owner.chain, 500, b"chain of the snapshot")
    await ownership.restart(owner.grant, owner.tick, owner.chain, 500, b"chain of the snapshot")
    head = head_of(await ownership.look(0))
    assert (head.tick, head.chain, head.committed, head.floor) == (500, b"chain of the snapshot", 500, 500)
    assert await ownership.read(0, 500) == []
    answer = await ownership.append(owner.grant, request_after(500, b"chain of the snapshot", b"next"))
    assert answer.verdict is Verdict.APPENDED
    assert [entry.tick for entry in await ownership.read(0, 500)] == [501]


async def test_a_restart_from_a_head_that_moved_is_refused(ownership: Ownership) -> None:
    owner = await take(ownership)
    await owner.write_many(2)
    with pytest.raises(OtherHead, match="ends at tick 2, not at 1"):
        await ownership.restart(owner.grant, 1, owner.written[0].chain, 500, b"chain")
    assert len(await ownership.read(0, 0)) == 2


async def test_a_record_over_the_limit_is_refused_unsent(ownership: Ownership) -> None:
    owner = await take(ownership)
    with pytest.raises(TooBig, match="at most"):
        await owner.write(b"x" * (PAYLOAD_BYTES_MAX + 1))
    assert (await owner.write(b"x" * PAYLOAD_BYTES_MAX)).verdict is Verdict.APPENDED


async def test_a_request_that_skips_a_tick_cannot_be_made() -> None:
    with pytest.raises(AssertionError, match="does not follow"):
        AppendRequest(1, b"a", 3, b"b", 0, b"")
    with pytest.raises(AssertionError, match="committed"):
        AppendRequest(1, b"a", 2, b"b", 2, b"")
    with pytest.raises(AssertionError, match="chain must move"):
        AppendRequest(1, b"a", 2, b"a", 0, b"")
