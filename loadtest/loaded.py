"""Overworld on one core under the C generator on another, looked at closer than `compare` does: what each process
costs, how late ticks begin, what a player costs in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

import psutil

from loadtest.metrics import Metrics
from loadtest.peers.rivals import Running
from loadtest.peers.run import Inputs, Outcome, Pace, measure
from loadtest.peers.worlds import Workload

LOOK_S = 1.0
LATE = "overworld_tick_late_seconds"


@dataclass(frozen=True)
class Loaded:
    """One run. Of CPU, microseconds of each process for an update that a client got."""

    outcome: Outcome
    cpu_us_per_update: dict[str, float]
    gateway_kib_per_player: float
    """What the gateway's resident memory grew by from no player to all of them."""
    late_ms_p50: float
    late_ms_p99: float
    """Between when ticks were due and when they began, within the window; -1 where no two looks fell into it."""
    dilation_most: float

    def plain(self) -> dict[str, Any]:
        """For results."""
        return {
            **self.outcome.plain(), "cpu_us_per_update_by_process": self.cpu_us_per_update,
            "gateway_kib_per_player": self.gateway_kib_per_player, "late_ms_p50": self.late_ms_p50,
            "late_ms_p99": self.late_ms_p99, "dilation_most": self.dilation_most,
        }  # fmt: skip


@dataclass
class _Looks:
    """What was seen every second: (monotonic time, the worker's metrics), and the gateway's most memory."""

    empty_bytes: int = 0
    most_bytes: int = 0
    metrics: list[tuple[float, Metrics]] = field(default_factory=list)

    def within(self, from_s: float, to_s: float) -> Metrics | None:
        """What the worker's histograms gained between the first and the last look of a time."""
        found = [metrics for at_s, metrics in self.metrics if from_s <= at_s <= to_s]
        return found[-1].since(found[0]) if len(found) > 1 else None

    def dilation(self, from_s: float, to_s: float) -> float:
        """The longest ticks, as a factor."""
        found = [m.total("overworld_dilation") for at_s, m in self.metrics if from_s <= at_s <= to_s]
        return max(found, default=0.0)


async def overworld(work: Workload, inputs: Inputs, pace: Pace) -> Loaded:
    """Run it. Raises StartFailed, ToolMissing or RuntimeError."""
    looks = _Looks()
    tasks: list[asyncio.Task[None]] = []

    async def ready(server: Running) -> None:
        looks.empty_bytes = _rss(server)
        tasks.append(asyncio.create_task(_look(server, looks)))

    window: list[float] = []

    def window_ends() -> None:
        window.append(time.monotonic())
        tasks[0].cancel()

    try:
        outcome = await measure("overworld", work, inputs, pace, ready, window_ends=window_ends)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    span = window[0] - pace.window_s, window[0]
    late = looks.within(*span)
    whole = sum(outcome.cpu_share.values()) or 1.0
    return Loaded(
        outcome,
        {name: outcome.cpu_us_per_update * share / whole for name, share in outcome.cpu_share.items()},
        (looks.most_bytes - looks.empty_bytes) / max(1, outcome.playing) / 1024,
        _quantile_ms(late, 0.5),
        _quantile_ms(late, 0.99),
        looks.dilation(*span),
    )


def _quantile_ms(gained: Metrics | None, share: float) -> float:
    found = gained.quantile(LATE, share) if gained is not None else None
    return 1e3 * found if found is not None else -1.0


def _rss(server: Running) -> int:
    return int(psutil.Process(server.pids["gateway"]).memory_info().rss)


async def _look(server: Running, looks: _Looks) -> None:
    assert server.cluster is not None
    worker = server.cluster.workers[0]
    while True:
        # An overloaded worker may not answer within the time: what was not seen is not counted.
        with contextlib.suppress(OSError):
            looks.metrics.append((time.monotonic(), await asyncio.to_thread(worker.metrics)))
        looks.most_bytes = max(looks.most_bytes, _rss(server))
        await asyncio.sleep(LOOK_S)
