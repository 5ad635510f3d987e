"""Who claims to have seen what nobody was told is counted; who crosses shards behind a slow network never is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from overworld.client.interpolation import Interpolator
from overworld.client.presence import Presence
from overworld.gateway import foresight
from overworld.gateway.foresight import PAST_S, SETTLED_S, Foresight
from overworld.gateway.suspicion import SEEN_AHEAD
from overworld.wire.v1 import client_pb2 as pb
from tests.browser.stage import Seat
from tests.client.lag import LaggedWorld, Player
from tests.gateway.arena import Arena, until

ROUND_TRIP_S = 0.2
LATE_WORD_S = 1.0
"""The word of a crossing is up to so much later at the gateway than the frames that show it."""


@pytest.fixture
def seed() -> int:
    """Another one every time; a failing test's report shows it among the arguments."""
    return random.SystemRandom().randrange(2**31)


def told(*ticks: int) -> foresight.Told:
    """What the shards have told, by number."""
    return {shard: (1, tick) for shard, tick in enumerate(ticks)}


def test_a_claim_is_a_lie_once_it_is_settled() -> None:
    claims = Foresight()
    claims.ahead(101, told(100, 200), 5.0)
    claims.ahead(150, told(100, 200), 6.0)
    assert claims.settled(5.0 + SETTLED_S - 0.1) == 0
    assert claims.settled(5.0 + SETTLED_S) == 1
    assert claims.settled(100.0) == 1
    assert claims.settled(200.0) == 0


def test_what_no_shard_had_told_is_a_lie_at_once() -> None:
    claims = Foresight()
    claims.ahead(201, told(100, 200), 5.0)
    claims.moved(0, 1, 5.0)
    assert claims.settled(5.0) == 1
    assert claims.settled(100.0) == 0


def test_what_the_shard_that_was_left_has_told_is_no_lie_for_a_while() -> None:
    claims, newest = Foresight(), told(5000, 100)
    claims.moved(0, 1, 10.0)
    claims.ahead(5000, newest, 10.0 + PAST_S - 1)
    assert claims.settled(10.0 + 2 * PAST_S) == 0
    claims.ahead(5001, newest, 11.0)
    assert claims.settled(11.0 + SETTLED_S) == 1, "not even that shard has told of it"
    claims.ahead(101, newest, 10.0 + PAST_S)
    assert claims.settled(10.0 + PAST_S + SETTLED_S) == 1, "no input is so long on its way"


def test_the_word_of_a_move_may_come_after_what_it_explains() -> None:
    claims, newest = Foresight(), told(100, 5000)
    claims.ahead(4990, newest, 10.0)
    claims.ahead(5050, newest, 10.0)
    claims.moved(0, 1, 10.0 + SETTLED_S - 1)
    assert claims.settled(10.0 + SETTLED_S) == 1, "not even there had it been told"


def test_who_resumed_is_believed_for_a_while() -> None:
    claims = Foresight()
    claims.resumed(10.0)
    claims.ahead(7, told(5), 10.0 + PAST_S - 1)
    assert claims.settled(10.0 + 3 * PAST_S) == 0
    claims.ahead(7, told(5), 10.0 + PAST_S)
    assert claims.settled(10.0 + PAST_S + SETTLED_S) == 1


def test_memory_is_bounded() -> None:
    claims = Foresight()
    for i in range(10_000):
        claims.ahead(1000, told(5, 2000), 1.0)
        claims.moved(100 + i, 0, 1.0)
    assert 0 < claims.settled(1.0 + SETTLED_S) <= 64


class Gate:
    """The gateway's place between the stage and its players. Some players lie in some inputs."""

    def __init__(self, world: LaggedWorld, liars: set[int], chance: random.Random) -> None:
        self.world = world
        self.lies = dict.fromkeys(range(len(world.players)), 0)
        self.counted = dict.fromkeys(range(len(world.players)), 0)
        self.crossings = 0
        self._liars, self._chance = liars, chance
        self._claims = [Foresight() for _ in world.players]
        self._homes = [self._seat(number).shard for number in self.lies]
        self._words: list[tuple[float, int, int]] = []
        self._known = list(self._homes)
        self._pass_on = world.stage.input

    def _seat(self, number: int) -> Seat:
        seat = self.world.players[number].seat
        assert seat is not None
        return seat

    @property
    def told(self) -> foresight.Told:
        return told(*(core.tick for core in self.world.stage.cores))

    def input(self, seat: Seat, message: pb.Input) -> None:
        """One arrives."""
        number = next(n for n in self.lies if self._seat(n) is seat)
        if number in self._liars and self._chance.random() < 0.2:
            message.seen_tick = max(tick for _, tick in self.told.values()) + self._chance.choice((1, 2, 20, 100_000))
            self.lies[number] += 1
        if message.seen_tick > self.told[self._homes[number]][1]:
            self._claims[number].ahead(message.seen_tick, self.told, self.world.now)
        self._pass_on(seat, message)

    def sweep(self) -> None:
        """Time passes: words of moves come, claims settle."""
        now = self.world.now
        for number in self.lies:
            shard = self._seat(number).shard
            if shard != self._known[number]:
                self._known[number] = shard
                self.crossings += 1
                self._words.append((now + self._chance.random() * LATE_WORD_S, number, shard))
            self.counted[number] += self._claims[number].settled(now)
        for word in [word for word in self._words if word[0] <= now]:
            self._words.remove(word)
            _, number, shard = word
            self._claims[number].moved(self._homes[number], shard, now)
            self._homes[number] = shard


def looking(player: Player) -> Iterator[int]:
    """What an honest client says it sees, each time it is asked."""
    assert player.steering is not None
    others = Interpolator(Presence(player.mirror), player.steering.beats)
    player.on_frame.append(others.frame)
    while True:
        sight = others.sight(player.steering.shard, player.world.now)
        yield sight.tick if sight is not None else 0


@pytest.mark.parametrize("older", [0, 1])
def test_honest_crossings_behind_200_ms_are_never_counted_and_lies_always(
    older: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> Gate:
        chance = random.Random(seed)
        world = LaggedWorld(seed, size=256, shards=(2, 1))
        stage = world.stage
        for _ in range(300):
            await stage._tick(stage.cores[older], stage.inboxes[older])
        players = [world.join(ROUND_TRIP_S, ROUND_TRIP_S / 4) for _ in range(3)]
        await world.run(3.0)
        gate = Gate(world, {2}, chance)
        monkeypatch.setattr(stage, "input", gate.input)
        eyes = [looking(player) for player in players]
        for step in range(160):
            await world.run(0.1)
            gate.sweep()
            if step % 40 == 0:
                for player in players:
                    assert player.seat is not None
                    stage.send_across(player.seat.session, distance=chance.uniform(4, 12), speed=1.2)
            for player, eye in zip(players, eyes, strict=True):
                assert player.steering is not None
                hands = {"turn": 0, "thrust": 0, "fire": 0}
                assert player.steering.send("Steer", hands, world.now, next(eye)) is not None
                player.flush()
        monkeypatch.undo()
        await world.run(1.0)
        for _ in range(int(SETTLED_S) + 2):
            await world.run(1.0)
            gate.sweep()
        return gate

    gate = asyncio.run(play())
    assert gate.crossings >= 6
    assert gate.lies[0] == gate.lies[1] == 0
    assert gate.lies[2] > 10
    assert gate.counted == gate.lies


@pytest.mark.asyncio
@pytest.mark.parametrize("lane", [True, False])
async def test_a_gateway_counts_them_by_player(lane: bool, arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foresight, "SETTLED_S", 0.5)
    await arena.worker()
    gateway = await arena.gateway(lane=lane)
    honest, liar = await arena.player(gateway, "anna"), await arena.player(gateway, "bert")
    home = gateway.players._sessions[arena.session(liar)].session.shard
    mine = gateway.players._sessions[arena.session(honest)].session.shard
    told_of = gateway.players.rules.told
    for seq in range(1, 9):
        honest.input(seq, 0, 0, seen_tick=told_of[mine][1])
        liar.input(seq, 0, 0, seen_tick=told_of[home][1] + (1000 if seq % 2 else 0))
    await liar.until(lambda: liar.acked == 8, "acks")
    await honest.until(lambda: honest.acked == 8, "acks")
    book = gateway.players.suspicion
    await until(lambda: sum(sum(counts.values()) for _, counts in book.worst(10)) >= 4, "the lies counted")
    ((player, counts),) = book.worst(10)
    assert player == gateway.players._sessions[arena.session(liar)].session.player
    assert counts == {SEEN_AHEAD: 4}
