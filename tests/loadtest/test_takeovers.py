"""How long bots saw nothing of a shard that lost its worker."""

from __future__ import annotations

import pytest

from loadtest.history import BotHistory, Entry, Event
from loadtest.metrics import parse
from loadtest.takeovers import Loss, pauses, residents
from overworld.wire.v1 import client_pb2 as pb
from tests.loadtest.watcher import watch

LOSS = Loss("worker-0", {0: 1}, at_s=10.0)


AVATAR = 8
THERE = [(LOSS, {0: frozenset({AVATAR})})]
ELSEWHERE = [(LOSS, {0: frozenset({AVATAR + 1})})]


def bot(*ticks: tuple[float, int, int, int]) -> BotHistory:
    """A bot that sees (time in seconds, shard, epoch, tick)."""
    told = pb.Frame(owns=[pb.Own(entity=AVATAR)]).SerializeToString()
    found = BotHistory(0, [Entry(Event.FRAME, 0, int(5e6), told)])
    for at_s, shard, epoch, tick in ticks:
        frame = pb.Frame(heads=[pb.TickHead(shard=shard, epoch=epoch, tick=tick)])
        found.entries.append(Entry(Event.FRAME, 0, int(at_s * 1e6), frame.SerializeToString()))
    return found


def test_the_pause_is_that_of_the_avatars_shard() -> None:
    history = bot((9.9, 0, 1, 100), (9.95, 1, 1, 70), (10.2, 1, 1, 75), (10.75, 0, 2, 101), (10.8, 0, 2, 102))
    found = pauses([history], THERE)
    assert found.each_s == [pytest.approx(0.85)]
    assert (found.missing, found.ticks_skipped) == (0, 0)


def test_ticks_that_were_jumped_over_are_counted() -> None:
    assert pauses([bot((9.9, 0, 1, 100), (10.75, 0, 2, 105))], THERE).ticks_skipped == 4


def test_a_bot_on_another_shard_noticed_nothing() -> None:
    found = pauses([bot((9.9, 0, 1, 100), (9.9, 1, 1, 100), (10.1, 1, 1, 104))], ELSEWHERE)
    assert (found.each_s, found.missing) == ([], 0)


def test_a_bot_that_never_saw_its_shard_again_is_missing() -> None:
    assert pauses([bot((9.9, 0, 1, 100))], THERE).missing == 1


def test_residents_are_who_was_there_at_the_last_tick_before_the_loss() -> None:
    watched = watch(4, seed=1)
    watched.truth.epochs[4] = 4
    found = residents(Loss("worker-0", {0: 3}, at_s=10.0), {0: watched.truth})
    assert found[0] == frozenset(row[1] for rows in watched.truth.ticks[3] for row in rows.tolist())
    watched.truth.ticks[3][0] = watched.truth.ticks[3][0][1:]
    assert len(residents(Loss("worker-0", {0: 3}, at_s=10.0), {0: watched.truth})[0]) == len(found[0]) - 1


def test_metrics_are_read_by_name_and_label() -> None:
    before = parse('a_total{reason="x"} 3.0\na_total{reason="y"} 4.0\n')
    after = parse('a_total{reason="x"} 5.0\na_total{reason="y"} 4.5\nt_sum 6.0\nt_count 3.0\n')
    assert after.total("a_total") == 9.5
    assert after.since(before).total("a_total", reason="x") == 2.0
    assert after.mean("t") == 2.0
    assert after.mean("nothing") is None
