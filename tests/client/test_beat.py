"""The beat of ticks: what is drawn slows with the world, stands with it, and never jumps."""

from __future__ import annotations

import asyncio
import random

from overworld.client.beat import TickBeat
from overworld.wire.v1 import client_pb2 as pb
from tests.client.lag import LaggedWorld, Player

TICK_US = 50_000


def test_jitter_does_not_move_the_beat() -> None:
    chance = random.Random(7)
    beat = TickBeat()
    for tick in range(400):
        beat.observe(tick, TICK_US, 100.0 + tick * 0.05 + chance.random() * 0.03)
    assert abs(beat.time_of(400) - 120.0) < 0.003
    assert 0.02 < beat.jitter_s <= 0.03


def test_a_clock_that_drifts_is_followed() -> None:
    beat = TickBeat()
    for tick in range(5000):
        beat.observe(tick, TICK_US, tick * 0.05 * 1.0002)
    assert abs(beat.time_of(5000) - 5000 * 0.05 * 1.0002) < 0.003


def test_dilation_changes_the_pace_without_a_jump() -> None:
    """A tick says how long it lasts itself: the next one comes after that."""
    chance = random.Random(11)
    beat, now, interval_us = TickBeat(), 0.0, TICK_US
    for tick in range(400):
        before = beat.tick_at(now)
        assert not beat.observe(tick, interval_us, now) or tick == 0
        assert tick == 0 or abs(before - tick) < 0.001, "it came when it was drawn to come"
        assert tick == 0 or abs(beat.tick_at(now) - tick) < 0.001
        now += interval_us / 1e6
        if tick % 10 == 0:
            interval_us = round(TICK_US * chance.randint(16, 64) / 16)
    assert beat.jitter_max_s < 0.001


def test_while_the_world_stands_still_its_time_stands() -> None:
    beat = TickBeat()
    for tick in range(41):
        beat.observe(tick, TICK_US, tick * 0.05)
    beat.hold(2.025)
    stood = beat.tick_at(beat.time(2.025))
    assert abs(stood - 40.5) < 0.01
    assert beat.tick_at(beat.time(9.0)) == stood
    assert not beat.observe(41, TICK_US, 12.05), "ten seconds late, and not late at all"
    assert abs(beat.tick_at(beat.time(12.05)) - 41) < 0.01
    assert beat.jitter_max_s < 0.001


def test_a_stalled_world_stands_on_the_screen_and_goes_on_from_there(seed: int) -> None:
    async def play() -> None:
        world = LaggedWorld(seed)
        player = world.join(0.08, 0.02)
        await world.run(3.0)
        assert player.steering is not None
        player.steer(0, 1)
        await world.run(1.0)
        await tell(player, pb.Notice.CODE_STALLED)
        stood = player.steering.shown(world.now)
        # No tick and no message comes; only the player's own clock goes on.
        assert player.steering.shown(world.now + 30.0) == stood
        await tell(player, pb.Notice.CODE_RESUMED)
        assert player.steering.shown(world.now) == stood
        assert not player.session.stalled
        await world.run(2.0)
        assert player.steering.predictor.figures.mispredicted == 0

    asyncio.run(play())


async def tell(player: Player, code: pb.Notice.Code.ValueType) -> None:
    """The server says something to this player."""
    await player._receive(pb.Frame(notices=[pb.Notice(code=code)]).SerializeToString())
