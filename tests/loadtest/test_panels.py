"""The dashboards' queries, and the runbook's steps that the proof of upgrades follows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.panels import Panel, Shown, Watch, filled, panels
from loadtest.prove.proof import Proof
from loadtest.prove.upgrade import ALWAYS, RARE, STEPS, check_panels, steps
from tests.parts.prometheus import Prometheus, Series


def test_variables_of_grafana_are_filled_in() -> None:
    assert filled('rate(a_total{instance=~"$worker"}[$__rate_interval])') == 'rate(a_total{instance=~".*"}[1m])'
    assert filled('max(a{shard=~"${shard:regex}"})') == 'max(a{shard=~".*"})'


def test_panels_are_read_from_rows_too(tmp_path: Path) -> None:
    panel: dict[str, Any] = {"title": "Players", "targets": [{"expr": "sum(players)"}]}
    board = {"panels": [{"title": "Row", "panels": [panel]}, {**panel, "title": "Again"}]}
    (tmp_path / "fleet.json").write_text(json.dumps(board))
    assert panels(tmp_path) == [Panel("fleet / Players", "sum(players)"), Panel("fleet / Again", "sum(players)")]


def test_only_panels_of_rare_events_may_be_empty() -> None:
    assert RARE.search("sum by (code) (rate(overworld_gateway_closes_total[1m]))")
    assert RARE.search("sum by (error) (rate(overworld_blob_failures_total[1m]))")
    assert not any(RARE.search(panel.expr) for panel in ALWAYS)


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
