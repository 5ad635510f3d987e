"""[compare] Overworld beside what a user might pick instead: one workload, one machine, one table.

Each server has one core, the load generator another. CPU is measured at the same number of clients for all, in turns;
then each server's largest number is searched for. `--servers`, `--parts` and `--inputs` choose what is measured; with
`--merge` what is not stays in the results as it was.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, cast

from loadtest.machine import commit
from loadtest.peers import table, tools
from loadtest.peers.observer import observing
from loadtest.peers.rivals import RIVALS, SETTINGS, Running
from loadtest.peers.run import Inputs, Outcome, Pace, measure
from loadtest.peers.search import largest
from loadtest.peers.worlds import Part, Workload
from loadtest.prove.proof import RESULTS, Proof

GUESSES = {
    ("overworld", "A"): 2000,
    ("overworld", "B"): 2600,
    ("colyseus", "A"): 1200,
    ("colyseus", "B"): 600,
    ("websocket", "A"): 1600,
    ("websocket", "B"): 1600,
}
NOT_SEARCHED = "floor"
IN_VIEW_OFF_MAX = 10
"""How far a view's mean may be from 40 before the workload was not the one it says."""


SETTLE_S = 9.0
"""Before a search measures: a world that was slowed while everybody joined is back by then, or does not hold."""


@dataclass(frozen=True)
class Options:
    """`at`: clients at which costs are compared, in `rounds` turns. `most`: no search goes beyond it. `small`: half a
    minute, for seeing that it works.
    """

    servers: str = "overworld,colyseus,websocket,floor"
    parts: str = "B,A"
    inputs: str = "hz20,change"
    at: int = 500
    rounds: int = 2
    window_s: float = 5.0
    most: int = 6000
    probes: int = 8
    costs: bool = True
    limits: bool = True
    merge: bool = False
    small: bool = False


def run(proof: Proof, options: Options) -> None:
    """Measure, and print the table."""
    if options.small:
        options = Options(options.servers, "B", "hz20", at=40, rounds=1, window_s=1.5, limits=False)
    if options.merge:
        proof.figures.update(_earlier())
    proof.figures["versions"] = {**tools.node_versions(), "python": sys.version.split()[0]}
    proof.figures["settings_of_overworld"] = dict(SETTINGS)
    asyncio.run(_run(proof, options))
    for line in table.lines(proof.figures):
        print(line, flush=True)


async def _run(proof: Proof, options: Options) -> None:
    servers = options.servers.split(",")
    for part in options.parts.split(","):
        for inputs in options.inputs.split(","):
            if options.costs:
                await costs(proof, options, servers, cast("Part", part), cast("Inputs", inputs))
            for server in servers if options.limits else ():
                if server != NOT_SEARCHED:
                    await limit(proof, options, server, cast("Part", part), cast("Inputs", inputs))


async def costs(proof: Proof, options: Options, servers: list[str], part: Part, inputs: Inputs) -> None:
    """CPU, bytes and latency at one number of clients: every server in each round, so that a slow minute hits all."""
    pace = Pace(warm_s=2.0, window_s=options.window_s)
    found: dict[str, list[Outcome]] = {server: [] for server in servers}
    for _ in range(options.rounds):
        for server in servers:
            outcome = await watched(proof, server, Workload(part, options.at), inputs, pace)
            proof.say(
                f"{server} {part} {inputs}: {outcome.cpu_us_per_update:.1f} us an update, p99 {outcome.gap_ms_p99}"
            )
            found[server].append(outcome)
    for server, outcomes in found.items():
        middle = sorted(outcomes, key=lambda outcome: outcome.cpu_us_per_update)[(len(outcomes) - 1) // 2]
        rounds = [outcome.cpu_us_per_update for outcome in outcomes]
        note(proof, server, part, inputs, "cost", {
            **middle.plain(), "cpu_us_per_update": statistics.median(rounds), "cpu_us_per_update_rounds": rounds,
        })  # fmt: skip


async def watched(proof: Proof, server: str, work: Workload, inputs: Inputs, pace: Pace) -> Outcome:
    """One run, with an observer among Overworld's players; what must be so for any server is required."""
    async with AsyncExitStack() as stack:
        seen = []

        async def joined(running: Running) -> None:
            if running.cluster is not None:
                seen.append(await stack.enter_async_context(observing(running)))

        outcome = await measure(server, work, inputs, pace, joined)
    what = f"{server} {work.part} with {work.players}"
    proof.require(outcome.playing == work.players, f"{what}: {outcome.playing} play, closes {outcome.closes}")
    proof.require(outcome.updates_per_client_s > 0, f"{what}: no updates came")
    for observed in seen:
        outcome.more["observed_frames"] = observed.frames
        outcome.more["observed_in_view"] = observed.in_view_mean
        proof.require(bool(observed.in_view), f"{what}: the observer saw nothing")
        proof.require(not observed.faults, f"{what}: the observer found {observed.faults}")
    if outcome.in_view is not None and work.part == "B" and work.players >= 200:
        proof.require(abs(outcome.in_view - 40) < IN_VIEW_OFF_MAX, f"{what}: {outcome.in_view} in view")
    return outcome


async def limit(proof: Proof, options: Options, server: str, part: Part, inputs: Inputs) -> None:
    """The largest number that holds."""
    pace = Pace(SETTLE_S, options.window_s)

    async def probe(clients: int) -> Outcome:
        outcome = await measure(server, Workload(part, clients), inputs, pace)
        proof.say(
            f"{server} {part} {inputs} {clients}: {outcome.updates_per_client_s:.1f}/s, p99 {outcome.gap_ms_p99} ms, "
            f"closes {outcome.closes}, generator {outcome.generator_cpu:.2f}: {'holds' if outcome.holds else 'no'}"
        )
        return outcome

    earlier = proof.figures.get(f"{server}_{part}_{inputs}", {}).get("limit", {}).get("largest")
    search = await largest(probe, earlier or GUESSES[server, part], options.most, options.probes)
    at_largest = search.at_largest
    note(proof, server, part, inputs, "limit", {
        "largest": search.largest,
        "broke": search.broke,
        "lower_bound": not search.broke,
        "generator_was_the_wall": search.generator_was_the_wall,
        "probes": len(search.probes),
        "at_largest": at_largest.plain() if at_largest is not None else None,
    })  # fmt: skip
    proof.require(search.largest > 0, f"{server} {part} {inputs}: held nobody")


def note(proof: Proof, server: str, part: str, inputs: str, what: str, value: dict[str, Any]) -> None:
    """Add to the figure of a server under a workload."""
    name = f"{server}_{part}_{inputs}"
    known = proof.figures.get(name, {"server": server, "part": part, "inputs": inputs})
    proof.figure(name, {**known, what: {**value, "commit": commit()}})


def _earlier() -> dict[str, Any]:
    path = RESULTS / "compare.json"
    found: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}
    return {name: figure for name, figure in found.items() if figure.get("server") in RIVALS}
