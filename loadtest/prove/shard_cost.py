"""[shard-cost] CPU of a worker as its shards grow 1, 4, 16, 64 and the entities stay the same.

One worker process with a real Redis. Four worlds: 2,000 movers that nobody looks at, the same with players who look on
from every shard, an empty one, and the movers in shards that may sleep, for nobody needs them. The slope over the
shards is what one more shard costs a tick, whatever is in it. Then the same of the pure core alone.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtest.prove.proof import Proof
from loadtest.shard_cost import Scene, WorkerCost, core_part, one_more_ms, worker_cost
from loadtest.titles import TICK_HZ

SCENES = (
    Scene("movers", "Shared"),
    Scene("movers_watched", "Shared", watchers=64),
    Scene("empty", "Empty"),
    Scene("asleep", "Shared", asleep=True),
)
ENTITIES = (0, 30)
COLUMNS = "{:>8} {:>8} {:>8} {:>10} {:>10} {:>8} {:>10}"


@dataclass(frozen=True)
class Options:
    """`sides`: shards across (and down) of each world, comma-separated. `seconds`: of each."""

    sides: str = "1,2,4,8"
    seconds: float = 10.0


def run(proof: Proof, options: Options) -> None:
    """The core, then the worker."""
    for entities in ENTITIES:
        part = core_part(entities)
        proof.figure(f"core_{entities}_entities_us", {**asdict(part), "tick_us": part.tick_us})
    with tempfile.TemporaryDirectory(prefix="overworld-shards-") as folder:
        asyncio.run(in_processes(proof, options, Path(folder)))


async def in_processes(proof: Proof, options: Options, folder: Path) -> None:
    """Every world, cut into more and more shards."""
    sides = [int(side) for side in options.sides.split(",")]
    for scene in SCENES:
        name, costs = scene.name, []
        for side in sides:
            shards = f"{side}x{side}"
            cost = await worker_cost(folder / f"{name}-{side}", scene, shards, options.seconds)
            proof.figure(f"{name}_{cost.shards}", asdict(cost))
            costs.append(cost)
        proof.require(costs[0].ticks > 0 or scene.asleep, f"the worker ran no tick of {name}")
        proof.figure(f"{name}_one_more_shard_ms_per_tick", one_more_ms(costs, TICK_HZ))
        for line in table(costs):
            proof.say(line)


def table(costs: list[WorkerCost]) -> list[str]:
    """For people."""
    lines = [COLUMNS.format("shards", "hz", "core %", "cpu ms", "tick ms", "ticks", "redis ms")]
    for c in costs:
        values = f"{c.hz:.1f}", f"{100 * c.cpu_share:.1f}", f"{c.cpu_ms_per_tick:.3f}", f"{c.tick_ms:.3f}"
        lines.append(COLUMNS.format(c.shards, *values, c.ticks, f"{c.redis_cpu_ms_per_tick:.3f}"))
    return lines
