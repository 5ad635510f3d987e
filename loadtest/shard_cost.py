"""What one more shard costs a worker, entities being the same: in a real process, and in the pure core alone."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from loadtest.cluster import Cluster, Shape
from loadtest.crowd import Crowd, Order
from loadtest.titles import Shared
from loadtest.worlds import world_of
from overworld.game import Grid, contract_of
from overworld.shard import record as records
from overworld.shard.core import ShardCore
from overworld.shard.inputs import TickInputs
from overworld.shard.record import GENESIS, Record

WARM_S = 4.0
SLEEP_S = 6.0
"""How soon shards fall asleep where they may: late enough that all are seen to run before."""
JOIN_S = 120.0
POLL_S = 0.1
ALL_RUN_S = 60.0
STEPS_WARM, STEPS = 50, 500


@dataclass(frozen=True)
class WorkerCost:
    """Of one worker process that runs all shards of a world."""

    shards: int
    seconds: float
    ticks: int
    """Of all shards together."""
    cpu_share: float
    """Of one core, from the system."""
    cpu_ms_per_tick: float
    tick_ms: float
    """Of that, what the tick itself takes, by the worker's own clock: inbox, step, encoding, record."""
    hz: float
    """Ticks a second of a shard: less than the title's where the worker could not keep up, or shards sleep."""
    redis_cpu_ms_per_tick: float


@dataclass(frozen=True)
class Scene:
    """What a worker has to do, whatever shards it is cut into. `watchers`: bots that do nothing, spread over the
    shards. `asleep`: shards that nobody needs may sleep.
    """

    name: str
    title: str
    watchers: int = 0
    asleep: bool = False


async def worker_cost(folder: Path, scene: Scene, shards: str, seconds: float) -> WorkerCost:
    """Run a world for some seconds in one worker."""
    env = {"OVERWORLD_WORKER_SLEEP_AFTER_S": str(SLEEP_S if scene.asleep else 0), "OVERWORLD_WORKER_BALANCE": "false"}
    shape = Shape(
        workers=1, gateways=1 if scene.watchers else 0, title=f"loadtest.titles:{scene.title}", shards=shards,
        worker_env=env,
    )  # fmt: skip
    async with Cluster(folder, shape) as cluster:
        worker, count = cluster.workers[0], world_of(shape)[0].grid.shard_count
        async with asyncio.timeout(ALL_RUN_S):
            while len(await asyncio.to_thread(worker.shards)) < count:
                await asyncio.sleep(POLL_S)
        crowd = await _watch(cluster, folder, scene.watchers) if scene.watchers else None
        await asyncio.sleep(WARM_S + SLEEP_S if scene.asleep else WARM_S)
        before, cpu_s, redis_s = worker.metrics(), worker.process.cpu_s(), _cpu_s(cluster.redis.pid)
        began_s = time.monotonic()
        await asyncio.sleep(seconds)
        took_s = time.monotonic() - began_s
        cpu_s, redis_s = worker.process.cpu_s() - cpu_s, _cpu_s(cluster.redis.pid) - redis_s
        gained = worker.metrics().since(before)
        if crowd is not None:
            await crowd.leave()
    ticks = gained.total("overworld_ticks_total")
    return WorkerCost(
        count,
        took_s,
        int(ticks),
        cpu_s / took_s,
        1000 * cpu_s / ticks if ticks else 0.0,
        1000 * (gained.mean("overworld_tick_seconds") or 0.0),
        ticks / count / took_s,
        1000 * redis_s / ticks if ticks else 0.0,
    )


def one_more_ms(costs: Sequence[WorkerCost], hz: int) -> dict[str, float]:
    """Milliseconds that one more shard costs for every tick that it should have: the least-squares slope over the
    shards of the worker's CPU ("cpu"), and of what it spends within ticks by its own clock ("tick").
    """
    if len(costs) < 2:
        return {}
    shards = [cost.shards for cost in costs]
    within = [cost.tick_ms * cost.ticks / cost.seconds for cost in costs]
    of = {"cpu": [1000 * cost.cpu_share for cost in costs], "tick": within}
    return {name: statistics.linear_regression(shards, spent).slope / hz for name, spent in of.items()}


async def _watch(cluster: Cluster, folder: Path, count: int) -> Crowd:
    contract, _ = world_of(cluster.shape)
    urls = tuple(gateway.play_url for gateway in cluster.gateways)
    order = Order(urls, contract.title, cluster.key, cluster.shape.world, count, brain="idle", light=True)
    crowd = await Crowd(order, folder / "crowd.log").start()
    await crowd.all_playing(JOIN_S)
    return crowd


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


# ---------------------------------------------------------------- the core alone


@dataclass(frozen=True)
class CorePart:
    """Medians over many ticks of one shard without I/O, microseconds."""

    entities: int
    step_us: float
    encode_us: float
    record_us: float
    digest_us: float

    @property
    def tick_us(self) -> float:
        """Step, encoding and record; a digest comes with every n-th tick only."""
        return self.step_us + self.encode_us + self.record_us


def core_part(entities: int) -> CorePart:
    """One shard of 8x8 cells, one of 64 of its world, with so many movers."""
    title = type("Few", (Shared,), {"name": "few", "count": entities * 64})()
    grid = Grid(width=2048, height=2048, cell=32, view=64, shards=(8, 8))
    contract = contract_of(title, "costs", 1, grid)
    core = ShardCore(contract, title, 9)
    core.setup()
    core.encode()
    inputs = TickInputs()

    def record() -> bytes:
        data = records.encode(Record(9, 1, core.tick, 0, "1", inputs, b"", b"", GENESIS))
        return records.chain(GENESIS, data)

    steps: list[Callable[[], Any]] = [lambda: core.step(inputs), core.encode, record, core.digest]
    times: list[list[float]] = [[] for _ in steps]
    for tick in range(STEPS_WARM + STEPS):
        for step, taken in zip(steps, times, strict=True):
            began_s = time.perf_counter()
            step()
            if tick >= STEPS_WARM:
                taken.append(1e6 * (time.perf_counter() - began_s))
    assert sum(map(len, core.shard.tables)) == entities
    return CorePart(entities, *(statistics.median(taken) for taken in times))
