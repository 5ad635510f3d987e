"""The processes of bots on this machine, from the starter's side."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from loadtest.machine import REPOSITORY
from loadtest.processes import guard, release
from loadtest.swarm.bot import Part
from loadtest.swarm.gathered import Collector, Gathered, Window, gathered
from loadtest.swarm.process import BotOrder, Order
from loadtest.swarm.scenario import Scenario

LINE_BYTES_MAX = 1 << 26
BOTS_OF_A_PROCESS = 50
"""With fewer, another process does not pay."""


class CrewFailed(Exception):
    """A process of bots ended before its time; the message holds the end of its log."""


def bots_of(scenario: Scenario, machine: int = 0, machines: int = 1) -> list[BotOrder]:
    """What bots this machine has: every `machines`-th. Bot n is the same in every run of a seed."""
    found, number = [], 0
    for group in scenario.bots:
        for i in range(group.count):
            sampled = int((i + 1) * group.sampled + 1e-9) > int(i * group.sampled + 1e-9)
            part = Part(
                number, group.behaviour, sampled, group.input_interval_s, scenario.check_interval_s, scenario.seed
            )
            if number % machines == machine:
                found.append(BotOrder(part, group.network, group.ramp.due_s(i, group.count)))
            number += 1
    return found


def process_count(scenario: Scenario, bots: int) -> int:
    """How many processes for so many bots."""
    wanted = scenario.processes or len(os.sched_getaffinity(0))
    return max(1, min(wanted, -(-bots // BOTS_OF_A_PROCESS)))


class Crew:
    """See the module."""

    def __init__(self, orders: list[Order], folder: Path, name: str = "bots") -> None:
        self.windows: dict[int, Window] = {}
        self._orders = {f"{name}-{i}": order for i, order in enumerate(orders)}
        self._collectors = {name: Collector(name, self.windows) for name in self._orders}
        self._folder = folder
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._listening: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every process; bots come when they are due."""
        for name, order in self._orders.items():
            with (self._folder / f"{name}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "loadtest.swarm.process",
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                    cwd=REPOSITORY, start_new_session=True, limit=LINE_BYTES_MAX,
                    env={**os.environ, "PYTHONPATH": str(REPOSITORY / "server")},
                )  # fmt: skip
            guard(process.pid)
            self._processes[name] = process
            self._listening.append(asyncio.create_task(self._listen(name, process)))
            await self._say(process, order.to_json())

    @property
    def told(self) -> Gathered | None:
        """Everything until now; None while some have told nothing."""
        if not all(collector.last for collector in self._collectors.values()):
            return None
        return gathered(self._collectors, self.windows)

    async def say(self, word: str) -> None:
        """A word to all. Raises CrewFailed where one is gone."""
        for name, process in self._processes.items():
            if process.returncode is not None:
                raise CrewFailed(f"{name} ended: {self._log(name)}")
            await self._say(process, word)

    def look(self) -> None:
        """Raises CrewFailed where one is gone."""
        for name, process in self._processes.items():
            if process.returncode is not None and not self._collectors[name].last.get("over"):
                raise CrewFailed(f"{name} ended: {self._log(name)}")

    async def leave(self, timeout_s: float = 90.0) -> Gathered:
        """All bots leave. Raises CrewFailed where they do not in time."""
        await self.say("leave")
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*self._listening)
        except TimeoutError:
            raise CrewFailed(f"the bots did not leave within {timeout_s:.0f} s") from None
        self.look()
        told = self.told
        assert told is not None
        return told

    def kill(self) -> None:
        """At once."""
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
            release(process.pid)
        for task in self._listening:
            task.cancel()

    def _log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")[-2000:]

    async def _say(self, process: asyncio.subprocess.Process, line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line.encode() + b"\n")
        await process.stdin.drain()

    async def _listen(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._collectors[name].take(json.loads(line))
        await process.wait()
