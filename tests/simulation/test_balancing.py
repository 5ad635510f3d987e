"""The watch over the balancer can fail: planted flapping and planted greed are found."""

from __future__ import annotations

from collections import Counter

import pytest

from overworld.worker.balance import Balance, BalanceRules, ShardState, WorkerState
from tests.simulation.balancing import balance_watched
from tests.simulation.deployment import BALANCE_MOVES_MAX, BALANCE_REST_S
from tests.simulation.lineage import InvariantBroken

WORKERS = [WorkerState("a:1"), WorkerState("b:1")]


def shards_at(owner: str, count: int) -> list[ShardState]:
    """All at one worker, all equally dear."""
    return [ShardState(number, owner, 50.0) for number in range(count)]


def rock(balance: Balance) -> None:
    """All shards are at one worker, then at the other, and at the first again, each time shortly after the other."""
    for turn, owner in enumerate(("a:1", "b:1", "a:1")):
        now_s = 10.0 + turn * BALANCE_REST_S / 3
        for move in balance.look(WORKERS, shards_at(owner, 4), now_s):
            balance.ended(move, moved=True, now_s=now_s - 10.0)


def test_a_shard_that_is_moved_back_at_once_is_found() -> None:
    balance = Balance(BalanceRules(rest_s=0.0, settle_s=0.0))
    with balance_watched(Counter()), pytest.raises(InvariantBroken, match="moved again after"):
        rock(balance)


def test_more_moves_at_once_than_allowed_are_found() -> None:
    balance = Balance(BalanceRules(moves_at_once_max=BALANCE_MOVES_MAX + 1, settle_s=0.0))
    with balance_watched(Counter()), pytest.raises(InvariantBroken, match="moved at once"):
        balance.look(WORKERS, shards_at("a:1", 20), 10.0)


def test_a_balancer_that_keeps_its_rules_passes() -> None:
    checks: Counter[str] = Counter()
    balance = Balance(BalanceRules(moves_at_once_max=BALANCE_MOVES_MAX, settle_s=0.0, rest_s=BALANCE_REST_S))
    with balance_watched(checks):
        for move in balance.look(WORKERS, shards_at("a:1", 4), 10.0):
            balance.ended(move, moved=True, now_s=10.0)
        balance.look(WORKERS, shards_at("b:1", 4), 10.5)
    assert checks["balance moves"] == BALANCE_MOVES_MAX
