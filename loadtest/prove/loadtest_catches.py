"""[loadtest-catches] Faults planted into the server make the swarm's run fail, and the run names them; without one it
passes.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.cluster import Cluster
from loadtest.planted import FAULTS, cluster_with
from loadtest.prove.proof import Proof
from loadtest.swarm.findings import ACK_WRONG, INPUT_DOUBLED, INPUT_DROPPED, PICTURE_WRONG, SEEN_TWICE
from loadtest.swarm.run import run as run_swarm
from loadtest.swarm.scenario import Scenario
from loadtest.swarm.target import local

CLEAN = "clean"
NAMED: Mapping[str, str] = {
    "dropped-input": INPUT_DROPPED,
    "doubled-input": INPUT_DOUBLED,
    "doubled-entity": SEEN_TWICE,
    "wrong-field": PICTURE_WRONG,
    "wrong-ack": ACK_WRONG,
}
"""What the swarm must say of each."""
COMPARED_MIN = 20


@dataclass(frozen=True)
class Options:
    """`faults`: which, with commas; empty: all, and a run without."""

    bots: int = 60
    seconds: float = 20.0
    faults: str = ""
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """One run a fault."""
    assert NAMED.keys() == FAULTS.keys()
    chosen = options.faults.split(",") if options.faults else [CLEAN, *FAULTS]
    for fault in chosen:
        with tempfile.TemporaryDirectory(prefix="overworld-catches-") as folder:
            result = asyncio.run(play(options, Path(folder), fault))
        found = {name: count for name, count in result["faults"].items() if count}
        proof.say(f"{fault}: {found or 'no faults'}; {result['checks']['compared']} pictures compared")
        proof.figure(fault, {"failed": not result["ok"], "found": found, "compared": result["checks"]["compared"]})
        judge(proof, fault, result)


def judge(proof: Proof, fault: str, result: Mapping[str, Any]) -> None:
    """A clean run passes; a planted fault fails the run, under its own name."""
    if fault == CLEAN:
        proof.require(result["ok"], f"a run without a fault did not pass: {result['broken']}")
        proof.require(result["checks"]["compared"] >= COMPARED_MIN, "too few pictures were compared")
        proof.require(result["checks"]["effects"] > 0, "no effect was seen")
        proof.require(result["ledger"]["known"], "inputs were not counted")
        return
    proof.require(not result["ok"], f"{fault}: the run passed")
    proof.require(result["faults"].get(NAMED[fault], 0) > 0, f"{fault}: nobody said {NAMED[fault]!r}")
    texts = result["examples"].get(NAMED[fault], [])
    proof.require(bool(texts), f"{fault}: no example was told")
    for text in texts[:1]:
        proof.say(f"  {text}")


async def play(options: Options, folder: Path, fault: str) -> dict[str, Any]:
    """A short run against a cluster with a fault."""
    scenario = scenario_of(options)
    make = Cluster if fault == CLEAN else cluster_with(fault)
    async with await local(scenario.cluster, folder, make) as target:
        result = await run_swarm(scenario, target, folder)
    assert result is not None
    return result


def scenario_of(options: Options) -> Scenario:
    """Half wander, half cross borders; every other one looks closely."""
    half = max(1, options.bots // 2)
    groups = [
        {"behaviour": behaviour, "count": half, "sampled": 0.5, "ramp": {"seconds": 2.0}}
        for behaviour in ("wander", "border-crossing")
    ]
    return Scenario.model_validate(
        {
            "name": "catches",
            "seed": options.seed,
            "duration_s": options.seconds,
            "check_interval_s": 1.0,
            "cluster": {"title": "roam", "shards": "4x4", "workers": 2, "gateways": 1},
            "bots": groups,
        }
    )
