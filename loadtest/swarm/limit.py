"""How many players hold, and what is at its end when more come.

Holds: at least 95 % of frames on time, interval p99 under two ticks, no errors, no faults. Doubling up to the first
number that does not hold, then halving the distance. A number that fails is tried once more before it counts: a
neighbour's noise must not be the limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from loadtest.machine import describe
from loadtest.swarm import measures
from loadtest.swarm.results import GENERATOR_LATE_MS_MAX
from loadtest.swarm.scenario import Scenario
from loadtest.swarm.thresholds import Limits

ON_TIME_MIN = 0.95
INTERVAL_TICKS_MAX = 2.0
BUSY = 0.85
"""A process of one thread that uses more of a core than this has no more to give."""
JOINS_PER_S = 100.0
TRIES = 2
Try = Callable[[int], Awaitable[dict[str, Any]]]


def trial(scenario: Scenario, bots: int, seconds: float) -> Scenario:
    """A scenario as one try: no chaos, and a ramp that logins can keep up with."""
    ramp_s = max(2.0, bots / JOINS_PER_S)
    groups = [
        group.model_copy(
            update={"ramp": group.ramp.model_copy(update={"kind": "linear", "seconds": ramp_s, "start_s": 0.0})}
        )
        for group in scenario.bots
    ]
    changed = {"bots": groups, "chaos": [], "duration_s": ramp_s + scenario.warm_up_s + seconds}
    return scenario.model_copy(update={**changed, "thresholds": Limits()}).scaled(bots)


def why_not(result: Mapping[str, Any]) -> list[str]:
    """What does not hold; empty where all does."""
    figures, tick_ms = result["figures"], result["tick_ms"]
    told = list(result["broken"])
    if figures["on_time"] < ON_TIME_MIN:
        told.append(f"{figures['on_time']:.1%} of frames on time")
    if figures["interval_ms"]["p99"] >= INTERVAL_TICKS_MAX * tick_ms:
        told.append(f"interval p99 {figures['interval_ms']['p99']:.0f} ms")
    if result["errors"]:
        told.append(f"errors: {result['errors']}")
    return told


def told(result: Mapping[str, Any]) -> str:
    """One try in a line."""
    reasons = why_not(result)
    return "hold" if not reasons else f"do not hold: {'; '.join(reasons)[:300]} ({saturated(result)})"


def saturated(result: Mapping[str, Any]) -> str:
    """What had no more to give while it was measured, the busiest first."""
    busy = []
    for name, kinds in result["processes"].items():
        rows = [row for row in next(iter(kinds.values())) if row[0] >= result["measured_from_s"]]
        busy.append((measures.cores_used(rows), name))
    busy.sort(reverse=True)
    found = [f"{name} used {cores:.0%} of a core" for cores, name in busy if cores >= BUSY]
    late_ms = result["figures"]["generator_late_ms"]["p99"]
    if late_ms > GENERATOR_LATE_MS_MAX:
        found.append(f"the load machine itself: its timers ran {late_ms:.0f} ms late")
    total = sum(cores for cores, _ in busy)
    cores = result["machine"]["cores"]
    if result["target"]["local"] and total >= BUSY * cores:
        found.append(f"the whole machine: {total:.1f} of {cores} cores, load generator included")
    shown = ", ".join(f"{name} {share:.0%}" for share, name in busy[:3])
    return "saturated: " + "; ".join(found) if found else f"nothing was saturated; the busiest: {shown}"


async def find(one: Try, lowest: int, highest: int, close: float) -> dict[str, Any]:
    """Search. `one` tries a number of players."""
    tries: list[dict[str, Any]] = []

    async def holds(bots: int) -> bool:
        for _ in range(TRIES):
            result = await one(bots)
            reasons = why_not(result)
            tries.append(
                {"bots": bots, "holds": not reasons, "why_not": reasons, "saturated": saturated(result),
                 "figures": result["figures"]}
            )  # fmt: skip
            if not reasons:
                return True
        return False

    good, bad, bots = 0, 0, lowest
    while not bad and bots <= highest:
        if await holds(bots):
            good, bots = bots, bots * 2
        else:
            bad = bots
    while bad and good and bad - good > close * good:
        middle = (good + bad) // 2
        if await holds(middle):
            good = middle
        else:
            bad = middle
    return {"holds": good, "does_not": bad, "why": _why(tries, bad, highest), "tries": tries, "machine": describe()}


def _why(tries: Sequence[Mapping[str, Any]], bad: int, highest: int) -> str:
    if not bad:
        return f"more than {highest} were not tried"
    last = [attempt for attempt in tries if attempt["bots"] == bad][-1]
    return f"with {bad}: {'; '.join(last['why_not'])[:300]}; {last['saturated']}"
