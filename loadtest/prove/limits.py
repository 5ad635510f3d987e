"""[limits] How far one core goes, each figure beside its aim. A figure that falls short is told, never hidden.

Pieces (`--parts`), each of minutes, into one result with `--merge`:

players   the largest number that holds, as `compare` searches it (B and A, inputs on change and at 20 Hz); taken from
          compare.json where that was measured on this kind of CPU, unless `--fresh`
gateway   the gateway's CPU for an update beside the C floor's with frames as long, in turns; bytes; memory a player
entities  wanderers of one worker: the pure core, then a real worker with its journal and some who look on
arenas    ten players each, in one shard without I/O
load      80 % and half of the largest number: lateness of ticks; from an input to the frame that shows it
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from loadtest import aims, arenas, core_cost, loaded
from loadtest.machine import commit, describe
from loadtest.peers.rivals import FLOOR_BYTES, SETTINGS, floor
from loadtest.peers.run import Inputs, Pace, measure
from loadtest.peers.worlds import Part, Workload
from loadtest.process_cost import WARM_S, WATCHERS, worker_cost
from loadtest.prove import compare
from loadtest.prove.proof import RESULTS, Proof

TICK_HZ = 20
HZ_MIN = 0.95 * TICK_HZ
LONG_FRAME_BYTES = 128
"""Websocket frames from here on have two more bytes of header; the floor always counts them."""


@dataclass(frozen=True)
class Options:
    """`largest`: players that hold, for `load`, 0: as found by `players`. `worker_entities`: of real workers.
    `inputs`: of `gateway`.
    """

    parts: str = "players,gateway,entities,arenas,load"
    players: str = "B:change,B:hz20,A:change,A:hz20"
    clients: int = 500
    inputs: str = "hz20,change"
    rounds: int = 3
    warm_s: float = 3.0
    window_s: float = 6.0
    most: int = 6000
    probes: int = 8
    entities: str = "1000,10000,30000,100000"
    worker_entities: str = "30000,100000"
    arenas: str = "125,250,500,1000"
    ticks: int = 200
    seconds: float = 10.0
    largest: int = 0
    fresh: bool = False
    merge: bool = False


def run(proof: Proof, options: Options) -> None:
    """The pieces asked for, then the table of aims."""
    if options.merge:
        proof.figures.update(earlier(proof.name))
    proof.figures["settings"] = dict(SETTINGS)
    for part in options.parts.split(","):
        PARTS[part](proof, options)
    proof.figures["aims"] = aims.rows(proof.figures)
    for line in aims.lines(proof.figures["aims"]):
        print(line, flush=True)


def earlier(name: str) -> dict[str, Any]:
    """Figures of the result that is there."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}
    return found


def players(proof: Proof, options: Options) -> None:
    """The largest numbers, from the comparison or searched now."""
    known = {} if options.fresh else _compared()
    for pair in options.players.split(","):
        part, _, inputs = pair.partition(":")
        name = f"overworld_{part}_{inputs}"
        if name not in known:
            searching = Proof(proof.name)
            limits = compare.Options(most=options.most, probes=options.probes, window_s=options.window_s)
            asyncio.run(compare.limit(searching, limits, "overworld", cast("Part", part), cast("Inputs", inputs)))
            proof.broken += searching.broken
            known[name] = searching.figures[name]["limit"]
        proof.figure(f"players_{part}_{inputs}", known[name])


def _compared() -> dict[str, Any]:
    path = RESULTS / "compare.json"
    if not path.exists():
        return {}
    found = json.loads(path.read_text())
    if found["machine"]["cpu"] != describe()["cpu"]:
        return {}
    return {name: figure["limit"] for name, figure in found["figures"].items() if "limit" in figure}


def gateway(proof: Proof, options: Options) -> None:
    """In turns, so that a slow minute hits both."""
    for inputs in options.inputs.split(","):
        asyncio.run(_gateway(proof, options, cast("Inputs", inputs)))


async def _gateway(proof: Proof, options: Options, inputs: Inputs) -> None:
    pace, work = Pace(options.warm_s, options.window_s), Workload("B", options.clients)
    ratios, mine, theirs = [], [], []
    frame_bytes = FLOOR_BYTES
    for turn in range(options.rounds):
        found = await loaded.overworld(work, inputs, pace)
        outcome = found.outcome
        proof.require(outcome.playing == work.players, f"{outcome.playing} of {work.players} play: {outcome.closes}")
        proof.require(outcome.updates_per_client_s > 0, "no updates came")
        frame_bytes = _as_floor_counts(outcome.bytes_per_client_s / max(1.0, outcome.updates_per_client_s))
        bare = await measure("floor", work, inputs, pace, start=partial(floor, frame_bytes=frame_bytes))
        proof.require(bare.playing == work.players, f"floor: {bare.playing} of {work.players}")
        mine.append(found)
        theirs.append(bare.cpu_us_per_update)
        ratios.append(found.cpu_us_per_update["gateway"] / bare.cpu_us_per_update)
        proof.say(f"{inputs}, turn {turn + 1}: {found.cpu_us_per_update} us, floor {theirs[-1]:.1f} us")
    proof.figure(f"gateway_{inputs}", {
        "clients": options.clients,
        "beside_floor": statistics.median(ratios),
        "beside_floor_rounds": ratios,
        "gateway_us_per_update": statistics.median(f.cpu_us_per_update["gateway"] for f in mine),
        "worker_us_per_update": statistics.median(f.cpu_us_per_update["worker"] for f in mine),
        "redis_us_per_update": statistics.median(f.cpu_us_per_update["redis"] for f in mine),
        "floor_us_per_update": statistics.median(theirs),
        "frame_bytes": frame_bytes,
        "bytes_per_client_s": statistics.median(f.outcome.bytes_per_client_s for f in mine),
        "kib_per_player": statistics.median(f.gateway_kib_per_player for f in mine),
        "commit": commit(),
    })  # fmt: skip


def _as_floor_counts(frame_bytes: float) -> int:
    """The floor's --bytes for frames of so many, headers included."""
    return max(5, round(frame_bytes) + (2 if frame_bytes < LONG_FRAME_BYTES else 0))


def entities(proof: Proof, options: Options) -> None:
    """The core alone at each number, then real workers; `largest` is of real workers."""
    alone = []
    for count in _numbers(options.entities):
        cost = core_cost.measure("roam", count, options.ticks)
        alone.append({**asdict(cost), "tick_ms": cost.tick_ms})
        proof.say(f"{count} alone: {cost.tick_ms:.1f} ms a tick")
        proof.require(cost.changed_bytes_per_tick > 0, f"{count} wanderers gave no bytes")
    workers, largest = [], 0
    with tempfile.TemporaryDirectory(prefix="overworld-limits-") as folder:
        for count in _numbers(options.worker_entities):
            title = f"loadtest.wanderers:Roam{count}"
            real = asyncio.run(worker_cost(Path(folder) / str(count), title, options.seconds, WATCHERS))
            hz = real.ticks / options.seconds
            workers.append({"entities": count, "hz": hz, "holds": hz >= HZ_MIN, **asdict(real)})
            proof.say(f"{count} in a worker: {hz:.1f} Hz, {real.tick_ms:.1f} ms a tick, {real.late_ms:.1f} ms late")
            proof.require(real.ticks > 0, f"a worker of {count} ran no tick")
            largest = max(largest, count) if hz >= HZ_MIN else largest
    proof.figure("entities", {
        "largest": largest, "alone": alone, "workers": workers, "warm_s": WARM_S, "commit": commit(),
    })  # fmt: skip


def arena_matches(proof: Proof, options: Options) -> None:
    """Up through the numbers; all are played, none is skipped because a smaller one did not hold."""
    costs = []
    for count in _numbers(options.arenas):
        cost = arenas.measure(count, options.ticks)
        proof.say(f"{count} arenas: {cost.tick_ms:.1f} ms a tick, p99 {cost.tick_ms_p99:.1f}")
        proof.require(cost.playing == cost.players, f"{count} arenas: {cost.playing} of {cost.players} have a fighter")
        proof.require(cost.acked == cost.inputs, f"{count} arenas: {cost.acked} of {cost.inputs} inputs were applied")
        proof.require(cost.same_again, f"{count} arenas: the journal gave another state")
        costs.append(cost)
    proof.figure("arenas", {
        "largest": arenas.largest(costs), "sizes": [{**asdict(c), "holds": c.holds} for c in costs], "commit": commit(),
    })  # fmt: skip


def load(proof: Proof, options: Options) -> None:
    """Parts of the largest number that holds, part B, inputs on change."""
    largest = options.largest or proof.figures.get("players_B_change", {}).get("largest", 0)
    if not proof.require(largest > 0, "load: nobody knows the largest number: part players first, or --largest"):
        return
    for percent in (80, 50):
        work = Workload("B", max(10, largest * percent // 100))
        found = asyncio.run(loaded.overworld(work, "change", Pace(options.warm_s, options.window_s)))
        proof.figure(f"load_{percent}", {**found.plain(), "commit": commit()})
        playing = found.outcome.playing
        proof.require(playing == work.players, f"load {percent} %: {playing} of {work.players} play")


PARTS = {"players": players, "gateway": gateway, "entities": entities, "arenas": arena_matches, "load": load}


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]
