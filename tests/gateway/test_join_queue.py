"""New players wait while the world has no room: the queue alone, and at a gateway."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.gateway.join_queue import JoinQueue
from overworld.wire.v1 import client_pb2 as pb
from tests.gateway.arena import Arena


class TestQueue:
    def test_while_there_is_room_nobody_waits(self) -> None:
        assert not JoinQueue[str](10, 5.0).closed(0.0)

    def test_they_go_in_in_the_order_they_came_and_not_all_at_once(self) -> None:
        queue: JoinQueue[int] = JoinQueue(100, 10.0)
        queue.no_room(0.0, 1.0)
        assert queue.closed(0.5)
        assert all(queue.enter(who) for who in range(40))
        assert queue.due(0.9) == []
        went = [(now, who) for now in range(10, 90) for who in queue.due(now / 10)]
        assert [who for _, who in went] == list(range(40))
        for second in range(1, 9):
            assert sum(second <= now / 10 < second + 1 for now, _ in went) <= 20
        assert not queue.closed(9.0)

    def test_who_comes_while_others_wait_waits_behind_them(self) -> None:
        queue: JoinQueue[str] = JoinQueue(10, 1.0)
        queue.no_room(0.0, 1.0)
        queue.enter("first")
        assert queue.closed(5.0), "there is room, but not for him"

    def test_a_full_queue_turns_away_and_a_place_that_is_left_is_free(self) -> None:
        queue: JoinQueue[int] = JoinQueue(2, 1.0)
        assert [queue.enter(who) for who in range(3)] == [True, True, False]
        assert queue.turned_away == 1
        queue.leave(0)
        assert queue.enter(3)

    @given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "full", "due"]), st.integers(0, 9)), max_size=80))
    def test_nobody_goes_in_twice_or_out_of_turn(self, events: list[tuple[str, int]]) -> None:
        queue: JoinQueue[int] = JoinQueue(5, 2.0)
        waiting: list[int] = []
        for now_s, (what, who) in enumerate(events):
            if what == "enter" and who not in waiting:
                assert queue.enter(who) == (len(waiting) < 5)
                waiting += [who] if len(waiting) < 5 else []
            elif what == "leave":
                queue.leave(who)
                waiting = [w for w in waiting if w != who]
            elif what == "full":
                queue.no_room(now_s, 1.5)
            elif what == "due":
                gone = queue.due(now_s)
                assert gone == waiting[: len(gone)]
                waiting = waiting[len(gone) :]
            assert len(queue) == len(waiting)


@pytest.mark.asyncio
class TestGateway:
    async def test_a_new_player_waits_is_told_and_goes_in_when_there_is_room(self, arena: Arena) -> None:
        worker = await arena.worker()
        gateway = await arena.gateway()
        first = await arena.player(gateway)
        worker.interval_us = 3 * arena.contract.grid.tick_interval_us
        await first.until(lambda: first.tick_interval_us == worker.interval_us, "the first hears of longer ticks")
        second = await arena.socket(gateway)
        second.hello(arena.token("second"))
        await second.until(lambda: pb.Notice.CODE_QUEUED in second.notices, "a notice")
        assert not second.welcomes
        worker.interval_us = 0
        await second.welcomed()
        assert first.error is None

    async def test_not_for_ever(self, arena: Arena) -> None:
        worker = await arena.worker()
        gateway = await arena.gateway(queue_wait_s=0.3)
        first = await arena.player(gateway)
        worker.interval_us = 3 * arena.contract.grid.tick_interval_us
        await first.until(lambda: first.tick_interval_us == worker.interval_us, "the first hears of longer ticks")
        second = await arena.socket(gateway)
        second.hello(arena.token("second"))
        assert await second.closed() == 1013
        assert "full" in second.close_reason

    async def test_a_session_that_is_taken_up_again_does_not_wait(self, arena: Arena) -> None:
        worker = await arena.worker()
        gateway = await arena.gateway(queue_places_max=0)
        first = await arena.player(gateway)
        other = await arena.player(gateway, "other")
        resume = other.welcomes[0].resume
        worker.interval_us = 3 * arena.contract.grid.tick_interval_us
        await first.until(lambda: first.tick_interval_us == worker.interval_us, "the first hears of longer ticks")
        other.abort()
        again = await arena.socket(gateway)
        again.hello("", resume=resume)
        await again.welcomed()
        third = await arena.socket(gateway)
        third.hello(arena.token("third"))
        assert await third.closed() == 1013
        assert "queue" in third.close_reason
