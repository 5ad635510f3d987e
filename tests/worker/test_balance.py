"""Moves pay, come to an end, and are never more at once than allowed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.worker.balance import (
    START_WEIGHT,
    Balance,
    BalanceRules,
    Floor,
    Move,
    ShardState,
    WorkerState,
    plan,
)

RULES = BalanceRules()
LOOK_S = 0.5
IMPATIENT = replace(RULES, start_part=RULES.stop_part, moves_at_once_max=8, rest_s=1.0)
costs = st.lists(st.floats(0, 400), min_size=1, max_size=24)
few = settings(max_examples=30, deadline=None)


class World:
    """Workers and shards whose moves take a while, under one balancer."""

    def __init__(self, workers: int, shard_costs: list[float], rules: BalanceRules = RULES, seed: int = 0) -> None:
        self.chance = random.Random(seed)
        self.rules = rules
        self.balance = Balance(rules)
        self.workers = {f"w{n}": WorkerState(f"w{n}") for n in range(workers)}
        self.costs = dict(enumerate(shard_costs))
        self.owners = {shard: f"w{self.chance.randrange(workers)}" for shard in self.costs}
        self.moved: list[tuple[float, Move]] = []
        self.failing: set[str] = set()
        self.now_s = 0.0
        self._due: list[tuple[float, Move]] = []
        self._seen: dict[int, tuple[str, float]] = {}

    def look(self, noise: float = 0.0) -> list[Move]:
        """One look, half a second later; checks what must hold at every one."""
        self.now_s += LOOK_S
        for due in [due for due in self._due if due[0] <= self.now_s]:
            self._due.remove(due)
            moved = due[1].target not in self.failing
            if moved:
                self.owners[due[1].shard] = due[1].target
                self.moved.append((self.now_s, due[1]))
            self.balance.ended(due[1], moved, self.now_s)
        shards = [self._told(n, cost * (1 + self.chance.uniform(-noise, noise))) for n, cost in self.costs.items()]
        moves = self.balance.look(self.workers.values(), shards, self.now_s)
        for move in moves:
            assert move.source == self.owners[move.shard], "it knows where it has moved it"
            assert move.source != move.target
            assert self.workers[move.target].takes
            self._due.append((self.now_s + self.chance.uniform(0.1, 3.0), move))
        on_their_way = [move.shard for _, move in self._due]
        assert len(on_their_way) == len(set(on_their_way)) <= self.rules.moves_at_once_max
        return moves

    def _told(self, shard: int, cost: float) -> ShardState:
        """Owners are seen a look late, and a new one does not know the cost for two seconds."""
        owner, since_s = self._seen.setdefault(shard, (self.owners[shard], -1e9))
        if owner != self.owners[shard]:
            self._seen[shard] = self.owners[shard], self.now_s
        return ShardState(shard, owner, cost if self.now_s - since_s >= 2 else None)

    def run(self, seconds: float, noise: float = 0.0) -> int:
        """Look for so long. Returns how many moves began."""
        return sum(len(self.look(noise)) for _ in range(int(seconds / LOOK_S)))

    def counts(self) -> dict[str, int]:
        return {w: sum(owner == w for owner in self.owners.values()) for w in self.workers}

    def settled(self) -> World:
        """The same world after all has been moved that may be, under a balancer that begins anew."""
        self.run(60)
        self.balance, self.rules = Balance(RULES), RULES
        return self

    def floor(self) -> Floor:
        shards = {n: ShardState(n, self.owners[n], cost) for n, cost in self.costs.items()}
        return Floor(dict(self.workers), shards, self.rules)


@few
@given(st.integers(1, 6), costs, st.integers(0, 2**32))
def test_it_comes_to_an_end_and_no_move_would_pay_then(workers: int, shard_costs: list[float], seed: int) -> None:
    world = World(workers, shard_costs, seed=seed)
    world.run(240)
    assert world.run(60) == 0
    floor = world.floor()
    target = floor.target()
    assert target is not None
    for shard in list(floor.shards.values()):
        if target != shard.owner:
            unbalanced, _ = floor.gain(shard, target, START_WEIGHT)
            assert unbalanced <= RULES.start_part * floor.mean + 1e-9


@few
@given(st.integers(2, 6), costs, st.integers(0, 2**32))
def test_costs_that_only_tremble_move_nothing(workers: int, shard_costs: list[float], seed: int) -> None:
    world = World(workers, shard_costs, IMPATIENT, seed).settled()
    assert world.run(120, noise=0.02) == 0


@few
@given(st.integers(2, 6), costs, st.integers(0, 2**32), st.floats(0, 1))
def test_however_wild_costs_are_a_shard_rests_after_each_move(
    workers: int, shard_costs: list[float], seed: int, noise: float
) -> None:
    world = World(workers, shard_costs, seed=seed)
    world.run(120, noise)
    last: dict[int, float] = {}
    for at_s, move in world.moved:
        assert at_s - last.get(move.shard, -1e9) >= RULES.rest_s
        last[move.shard] = at_s


@few
@given(st.integers(2, 6), costs, st.integers(0, 2**32), st.integers(1, 5))
def test_a_worker_that_is_emptied_ends_without_shards(
    workers: int, shard_costs: list[float], seed: int, at_once: int
) -> None:
    world = World(workers, shard_costs, replace(RULES, moves_at_once_max=at_once), seed)
    world.run(20)
    world.workers["w0"] = replace(world.workers["w0"], takes=False, emptied=True)
    world.run(4.0 * (len(shard_costs) + 2))
    assert world.counts()["w0"] == 0


@few
@given(st.integers(1, 5), st.integers(0, 2**32))
def test_a_new_worker_gets_its_share_of_cheap_shards(workers: int, seed: int) -> None:
    world = World(workers, [0.01] * 4 * (workers + 1), seed=seed)
    world.run(60)
    world.workers["new"] = WorkerState("new")
    began_s = world.now_s
    world.run(RULES.settle_s + 2 * LOOK_S)
    assert any(move.target == "new" for move in world.balance.under_way) or world.counts()["new"]
    world.run(120)
    assert min(world.counts().values()) >= 3, f"new since {began_s} s: {world.counts()}"


@few
@given(st.integers(2, 6), st.integers(1, 5), st.integers(1, 8), st.integers(0, 2**32))
def test_no_more_is_moved_than_must_be(workers: int, each: int, at_once: int, seed: int) -> None:
    world = World(workers, [40.0] * workers * each, replace(RULES, moves_at_once_max=at_once), seed)
    above = sum(max(0, count - each) for count in world.counts().values())
    assert world.run(120) <= above


def test_cost_counts_not_the_number_of_shards() -> None:
    world = World(2, [400.0, 10, 10, 10, 10, 10, 10])
    world.owners = dict.fromkeys(world.owners, "w0")
    world.run(60)
    assert world.counts()[world.owners[0]] == 1, world.owners


def test_a_single_shard_that_costs_more_than_a_worker_has_is_not_sent_around() -> None:
    world = World(3, [900.0])
    assert world.run(120) == 0


def test_an_imbalance_that_passes_moves_nothing() -> None:
    world = World(2, [50.0, 50.0, 50.0, 50.0])
    world.owners = {0: "w0", 1: "w0", 2: "w1", 3: "w1"}
    for _ in range(20):
        world.costs[0] = 500.0
        assert world.run(RULES.settle_s - LOOK_S) == 0
        world.costs[0] = 50.0
        assert world.run(LOOK_S) == 0


def test_what_somebody_else_moved_stays_where_it_was_put() -> None:
    world = World(2, [50.0] * 6)
    world.owners = {0: "w0", 1: "w0", 2: "w0", 3: "w1", 4: "w1", 5: "w1"}
    world.run(10)
    world.owners[0] = world.owners[1] = world.owners[2] = "w1"
    world.run(RULES.rest_s - LOOK_S)
    assert {move.shard for _, move in world.moved} <= {3, 4, 5}, "those that were not touched may go"


def test_a_target_that_fails_is_left_alone_and_another_one_found() -> None:
    world = World(3, [50.0] * 6)
    world.owners = dict.fromkeys(world.owners, "w0")
    world.failing.add("w2")
    tried = sum(move.target == "w2" for _ in range(240) for move in world.look())
    assert world.counts()["w1"] >= 2
    assert tried <= 6 * 8, "twice as long after each failure"


def test_where_every_move_fails_there_are_soon_few_of_them() -> None:
    world = World(4, [50.0] * 16)
    world.owners = dict.fromkeys(world.owners, "w0")
    world.failing |= {"w1", "w2", "w3"}
    assert world.run(60) <= 2 * 6, "two at once, twice as long after each failure"
    assert world.run(300) <= 2 * 6
    world.failing.clear()
    world.run(180)
    assert max(world.counts().values()) <= 5, "and it recovers"


def test_a_full_worker_gets_nothing() -> None:
    world = World(2, [1.0] * 10)
    world.owners = dict.fromkeys(world.owners, "w0")
    world.workers["w1"] = replace(world.workers["w1"], shards_max=2)
    world.run(120)
    assert world.counts() == {"w0": 8, "w1": 2}


def test_a_worker_of_twice_the_capacity_gets_twice_the_load() -> None:
    world = World(2, [40.0] * 12)
    world.workers["w1"] = replace(world.workers["w1"], capacity=2.0)
    world.run(600)
    assert world.counts()["w1"] in (7, 8, 9)


def test_shards_of_workers_nobody_hears_of_are_not_touched() -> None:
    balance = Balance(RULES)
    shards = [ShardState(n, "gone", 100.0) for n in range(8)]
    for look in range(100):
        assert balance.look([WorkerState("w0"), WorkerState("w1")], shards, look * LOOK_S) == []


def test_shards_that_are_being_recovered_are_not_moved() -> None:
    balance = Balance(RULES)
    shards = [ShardState(n, "w0", 100.0, movable=False) for n in range(8)]
    for look in range(100):
        assert balance.look([WorkerState("w0", takes=False, emptied=True), WorkerState("w1")], shards, look * 0.5) == []


def test_a_plan_is_all_of_it_at_once() -> None:
    shards = [ShardState(n, "w0", 20.0) for n in range(6)]
    moves = plan([WorkerState("w0"), WorkerState("w1"), WorkerState("w2")], shards, RULES)
    assert sorted(move.target for move in moves) == ["w1", "w1", "w2", "w2"]
    assert plan([], [], RULES) == []


def test_rules_that_would_flap_are_refused() -> None:
    with pytest.raises(AssertionError):
        BalanceRules(start_part=0.1, stop_part=0.2)
