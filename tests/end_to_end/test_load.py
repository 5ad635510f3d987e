"""The swarm against a real cluster: a planted fault fails its run by name, a clean run passes, chaos does no harm."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loadtest.prove import loadtest_catches
from loadtest.prove.proof import Proof
from loadtest.swarm.report import page
from loadtest.swarm.run import run
from loadtest.swarm.scenario import Scenario
from loadtest.swarm.target import local

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
OPTIONS = loadtest_catches.Options(bots=24, seconds=12)


@pytest.mark.parametrize("fault", ["clean", "dropped-input", "wrong-field"])
def test_a_planted_fault_fails_the_run_by_its_name(fault: str, tmp_path: Path) -> None:
    proof = Proof("loadtest-catches")
    result = asyncio.run(loadtest_catches.play(OPTIONS, tmp_path, fault))
    loadtest_catches.judge(proof, fault, result)
    assert proof.broken == []


def test_chaos_comes_at_its_time_and_the_game_stays_correct(tmp_path: Path) -> None:
    chaos = [
        {"at_s": 4, "do": "kill", "target": "worker-0", "for_s": 0.5},
        {"at_s": 8, "do": "network", "network": "mobile", "for_s": 3},
        {"at_s": 9, "do": "restart", "target": "gateway-0", "for_s": 0.5},
    ]
    scenario = Scenario.model_validate(
        loadtest_catches.scenario_of(OPTIONS).model_dump() | {"chaos": chaos, "duration_s": 16.0}
    )

    async def play() -> dict[str, object]:
        async with await local(scenario.cluster, tmp_path) as target:
            result = await run(scenario, target, tmp_path)
        assert result is not None
        return result

    result = asyncio.run(play())
    assert result["broken"] == []
    events = result["events"]
    assert isinstance(events, list)
    assert [event["what"] for event in events] == ["kill worker-0", "network mobile", "restart gateway-0"]
    for event, part in zip(events, chaos, strict=True):
        assert isinstance(part["at_s"], int)
        assert event["at_s"] == pytest.approx(part["at_s"], abs=1.0)
    assert page(result).count('<rect class="event"') == 3 * 10
