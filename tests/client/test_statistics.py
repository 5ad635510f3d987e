"""Histograms and counters that add up."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.client.clock import ServerClock
from overworld.client.statistics import Histogram, Statistics

times_us = st.lists(st.integers(0, 2**40), min_size=1, max_size=200)


@given(times_us, st.floats(0, 1))
def test_a_quantile_is_right_to_a_sixty_fourth(values: list[int], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record((value + 0.5) / 1e6)
    exact = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    told = histogram.quantile_us(share)
    assert exact <= told <= exact * 65 / 64 + 1
    assert told <= histogram.maximum_us == max(values)
    assert len(histogram) == len(values)


def test_no_times_and_impossible_times() -> None:
    histogram = Histogram()
    assert histogram.summary() == {"count": 0, "mean_ms": 0.0, "p50_ms": 0, "p95_ms": 0, "p99_ms": 0, "max_ms": 0}
    histogram.record(-3.0)
    assert histogram.summary()["count"] == 1
    assert histogram.quantile_us(1.0) == 0


@given(times_us, times_us)
def test_histograms_add_up(some: list[int], others: list[int]) -> None:
    one, two, all_together = Histogram(), Histogram(), Histogram()
    for value in some:
        one.record(value / 1e6)
        all_together.record(value / 1e6)
    for value in others:
        two.record(value / 1e6)
        all_together.record(value / 1e6)
    one.add(two)
    assert one.to_plain() == all_together.to_plain()


def test_statistics_survive_json_and_add_up() -> None:
    statistics = Statistics(frames=3, broken=1, closes=Counter({1006: 2}))
    statistics.gap.record(0.05)
    copy = Statistics.from_plain(json.loads(json.dumps(statistics.to_plain())))
    assert copy.to_plain() == statistics.to_plain()
    copy.add(statistics)
    assert (copy.frames, copy.broken, copy.closes[1006], len(copy.gap)) == (6, 2, 4, 2)
    assert json.loads(json.dumps(copy.summary()))["closes"] == {"1006": 4}


@given(st.floats(-1000, 1000), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_servers_clock_is_known_to_within_half_the_best_round_trip(
    offset: float, trips: list[tuple[float, float]]
) -> None:
    clock, now = ServerClock(), 1000.0
    for there, back in trips:
        now += 5.0
        nonce = clock.ask(now)
        server_us = round((now + there + offset) * 1e6)
        trip = clock.answer(nonce, server_us, now + there + back)
        assert trip == pytest.approx(there + back, abs=1e-6)
    assert clock.offset_s is not None
    assert clock.error_s is not None
    assert abs(clock.offset_s - offset) <= clock.error_s + 1e-5


def test_unanswered_pings_are_forgotten_in_the_end() -> None:
    clock = ServerClock()
    nonces = [clock.ask(float(i)) for i in range(20)]
    assert clock.answer(nonces[0], 0, 20.0) is None
    assert clock.answer(nonces[-1], 0, 20.0) == 1.0
    assert clock.answer(nonces[-1], 0, 20.0) is None
