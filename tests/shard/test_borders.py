"""Entities, players and messages that pass between shards: exactly once, whatever comes twice or late."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.game import (
    Entity,
    Grid,
    Input,
    Inputs,
    Int8,
    Int16,
    Int32,
    Int64,
    Ints,
    Message,
    Moment,
    Motion,
    Player,
    Shard,
    Title,
    contract_of,
)
from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, ShardMessage, TickInputs, TickOutcome

Journal = list[tuple[TickInputs, tuple[ShardMessage, ...]]]
JOIN, RESUME, LOST, BYE = SessionEvent.JOIN, SessionEvent.RESUME, SessionEvent.LOST, SessionEvent.BYE
SIDE = 64 * 256
"""A shard's side in position units."""


class Walker(Entity):
    at = Motion()
    tag = Int16()
    until = Moment()
    heard = Int32()


class Go(Input):
    vx = Int8()
    vy = Int8()


class Shout(Message):
    loud = Int64()


class Nod(Message):
    """Has no fields."""


class Walkers(Player):
    steps = Int32()


class Plain(Title):
    """Four shards in a square; walkers walk, and what they hear is counted."""

    name, version = "plain", 1
    world = Grid(width=128, height=128, cell=32, shards=(2, 2), view=64)
    entities = (Walker,)
    inputs = (Go,)
    messages = (Shout, Nod)
    player = Walkers
    grace_seconds = 1

    def join(self, shard: Shard, players: Ints) -> None:
        rows = shard[Walker].spawn(len(players))
        x0, y0, x1, y1 = shard.bounds
        shard[Walker].at.x[rows] = (x0 + x1) // 2
        shard[Walker].at.y[rows] = (y0 + y1) // 2
        shard.give_avatar(players, shard[Walker], rows)

    def leave(self, shard: Shard, players: Ints) -> None:
        rows = shard.avatar_rows(players, Walker)
        shard[Walker].remove(rows[rows >= 0])

    def step(self, shard: Shard, inputs: Inputs) -> None:
        walkers = shard[Walker]
        for kind in (Shout, Nod):
            heard = shard.messages(kind)
            rows = walkers.rows_of(heard.entity)
            np.add.at(walkers.heard, rows[rows >= 0], 1)
        go = inputs[Go].last()
        walkers.at.vx[go.row] = go.vx * 256
        walkers.at.vy[go.row] = go.vy * 256
        shard.players.steps[go.player] += 1
        walkers.at.advance()
        walkers.at.bounce(shard.grid.world_bounds)


@dataclass
class World:
    """All shards of a world, stepped in any order; messages lie in outboxes until they are fetched."""

    title: Title = field(default_factory=Plain)
    outboxes: dict[tuple[int, int], list[ShardMessage]] = field(default_factory=dict)
    outcomes: dict[int, TickOutcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        contract = contract_of(self.title, "w")
        self.cores = [ShardCore(contract, self.title, shard) for shard in range(contract.grid.shard_count)]
        for core in self.cores:
            core.setup()

    def mail_for(self, shard: int) -> tuple[ShardMessage, ...]:
        core = self.cores[shard]
        found = []
        for (sender, receiver), box in sorted(self.outboxes.items()):
            if receiver == shard:
                found += [m for m in box if m.number > core.received(sender)]
        return tuple(found)

    def step(self, shard: int, *events: tuple[SessionEvent, int, int], **inputs: Ints) -> TickOutcome:
        messages = self.mail_for(shard)
        outcome = self.cores[shard].step(TickInputs(events=events, messages=messages, **inputs))
        for message in outcome.outbox:
            self.outboxes.setdefault((message.from_shard, message.to_shard), []).append(message)
        self.outcomes[shard] = outcome
        assert outcome.alarms == ()
        return outcome

    def everywhere(self, ticks: int = 1) -> None:
        for _ in range(ticks):
            for shard in range(len(self.cores)):
                self.step(shard)

    def walkers(self) -> list[tuple[int, int]]:
        """(shard, id) of every walker."""
        return [(core.index, i) for core in self.cores for i in core.shard[Walker].ids.tolist()]

    def in_transit(self) -> int:
        return sum(len(self.mail_for(shard)) for shard in range(len(self.cores)))


def go(session: int, seq: int, vx: int, vy: int = 0) -> dict[str, Ints]:
    one = {"sessions": session, "seqs": seq, "kinds": 0, "seen_ticks": 0, "counts": 2}
    return {name: np.array([value]) for name, value in one.items()} | {"values": np.array([vx, vy])}


def place(world: World, shard: int, x: int, vx: int, count: int = 1) -> Ints:
    core = world.cores[shard]
    rows = core.shard[Walker].spawn(count)
    core.shard[Walker].at.x[rows] = x
    core.shard[Walker].at.y[rows] = core.shard.bounds[1] + 100
    core.shard[Walker].at.vx[rows] = vx
    ids: Ints = core.shard[Walker].ids[rows].copy()
    return ids


def test_an_entity_that_walks_over_a_border_is_the_neighbours_with_everything_it_has() -> None:
    world = World()
    (walker,) = place(world, 0, SIDE - 10, vx=25).tolist()
    world.cores[0].shard[Walker].tag[:] = 77
    world.step(0)
    assert world.walkers() == []
    assert world.in_transit() == 1
    world.step(1)
    assert world.walkers() == [(1, walker)]
    there = world.cores[1].shard[Walker]
    assert (there.at.x[0], there.at.vx[0], there.tag[0]) == (SIDE + 15 + 25, 25, 77), "and it has walked on already"


def test_a_moment_is_as_far_away_over_there_as_it_was_here() -> None:
    world = World()
    world.cores[1].shard.begin_tick(1000)
    place(world, 0, SIDE - 10, vx=25)
    world.cores[0].shard[Walker].until[:] = 8
    world.step(0)
    world.step(1)
    assert world.cores[1].tick == 1001
    assert world.cores[1].shard[Walker].until[0] == 1001 + 7


def test_who_leaves_the_world_stays_where_he_is() -> None:
    world = World()
    place(world, 0, 5, vx=0)
    world.cores[0].shard[Walker].at.x[:] = -1
    assert world.step(0).outbox == ()
    assert len(world.walkers()) == 1


def test_what_comes_again_is_ignored_and_a_gap_is_an_alarm() -> None:
    world = World()
    place(world, 0, SIDE - 10, vx=25)
    first = world.step(0).outbox
    place(world, 0, SIDE - 10, vx=25)
    second = world.step(0).outbox
    core = world.cores[1]
    assert core.step(TickInputs(messages=second)).alarms != ()
    assert len(core.shard[Walker]) == 0
    assert core.step(TickInputs(messages=first + first + second + second)).alarms == ()
    assert core.step(TickInputs(messages=first + second)).alarms == ()
    assert len(core.shard[Walker]) == 2
    assert core.received(0) == 2
    assert core.received(3) == 0


def test_more_than_a_message_holds_travels_in_several() -> None:
    world = World()
    place(world, 0, SIDE - 10, vx=25, count=3000)
    assert len(world.step(0).outbox) > 1
    world.everywhere(3)
    assert len(world.walkers()) == len(set(world.walkers())) == 3000
    assert {shard for shard, _ in world.walkers()} == {1}


# ---------------------------------------------------------------- players


def test_a_player_takes_session_acks_and_columns_along() -> None:
    world = World()
    world.step(0, (JOIN, 100, 8))
    world.step(0, **go(100, 1, 10))
    seq = 2
    while not (outcome := world.step(0, **go(100, seq, 10))).outbox:
        seq += 1
    assert outcome.acks[1].tolist() == [seq], "the tick he left with applied his input"
    sessions, shards, numbers = (c.tolist() for c in outcome.moved)
    assert (sessions, shards, numbers) == ([100], [1], [1])
    arrived = world.step(1)
    assert [c.tolist() for c in arrived.arrived] == [[100], [8]]
    outcome = world.step(1, (RESUME, 100, 8))
    assert [c.tolist() for c in outcome.joined] == [[100], [seq]]
    assert outcome.views[0].tolist() == [100]
    assert outcome.owns[0].tolist() == [100]
    assert world.step(1, **go(100, seq + 1, 1)).acks[1].tolist() == [seq + 1]
    players = world.cores[1].shard.players
    assert players.steps[players.rows_of(np.array([8]))].tolist() == [seq + 1]
    stub = world.cores[0].shard.players
    assert (stub.away.tolist(), stub.steps.tolist(), stub.session.tolist()) == ([2], [0], [0])


def wander(world: World, session: int, player: int) -> int:
    """Let a player who joined at shard 0 walk to shard 1 and on to shard 3. Returns his last input."""
    world.step(0, (JOIN, session, player))
    seq = 1
    for shard, (vx, vy) in ((0, (10, 0)), (1, (0, 10))):
        world.step(shard, **go(session, seq, vx, vy))
        seq += 1
        for _ in range(10):
            if world.step(shard).outbox:
                break
        world.step(world.outcomes[shard].moved[1][0])
    return seq - 1


def test_a_login_finds_the_player_by_his_stubs_and_replaces_him() -> None:
    world = World()
    wander(world, 100, 8)
    shard, hops = 0, 0
    while True:
        outcome = world.step(shard, (JOIN, 200, 8))
        if not len(outcome.moved[0]):
            break
        assert outcome.moved[0].tolist() == [200]
        shard, hops = int(outcome.moved[1][0]), hops + 1
    assert (shard, hops) == (3, 2)
    assert outcome.joined[0].tolist() == [200]
    assert [c.tolist() for c in outcome.closed] == [[100], [4001]]
    assert len(world.walkers()) == 1


def test_who_leaves_elsewhere_is_kept_at_home_for_his_next_visit() -> None:
    world = World()
    wander(world, 100, 8)
    world.step(3, (BYE, 100, 8))
    assert world.walkers() == []
    assert world.step(3, (JOIN, 150, 8)).moved[1].tolist() == [0], "sent home"
    outcome = world.step(0, (JOIN, 200, 8))
    assert outcome.joined[0].tolist() == [200]
    players = world.cores[0].shard.players
    assert players.steps.tolist() == [2]


def test_who_is_lost_while_he_crosses_waits_for_his_grace_time_over_there() -> None:
    world = World()
    world.step(0, (JOIN, 100, 8))
    world.cores[0].shard[Walker].at.x[:] = SIDE - 10
    world.step(0, (LOST, 100, 8), **go(100, 1, 64))
    world.step(0)
    world.cores[1].shard.begin_tick(500)
    assert world.step(1).arrived[0].tolist() == []
    for _ in range(30):
        world.step(1)
    assert world.walkers() == []


def test_a_resume_with_a_session_that_is_over_is_refused_at_home() -> None:
    world = World()
    wander(world, 100, 8)
    world.step(3, (BYE, 100, 8))
    assert [c.tolist() for c in world.step(0, (RESUME, 100, 8)).closed] == [[100], [4008]]


# ---------------------------------------------------------------- titles' messages


def test_a_message_reaches_the_owner_of_a_place_even_where_that_is_the_sender() -> None:
    world = World()
    shard = world.cores[0].shard
    shard.begin_tick(0)
    shard.send_to_place(Shout, np.array([10, SIDE + 10]), np.array([10, 10]), loud=np.array([1, 2**40]))
    assert [m.to_shard for m in world.step(0).outbox] == [0, 1]
    for receiver, loud in ((0, 1), (1, 2**40)):
        world.cores[receiver].step(TickInputs(messages=world.mail_for(receiver)))
        heard = world.cores[receiver].shard.messages(Shout)
        assert (heard.sender.tolist(), heard.entity.tolist(), heard.loud.tolist()) == ([0], [0], [loud])


def test_a_message_to_an_entity_follows_it() -> None:
    world = World()
    (walker,) = place(world, 0, SIDE - 10, vx=25).tolist()
    world.step(0)
    world.step(1)
    world.cores[3].shard.send_to_entity(Nod, np.array([walker]), 0)
    for shard in (3, 0, 1):
        assert world.step(shard).undelivered == 0
    assert world.cores[1].shard[Walker].heard.tolist() == [1]


def test_a_message_to_an_entity_that_leaves_with_the_same_tick_goes_after_it_at_once() -> None:
    world = World()
    (walker,) = place(world, 0, SIDE - 10, vx=25).tolist()
    world.cores[0].shard.send_to_entity(Shout, np.array([walker]), 0, loud=3)
    assert [m.to_shard for m in world.step(0).outbox] == [1, 1]
    world.step(1)
    assert world.cores[1].shard[Walker].heard.tolist() == [1]


def test_a_message_to_nobody_is_counted() -> None:
    world = World()
    world.cores[0].shard.send_to_entity(Nod, np.array([4 * 99]), 1)
    world.step(0)
    assert world.step(1).undelivered == 1


def test_a_message_with_other_fields_than_declared_is_refused() -> None:
    shard = World().cores[0].shard
    with pytest.raises(ValueError, match="loud"):
        shard.send_to_place(Shout, np.array([1]), np.array([1]), quiet=1)


def test_trails_are_forgotten_in_time() -> None:
    world = World()
    place(world, 0, SIDE - 10, vx=25)
    world.step(0)
    assert len(world.cores[0].shard.trail) == 1
    world.cores[0].shard.begin_tick(20 * 100 - 1)
    world.step(0)
    assert len(world.cores[0].shard.trail) == 0


# ---------------------------------------------------------------- conservation


@given(seed=st.integers(0, 2**32 - 1))
def test_nothing_is_lost_or_doubled_whatever_order_shards_step_and_recover_in(seed: int) -> None:
    """Shards step in any order, their mail comes late, and now and then one is brought back from its snapshot and
    journal: every walker is somewhere exactly once, and every replay gives the same state and the same messages.
    """
    chance = random.Random(seed)
    world = World()
    ids = [
        i for shard in range(4) for i in place(world, shard, world.cores[shard].shard.bounds[0] + 500, 0, 3).tolist()
    ]
    for core in world.cores:
        core.shard[Walker].at.vx[:] = [chance.randint(-4000, 4000) for _ in range(3)]
        core.shard[Walker].at.vy[:] = [chance.randint(-4000, 4000) for _ in range(3)]
    saved: list[tuple[bytes, list[tuple[TickInputs, tuple[ShardMessage, ...]]]]] = [
        (_saved(core), []) for core in world.cores
    ]
    for _ in range(60):
        shard = chance.randrange(4)
        messages = world.mail_for(shard) if chance.random() < 0.7 else ()
        inputs = TickInputs(messages=messages)
        outcome = world.cores[shard].step(inputs)
        saved[shard][1].append((inputs, outcome.outbox))
        for message in outcome.outbox:
            world.outboxes.setdefault((shard, message.to_shard), []).append(message)
        if chance.random() < 0.1:
            world.cores[shard] = _recovered(world, shard, *saved[shard])
        here = [i for _, i in world.walkers()]
        assert len(here) == len(set(here))
    world.everywhere(4)
    while world.in_transit():
        for shard in range(4):
            world.step(shard)
            for core in world.cores:
                core.shard[Walker].at.vx[:] = core.shard[Walker].at.vy[:] = 0
    assert sorted(i for _, i in world.walkers()) == sorted(ids)


def _saved(core: ShardCore) -> bytes:
    return snapshot.encode(snapshot.freeze(core), core, epoch=1, chain=b"", wall_ms=0)


def _recovered(world: World, shard: int, data: bytes, journal: Journal) -> ShardCore:
    core = ShardCore(world.cores[shard].contract, world.title, shard)
    snapshot.restore(core, data)
    for inputs, outbox in journal:
        assert core.step(inputs).outbox == outbox
    assert core.digest() == world.cores[shard].digest()
    return core
