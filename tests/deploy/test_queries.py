"""Every query of every dashboard and alert, answered by a real Prometheus that scrapes a small cluster under bots."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from loadtest.cluster import Cluster, Shape
from loadtest.crowd import Crowd, Order
from loadtest.panels import Panel, panels, quiet
from loadtest.prove.upgrade import targets
from tests.parts.prometheus import Prometheus, QueryFailed, Series
from tools.alert_rules import ALERTS, OF_THE_CLOCK, Alert

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

BOTS = 6
PAUSE_S = 0.1
SELECTOR = re.compile(r"overworld_[a-z0-9_]+(?:\{[^}]*\})?")
HAPPENED = (
    "overworld_blob_failures",
    "overworld_gateway_closes",
    "overworld_migration_seconds",
    "overworld_redis_unavailable",
)
"""Metrics whose series begin with their first event, as their labels cannot be known before."""


@dataclass
class Answers:
    """What Prometheus answered while everybody played."""

    found: dict[str, list[Series]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def asked() -> list[str]:
    return [*(panel.expr for panel in panels()), *(alert.query for alert in ALERTS)]


def selectors() -> set[str]:
    """The series that all of them choose from, labels and their values included."""
    return {found for query in asked() for found in SELECTOR.findall(query)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder, answers = tmp_path_factory.mktemp("asked"), Answers()
    shape = Shape(workers=1, gateways=1, shards="2x2", worker_env={"OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": "1"})
    async with Cluster(folder, shape) as cluster:
        order = Order((cluster.gateways[0].play_url,), "frontier", cluster.key, "main", BOTS)
        crowd = await Crowd(order, folder / "crowd.log").start()
        prometheus = Prometheus(folder / "prometheus", targets(cluster))
        try:
            await crowd.all_playing(60)
            await prometheus.start()
            await asyncio.to_thread(_until_rates_are_there, prometheus)
            for query in {*asked(), *selectors()}:
                try:
                    answers.found[query] = await asyncio.to_thread(prometheus.query, query)
                except QueryFailed as error:
                    answers.failed[query] = str(error)
            await crowd.leave()
        finally:
            prometheus.stop()
            crowd.kill()
    return answers


def _until_rates_are_there(prometheus: Prometheus) -> None:
    """Two scrapes at least, of everything; Prometheus waits no longer than that itself."""
    for _ in range(600):
        if len(prometheus.query("count_over_time(overworld_process[1m]) > 3")) == 2 and prometheus.query(
            "rate(overworld_snapshot_saved_total[15s]) > 0"
        ):
            return
        time.sleep(PAUSE_S)
    raise AssertionError("no rates within a minute")


def test_none_fails(answers: Answers) -> None:
    assert answers.failed == {}


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel.name)
def test_a_panel_has_data(answers: Answers, panel: Panel) -> None:
    assert answers.found[panel.expr] or quiet(panel), panel.expr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_no_alert_is_raised_while_all_is_well(answers: Answers, alert: Alert) -> None:
    assert answers.found[alert.query] == [] or alert.name in OF_THE_CLOCK, alert.query


def test_those_of_the_clock_are_alerts() -> None:
    assert {alert.name for alert in ALERTS} > OF_THE_CLOCK


@pytest.mark.parametrize("selector", sorted(selectors()))
def test_what_it_chooses_from_is_there_by_name_label_and_value(answers: Answers, selector: str) -> None:
    assert answers.found[selector] or selector.startswith(HAPPENED), selector


def test_values_are_of_the_unit_and_size_that_players_know(answers: Answers) -> None:
    shown = {panel.name: max((one.value for one in answers.found[panel.expr]), default=-1.0) for panel in panels()}
    assert shown["fleet / Players"] == shown["gateway / Sockets"] == BOTS
    assert shown["fleet / Shards without an owner"] == 0
    assert 1 < shown["players / Frames a second and player"] < 25
    assert 20 < shown["players / Bytes a second and player"] < 20_000
    assert shown["worker / Dilation"] >= 1
    assert 0 < shown["worker / Ticks within their budget"] <= 1
    assert shown["worker / Tick p50"] < 1
    assert shown["fleet / Memory"] > 10_000_000
