"""Time stretches while there is more to do than time, and comes back: the decision, the clock, and a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from overworld.worker.clock import TickClock
from overworld.worker.dilation import COOL_S_MIN, FACTORS, HOT_S, Dilation, Pace
from tests.worker.cluster import Cluster, running, until
from tests.worker.test_service import ALL, playing

LOOK_S = 0.25


def looks(dilation: Dilation, late: float, lag: float, from_s: float, for_s: float) -> float:
    """Look again and again. Returns the factor after that."""
    for look in range(int(for_s / LOOK_S)):
        dilation.look(late, lag, from_s + look * LOOK_S)
    return dilation.factor


class TestDecision:
    def test_a_worker_that_keeps_up_stays_at_its_pace(self) -> None:
        assert looks(Dilation(4.0), 0.1, 0.2, 0.0, 60.0) == 1.0

    def test_a_moment_of_lateness_stretches_nothing(self) -> None:
        dilation = Dilation(4.0)
        dilation.look(3.0, 0.0, 0.0)
        assert dilation.look(0.0, 0.0, LOOK_S) == 1.0

    def test_late_ticks_stretch_time_step_by_step_up_to_the_bound(self) -> None:
        dilation = Dilation(2.0)
        assert looks(dilation, 0.6, 0.0, 0.0, HOT_S + LOOK_S) == 1.25
        assert looks(dilation, 0.6, 0.0, 1.0, 60.0) == 2.0

    def test_twice_as_bad_is_two_steps(self) -> None:
        assert looks(Dilation(4.0), 0.0, 2.5, 0.0, HOT_S + LOOK_S) == 1.5

    def test_a_lagging_gateway_stretches_time_too(self) -> None:
        assert looks(Dilation(4.0), 0.0, 1.2, 0.0, 1.0) > 1.0

    def test_it_comes_back_when_the_load_goes(self) -> None:
        dilation = Dilation(4.0)
        looks(dilation, 3.0, 0.0, 0.0, 10.0)
        assert dilation.factor == 4.0
        assert looks(dilation, 0.0, 0.0, 10.0, 100.0) == 1.0

    def test_a_step_down_too_many_is_tried_less_often_each_time(self) -> None:
        """A load of 1.4 ticks' work in a tick: 1.25 is too short, 1.5 is enough."""
        dilation, changes, now_s = Dilation(4.0), 0, 0.0
        for _ in range(int(120 / LOOK_S)):
            before = dilation.factor
            dilation.look(0.7 if before < 1.4 else 0.05, 0.0, now_s)
            changes += dilation.factor != before
            now_s += LOOK_S
        assert dilation.factor in (1.25, 1.5)
        assert changes < 2 * 120 / COOL_S_MIN / 2

    def test_one_never_stretches(self) -> None:
        assert looks(Dilation(1.0), 9.0, 9.0, 0.0, 60.0) == 1.0

    @given(heats=st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=200))
    def test_whatever_comes_it_moves_by_two_steps_at_most(self, heats: list[tuple[float, float]]) -> None:
        dilation, before = Dilation(4.0), 1.0
        for look, (late, lag) in enumerate(heats):
            factor = dilation.look(late, lag, look * LOOK_S)
            assert abs(FACTORS.index(factor) - FACTORS.index(before)) <= 2
            before = factor


class TestClock:
    @given(factor=st.sampled_from(FACTORS), ticks=st.integers(1, 50))
    def test_the_next_tick_is_due_a_new_interval_after_the_last(self, factor: float, ticks: int) -> None:
        clock = TickClock(50_000, 0.3, 0)
        last_ns = 0
        for _ in range(ticks):
            last_ns = clock.due_ns
            clock.begin_tick(last_ns)
        clock.stretch(round(50_000 * factor))
        assert clock.due_ns == last_ns + round(50_000 * factor) * 1000
        clock.begin_tick(clock.due_ns)
        clock.stretch(50_000)
        assert clock.due_ns == last_ns + round(50_000 * factor) * 1000 + 50_000_000


def test_lateness_is_the_mean_since_it_was_last_asked() -> None:
    pace = Pace()
    pace.began(25, 50)
    pace.began(75, 50)
    assert pace.take_late_part() == 1.0
    assert pace.take_late_part() == 0.0


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster(snapshot_interval_s=60.0)
    yield made
    await made.close()


@pytest.mark.asyncio
async def test_a_worker_at_another_pace_says_so_in_every_tick_and_leaves_none_out(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = [1.0]
    monkeypatch.setattr(Dilation, "look", lambda *_: decided[0])
    worker = await cluster.worker("a")
    await until(lambda: running(worker) == ALL, "it runs all shards")
    gateway = await playing(cluster, worker, 1)
    usual_us = cluster.contract.grid.tick_interval_us
    assert {out.message.tick_interval_us for out in gateway.of(1)} == {0}
    decided[0] = 2.0
    await until(lambda: gateway.of(1)[-1].message.tick_interval_us == 2 * usual_us, "clients are told of longer ticks")
    assert worker.status()["dilation"] == 2.0
    decided[0] = 1.0
    await until(lambda: gateway.of(1)[-1].message.tick_interval_us == 0, "and when they are as long as usual")
    ticks = [out.tick for out in gateway.of(1)]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks))), "no tick was left out"


@pytest.mark.asyncio
async def test_a_gateway_that_does_not_answer_stretches_time_until_it_is_gone(cluster: Cluster) -> None:
    worker = await cluster.worker("a")
    await until(lambda: running(worker) == ALL, "it runs all shards")
    gateway = await playing(cluster, worker, 1)
    link = gateway.links[worker.address]
    with patch.object(link, "_frame", lambda _body: None):
        await until(lambda: worker.status()["dilation"] > 1.0, "time stretches")
    gateway.close()
    await until(lambda: worker.status()["dilation"] == 1.0, "and comes back", seconds_max=60.0)
