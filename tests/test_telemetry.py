"""docs/metrics.md and telemetry.py say the same."""

from __future__ import annotations

import prometheus_client
from prometheus_client.metrics import MetricWrapperBase

from overworld import telemetry
from tools.metrics_page import PAGE, metrics, page


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "run `python -m tools.metrics_page`"


def test_the_page_has_every_metric_that_is_registered() -> None:
    ours = {family.name for family in prometheus_client.REGISTRY.collect() if family.name.startswith("overworld_")}
    assert {metric.name.removesuffix("_total") for metric in metrics()} == ours
    declared = [value for value in vars(telemetry).values() if isinstance(value, MetricWrapperBase)]
    assert len(declared) == len(ours) == len(metrics())


def test_only_single_shards_are_named_by_a_label() -> None:
    known = {
        "call", "cause", "code", "direction", "end", "error", "from", "level", "operation", "outcome", "phase", "queue",
        "reason", "result", "role", "shard", "state", "status", "step", "title", "title_version", "to", "version",
        "what", "why",
    }  # fmt: skip
    for metric in metrics():
        assert set(metric.labels) <= known, metric
        assert ("shard" in metric.labels) == metric.name.startswith("overworld_shard_") or metric.kind == "counter"


def test_units_and_meanings_are_said() -> None:
    assert [m.name for m in metrics() if len(m.text.split()) < 3 and m.name != "overworld_links"] == []
    assert [m.name for m in metrics() if m.name.endswith(("_ms", "_s", "_millis", "_kb"))] == []
