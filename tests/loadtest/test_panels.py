"""The dashboards' queries, and the runbook's steps that the proof of upgrades follows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.panels import QUIET, Panel, Shown, Watch, filled, panels, quiet
from loadtest.prove.proof import Proof
from loadtest.prove.upgrade import ALWAYS, STEPS, check_panels, steps
from tests.parts.prometheus import Prometheus, Series


def test_variables_of_grafana_are_filled_in() -> None:
    assert filled('rate(a_total{instance=~"$worker"}[$__rate_interval])') == 'rate(a_total{instance=~".*"}[15s])'
    assert filled('max(a{shard=~"${shard:regex}"})') == 'max(a{shard=~".*"})'


def test_panels_are_read_from_rows_too(tmp_path: Path) -> None:
    panel: dict[str, Any] = {"title": "Players", "targets": [{"expr": "sum(players)"}]}
    board = {"panels": [{"title": "Row", "panels": [panel]}, {**panel, "title": "Again"}]}
    (tmp_path / "fleet.json").write_text(json.dumps(board))
    assert panels(tmp_path) == [Panel("fleet / Players", "sum(players)"), Panel("fleet / Again", "sum(players)")]


def test_a_dashboard_of_a_role_asks_that_role_alone() -> None:
    found = {panel.name: panel.expr for panel in panels()}
    assert 'instance=~"worker-.*"' in found["worker / Entities"]
    assert 'instance=~"gateway-.*"' in found["gateway / Sockets"]
    assert 'instance=~".*"' in found["fleet / Players"]


def test_only_panels_of_rare_events_may_be_empty() -> None:
    titles = {panel.name.split(" / ", 1)[1] for panel in panels()}
    assert titles >= QUIET
    assert not any(quiet(panel) for panel in ALWAYS)


def test_the_proof_does_the_steps_of_the_runbook() -> None:
    assert steps() == list(STEPS)


class _Answers(Prometheus):
    """Answers without a server."""

    def __init__(self, answer: list[Series]) -> None:
        self.answer = answer

    def query(self, expr: str) -> list[Series]:
        return self.answer


@pytest.mark.parametrize(("whens", "broken"), [(("before", "during", "after"), 0), (("before", "during"), 2)])
def test_a_panel_without_data_breaks_the_proof(whens: tuple[str, ...], broken: int) -> None:
    proof = Proof("upgrade")
    watch = Watch(_Answers([Series({}, 6.0), Series({}, 2.0)]), [Panel("own / Up", "sum(up)")])
    for when in whens:
        asyncio.run(watch.look(when))
    check_panels(proof, watch, processes=6)
    assert len(proof.broken) == broken
    assert watch.shown[0].span("before") == [6.0, 6.0]
    assert watch.shown[0].series == 2


def test_what_was_never_shown_has_no_span() -> None:
    shown = Shown(Panel("a", "b"))
    shown.note("before", [])
    assert shown.span("before") is None
    assert not shown.has_data
