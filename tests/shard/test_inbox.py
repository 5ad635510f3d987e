"""Inputs become canonical: each applied exactly once and in order, whatever arrives how often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.shard.core import ShardCore
from overworld.shard.inbox import Inbox, InputColumnsIn
from overworld.shard.inputs import SessionEvent, TickInputs
from tests.shard.meadow import meadow_core


def batch(*inputs: tuple[int, int, int, list[int]], due: tuple[int, ...] = ()) -> InputColumnsIn:
    """Inputs as (session, seq, kind, values), and the ticks they are meant for."""
    return InputColumnsIn(
        sessions=np.array([i[0] for i in inputs], np.int64),
        seqs=np.array([i[1] for i in inputs], np.int64),
        kinds=np.array([i[2] for i in inputs], np.int64),
        seen_ticks=np.zeros(len(inputs), np.int64),
        counts=np.array([len(i[3]) for i in inputs], np.int64),
        values=np.array([v for i in inputs for v in i[3]], np.int64),
        due_ticks=np.array(due, np.int64),
    )


def two_players() -> tuple[ShardCore, Inbox]:
    core = meadow_core()
    core.step(TickInputs(events=((SessionEvent.JOIN, 100, 1), (SessionEvent.JOIN, 200, 2))))
    return core, Inbox(core.contract)


def take(core: ShardCore, inbox: Inbox) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    inputs, refused = inbox.take(core.shard, core.sessions)
    core.step(inputs)
    applied = list(zip(inputs.sessions.tolist(), inputs.seqs.tolist(), strict=True))
    return applied, list(zip(*refused.tolist(), strict=True))


def test_inputs_are_applied_in_order_and_acked() -> None:
    core, inbox = two_players()
    inbox.inputs(batch((200, 1, 0, [1, 0]), (100, 1, 0, [0, 1]), (100, 2, 0, [1, 1])))
    inputs, _ = inbox.take(core.shard, core.sessions)
    outcome = core.step(inputs)
    acks = dict(zip(*(c.tolist() for c in outcome.acks), strict=True))
    assert acks == {100: 2, 200: 1}


def test_second_copies_are_ignored_and_counted() -> None:
    core, inbox = two_players()
    inbox.inputs(batch((100, 1, 0, [1, 0]), (100, 1, 0, [1, 0])))
    assert take(core, inbox) == ([(100, 1)], [])
    inbox.inputs(batch((100, 1, 0, [1, 0])))
    assert take(core, inbox) == ([], [])
    assert inbox.counters.duplicate == 2


def test_a_skipped_number_closes_the_socket_and_applies_nothing_after_it() -> None:
    core, inbox = two_players()
    inbox.inputs(batch((100, 1, 0, [1, 0]), (100, 3, 0, [1, 0]), (200, 1, 0, [1, 0])))
    assert take(core, inbox) == ([(100, 1), (200, 1)], [(100, 4007)])


@pytest.mark.parametrize(
    ("kind", "values"),
    [(0, [2, 0]), (0, [0, -1]), (0, [0]), (0, [0, 0, 0]), (1, [0, 0]), (2**31, [0, 0]), (0, [2**31 - 1, 0])],
)
def test_bad_inputs_are_refused_before_the_journal(kind: int, values: list[int]) -> None:
    core, inbox = two_players()
    inbox.inputs(batch((100, 1, kind, values), (200, 1, 0, [1, 1])))
    assert take(core, inbox) == ([(200, 1)], [(100, 4006)])


def test_more_than_a_ticks_worth_waits_for_the_next_tick() -> None:
    core, inbox = two_players()
    inbox.inputs(batch(*((100, seq, 0, [0, 0]) for seq in range(1, 11))))
    most = core.contract.inputs_per_tick_max
    assert take(core, inbox)[0] == [(100, seq) for seq in range(1, most + 1)]
    inbox.inputs(batch((100, 11, 0, [0, 0])))
    assert take(core, inbox)[0] == [(100, seq) for seq in range(most + 1, 2 * most + 1)]
    assert take(core, inbox)[0] == [(100, seq) for seq in range(2 * most + 1, 12)]


def test_a_flood_is_cut_at_the_bound() -> None:
    core, inbox = two_players()
    inbox.inputs(batch(*((100, seq, 0, [0, 0]) for seq in range(1, 200))))
    assert take(core, inbox)[1] == [(100, 1008)]
    applied = sum(len(take(core, inbox)[0]) for _ in range(60))
    assert applied == 32, "what fitted the bound is applied, the rest is not"


def test_the_whole_inbox_is_bounded() -> None:
    core, _ = two_players()
    inbox = Inbox(core.contract, waiting_max=5)
    inbox.inputs(batch(*((100, seq, 0, [0, 0]) for seq in range(1, 5))))
    inbox.inputs(batch(*((200, seq, 0, [0, 0]) for seq in range(1, 5))))
    assert inbox.counters.overflow == 4


def test_inputs_of_nobody_are_counted() -> None:
    core, inbox = two_players()
    inbox.inputs(batch((999, 1, 0, [0, 0])))
    assert take(core, inbox) == ([], [])
    assert inbox.counters.unknown_session == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([100, 200]), st.integers(1, 12), st.integers(1, 4)), max_size=40))
def test_every_number_is_applied_at_most_once_and_without_gaps(arrivals: list[tuple[int, int, int]]) -> None:
    """Clients resend runs of inputs at will: (session, first, how many)."""
    core, inbox = two_players()
    done: dict[int, list[int]] = {100: [], 200: []}
    for session, first, count in arrivals:
        inbox.inputs(batch(*((session, seq, 0, [1, 0]) for seq in range(first, first + count))))
        for s, seq in take(core, inbox)[0]:
            done[s].append(seq)
    for _ in range(20):
        for session, seq in take(core, inbox)[0]:
            done[session].append(seq)
    for applied in done.values():
        assert applied == list(range(1, len(applied) + 1))


def test_columns_that_do_not_fit_each_other_are_refused() -> None:
    one = np.ones(1, np.int64)
    with pytest.raises(ValueError, match="length"):
        InputColumnsIn(one, one, one, one, np.ones(2, np.int64), one)
    with pytest.raises(ValueError, match="add up"):
        InputColumnsIn(one, one, one, one, one * 5, one)


# ---------------------------------------------------------------- inputs meant for a tick


def test_an_early_input_waits_for_its_tick_and_those_behind_it_wait_too() -> None:
    core, inbox = two_players()
    due = core.tick + 3
    inbox.inputs(batch((100, 1, 0, [1, 0]), (100, 2, 0, [0, 0]), (200, 1, 0, [1, 1]), due=(due, 0, 0)))
    assert take(core, inbox) == ([(200, 1)], [])
    assert take(core, inbox) == ([], [])
    assert core.tick + 1 == due
    assert take(core, inbox) == ([(100, 1), (100, 2)], [])


def test_inputs_meant_for_ticks_in_turn_are_applied_in_turn() -> None:
    core, inbox = two_players()
    first = core.tick + 2
    inbox.inputs(batch(*((100, seq, 0, [1, 0]) for seq in range(1, 6)), due=tuple(range(first, first + 5))))
    assert take(core, inbox) == ([], [])
    for seq in range(1, 6):
        assert core.tick + 1 == first + seq - 1
        assert take(core, inbox) == ([(100, seq)], [])


def test_a_late_input_is_applied_at_once_and_counted() -> None:
    core, inbox = two_players()
    for _ in range(5):
        take(core, inbox)
    inbox.inputs(batch((100, 1, 0, [1, 0]), (200, 1, 0, [1, 0]), due=(core.tick, core.tick + 1)))
    assert take(core, inbox) == ([(100, 1), (200, 1)], [])
    assert inbox.counters.late == 1


def test_a_tick_too_far_ahead_counts_as_none() -> None:
    core, inbox = two_players()
    far = core.contract.grid.tick_hz
    inbox.inputs(batch((100, 1, 0, [1, 0]), (200, 1, 0, [1, 0]), due=(core.tick + far, 2**32 - 1)))
    assert take(core, inbox) == ([(100, 1), (200, 1)], [])


@given(st.lists(st.integers(0, 30), min_size=1, max_size=24), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_whatever_tick_they_name_all_are_applied_in_order_and_none_before_it_is_due(due: list[int], skip: int) -> None:
    core, inbox = two_players()
    for _ in range(skip):
        take(core, inbox)
    at = core.tick
    inbox.inputs(batch(*((100, seq, 0, [1, 0]) for seq in range(1, len(due) + 1)), due=tuple(due)))
    applied: list[tuple[int, int]] = []
    for _ in range(40):
        inputs, refused = inbox.take(core.shard, core.sessions)
        assert not refused.size
        applied += [(core.tick + 1, seq) for seq in inputs.seqs.tolist()]
        core.step(inputs)
    assert [seq for _, seq in applied] == list(range(1, len(due) + 1))
    near = at + core.contract.grid.tick_hz // 2
    for (tick, _), wanted in zip(applied, due, strict=True):
        assert tick >= wanted or wanted > near


def test_a_pause_in_which_everybody_keeps_to_the_bound_loses_nothing() -> None:
    core, _ = two_players()
    inbox = Inbox(core.contract, waiting_max=4)
    for seq in range(1, 21):
        inbox.inputs(batch((100, seq, 0, [1, 0]), (200, seq, 0, [0, 1])), sessions=2)
    assert inbox.counters.overflow == 0
    assert 0 < inbox.fill < 1
    applied: list[tuple[int, int]] = []
    for _ in range(10):
        now, refused = take(core, inbox)
        assert refused == []
        applied += now
    assert sorted(applied) == [(session, seq) for session in (100, 200) for seq in range(1, 21)]


def test_beyond_what_all_sessions_may_have_waiting_a_batch_is_dropped_and_counted() -> None:
    core, _ = two_players()
    inbox = Inbox(core.contract, waiting_max=4, waiting_per_session_max=1)
    full = 2 * (1 + core.contract.inputs_per_tick_max)
    for seq in range(1, full // 2 + 3):
        inbox.inputs(batch((100, seq, 0, [1, 0]), (200, seq, 0, [0, 1])), sessions=2)
    assert inbox.counters.overflow == 4
    assert inbox.fill == 1


@given(st.integers(1, 12), st.lists(st.sampled_from([100, 200]), min_size=1, max_size=40))
@settings(deadline=None)
def test_what_does_not_fit_a_tick_waits_in_order(tick_max: int, senders: list[int]) -> None:
    core, _ = two_players()
    inbox = Inbox(core.contract, waiting_per_session_max=64, tick_max=tick_max)
    sent: dict[int, int] = {100: 0, 200: 0}
    for session in senders:
        sent[session] += 1
        inbox.inputs(batch((session, sent[session], 0, [1, 0])))
    applied: list[tuple[int, int]] = []
    for _ in range(len(senders) + 1):
        now, refused = take(core, inbox)
        assert len(now) <= tick_max
        assert refused == []
        applied += now
    for session, count in sent.items():
        assert [seq for who, seq in applied if who == session] == list(range(1, count + 1))


def test_everybodys_first_input_comes_before_anybodys_second() -> None:
    core, _ = two_players()
    inbox = Inbox(core.contract, tick_max=3)
    inbox.inputs(batch(*((session, seq, 0, [1, 0]) for session in (100, 200) for seq in (1, 2, 3))))
    assert take(core, inbox)[0] == [(100, 1), (100, 2), (200, 1)]
    assert take(core, inbox)[0] == [(100, 3), (200, 2), (200, 3)]
