"""The swarm against a real cluster: a planted fault fails its run by name, a clean run passes, chaos does no harm."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from loadtest.machine import REPOSITORY
from loadtest.prove import loadtest_catches
from loadtest.prove.proof import Proof
from loadtest.swarm.report import page
from loadtest.swarm.run import run
from loadtest.swarm.scenario import ClusterPart, Scenario
from loadtest.swarm.target import Target, local

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


def test_two_machines_play_one_run(tmp_path: Path) -> None:
    """Two commands, as on two machines: they wait for each other, share the bots, and one writes what both found."""
    file = tmp_path / "together.toml"
    file.write_text(
        'name = "together"\nduration_s = 10\ncheck_interval_s = 1.0\n'
        '[[bots]]\nbehaviour = "wander"\ncount = 21\nsampled = 0.3\nramp = { seconds = 2 }\n'
    )

    async def machine(target: Target, number: int) -> int:
        assert target.cluster is not None
        argv = ["-m", "loadtest", "run", str(file), "--machines", "2", "--redis", target.cluster.redis_url]
        argv += ["--output", str(tmp_path / f"machine-{number}"), "--run-name", "both", "--title", "roam"]
        argv += ["--token-key", target.tickets.key, "--admin-token", target.admin_token]
        for name, urls in (("--gateway", target.urls), ("--admin", target.admin_urls)):
            argv += [part for url in urls for part in (name, url)]
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "server")}
        process = await asyncio.create_subprocess_exec(sys.executable, *argv, cwd=REPOSITORY, env=env)
        async with asyncio.timeout(90):
            return await process.wait()

    async def both() -> tuple[int, int]:
        async with await local(ClusterPart(title="roam", shards="2x2"), tmp_path) as target:
            first, second = await asyncio.gather(machine(target, 0), machine(target, 1))
            return first, second

    assert asyncio.run(both()) == (0, 0)
    [written] = tmp_path.glob("machine-*.json")
    result = json.loads(written.read_text())
    assert result["ok"]
    assert (result["bots"], result["played"]) == (21, 21)
    assert result["checks"]["compared"] > 10
    names = {name.rpartition("-bots")[0] for name, kinds in result["processes"].items() if "bots" in kinds}
    assert names == {"machine-0", "machine-1"}
    assert {"worker-0", "gateway-0"} <= result["processes"].keys(), "found over the admin API"
