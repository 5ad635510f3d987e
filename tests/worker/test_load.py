"""What shards cost, as their worker tells it."""

from __future__ import annotations

import pytest

from overworld.store.members import LOAD_VALUES_MAX
from overworld.store.ports import Member, Role
from overworld.worker.balance import ShardState, WorkerState
from overworld.worker.load import SHARDS_TOLD_MAX, LoadBook, Worked, picture


def after(book: LoadBook, shard: int, tick_ms: float, seconds: float, *, hz: int = 20, start: int = 0) -> int:
    """Let a shard tick. Returns how many ticks it has run then."""
    for half in range(1, int(seconds * 2) + 1):
        ticks = start + half * hz // 2
        book.look({shard: Worked(int(ticks * tick_ms * 1e6), ticks, entities=9, players=2)}, (start / hz) + half / 2)
    return start + int(seconds * hz)


def test_a_steady_shard_costs_what_its_ticks_cost() -> None:
    book = LoadBook()
    assert book.cost(3) is None
    after(book, 3, tick_ms=1.5, seconds=4)
    assert book.cost(3) == pytest.approx(30.0)
    assert book.tick_ms(3) == pytest.approx(1.5)
    assert book.announcement() == {"entities": 9.0, "players": 2.0, "cpu": 30.0, "c3": 30.0}


def test_a_shard_that_stands_still_soon_costs_nothing_but_its_ticks_do() -> None:
    book = LoadBook()
    ticks = after(book, 0, tick_ms=1.0, seconds=4)
    for half in range(1, 61):
        book.look({0: Worked(int(ticks * 1e6), ticks)}, 4 + half / 2)
    cost = book.cost(0)
    assert cost is not None
    assert cost < 0.1
    assert book.tick_ms(0) == pytest.approx(1.0)


def test_a_shard_that_left_and_came_back_is_measured_anew() -> None:
    book = LoadBook()
    after(book, 0, tick_ms=5.0, seconds=4)
    book.look({}, 4.5)
    assert book.cost(0) is None
    book.look({0: Worked(0, 0)}, 5.0)
    book.look({0: Worked(10_000_000, 10)}, 5.5)
    assert book.cost(0) == pytest.approx(20.0)


def test_a_new_grant_between_two_looks_does_no_harm() -> None:
    book = LoadBook()
    after(book, 0, tick_ms=5.0, seconds=4)
    book.look({0: Worked(1000, 1)}, 4.5)
    assert book.cost(0) is None
    book.look({0: Worked(1000 + 10_000_000, 11)}, 5.0)
    assert book.cost(0) == pytest.approx(20.0)


def test_of_too_many_shards_the_dearest_are_told() -> None:
    book, many = LoadBook(), SHARDS_TOLD_MAX + 500
    book.look({shard: Worked(0, 0) for shard in range(many)}, 0.0)
    book.look({shard: Worked((shard + 1) * 1_000_000, 10) for shard in range(many)}, 1.0)
    told = book.announcement()
    assert "c0" not in told
    assert told[f"c{many - 1}"] == many
    assert len(told) <= LOAD_VALUES_MAX
    member = Member(Role.WORKER, "w", "w:1", told, 1, 0.0)
    _, shards = picture([member], {0: "w:1", many - 1: "w:1"})
    assert shards == [ShardState(0, "w:1", 0.0), ShardState(many - 1, "w:1", float(many))]


def test_the_picture_is_what_live_workers_tell() -> None:
    def member(name: str, **load: float) -> Member:
        return Member(Role.WORKER, name, f"{name}:1", load, 1, 0.0)

    members = [
        member("a", c0=30.0, capacity=2.0, shards_max=8.0),
        member("b", c1=10.0, emptied=1.0),
        member("c", c2=5.0, draining=1.0),
    ]
    workers, shards = picture(members, {0: "a:1", 1: "b:1", 2: "c:1", 3: "a:1", 4: "gone:1", 5: ""})
    assert workers == [
        WorkerState("a:1", shards_max=8, capacity=2.0),
        WorkerState("b:1", takes=False, emptied=True),
        WorkerState("c:1", takes=False),
    ]
    assert shards == [
        ShardState(0, "a:1", 30.0),
        ShardState(1, "b:1", 10.0),
        ShardState(2, "c:1", 5.0, movable=False),
        ShardState(3, "a:1", None),
    ]
