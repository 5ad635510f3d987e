"""Watches whether a worker and its gateways keep up, and lets time stretch where they do not: the shell around
`dilation`, which decides.

A gateway's lag is the time a ping takes there and back. Pings stand in the same stream as ticks, so a gateway answers
one when it has sent what came before it to its clients. The answer also says how busy the gateway is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from overworld import telemetry
from overworld.link import Link
from overworld.link.busy import BusyMeter
from overworld.worker.dilation import Dilation, Pace, Seen
from overworld.world.contract import WorldContract

log = structlog.get_logger(__name__)

LOOK_S = 0.25


class Overload:
    """One worker's. `gateways`: links of the gateways that have players or watch cells here."""

    def __init__(
        self, pace: Pace, factor_max: float, gateways: Callable[[], Iterable[Link]], contract: WorldContract
    ) -> None:
        self._pace = pace
        self._dilation = Dilation(factor_max)
        self._busy = BusyMeter()
        self._gateways = gateways
        self._interval_s = contract.grid.tick_interval_us / 1e6

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            self._look(loop.time())

    def _look(self, now_s: float) -> None:
        lag_s, busy = 0.0, self._busy.take()
        telemetry.worker_busy.set(busy)
        for link in self._gateways():
            lag_s, busy = max(lag_s, link.lag_s), max(busy, link.busy)
            link.probe()
        before = self._pace.factor
        seen = Seen(self._pace.take_late_part(), lag_s / (self._interval_s * before), busy)
        factor = self._dilation.look(seen, now_s)
        telemetry.gateway_lag_seconds.set(lag_s)
        telemetry.dilation.set(factor)
        if factor == before:
            return
        self._pace.factor = factor
        telemetry.dilation_changes_total.labels("longer" if factor > before else "shorter").inc()
        log.warning(
            "time_dilates" if factor > 1 else "time_runs_as_usual",
            factor=factor,
            before=before,
            late_part=round(seen.late_part, 2),
            gateway_lag_ms=round(1000 * lag_s, 1),
            busy=round(busy, 2),
        )
