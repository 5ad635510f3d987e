"""Time stretches while there is more to do than time, and comes back: the decision, the clock, and a worker."""

from __future__ import annotations

import random
import statistics
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import pairwise
from unittest.mock import patch

import pytest
import pytest_asyncio
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from overworld.worker.clock import TickClock
from overworld.worker.dilation import (
    BUSY_MAX,
    LATE_PART,
    LONGER_MAX,
    NOTCHES,
    SHORTER_MAX,
    Dilation,
    Pace,
    Seen,
)
from tests.worker.cluster import Cluster, running, until
from tests.worker.test_service import ALL, playing

LOOK_S = 0.25
TICK_S = 0.05
SETTLE_S = 40.0
factors = st.integers(NOTCHES, 4 * NOTCHES).map(lambda notches: notches / NOTCHES)


@dataclass
class Machine:
    """A process with a core: `work` is what a second of undilated ticks takes of a second, `fixed` is done whatever the
    pace, `others` take the rest of the core that they need (as much more as `work` does, where ticks come faster).
    """

    work: float
    fixed: float = 0.0
    others: float = 0.0
    noise: Callable[[], float] = lambda: 1.0
    backlog_s: float = 0.0

    def run(self, factor: float, span_s: float) -> Seen:
        """So long at a pace. Ticks are late by the backlog, and by three intervals at most: more is skipped."""
        core = max(0.0, 1 - self.others / factor)
        need_s = (self.work / factor + self.fixed) * self.noise() * span_s
        done_s = min(core * span_s, need_s + self.backlog_s)
        self.backlog_s = min(self.backlog_s + need_s - done_s, 3 * TICK_S * factor)
        # Others run while it waits: of the time that it needs a core, it has one for this part.
        busy = done_s / span_s / core if core else 1.0
        return Seen(self.backlog_s / (TICK_S * factor), 0.0, min(1.0, busy))


def play(dilation: Dilation, machine: Machine, from_s: float, for_s: float) -> list[float]:
    """Look again and again. Returns the factors."""
    found = []
    for look in range(round(for_s / LOOK_S)):
        seen = machine.run(dilation.factor, LOOK_S)
        found.append(dilation.look(seen, from_s + look * LOOK_S))
    return found


def changes(found: list[float]) -> int:
    """How often the factor became another."""
    return sum(before != after for before, after in pairwise(found))


def late(part: float) -> Seen:
    """Ticks begin late, and every process has much to do."""
    return Seen(part, 0.0, 1.0)


class TestDecision:
    def test_a_worker_that_keeps_up_stays_at_its_pace(self) -> None:
        assert set(play(Dilation(4.0), Machine(0.95), 0.0, 60.0)) == {1.0}

    def test_a_moment_of_lateness_stretches_nothing(self) -> None:
        dilation = Dilation(4.0)
        dilation.look(late(3.0), 0.0)
        assert dilation.look(late(0.0), LOOK_S) == 1.0

    def test_late_ticks_stretch_time_within_a_second(self) -> None:
        assert play(Dilation(4.0), Machine(1.5), 0.0, 1.5)[-1] > 1.0

    def test_the_worse_it_is_the_longer_the_step(self) -> None:
        little, much = Dilation(4.0), Dilation(4.0)
        for look in range(3):
            little.look(late(0.5), look * LOOK_S)
            much.look(late(3.0), look * LOOK_S)
        assert little.factor == 1.125
        assert much.factor == 1.5

    def test_a_lagging_gateway_stretches_time_too(self) -> None:
        dilation = Dilation(4.0)
        assert [dilation.look(Seen(0.0, 1.2, 0.3), look * LOOK_S) for look in range(3)][-1] > 1.0

    def test_a_backlog_that_is_worked_off_stretches_nothing_more(self) -> None:
        dilation, lates = Dilation(4.0), [3.0 - 0.1 * look for look in range(20)]
        assert [dilation.look(late(part), look * LOOK_S) for look, part in enumerate(lates)][-1] == 1.0

    def test_one_never_stretches(self) -> None:
        assert set(play(Dilation(1.0), Machine(9.0), 0.0, 60.0)) == {1.0}

    def test_the_bound_need_be_no_whole_notch(self) -> None:
        assert max(play(Dilation(1.3), Machine(9.0), 0.0, 60.0)) == 1.3

    @given(work=st.floats(0.0, 3.3), fixed=st.floats(0.0, 0.15), seed=st.integers(0, 1 << 30))
    def test_under_a_constant_load_it_settles_where_the_load_fits_and_stays(
        self, work: float, fixed: float, seed: int
    ) -> None:
        assume(not 0.95 < work + fixed < 1.0)  # what is there is enough, but not for what it varies by
        chance = random.Random(seed)
        machine, dilation = Machine(work, fixed, noise=lambda: chance.uniform(0.97, 1.03)), Dilation(4.0)
        play(dilation, machine, 0.0, SETTLE_S)
        after = play(dilation, machine, SETTLE_S, 300.0)
        assert changes(after) <= 1, "it never swings"
        assert after == sorted(after, reverse=True), "nor has to take anything back"
        assert work / after[-1] + fixed < 1.03, "the load fits"
        least = max(1.0, work / (BUSY_MAX - fixed))
        assert after[-1] <= 1.13 * least + 1 / NOTCHES, "and time is no slower than that takes"
        assert machine.backlog_s < LATE_PART * TICK_S * after[-1]

    @given(work=st.floats(1.0, 20.0), left=st.floats(0.0, 0.7), for_s=st.floats(5.0, 120.0))
    def test_it_comes_back_within_seconds_when_the_load_goes(self, work: float, left: float, for_s: float) -> None:
        dilation = Dilation(4.0)
        machine = Machine(work)
        play(dilation, machine, 0.0, for_s)
        machine.work = left
        assert play(dilation, machine, for_s, 8.0)[-1] == 1.0

    @settings(max_examples=50)
    @given(work=st.floats(0.1, 1.5), others=st.floats(0.1, 1.5), seed=st.integers(0, 1 << 30))
    def test_where_others_share_the_core_it_swings_less_and_less(self, work: float, others: float, seed: int) -> None:
        """The others have more to do too where ticks come faster, which nobody can foretell."""
        chance = random.Random(seed)
        machine = Machine(work, others=others, noise=lambda: chance.uniform(0.97, 1.03))
        dilation = Dilation(4.0)
        play(dilation, machine, 0.0, 300.0)
        after = play(dilation, machine, 300.0, 600.0)
        assert sum(now > before for before, now in pairwise(after)) <= 8, "three tries, and what each takes to mend"
        assert (work + others) / statistics.fmean(after) < 1.05

    @given(work=st.floats(0.1, 1.5), others=st.floats(0.1, 1.5), left=st.floats(0.0, 0.2))
    def test_what_it_learned_of_the_others_does_not_keep_it_from_coming_back(
        self, work: float, others: float, left: float
    ) -> None:
        machine, dilation = Machine(work, others=others), Dilation(4.0)
        play(dilation, machine, 0.0, 300.0)
        machine.work, machine.others = left, 0.0
        assert play(dilation, machine, 300.0, 10.0)[-1] == 1.0

    @given(waves=st.integers(3, 6), most=st.floats(2.2, 3.0))
    def test_players_who_keep_coming_teach_it_nothing_wrong(self, waves: int, most: float) -> None:
        """The load grows in waves, while time gets shorter between them; in the end it is no slower than it must be."""
        machine, dilation = Machine(0.9), Dilation(4.0)
        for wave in range(waves):
            machine.work += (most - 0.9) / waves
            # Newcomers cost more than those who play.
            machine.fixed = 0.4
            play(dilation, machine, 10.0 * wave, 3.0)
            machine.fixed = 0.0
            play(dilation, machine, 10.0 * wave + 3, 7.0)
        assert dilation.factor <= 1.15 * machine.work / BUSY_MAX

    @given(looks=st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10), st.floats(0, 1)), max_size=200))
    def test_whatever_comes_it_keeps_within_its_steps_and_bounds(self, looks: list[tuple[float, float, float]]) -> None:
        dilation, before = Dilation(4.0), 1.0
        for look, seen in enumerate(looks):
            factor = dilation.look(Seen(*seen), look * LOOK_S)
            assert 1.0 <= factor <= 4.0
            assert before / SHORTER_MAX <= factor <= before * LONGER_MAX + 1 / NOTCHES
            assert factor * NOTCHES == round(factor * NOTCHES)
            before = factor


class TestClock:
    @given(factor=factors, ticks=st.integers(1, 50))
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
