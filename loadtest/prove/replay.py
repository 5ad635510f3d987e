"""[replay] A recorded minute gives the same digests whenever and wherever it is run again.

The journals of a minute with many bots are replayed in fresh processes: twice alike, with another PYTHONHASHSEED, with
numpy's CPU dispatch switched off, with another BLAS kernel. Every run must give the digests that the live workers
wrote, and the same digest at every tick. Not covered here: other machines' CPUs (AVX-512 where this one has none, ARM).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest import rerun
from loadtest.cluster import Shape
from loadtest.machine import REPOSITORY
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.trial import Trial

RERUN_S = 1800


@dataclass(frozen=True)
class Options:
    """How much is recorded."""

    bots: int = 300
    seconds: float = 60.0
    shards: str = "2x2"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """Record, then replay."""
    with tempfile.TemporaryDirectory(prefix="overworld-replay-") as name:
        recording = asyncio.run(record(proof, options, Path(name)))
        proof.figure("recording_bytes", recording.stat().st_size)
        require_same_digests(proof, recording)


async def record(proof: Proof, options: Options, folder: Path) -> Path:
    """A minute of play, kept in a file."""
    shape = Shape(shards=options.shards, seed=options.seed, audit_ticks=100)
    async with Trial(folder, shape, options.bots, say=proof.say) as trial:
        await trial.play(options.seconds)
        await trial.leave()
        await trial.finish()
    require_sound(proof, trial.findings())
    path = folder / "recording"
    rerun.save(path, shape, [trial.lineage(shard) for shard in range(trial.contract.grid.shard_count)])
    return path


def environments() -> dict[str, dict[str, str]]:
    """What each rerun is told, by name."""
    dispatched = " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))
    return {
        "first": {"PYTHONHASHSEED": "1"},
        "again": {"PYTHONHASHSEED": "1"},
        "other_hash_seed": {"PYTHONHASHSEED": "4242"},
        "no_cpu_dispatch": {"PYTHONHASHSEED": "1", "NPY_DISABLE_CPU_FEATURES": dispatched},
        "other_blas": {"PYTHONHASHSEED": "1", "OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"},
    }


def require_same_digests(proof: Proof, recording: Path) -> None:
    """Rerun in every environment, and compare."""
    results = {name: _rerun(recording, env) for name, env in environments().items()}
    first = results["first"]["shards"]
    for name, result in results.items():
        shards = result["shards"]
        wrong = sum(shard["differ_from_live"] for shard in shards.values())
        proof.say(f"{name}: {result['environment']}")
        proof.require(wrong == 0, f"{name}: {wrong} digests differ from the live ones")
        proof.require(shards == first, f"{name}: other digests than the first run: {shards} and {first}")
    if results["first"]["environment"]["simd"]:
        proof.require(not results["no_cpu_dispatch"]["environment"]["simd"], "CPU dispatch was not switched off")
    proof.figure("reruns", list(results))
    proof.figure("ticks_a_rerun", sum(shard["ticks"] for shard in first.values()))
    proof.figure("digests_compared_with_live", sum(shard["compared_with_live"] for shard in first.values()))
    proof.figure("simd_switched_off", results["first"]["environment"]["simd"])
    proof.require(proof.figures["digests_compared_with_live"] > 0, "no digest was compared")


def _rerun(recording: Path, env: Mapping[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.rerun", str(recording)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "server"), **env},
        capture_output=True,
        text=True,
        timeout=RERUN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
