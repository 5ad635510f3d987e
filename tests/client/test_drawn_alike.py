"""Both SDKs draw the same, whatever the network does to the messages; and what they draw is what they say they draw."""

from __future__ import annotations

import asyncio
import random

import pytest

from loadtest.drawn import Recording, by_javascript, by_python, differences
from overworld.client.networks import NETWORKS, Way, round_trip
from tests.browser.stage import Stage
from tests.browser.test_js_mirror import Recorder
from tests.client.lag import TICK_S

TICKS, FRAME_S = 200, 1 / 60
ROADS = {"20": round_trip(0.02), "80": round_trip(0.08), "200": round_trip(0.2), "wifi": NETWORKS["wifi"]}


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
    recording.frames = [1.0 + i * FRAME_S for i in range(int((TICKS * TICK_S - 1.0) / FRAME_S))]
    ours, theirs = by_python(recording, "Ship"), by_javascript(recording, "Ship")
    assert sum(len(drawn.places) for drawn in ours) > len(recording.frames)
    apart, worst = differences(ours, theirs)
    assert apart == 0
    assert worst < 1e-3
    same = sum(a.sight == b.sight for a, b in zip(ours, theirs, strict=True))
    assert same > 0.95 * len(ours), "seconds and milliseconds round differently now and then, not always"
