"""Prediction: the own avatar acts at once, and the server agrees."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.client.prediction import Columns, Command, Predictor, short_way
from overworld.titles.frontier.kinds import Ship
from tests.client.lag import LaggedWorld, Player

ROUND_TRIPS_S = (0.02, 0.08, 0.2)


def slide(columns: Columns, commands: Sequence[Command]) -> Columns:
    """The simplest title: a bead that is pushed to and fro."""
    after = dict(columns)
    for _, fields in commands:
        after["vx"] += fields["push"]
    after["x"] += after["vx"]
    return after


def bead(**more: float) -> Predictor:
    predictor = Predictor(slide, ("x", "y", "vx"), **more)  # type: ignore[arg-type]
    predictor.confirm(10, {"x": 0, "y": 0, "vx": 4}, 10.0, 0.0)
    return predictor


# ---------------------------------------------------------------- the predictor alone


def test_an_input_acts_at_its_tick_before_the_server_has_it() -> None:
    predictor = bead()
    predictor.command(1, 13, "Push", {"push": 6})
    assert [predictor.state(tick)["x"] for tick in range(10, 16)] == [0, 4, 8, 18, 28, 38]
    shown = predictor.at(13.5, 0.0)
    assert shown is not None
    assert shown["x"] == 23


def test_a_state_that_agrees_changes_nothing() -> None:
    predictor = bead()
    predictor.command(1, 11, "Push", {"push": 6})
    before = predictor.at(14.25, 0.5)
    predictor.acknowledged(1, 11)
    predictor.confirm(12, {"x": 20, "y": 0, "vx": 10}, 14.25, 0.5)
    assert predictor.at(14.25, 0.5) == before
    assert (predictor.figures.confirmed, predictor.figures.mispredicted) == (1, 0)


def test_inputs_on_the_way_are_played_again_upon_the_servers_state() -> None:
    predictor = bead()
    predictor.command(1, 11, "Push", {"push": 6})
    predictor.command(2, 14, "Push", {"push": -10})
    predictor.acknowledged(1, 11)
    # Something gave it a push of 5 and moved it.
    predictor.confirm(12, {"x": 100, "y": 0, "vx": 15}, 12.0, 0.0)
    assert [predictor.state(tick)["x"] for tick in range(12, 16)] == [100, 115, 120, 125]
    assert predictor.figures.mispredicted == 1
    assert predictor.figures.corrections == [80.0]


def test_a_correction_is_not_seen_at_once_and_melts_away() -> None:
    predictor = bead()
    shown = predictor.at(12.0, 1.0)
    predictor.confirm(11, {"x": 14, "y": 0, "vx": 4}, 12.0, 1.0)
    assert predictor.at(12.0, 1.0) == shown
    later = predictor.at(12.0, 2.0)
    assert later is not None
    assert later["x"] == pytest.approx(18, abs=0.01)


def test_a_leap_is_shown_at_once() -> None:
    predictor = bead(snap=50.0)
    predictor.confirm(11, {"x": 1000, "y": 0, "vx": 0}, 12.0, 1.0)
    shown = predictor.at(12.0, 1.0)
    assert shown is not None
    assert shown["x"] == 1000
    assert predictor.figures.snapped == 1


def test_a_late_input_is_played_where_the_server_did() -> None:
    predictor = bead()
    predictor.command(1, 11, "Push", {"push": 6})
    predictor.confirm(11, {"x": 4, "y": 0, "vx": 4}, 13.0, 0.0)
    assert predictor.figures.mispredicted == 1
    assert predictor.state(13)["x"] == 4 + 10 + 10
    assert predictor.acknowledged(1, 12) == 1
    predictor.confirm(12, {"x": 14, "y": 0, "vx": 10}, 13.0, 0.0)
    assert predictor.figures.mispredicted == 1
    assert predictor.figures.late == 1


def test_more_inputs_than_a_tick_takes_go_into_the_next() -> None:
    predictor = bead(inputs_per_tick_max=2)
    for seq in range(1, 6):
        predictor.command(seq, 11, "Push", {"push": 1})
    assert [predictor.state(tick)["vx"] for tick in range(10, 15)] == [4, 6, 8, 9, 9]


def test_an_input_waits_for_those_before_it() -> None:
    predictor = bead()
    predictor.command(1, 13, "Push", {"push": 1})
    predictor.command(2, 11, "Push", {"push": 1})
    assert [predictor.state(tick)["vx"] for tick in range(10, 15)] == [4, 4, 4, 6, 6]


def test_inputs_on_the_way_keep_their_place_in_another_shards_ticks() -> None:
    predictor = bead()
    predictor.command(1, 11, "Push", {"push": 1})
    predictor.command(2, 13, "Push", {"push": 1})
    predictor.acknowledged(1, 11)
    predictor.restart(1000)
    predictor.confirm(1011, {"x": 0, "y": 0, "vx": 5}, 1012.0, 0.0)
    assert [predictor.state(tick)["vx"] for tick in range(1011, 1015)] == [5, 5, 6, 6]


@given(st.floats(-1e6, 1e6), st.integers(2, 1000))
def test_the_short_way_round_is_short_and_leads_there(difference: float, modulo: int) -> None:
    short = short_way(difference, modulo)
    assert -modulo / 2 <= short <= modulo / 2
    assert math.isclose(math.remainder(difference - short, modulo), 0, abs_tol=1e-6)


# ---------------------------------------------------------------- with frontier's ships, over a network


def fly_about(player: Player, chance: random.Random) -> None:
    player.steer(chance.choice((-1, 0, 0, 1)), chance.choice((1, 1, 0, -1)))


async def flown(world: LaggedWorld, player: Player, seconds: float, every_s: tuple[float, float] = (0.1, 0.6)) -> None:
    chance = random.Random(world.seed)
    until = world.now + seconds
    while world.now < until:
        await world.run(chance.uniform(*every_s))
        fly_about(player, chance)
    await world.run(1.0)


@pytest.mark.parametrize("round_trip_s", ROUND_TRIPS_S)
def test_nobody_interferes_and_no_prediction_is_wrong(round_trip_s: float, seed: int) -> None:
    async def play() -> None:
        world = LaggedWorld(seed)
        player = world.join(round_trip_s, round_trip_s / 4)
        ships = world.stage.cores[0].shard[Ship]
        await world.run(3.0)
        ships.safe_tick = 1_000_000
        await flown(world, player, 5.0)
        assert player.steering is not None
        figures = player.steering.predictor.figures
        warm = figures.mispredicted
        await flown(world, player, 30.0)
        assert figures.confirmed > 500
        assert (figures.mispredicted - warm, figures.late) == (0, 0), figures.corrections[-5:]

    asyncio.run(play())


def test_hands_are_seen_at_once_however_far_the_server_is(seed: int) -> None:
    async def play() -> None:
        world = LaggedWorld(seed)
        player = world.join(0.2, 0.05)
        await world.run(4.0)
        assert player.steering is not None
        for turn in (1, -1) * 5:
            before = player.steering.shown(world.now)
            player.steer(turn, 0)
            await world.run(1 / 60)
            after = player.steering.shown(world.now)
            assert before is not None
            assert after is not None
            assert short_way(after["heading"] - before["heading"], 256) * turn > 0
            player.steer(0, 0)
            await world.run(0.3)

    asyncio.run(play())


def test_a_bump_is_corrected_softly_and_once(seed: int) -> None:
    async def play() -> None:
        world = LaggedWorld(seed)
        player = world.join(0.08, 0.02)
        await world.run(3.0)
        assert player.steering is not None
        assert player.seat is not None
        ships = world.stage.cores[0].shard[Ship]
        predictor = player.steering.predictor
        before = predictor.figures.mispredicted
        ships.at.x[0] += 512
        ships.at.vx[0] += 20
        widest, last = 0.0, player.steering.shown(world.now)
        for _ in range(60):
            await world.run(1 / 60)
            shown = player.steering.shown(world.now)
            assert shown is not None
            assert last is not None
            widest, last = max(widest, abs(shown["x"] - last["x"])), shown
        assert predictor.figures.mispredicted == before + 1
        assert 0 < widest < 512 / 3
        told = player.steering.columns()
        assert told is not None
        assert told[3]["vx"] == 20

    asyncio.run(play())


def test_prediction_goes_on_over_a_border(seed: int) -> None:
    async def play() -> None:
        world = LaggedWorld(seed, size=256, shards=(2, 1))
        player = world.join(0.08, 0.02)
        await world.run(3.0)
        assert player.steering is not None
        assert player.seat is not None
        home = player.steering.shard
        world.stage.send_across(player.seat.session, distance=20, speed=1.5)
        await world.run(0.3)
        figures = player.steering.predictor.figures
        before = figures.mispredicted
        chance = random.Random(seed)
        for _ in range(12):
            player.steer(chance.choice((-1, 1)), 0)
            await world.run(0.05)
            player.steer(0, 0)
            await world.run(0.2)
        assert player.steering.shard != home
        # The ticks of the crossing itself may be guessed wrong: what was under way was meant for the other's ticks.
        assert figures.mispredicted - before <= 4

    asyncio.run(play())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-3, 3)), max_size=30), st.integers(0, 5))
def test_it_is_never_wrong_where_the_server_keeps_the_ticks(pushes: list[tuple[int, int]], lag: int) -> None:
    """Inputs are made `lag` ticks ahead of the ticks told, and each is applied at its tick, four a tick at most."""
    predictor = Predictor(slide, ("x", "vx"))
    state: Columns = {"x": 0, "vx": 0, "y": 0}
    predictor.confirm(0, state, 0.0, 0.0)
    due, waiting = lag + 1, []
    for seq, (wait, push) in enumerate(pushes, 1):
        due += wait
        waiting.append((seq, due, push))
    to_send = list(waiting)
    for tick in range(1, due + len(pushes) + 2):
        while to_send and to_send[0][1] <= tick + lag:
            seq, at, push = to_send.pop(0)
            predictor.command(seq, at, "Push", {"push": push})
        predictor.at(tick + lag + 0.5, 0.0)
        now = [each for each in waiting[:4] if each[1] <= tick]
        del waiting[: len(now)]
        state = slide(state, [("Push", {"push": push}) for _, _, push in now])
        if now:
            predictor.acknowledged(now[-1][0], tick)
        predictor.confirm(tick, state, float(tick + lag), 0.0)
    assert not waiting
    assert predictor.figures.mispredicted == 0
    assert predictor.figures.confirmed == due + len(pushes) + 1
