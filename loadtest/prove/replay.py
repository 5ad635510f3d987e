"""[replay] A recorded minute gives the same digests whenever and wherever it is run again.

Many bots play while the journal is archived. Then `overworld replay` runs every shard's minute again, from the nearest
archived state: twice alike, with another PYTHONHASHSEED, with numpy's CPU dispatch switched off, with another BLAS
kernel, from the archive without Redis, and from the title's setup at tick 0. Every run must show the same digest at
every tick, and the digests that the live workers wrote (as an observer read them from Redis while they did). Not
covered here: other machines' CPUs (AVX-512 where this one has none, ARM).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.cluster import Shape
from loadtest.prove.proof import Proof
from loadtest.time_travel import ARCHIVING, overworld
from loadtest.trial import Trial

FIRST = "first"
NO_DISPATCH = "no_cpu_dispatch"
WORKERS = {"OVERWORLD_WORKER_ARCHIVE_INTERVAL_S": "5", "OVERWORLD_WORKER_ARCHIVE_STATE_INTERVAL_S": "20"}


@dataclass(frozen=True)
class Options:
    """How much is recorded."""

    bots: int = 300
    seconds: float = 60.0
    shards: str = "2x2"
    seed: int = 1


@dataclass(frozen=True)
class Stretch:
    """One shard's minute, and the digests that its owner wrote, by tick."""

    shard: int
    first: int
    last: int
    live: Mapping[int, str]


@dataclass(frozen=True)
class Way:
    """How a replay is run. `whole`: from tick 1 on."""

    env: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Replayed:
    """What came of one shard in one way: digests by tick, those checked against the journal, and where it began."""

    digests: Mapping[int, str]
    checked: int
    source: str
    seconds: float


def run(proof: Proof, options: Options) -> None:
    """Record, then replay."""
    with tempfile.TemporaryDirectory(prefix="overworld-replay-") as name:
        asyncio.run(play_and_replay(proof, options, Path(name)))


async def play_and_replay(proof: Proof, options: Options, folder: Path) -> None:
    """A minute of play; then everything again, beside workers that go on."""
    shape = Shape(shards=options.shards, seed=options.seed, env=ARCHIVING, worker_env=WORKERS)
    async with Trial(folder, shape, options.bots, say=proof.say) as trial:
        before = heads(trial)
        await trial.play(options.seconds)
        after = heads(trial)
        await trial.leave()
        await trial.finish()
        stretches = [stretch_of(trial, shard, before[shard] + 1, after[shard]) for shard in before]
        results = {name: await replay_all(proof, trial, way, stretches) for name, way in ways().items()}
    require_same_digests(proof, stretches, results)


def heads(trial: Trial) -> dict[int, int]:
    """The newest tick of every shard, as its owner tells it."""
    found: dict[int, int] = {}
    for worker in trial.cluster.workers:
        with urllib.request.urlopen(f"{worker.internal_url}/status", timeout=10) as answer:
            found |= {shard["shard"]: shard["tick"] for shard in json.load(answer)["shards"]}
    assert len(found) == trial.contract.grid.shard_count, f"only shards {sorted(found)} have an owner"
    return dict(sorted(found.items()))


def stretch_of(trial: Trial, shard: int, first: int, last: int) -> Stretch:
    """What the observer of the journal saw of a shard."""
    records = trial.lineage(shard).records
    return Stretch(shard, first, last, {r.tick: r.state_digest.hex() for r in records if r.state_digest})


def simd(env: Mapping[str, str]) -> list[str]:
    """The CPU features that numpy dispatches to in such an environment."""
    code = "import json, numpy; print(json.dumps(numpy.show_config(mode='dicts')['SIMD Extensions'].get('found', [])))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=True
    )
    found: list[str] = json.loads(done.stdout)
    return found


def ways() -> dict[str, Way]:
    """By name. The CPU features are those that the running numpy found."""
    dispatched = " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))
    one = {"PYTHONHASHSEED": "1"}
    return {
        FIRST: Way(one),
        "again": Way(one),
        "other_hash_seed": Way({"PYTHONHASHSEED": "4242"}),
        NO_DISPATCH: Way({**one, "NPY_DISABLE_CPU_FEATURES": dispatched}),
        "other_blas": Way({**one, "OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}),
        "without_redis": Way(one, ("--archived",)),
        "from_setup": Way(one, whole=True),
    }


async def replay_all(proof: Proof, trial: Trial, way: Way, stretches: list[Stretch]) -> dict[int, Replayed]:
    """Every shard's minute, one process each, one after another."""
    found = {}
    for stretch in stretches:
        first = 1 if way.whole else stretch.first
        ticks = ("--from", str(first), "--to", str(stretch.last), "--digests", "1")
        began = time.monotonic()
        ran = await overworld(
            trial.cluster, "replay", "--shard", str(stretch.shard), *ticks, *way.arguments, env=way.env
        )  # fmt: skip
        seconds = time.monotonic() - began
        proof.require(ran.code == 0, f"shard {stretch.shard}: exit code {ran.code}: {ran.told[-500:]}")
        shown = ran.shown
        digests = {line["tick"]: line["digest"] for line in shown if "time" in line}
        wanted = set(range(first, stretch.last + 1))
        proof.require(digests.keys() == wanted, f"shard {stretch.shard}: {len(digests)} of {len(wanted)} ticks shown")
        checked = shown[-1]["digests_checked"] if shown else 0
        source = ran.told.partition(": from ")[2].partition("\n")[0]
        found[stretch.shard] = Replayed(digests, checked, source, seconds)
    return found


def require_same_digests(proof: Proof, stretches: list[Stretch], results: Mapping[str, Mapping[int, Replayed]]) -> None:
    """All ways gave the same, and what the live workers wrote."""
    compared = against_live = 0
    for stretch in stretches:
        first = results[FIRST][stretch.shard]
        for name, result in results.items():
            digests = result[stretch.shard].digests
            differing = [tick for tick, digest in first.digests.items() if digests.get(tick) != digest]
            proof.require(not differing, f"{name}: shard {stretch.shard} differs from the first run at {differing[:3]}")
            live = {tick: digest for tick, digest in stretch.live.items() if tick in digests}
            wrong = [tick for tick, digest in live.items() if digests[tick] != digest]
            proof.require(not wrong, f"{name}: shard {stretch.shard} differs from the live digests at {wrong[:3]}")
            checked = result[stretch.shard].checked
            proof.require(checked == len(live) > 0, f"{name}: shard {stretch.shard}: {checked} of {len(live)} checked")
            compared += len(digests)
            against_live += len(live)
    proof.require(compared > 0, "no tick was compared")
    figures(proof, stretches, results, compared, against_live)


def figures(
    proof: Proof, stretches: list[Stretch], results: Mapping[str, Mapping[int, Replayed]], compared: int, live: int
) -> None:
    """What was run, from where, how fast."""
    switched_off = simd(ways()[NO_DISPATCH].env)
    dispatched = simd({})
    if dispatched:
        proof.require(switched_off == [], f"CPU dispatch was not switched off: {switched_off}")
    proof.figure("ways", list(results))
    proof.figure("shards", len(stretches))
    proof.figure("ticks_of_the_minute", sum(s.last - s.first + 1 for s in stretches))
    proof.figure("digests_compared", compared)
    proof.figure("digests_compared_with_live", live)
    proof.figure("simd_switched_off", dispatched)
    proof.figure("began_at", {s.shard: _tick_of(results[FIRST][s.shard].source) for s in stretches})
    ran = [(replayed, stretch) for result in results.values() for stretch, replayed in _pairs(stretches, result)]
    proof.figure("replay_s_a_shard", sum(replayed.seconds for replayed, _ in ran) / len(ran))
    ticks, seconds = sum(len(r.digests) for r, _ in ran), sum(r.seconds for r, _ in ran)
    proof.figure("ticks_per_second", ticks / seconds)


def _pairs(stretches: list[Stretch], result: Mapping[int, Replayed]) -> list[tuple[Stretch, Replayed]]:
    return [(stretch, result[stretch.shard]) for stretch in stretches]


def _tick_of(source: str) -> Any:
    """'an archived state at tick 480, to tick 1700' as [480, "an archived state"]."""
    name, _, rest = source.partition(" at tick ")
    return [int(rest.partition(",")[0] or -1), name]
