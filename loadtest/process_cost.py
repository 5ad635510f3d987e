"""What real processes cost: a worker's tick in its loop, and a gateway's CPU for a client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.cluster import Cluster, Shape
from loadtest.crowd import Crowd, Order
from loadtest.worlds import world_of
from overworld.client.statistics import Histogram

WARM_S = 3.0
JOIN_S = 180.0
WATCHERS = 20


@dataclass(frozen=True)
class WorkerCost:
    """Of one shard in a worker's loop: inbox, step, encoding, record, outputs. Means, in milliseconds."""

    ticks: int
    tick_ms: float
    late_ms: float
    append_ms: float
    release_ms: float
    cpu_ms_per_tick: float
    """Of the whole process, from /proc, link, journal and snapshots included."""


async def worker_cost(folder: Path, title: str, seconds: float, players: int) -> WorkerCost:
    """Run a world in one worker for some seconds, with some players on one gateway."""
    shape = Shape(workers=1, gateways=1, title=title)
    async with Cluster(folder, shape) as cluster:
        crowd = await _crowd(cluster, folder, players) if players else None
        await asyncio.sleep(WARM_S)
        worker = cluster.workers[0]
        before, cpu = worker.metrics(), worker.process.cpu_s()
        await asyncio.sleep(seconds)
        gained, cpu = worker.metrics().since(before), worker.process.cpu_s() - cpu
        if crowd is not None:
            await crowd.leave()
    ticks = int(gained.total("overworld_ticks_total"))

    def mean_ms(name: str) -> float:
        return 1e3 * (gained.mean(name) or 0.0)

    return WorkerCost(
        ticks,
        mean_ms("overworld_tick_seconds"),
        mean_ms("overworld_tick_late_seconds"),
        mean_ms("overworld_journal_append_seconds"),
        mean_ms("overworld_release_seconds"),
        1e3 * cpu / ticks if ticks else 0.0,
    )


@dataclass(frozen=True)
class GatewayCost:
    """Of one gateway under real clients that steer every 0.5 to 1 s."""

    clients: int
    frames_per_client_s: float
    bytes_per_client_s: float
    cpu_us_per_client_tick: float
    cpu_share: float
    """Of one core."""
    memory_kib_per_client: float
    pinned: bool
    """The gateway had a core of its own, everything else the others."""
    gap_ms: dict[str, float]
    closes: dict[str, int]
    """Sockets closed before the end, by close code."""


async def gateway_cost(folder: Path, clients: int, seconds: float, say: Callable[[str], object]) -> GatewayCost:
    """Let clients roam through one gateway, and read its CPU time from the system."""
    shape = Shape(workers=1, gateways=1, title=f"loadtest.titles:Roam{clients}")
    async with Cluster(folder, shape) as cluster:
        gateway = cluster.gateways[0].process
        empty_bytes = gateway.rss_bytes()
        pinned = _pin(cluster)
        crowd = await _crowd(cluster, folder, clients, pinned=pinned)
        say(f"{clients} clients play")
        await asyncio.sleep(WARM_S)
        before, cpu = cluster.gateways[0].metrics(), gateway.cpu_s()
        told = crowd.report["statistics"]
        await asyncio.sleep(seconds)
        gained, cpu = cluster.gateways[0].metrics().since(before), gateway.cpu_s() - cpu
        report: dict[str, Any] = crowd.report
        memory = gateway.rss_bytes() - empty_bytes
        await crowd.leave(120)
    frames = gained.total("overworld_gateway_frames_total")
    sizes = gained.total("overworld_gateway_frame_bytes_total")
    return GatewayCost(
        clients,
        frames / clients / seconds,
        sizes / clients / seconds,
        1e6 * cpu / frames if frames else 0.0,
        cpu / seconds,
        memory / clients / 1024,
        pinned,
        _gaps(told, report["statistics"]),
        {str(code): int(count) for code, count in report["statistics"]["closes"].items()},
    )


def _gaps(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """Quantiles of the gaps between frames that came in between."""
    gaps = Histogram.from_plain(after["gap"])
    gaps.counts -= Histogram.from_plain(before["gap"]).counts
    return {f"p{share * 100:g}": gaps.quantile_us(share) / 1000 for share in (0.5, 0.99)}


def _pin(cluster: Cluster) -> bool:
    """Give the gateway the first core, and the rest of the cluster the others. False where there is only one."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        return False
    cluster.gateways[0].process.pin(cores[:1])
    cluster.workers[0].process.pin(cores[1:])
    return True


async def _crowd(cluster: Cluster, folder: Path, count: int, *, pinned: bool = False) -> Crowd:
    contract, _ = world_of(cluster.shape)
    order = Order(
        urls=tuple(gateway.play_url for gateway in cluster.gateways),
        title=contract.title,
        key=cluster.key,
        world=cluster.shape.world,
        count=count,
        brain="random",
        light=True,
        cores=tuple(sorted(os.sched_getaffinity(0))[1:]) if pinned else (),
    )
    crowd = await Crowd(order, folder / "crowd.log").start()
    await crowd.all_playing(JOIN_S)
    return crowd
