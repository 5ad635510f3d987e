"""The cases of clients/cases, which the JavaScript SDK's tests read too (clients/js/tests/cases.test.js)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from overworld.client.beat import Beats
from overworld.client.interpolation import Interpolator
from overworld.client.mirror import Mirror
from overworld.client.presence import Presence
from overworld.client.statistics import Histogram
from overworld.wire.v1 import client_pb2 as pb

CASES = Path(__file__).resolve().parents[2] / "clients" / "cases"
DRAWING = json.loads((CASES / "drawing.json").read_text())
HISTOGRAMS = json.loads((CASES / "histograms.json").read_text())


@pytest.mark.parametrize("case", DRAWING["cases"], ids=lambda case: case["name"])
def test_what_is_drawn(case: dict[str, Any]) -> None:
    mirror, beats = Mirror(), Beats()
    drawn = Interpolator(Presence(mirror), beats)
    messages = list(case["messages"])
    for now, entity, how, expected in case["draws"]:
        while messages and messages[0][0] <= now:
            at, told = messages.pop(0)
            told = {"welcomes": [DRAWING["welcome"]]} if "welcomes" in told else told
            assert mirror.apply(mirror.parse(ParseDict(told, pb.Frame()).SerializeToString()))
            beats.frame(mirror, at / 1000)
            drawn.frame(at / 1000)
        place = getattr(drawn, how)(entity, now / 1000)
        assert (place is None) == (expected is None), f"{how} at {now}"
        for column, value in (expected or {}).items():
            shown = place.angles[column] if column in place.angles else getattr(place, column)
            assert shown == pytest.approx(value, abs=1e-4), f"{how} {column} at {now}"


@pytest.mark.parametrize("case", HISTOGRAMS["cases"], ids=lambda case: case["name"])
def test_a_histogram(case: dict[str, Any]) -> None:
    histogram = Histogram()
    for us in case["times_us"]:
        histogram.record((us + 0.5) / 1_000_000)
    assert histogram.to_plain() == case["plain"]
    assert histogram.summary() == case["summary"]
    both = Histogram.from_plain(case["plain"])
    both.add(histogram)
    assert len(both) == 2 * len(case["times_us"])
    assert both.summary()["p50_ms"] == case["summary"]["p50_ms"]
