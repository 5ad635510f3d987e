"""Alert rules: promtool reads them and runs their tests, the runbook has what they point to, and the code has what they
ask for. Dashboards ask for what the code has, too.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client.metrics import MetricWrapperBase

import overworld.telemetry
from tools import alerts, dashboards
from tools.alert_rules import ALERTS, Alert

ROOT = Path(__file__).resolve().parents[2]
METRIC = re.compile(r"\boverworld_[a-z0-9_]+")
ENDS = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}


def known() -> set[str]:
    """Every series that a process gives."""
    families = [f for f in prometheus_client.REGISTRY.collect() if f.name.startswith("overworld_")]
    return {f.name + end for f in families for end in ENDS.get(f.type, ("",))}


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_files_are_fresh() -> None:
    assert {name: (alerts.FOLDER / name).read_text() for name in alerts.written()} == alerts.written()


def test_promtool_reads_them() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(alerts.FOLDER / "overworld.yaml"))


def test_each_is_raised_when_it_must_be_and_not_when_it_must_not() -> None:
    promtool("test", "rules", str(alerts.FOLDER / "overworld_test.yaml"))


def test_promtools_tests_can_fail(tmp_path: Path) -> None:
    """A threshold that nobody reaches is found."""
    rules, tests = alerts.written().values()
    (tmp_path / "overworld.yaml").write_text(rules.replace("overworld_dilation > 1", "overworld_dilation > 99"))
    (tmp_path / "overworld_test.yaml").write_text(tests)
    with pytest.raises(AssertionError, match="OverworldTimeDilates"):
        promtool("test", "rules", str(tmp_path / "overworld_test.yaml"))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_it_asks_for_metrics_of_ours_and_leads_to_a_section(alert: Alert) -> None:
    assert set(METRIC.findall(alert.query)) <= known()
    assert f"\n## {alert.section}\n" in (ROOT / "deploy" / "runbook.md").read_text()


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_dashboards_ask_for_metrics_of_ours(name: str) -> None:
    board = json.loads((ROOT / "deploy" / "grafana" / f"{name}.json").read_text())
    asked = set(METRIC.findall(json.dumps(board["panels"])))
    assert asked
    assert asked <= known()


def test_what_is_grouped_by_are_labels_that_something_has() -> None:
    asked = [alert.query for alert in ALERTS] + [
        p.query for _, _, panels in dashboards.DASHBOARDS.values() for p in panels
    ]
    families = [f for f in prometheus_client.REGISTRY.collect() if f.name.startswith("overworld_")]
    declared = {
        metric: set(getattr(metric, "_labelnames", ()))
        for metric in vars(overworld.telemetry).values()
        if isinstance(metric, MetricWrapperBase)
    }
    assert len(declared) == len(families)
    by_name = {str(metric._name): labels for metric, labels in declared.items()}
    for query in asked:
        # Whatever stands in the parentheses that follow a `by`.
        for labels, inside in re.findall(r"by \(([a-z_, ]+)\) \(([^()]*(?:\([^()]*\))?)", query):
            names = [re.sub("_(total|bucket|count|sum)$", "", name) for name in METRIC.findall(inside)]
            known = set().union(*(by_name[name] for name in names)) | {"instance", "namespace", "le"}
            assert set(labels.split(", ")) <= known, query
