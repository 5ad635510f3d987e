"""What a commit level costs: the same bots on the same world, at one level after the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from loadtest import history
from loadtest.cluster import Shape
from loadtest.crowd import Crowd, Order
from loadtest.metrics import Metrics
from loadtest.replicated import ReplicatedCluster
from loadtest.worlds import world_of
from overworld.client.statistics import Histogram
from overworld.wire.v1 import client_pb2

JOIN_S = 120.0
WARM_S = 3.0
SHARES = (0.5, 0.99)
NICE = -10


@dataclass
class LevelCost:
    """Of one worker at one level, over all its runs. A replica follows Redis at every level."""

    level: int
    runs: int = 0
    worker: Metrics = field(default_factory=lambda: Metrics({}))
    """What the worker's metrics gained."""
    worker_cpu_s: float = 0.0
    redis_cpu_s: float = 0.0
    replica_cpu_s: float = 0.0
    acks: Histogram = field(default_factory=Histogram)
    """From sending an input to its ack, as the bots had it."""
    ahead: bool = True
    """What is measured ran ahead of whatever else the machine had to do."""
    levels_told: set[int] = field(default_factory=set)
    """By the worker's metric, by its status, and by every client's Welcome."""

    @property
    def ticks(self) -> float:
        """Ticks run."""
        return self.worker.total("overworld_ticks_total")

    def release_ms(self, share: float) -> float:
        """From a tick's encoding to the release of its results."""
        return 1e3 * (self.worker.quantile("overworld_release_seconds", share) or 0.0)

    def figures(self) -> dict[str, Any]:
        """For people."""

        def quantiles(name: str) -> dict[str, float]:
            return {f"p{share * 100:g}": 1e3 * (self.worker.quantile(name, share) or 0.0) for share in SHARES}

        ticks = max(1.0, self.ticks)
        return {
            "runs": self.runs,
            "ahead_of_other_load": self.ahead,
            "ticks": int(self.ticks),
            "added_latency_ms": {f"p{share * 100:g}": self.release_ms(share) for share in SHARES},
            "append_ms": quantiles("overworld_journal_append_seconds"),
            "input_to_ack_ms": {f"p{share * 100:g}": self.acks.quantile_us(share) / 1e3 for share in SHARES},
            "inputs_acked": len(self.acks),
            "worker_cpu_us_per_tick": 1e6 * self.worker_cpu_s / ticks,
            "tick_us": 1e6 * (self.worker.mean("overworld_tick_seconds") or 0.0),
            "redis_cpu_us_per_tick": 1e6 * self.redis_cpu_s / ticks,
            "replica_cpu_us_per_tick": 1e6 * self.replica_cpu_s / ticks,
            "appends_tried_again": int(self.worker.total("overworld_journal_retries_total")),
            "loop_gaps": int(self.worker.total("overworld_loop_gaps_total")),
            "record_bytes": self.worker.total("overworld_journal_append_bytes_total") / ticks,
        }


async def measure(cost: LevelCost, folder: Path, bots: int, seconds: float, shards: str, seed: int) -> None:
    """One more run at the level: start a cluster, let bots play, and add what that cost."""
    shape = Shape(workers=1, gateways=1, shards=shards, seed=seed, commit_level=cost.level)
    async with ReplicatedCluster(folder, shape, doors=False) as cluster:
        assert cluster.replica is not None
        worker, gateway = cluster.workers[0], cluster.gateways[0]
        title = world_of(shape)[0].title
        kept = folder / "crowd.history"
        order = Order(
            (gateway.play_url,), title, cluster.key, shape.world, bots, seed=seed, light=True, history=str(kept)
        )
        crowd = await Crowd(order, folder / "crowd.log").start()
        await crowd.all_playing(JOIN_S)
        await asyncio.sleep(WARM_S)
        processes = [psutil.Process(pid) for pid in (worker.process.pid, cluster.redis.pid, cluster.replica.pid)]
        cost.ahead &= _ahead_of_others([*processes, psutil.Process(gateway.process.pid)])
        before, acks = worker.metrics(), _acks(crowd)
        cpu = [_cpu_s(process) for process in processes]
        await asyncio.sleep(seconds)
        cpu = [_cpu_s(process) - was for process, was in zip(processes, cpu, strict=True)]
        now, later = worker.metrics(), _acks(crowd)
        await crowd.leave()
    cost.runs += 1
    cost.worker = cost.worker.plus(now.since(before))
    cost.worker_cpu_s += cpu[0]
    cost.redis_cpu_s += cpu[1]
    cost.replica_cpu_s += cpu[2]
    later.counts -= acks.counts
    cost.acks.add(later)
    cost.levels_told |= {int(now.total("overworld_commit_level")), *_welcomed(kept)}


def _ahead_of_others(processes: list[psutil.Process]) -> bool:
    """Ask the system to serve these first: waiting for other programs is no cost of a level. False where it refuses."""
    try:
        for process in processes:
            process.nice(NICE)
            # Linux weighs sessions first, where it groups by them, and each of ours is one of its own.
            autogroup = Path(f"/proc/{process.pid}/autogroup")
            if autogroup.exists():
                autogroup.write_text(str(NICE))
    except (psutil.AccessDenied, OSError):
        return False
    return True


def _acks(crowd: Crowd) -> Histogram:
    return Histogram.from_plain(crowd.report["statistics"]["ack"])


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _welcomed(kept: Path) -> set[int]:
    """The commit levels that bots' Welcomes named."""
    found: set[int] = set()
    for entry in history.read(kept):
        if entry.event is history.Event.FRAME:
            found.update(welcome.commit_level for welcome in client_pb2.Frame.FromString(entry.body).welcomes)
    return found
