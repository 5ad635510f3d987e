"""[overload] Half as many players again as hold, then few: nobody is closed, time dilates, and everything comes back.

One gateway, one worker and Redis share a core, as in `compare`. The largest number that holds is searched, or given.
The ladder of docs/operations.md is climbed by more players than that, all at once, and left when they leave.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from loadtest.metrics import Metrics
from loadtest.peers import rivals, tools
from loadtest.peers.rivals import Running
from loadtest.peers.run import Inputs, Outcome, Pace, loaded, measure
from loadtest.peers.search import largest
from loadtest.peers.worlds import Workload
from loadtest.prove.proof import Proof

LOOK_S = 0.5
BACK_S_MAX = 90.0
"""From the moment that the many are gone: three steps down, the last ones perhaps tried several times."""


@dataclass(frozen=True)
class Options:
    """`holds` 0 searches for the number, from `guess` up to `most`, in at most `probes` runs. `over`: how many times
    as many come; `few`: the part of it that plays afterwards.
    """

    holds: int = 0
    guess: int = 2200
    most: int = 6000
    probes: int = 7
    over: float = 1.5
    few: float = 0.25
    inputs: str = "change"
    warm_s: float = 20.0
    window_s: float = 20.0


@dataclass
class Seen:
    """What the worker and the gateway told while it went on: times of the monotonic clock, and what each step is at."""

    looks: list[tuple[float, float]]
    worker: Metrics
    gateway: Metrics

    def most(self, from_s: float, to_s: float) -> float:
        """The longest ticks within a time, as a factor."""
        return max((factor for at_s, factor in self.looks if from_s <= at_s <= to_s), default=0.0)


def run(proof: Proof, options: Options) -> None:
    """Search, climb, come back."""
    asyncio.run(_run(proof, options))


async def _run(proof: Proof, options: Options) -> None:
    inputs = cast("Inputs", options.inputs)
    holds = options.holds or await _largest(proof, options, inputs)
    many, few = max(10, round(holds * options.over)), max(10, round(holds * options.few))
    proof.figure("players_that_hold", holds)
    proof.figure("players", many)
    tools.allow_files()
    with tempfile.TemporaryDirectory(prefix="overworld-overload-") as folder:
        work = Workload("B", many + few)
        async with rivals.overworld(Path(folder) / "overworld", work) as server, watched(server) as seen:
            outcome, gone_s = await _climb(proof, server, replace(work, players=many), inputs, options)
            proof.figure("dilation_most", seen.most(0.0, gone_s))
            proof.require(seen.most(0.0, gone_s) > 1.0, "time did not dilate: this was no overload")
            back = await _come_back(proof, server, work, few, inputs, seen, gone_s)
            proof.figure("dilation_changes", seen.worker.total("overworld_dilation_changes_total"))
            proof.figure("players_who_queued", seen.gateway.total("overworld_gateway_queued_total"))
    _judge(proof, "many", outcome, many)
    _judge(proof, "few", back, few)
    proof.require(back.updates_per_client_s >= 0.9 * 20, f"{back.updates_per_client_s:.1f} updates a second afterwards")


async def _largest(proof: Proof, options: Options, inputs: Inputs) -> int:
    async def probe(clients: int) -> Outcome:
        outcome = await measure("overworld", Workload("B", clients), inputs, Pace())
        proof.say(f"{clients}: {'holds' if outcome.holds else 'does not hold'}, p99 gap {outcome.gap_ms_p99:.0f} ms")
        return outcome

    return (await largest(probe, options.guess, options.most, options.probes)).largest


async def _climb(
    proof: Proof, server: Running, work: Workload, inputs: Inputs, options: Options
) -> tuple[Outcome, float]:
    """The many, as long as they play. Returns what they saw, and when they were gone."""
    proof.say(f"{work.players} players come")
    async with loaded(server, work, inputs, Pace(options.warm_s, options.window_s)) as measured:
        outcome = await measured()
    return outcome, time.monotonic()


async def _come_back(
    proof: Proof, server: Running, work: Workload, few: int, inputs: Inputs, seen: Seen, gone_s: float
) -> Outcome:
    """The few, who come when the many are gone; measured once ticks are as long as ever."""
    lines = server.plan.read_text().splitlines(keepends=True)
    plan = server.plan.with_name("few")
    plan.write_text("".join(lines[-few:]))
    while seen.looks[-1][1] > 1.0 and time.monotonic() - gone_s < BACK_S_MAX:
        await asyncio.sleep(LOOK_S)
    back_s = time.monotonic() - gone_s
    proof.figure("back_s", back_s)
    proof.require(seen.looks[-1][1] == 1.0, f"after {back_s:.0f} s ticks still last {seen.looks[-1][1]} times longer")
    proof.say(f"ticks are as long as ever; {few} players come")
    async with loaded(replace(server, plan=plan), replace(work, players=few), inputs, Pace()) as measured:
        return await measured()


def _judge(proof: Proof, name: str, outcome: Outcome, players: int) -> None:
    figures: dict[str, Any] = {
        "playing": outcome.playing,
        "closes": outcome.closes,
        "updates_per_client_s": outcome.updates_per_client_s,
        "gap_ms_p50": outcome.gap_ms_p50,
        "gap_ms_p99": outcome.gap_ms_p99,
        "effect_ms_p99": outcome.effect_ms_p99,
        "cpu_share": outcome.cpu_share,
        "generator_cpu": outcome.generator_cpu,
    }
    for figure, value in figures.items():
        proof.figure(f"{name}_{figure}", value)
    proof.require(not outcome.closes, f"{name}: sockets were closed: {outcome.closes}")
    proof.require(outcome.playing == players, f"{name}: {outcome.playing} of {players} play")


@asynccontextmanager
async def watched(server: Running) -> AsyncIterator[Seen]:
    """Look at the worker's and the gateway's metrics all the while."""
    assert server.cluster is not None
    worker, gateway = server.cluster.workers[0], server.cluster.gateways[0]
    seen = Seen([], await asyncio.to_thread(worker.metrics), await asyncio.to_thread(gateway.metrics))

    async def look() -> None:
        while True:
            try:
                seen.worker = await asyncio.to_thread(worker.metrics)
                seen.gateway = await asyncio.to_thread(gateway.metrics)
            except OSError:
                # Too busy to answer in time: the next look will see it.
                pass
            seen.looks.append((time.monotonic(), seen.worker.total("overworld_dilation")))
            await asyncio.sleep(LOOK_S)

    looking = asyncio.create_task(look())
    try:
        await asyncio.sleep(LOOK_S)
        yield seen
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
