"""Figures out of scraped metrics."""

from __future__ import annotations

import pytest

from loadtest.metrics import Metrics, parse

TEXT = """
# TYPE wait_seconds histogram
wait_seconds_bucket{level="L1",le="1.0"} 10
wait_seconds_bucket{level="L1",le="2.0"} 30
wait_seconds_bucket{level="L1",le="+Inf"} 40
wait_seconds_count{level="L1"} 40
wait_seconds_sum{level="L1"} 60
wait_seconds_bucket{level="L2",le="1.0"} 0
wait_seconds_bucket{level="L2",le="2.0"} 8
wait_seconds_bucket{level="L2",le="+Inf"} 8
wait_seconds_count{level="L2"} 8
wait_seconds_sum{level="L2"} 12
"""


@pytest.fixture
def metrics() -> Metrics:
    return parse(TEXT)


@pytest.mark.parametrize(("share", "value"), [(0.25, 1.0), (0.5, 1.5), (0.75, 2.0), (0.99, 2.0)])
def test_quantiles_lie_within_their_bucket_and_never_beyond_the_last_bound(
    metrics: Metrics, share: float, value: float
) -> None:
    assert metrics.quantile("wait_seconds", share, level="L1") == pytest.approx(value)


def test_quantiles_of_all_labels_together_and_of_none(metrics: Metrics) -> None:
    assert metrics.quantile("wait_seconds", 14 / 48) == pytest.approx(1 + 4 / 28)
    assert metrics.quantile("wait_seconds", 0.5, level="L9") is None


def test_runs_add_up_and_what_was_before_is_taken_off(metrics: Metrics) -> None:
    twice = metrics.plus(metrics)
    assert twice.total("wait_seconds_count") == 96
    assert twice.since(metrics).samples == metrics.samples
    assert twice.mean("wait_seconds", level="L1") == pytest.approx(1.5)
