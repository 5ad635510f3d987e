"""[growth] How cost grows: players, entities, shards, viewers of one cell. Exponents, and a page that draws them.

Pieces (`--parts`), into one result with `--merge`:

players   N doubling up to a number: CPU a second of each process, bytes a client (B: 40 in view; A: all see all)
entities  wanderers in one shard, step and encoding, bytes of all cells
shards    one worker process, the entities the same
viewers   the gateway's own work for viewers of one cell, without the kernel's sends
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from loadtest import core_cost, fanout_cost, shard_cost
from loadtest.growth import Curve, page
from loadtest.machine import commit, describe
from loadtest.peers.run import Inputs, Pace
from loadtest.peers.worlds import Part, Workload
from loadtest.prove.compare import watched
from loadtest.prove.limits import earlier
from loadtest.prove.proof import RESULTS, Proof

SCENE = shard_cost.Scene("movers", "Shared")


@dataclass(frozen=True)
class Options:
    """`page`: where in loadtest/results to draw; empty: nowhere. `of`: A, B or both, for players."""

    parts: str = "players,entities,shards,viewers"
    of: str = "B,A"
    players: str = "125,250,500,1000,2000"
    inputs: str = "change"
    window_s: float = 5.0
    entities: str = "1000,2000,5000,10000,20000,50000,100000"
    ticks: int = 100
    sides: str = "1,2,4,8"
    seconds: float = 8.0
    viewers: str = "1,2,5,10,20,50,100,200,500,1000,2000"
    page: str = "growth.html"
    merge: bool = False


def run(proof: Proof, options: Options) -> None:
    """The pieces asked for, then the page of all there are."""
    if options.merge:
        proof.figures.update(earlier(proof.name))
    for part in options.parts.split(","):
        PARTS[part](proof, options)
    if options.page:
        machine = describe()
        about = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, commit {commit()}."
        (RESULTS / options.page).write_text(page(curves(proof), about))


def curves(proof: Proof) -> list[Curve]:
    """What `proof` knows, ready to be drawn."""
    return [
        Curve(name.replace("_", " "), found["of"], found["unit"], found["points"])
        for name, found in proof.figures.items()
    ]


def note(proof: Proof, name: str, curve: Curve) -> None:
    """A curve as a figure; what has no cost at all was not measured."""
    for line, points in curve.lines.items():
        proof.require(all(cost >= 0 for _, cost in points), f"{name}: {line} has a negative cost")
        proof.require(any(cost > 0 for _, cost in points), f"{name}: {line} cost nothing")
    proof.figure(name, {**curve.plain(), "commit": commit()})


def players(proof: Proof, options: Options) -> None:
    """The whole server under the C generator; an observer decodes everything meanwhile."""
    for part in options.of.split(","):
        cpu: dict[str, list[tuple[float, float]]] = {}
        sizes: list[tuple[float, float]] = []
        for count in _numbers(options.players):
            work = Workload(cast("Part", part), count)
            inputs = cast("Inputs", options.inputs)
            outcome = asyncio.run(watched(proof, "overworld", work, inputs, Pace(2.0, options.window_s)))
            for process, share in outcome.cpu_share.items():
                cpu.setdefault(process, []).append((count, 1000 * share))
            cpu.setdefault("all", []).append((count, 1000 * sum(outcome.cpu_share.values())))
            sizes.append((count, outcome.bytes_per_client_s))
            proof.say(f"{part} {count}: {outcome.cpu_us_per_update:.1f} us an update, holds: {outcome.holds}")
        title = "Players, 40 in view" if part == "B" else "Players, all see all"
        note(proof, f"players_{part}_cpu", Curve(title, "players", "ms of CPU a second", cpu))
        note(proof, f"players_{part}_bytes", Curve(title, "players", "bytes a client and second", {"bytes": sizes}))


def entities(proof: Proof, options: Options) -> None:
    """The pure core."""
    costs = [core_cost.measure("roam", count, options.ticks) for count in _numbers(options.entities)]
    for cost in costs:
        proof.say(f"{cost.entities}: {cost.tick_ms:.2f} ms, {cost.bytes_per_entity:.2f} bytes an entity")

    def line(of: Callable[[core_cost.CoreCost], float]) -> list[tuple[float, float]]:
        return [(cost.entities, of(cost)) for cost in costs]

    times = {
        "step": line(lambda c: c.step_ms),
        "encode": line(lambda c: c.encode_ms),
        "both": line(lambda c: c.tick_ms),
    }
    note(proof, "entities_cpu", Curve("Entities of a shard", "entities", "ms a tick", times))
    sizes = {"bytes": line(lambda c: c.changed_bytes_per_tick)}
    note(proof, "entities_bytes", Curve("Entities of a shard", "entities", "bytes a tick, all cells", sizes))


def shards(proof: Proof, options: Options) -> None:
    """2,000 movers in one worker process, cut into more and more shards."""
    found = []
    with tempfile.TemporaryDirectory(prefix="overworld-growth-") as folder:
        for side in _numbers(options.sides):
            cost = asyncio.run(
                shard_cost.worker_cost(Path(folder) / str(side), SCENE, f"{side}x{side}", options.seconds)
            )
            proof.say(f"{cost.shards} shards: {asdict(cost)}")
            proof.require(cost.ticks > 0, f"{cost.shards} shards ran no tick")
            found.append(cost)
    lines = {
        "worker": [(cost.shards, 1000 * cost.cpu_share) for cost in found],
        "redis": [(cost.shards, cost.redis_cpu_ms_per_tick * cost.ticks / cost.seconds) for cost in found],
    }
    note(proof, "shards_cpu", Curve("Shards of a worker", "shards", "ms of CPU a second", lines))
    # Below the title's rate time was dilated: the CPU above is then of fewer ticks.
    rates = {"hz": [(cost.shards, cost.hz) for cost in found]}
    note(proof, "shards_hz", Curve("Ticks of each shard", "shards", "ticks a second", rates))


def viewers(proof: Proof, options: Options) -> None:
    """All in one cell, which changes at every tick; one in five gets an ack."""
    costs = [
        (count, fanout_cost.measure(fanout_cost.Case(count, side=1, shards=(1, 1), moving=0.0, acked=acked)))
        for acked in (0.0, 0.2)
        for count in _numbers(options.viewers)
    ]
    lines: dict[str, list[tuple[float, float]]] = {}
    for count, cost in costs:
        name = f"{cost.case.acked:.0%} acked"
        lines.setdefault(name, []).append((count, cost.us_per_client_tick_median * count))
    note(proof, "viewers_cpu", Curve("Viewers of one cell", "viewers", "us of CPU a tick in the gateway", lines))


PARTS = {"players": players, "entities": entities, "shards": shards, "viewers": viewers}


def _numbers(text: str) -> Sequence[int]:
    return [int(number) for number in text.split(",") if number]
