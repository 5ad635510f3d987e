"""docs/metrics.md and telemetry.py say the same."""

from __future__ import annotations

import re
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from overworld import telemetry
from overworld.gateway.suspicion import REASONS, SEEN_AHEAD
from overworld.store.resp import Trouble
from overworld.worker.leases import Vacancy
from overworld.worker.shard_loop import End
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


@pytest.mark.parametrize("counter", telemetry.BEGUN, ids=lambda counter: str(counter._name))
def test_every_value_that_the_code_counts_by_begins_at_0(counter: Counter) -> None:
    """A literal that is counted by and not listed would begin at 1, and no alert would see its first event."""
    name = next(name for name, value in vars(telemetry).items() if value is counter)
    sources = [path.read_text() for path in Path(telemetry.__file__).parent.rglob("*.py")]
    counted = {value for text in sources for value in re.findall(rf'telemetry\.{name}\.labels\("([^"]+)"', text)}
    assert counted <= set(telemetry.BEGUN[counter])


def test_enumerations_that_are_counted_by_begin_at_0() -> None:
    begun = {
        name: set(telemetry.BEGUN[getattr(telemetry, name)])
        for name in vars(telemetry)
        if name.endswith("_total") and getattr(telemetry, name) in telemetry.BEGUN
    }
    assert begun["takeovers_total"] == {why.value for why in Vacancy} | {"migration"}
    assert begun["journal_retries_total"] >= {trouble.value for trouble in Trouble}
    assert begun["gateway_suspicious_total"] == {*REASONS.values(), SEEN_AHEAD}
    # A shard that stands still for another worker, or begins its journal anew, has not ended.
    passing = {End.REBASE.value, End.YIELDING.value}
    assert begun["shard_ended_total"] == {end.value for end in End} - passing | {"failed", "crashed"}
