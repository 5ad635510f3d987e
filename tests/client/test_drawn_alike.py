"""Both SDKs draw the same, whatever the network does to the messages; and what they draw is what they say they draw."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from loadtest.drawn import Drawn, Recording, by_javascript, by_python, differences
from overworld.client.networks import NETWORKS, Way, round_trip
from overworld.client.prediction import short_way
from overworld.wire.v1 import client_pb2 as pb
from tests.browser.stage import Seat, Stage
from tests.browser.test_js_mirror import Recorder
from tests.client.lag import TICK_S

TICKS, FRAME_S = 200, 1 / 60
AHEAD_TICKS = 137
"""How many ticks the second shard has done before: shards count by themselves."""
ROADS = {"20": round_trip(0.02), "80": round_trip(0.08), "200": round_trip(0.2), "wifi": NETWORKS["wifi"]}


def drawn_by_both(recording: Recording) -> tuple[list[Drawn], list[Drawn]]:
    """Frames from the second second on."""
    recording.frames = [1.0 + i * FRAME_S for i in range(int((TICKS * TICK_S - 1.0) / FRAME_S))]
    return by_python(recording, "Ship"), by_javascript(recording, "Ship")


@pytest.mark.parametrize("road", list(ROADS))
def test_both_sdks_draw_the_same(road: str, seed: int) -> None:
    stage, recorder = Stage(size=256, shards=(1, 1), bots=12, seed=seed), Recorder()
    recording, way = Recording(), Way(ROADS[road], random.Random(seed), 0.0)

    async def play() -> None:
        stage.seat(recorder)
        for tick in range(TICKS):
            await stage.tick()
            now = tick * TICK_S
            recording.messages += [(way.arrival(len(data), now), data) for data in recorder.messages]
            recorder.messages.clear()

    asyncio.run(play())
    ours, theirs = drawn_by_both(recording)
    assert sum(len(drawn.places) for drawn in ours) > len(recording.frames)
    apart, worst = differences(ours, theirs)
    assert apart == 0
    assert worst < 1e-3
    same = sum(a.sight == b.sight for a, b in zip(ours, theirs, strict=True))
    assert same > 0.95 * len(ours), "seconds and milliseconds round differently now and then, not always"


async def across_shards(seed: int) -> Recording:
    """What a player receives who flies about among many in two shards that tick half a tick apart, and whose socket is
    lost once.
    """
    stage, recorder, chance = Stage(size=256, shards=(2, 1), bots=30, seed=seed), Recorder(), random.Random(seed)
    recording, way = Recording(), Way(round_trip(0.08), random.Random(seed), 0.0)
    pairs = list(zip(stage.cores, stage.inboxes, strict=True))
    for _ in range(AHEAD_TICKS):
        await stage._tick(*pairs[1])
    seat: Seat = stage.seat(recorder)
    for tick in range(TICKS):
        if tick % 7 == 0 and seat.welcomed:
            seat.seq += 1
            values = [chance.randint(-1, 1), chance.choice((1, 1, 0)), 0]
            stage.input(seat, pb.Input(seq=seat.seq, kind=0, values=values))
        if tick == 20:
            for number, session in enumerate([seat.session, *(bot.session for bot in stage.bots[:6])]):
                stage.send_across(session, distance=8 + 5 * number, speed=0.8)
        if tick == TICKS // 2:
            stage.seat(recorder, seat)
        for shard, pair in enumerate(pairs):
            await stage._tick(*pair)
            now = (tick + shard / 2) * TICK_S
            recording.messages += [(way.arrival(len(data), now), data) for data in recorder.messages]
            recorder.messages.clear()
    return recording


def test_both_sdks_draw_the_same_over_borders_of_shards(seed: int) -> None:
    recording = asyncio.run(across_shards(seed))
    ours, theirs = drawn_by_both(recording)
    compared = crossed = 0
    for a, b in zip(ours, theirs, strict=True):
        assert a.places.keys() == b.places.keys()
        assert a.delay_ms == pytest.approx(b.delay_ms)
        for entity, place in a.places.items():
            compared += 1
            # Seconds and milliseconds round to another 256th of a tick now and then: up to two units of way.
            assert place == pytest.approx(b.places[entity], abs=3.0)
            mine, others = a.more[entity], b.more[entity]
            assert mine[1:3] == pytest.approx(others[1:3], abs=1e-3)
            for angle in (0, 3):
                assert short_way(mine[angle] - others[angle], 256) == pytest.approx(0.0, abs=0.1)
    for before, after in itertools.pairwise(ours):
        for entity, (x, _) in before.places.items():
            crossed += entity in after.places and (x < 128 * 256) != (after.places[entity][0] < 128 * 256)
    assert compared > len(ours)
    assert crossed > 3, "nobody crossed the border"
