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
from overworld.wire.v1 import client_pb2 as pb

DRAWING = json.loads((Path(__file__).resolve().parents[2] / "clients" / "cases" / "drawing.json").read_text())


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
