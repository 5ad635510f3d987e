"""The account of where every entity is: it finds what was lost, doubled, changed or came from nowhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from loadtest.census import Account, Count, account, count_of
from overworld.game import contract_of
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, ShardMessage, TickInputs
from overworld.world.contract import WorldContract
from tests.simulation.pasture import HORSES, Pasture

TICKS, PLAYERS, SHARDS = 300, 4, 3
TICK_MS = 50

Counts = list[list[Count]]


def pasture_run() -> tuple[WorldContract, Counts]:
    """Three shards with players and wild horses; messages arrive a few ticks after they were sent."""
    title = Pasture()
    contract = contract_of(title, "test", seed=3)
    cores = [ShardCore(contract, title, shard) for shard in range(SHARDS)]
    counts: Counts = []
    for core in cores:
        core.setup()
        counts.append([count_of(core, 0)])
    mail: list[tuple[int, ShardMessage]] = []
    joins = tuple((SessionEvent.JOIN, 100 + player, player) for player in range(PLAYERS))
    for tick in range(1, TICKS + 1):
        for shard, core in enumerate(cores):
            came = tuple(m for due, m in mail if m.to_shard == shard and due <= tick)
            mail = [(due, m) for due, m in mail if m not in came]
            outcome = core.step(TickInputs(events=joins if (tick, shard) == (1, 0) else (), messages=came))
            mail += [(tick + 1 + m.to_shard, m) for m in outcome.outbox]
            counts[shard].append(count_of(core, tick * TICK_MS + shard, came, outcome.outbox))
    return contract, counts


@pytest.fixture(scope="module")
def run() -> tuple[WorldContract, Counts]:
    return pasture_run()


def changed(run: tuple[WorldContract, Counts], change: Callable[[Count], Count | None]) -> Account:
    """The account after the first count for which `change` gives another one was replaced by that."""
    contract, counts = run
    copies = [list(of_shard) for of_shard in counts]
    for of_shard in copies:
        for at, count in enumerate(of_shard):
            other = change(count)
            if other is not None:
                of_shard[at] = other
                return account(contract, copies)
    raise AssertionError("nothing was changed")


def test_every_horse_and_rider_is_somewhere_at_every_tick(run: tuple[WorldContract, Counts]) -> None:
    found = account(*run)
    assert found.faults == []
    assert found.ticks == SHARDS * TICKS
    assert found.entities_last == SHARDS * HORSES + PLAYERS
    assert (found.born, found.died, found.avatars_last) == (PLAYERS, 0, PLAYERS)
    assert len(found.hops) > 30
    assert found.handovers > 30
    assert {low for second, (low, _) in found.avatars_by_s.items() if second} == {PLAYERS}
    assert found.avatars_between(1.0, 9.0) == (PLAYERS, PLAYERS)


def test_clocks_that_differ_are_no_fault(run: tuple[WorldContract, Counts]) -> None:
    contract, counts = run
    late = [[replace(c, wall_ms=c.wall_ms - 400 * shard) for c in of] for shard, of in enumerate(counts)]
    assert account(contract, late).faults == []


def test_an_entity_that_vanishes_is_found(run: tuple[WorldContract, Counts]) -> None:
    def change(count: Count) -> Count | None:
        gone = [i for letter in count.sent for i in letter.entities]
        sent = tuple(replace(letter, entities=()) for letter in count.sent)
        return replace(count, sent=sent) if gone else None

    assert any("changed" in fault or "without having come" in fault for fault in changed(run, change).faults)


def test_an_entity_that_stays_where_it_left_is_found(run: tuple[WorldContract, Counts]) -> None:
    def change(count: Count) -> Count | None:
        gone = {i for letter in count.sent for i in letter.entities}
        return replace(count, entities=count.entities | gone) if gone else None

    assert any("is still there" in fault for fault in changed(run, change).faults)


def test_a_message_received_twice_is_found(run: tuple[WorldContract, Counts]) -> None:
    def change(count: Count) -> Count | None:
        return replace(count, received=count.received * 2) if count.received else None

    assert any("twice" in fault for fault in changed(run, change).faults)


def test_a_message_that_nobody_sent_is_found(run: tuple[WorldContract, Counts]) -> None:
    def change(count: Count) -> Count | None:
        return replace(count, sent=()) if any(letter.entities for letter in count.sent) else None

    assert any("nobody sent" in fault for fault in changed(run, change).faults)


def test_a_changed_message_is_found(run: tuple[WorldContract, Counts]) -> None:
    def change(count: Count) -> Count | None:
        received = tuple(replace(letter, body=letter.body + 1) for letter in count.received)
        return replace(count, received=received) if received else None

    assert any("changed" in fault for fault in changed(run, change).faults)


def test_an_avatar_without_its_player_is_found(run: tuple[WorldContract, Counts]) -> None:
    def change(count: Count) -> Count | None:
        if count.tick > 1 and len(count.avatars) > 1:
            return replace(count, avatars=frozenset(list(count.avatars)[1:]))
        return None

    assert any("avatars in the world" in fault for fault in changed(run, change).faults)
