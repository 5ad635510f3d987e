"""Who plays: logins, lost sockets, resumes, replacements, kicks and grace, all as part of the state."""

from __future__ import annotations

import numpy as np

from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, TickInputs, TickOutcome
from tests.shard.meadow import Sheep, Shepherd, meadow_core

JOIN, RESUME, LOST, BYE = SessionEvent.JOIN, SessionEvent.RESUME, SessionEvent.LOST, SessionEvent.BYE
ALICE = 8


def step(core: ShardCore, *events: tuple[SessionEvent, int, int]) -> TickOutcome:
    return core.step(TickInputs(events=events))


def joined(outcome: TickOutcome) -> list[tuple[int, int]]:
    return list(zip(*(c.tolist() for c in outcome.joined), strict=True))


def closed(outcome: TickOutcome) -> list[tuple[int, int]]:
    return list(zip(*(c.tolist() for c in outcome.closed), strict=True))


def avatar(core: ShardCore) -> int:
    row = core.shard.players.rows_of(np.array([ALICE]))
    return int(core.shard.players.avatar[row][0])


def test_a_login_gets_an_avatar_a_view_and_its_own_piece() -> None:
    core = meadow_core()
    outcome = step(core, (JOIN, 100, ALICE))
    assert joined(outcome) == [(100, 0)]
    assert outcome.views[0].tolist() == [100]
    assert outcome.owns[0].tolist() == [100]
    assert avatar(core) in core.shard[Sheep].ids


def test_a_lost_socket_resumes_with_the_same_avatar() -> None:
    core = meadow_core()
    step(core, (JOIN, 100, ALICE))
    before = avatar(core)
    step(core, (LOST, 100, ALICE))
    outcome = step(core, (RESUME, 100, ALICE))
    assert joined(outcome) == [(100, 0)]
    assert avatar(core) == before
    assert len(outcome.views[0]) == 1, "the new socket's gateway must learn the view"


def test_a_resume_of_a_session_that_is_over_is_refused() -> None:
    core = meadow_core()
    step(core, (JOIN, 100, ALICE))
    for _ in range(core.contract.grace_ticks + 1):
        step(core, (LOST, 100, ALICE)) if core.tick == 1 else step(core)
    assert avatar(core) == 0
    assert closed(step(core, (RESUME, 100, ALICE))) == [(100, 4008)]


def test_the_avatar_waits_for_the_grace_time_and_no_longer() -> None:
    core = meadow_core()
    step(core, (JOIN, 100, ALICE))
    step(core, (LOST, 100, ALICE))
    for _ in range(core.contract.grace_ticks - 1):
        step(core)
        assert avatar(core)
    step(core)
    assert not avatar(core)


def test_the_newest_login_wins() -> None:
    core = meadow_core()
    step(core, (JOIN, 100, ALICE))
    before = avatar(core)
    outcome = step(core, (JOIN, 200, ALICE))
    assert closed(outcome) == [(100, 4001)]
    assert joined(outcome) == [(200, 0)]
    assert avatar(core) == before
    # The replaced socket's late farewell changes nothing.
    step(core, (BYE, 100, ALICE))
    assert avatar(core) == before


def test_two_logins_in_one_tick_leave_one_session() -> None:
    core = meadow_core()
    outcome = step(core, (JOIN, 100, ALICE), (JOIN, 200, ALICE))
    assert closed(outcome) == [(100, 4001)]
    assert joined(outcome) == [(200, 0)]


def test_goodbye_takes_the_avatar_at_once_and_keeps_the_players_row() -> None:
    core = meadow_core()
    step(core, (JOIN, 100, ALICE))
    step(core, (BYE, 100, ALICE))
    assert not avatar(core)
    step(core, (JOIN, 300, ALICE))
    assert core.shard.players.visits.tolist() == [2]
    assert Shepherd.__name__ == "Shepherd"


def test_a_kick_ends_the_session_with_its_code() -> None:
    core = meadow_core()
    step(core, (JOIN, 100, ALICE))
    core.shard.kick(np.array([0]), 4012)
    assert closed(step(core)) == [(100, 4012)]
    step(core)
    assert not avatar(core)


def test_a_repeated_attach_is_harmless() -> None:
    core = meadow_core()
    step(core, (JOIN, 100, ALICE))
    before = avatar(core)
    assert joined(step(core, (JOIN, 100, ALICE))) == [(100, 0)]
    assert avatar(core) == before
