"""A run from beginning to end: bots come and play, chaos happens at its time, everything is gathered and judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtest.swarm import chaos
from loadtest.swarm.crew import Crew, bots_of, process_count
from loadtest.swarm.gathered import Gathered
from loadtest.swarm.machines import Alone, Machines
from loadtest.swarm.process import Order
from loadtest.swarm.results import Ledger, Run, result_of
from loadtest.swarm.scenario import Scenario
from loadtest.swarm.target import Target, Watcher, plain_of
from overworld.commands.title_loader import load_title
from overworld.errors import OverworldError

START_S = 2.0
"""From the order to the first bot: processes must be up by then."""
LOOK_S = 0.25
TICK_S = 0.05
Told = Callable[[float, Gathered, Watcher], None]
"""Called now and then with the second, what bots told and what the server's processes said."""


async def run(
    scenario: Scenario,
    target: Target,
    folder: Path,
    *,
    told: Told | None = None,
    machines: Machines | None = None,
) -> dict[str, Any] | None:
    """Play a scenario against a target. Returns the result; None on machines that only help.

    Raises CrewFailed, ChaosImpossible, and what the machines' coordination raises.
    """
    machines = machines or Alone()
    chaos.look_ahead(scenario.chaos, target)
    await target.find_processes()
    starts_at = await machines.start(START_S)
    leads = machines.index == 0
    crew = Crew(_orders(scenario, target, machines, starts_at), folder, machines.name)
    watcher = Watcher(target, starts_at)
    mischief = chaos.Chaos(scenario.chaos if leads else _networks(scenario), target, starts_at, crew.say)
    tasks: list[asyncio.Task[None]] = []
    try:
        await crew.start()
        if leads:
            tasks.append(asyncio.create_task(watcher.watch()))
        tasks.append(asyncio.create_task(mischief.run()))
        while (second := time.time() - starts_at) < scenario.duration_s:
            crew.look()
            for task in tasks:
                if task.done() and (error := task.exception()) is not None:
                    raise error
            if told is not None and second > 0 and (so_far := crew.told) is not None:
                told(second, so_far, watcher)
            await asyncio.sleep(LOOK_S)
        if scenario.chaos:
            # What was broken is whole again before inputs are counted.
            await asyncio.wait([tasks[-1]], timeout=60)
        await crew.say("rest")
        await asyncio.sleep(3.0)
        if leads:
            await watcher.look()
        seconds = time.time() - starts_at
        gathered = await crew.leave()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        crew.kill()
    gathered_all = await machines.gather(gathered)
    if gathered_all is None:
        return None
    ledger = _ledger(scenario, target, watcher)
    tick_s = _tick_s(target.title)
    return result_of(
        Run(scenario, gathered_all, plain_of(target), tick_s, seconds, watcher.series, mischief.events, ledger)
    )


def _orders(scenario: Scenario, target: Target, machines: Machines, starts_at: float) -> list[Order]:
    bots = bots_of(scenario, machines.index, machines.count)
    count = process_count(scenario, len(bots))
    changes = any(part.do == "network" for part in scenario.chaos)
    return [
        Order(
            target.urls, target.title, target.tickets, starts_at, scenario.seed, changes,
            target.admin_urls, target.admin_token, tuple(bots[i::count]),
        )
        for i in range(count)
    ]  # fmt: skip


def _networks(scenario: Scenario) -> list[Any]:
    """Chaos that each machine has to make for itself."""
    return [part for part in scenario.chaos if part.do == "network"]


def _ledger(scenario: Scenario, target: Target, watcher: Watcher) -> Ledger:
    if not target.alone:
        return Ledger(False, why_not="somebody else may play there")
    if any(part.do in ("kill", "restart") for part in scenario.chaos):
        return Ledger(False, why_not="a process that ended took its counts with it")
    return Ledger(True, watcher.total("overworld_inputs_applied_total"))


def _tick_s(title: str) -> float:
    """A title's tick; 20 Hz where it is not installed here."""
    try:
        return type(load_title(title)).world.tick_interval_us / 1e6
    except OverworldError:
        return TICK_S
