"""What goes wrong on purpose, at its time. Processes are touched only in clusters started here; a worker elsewhere is
drained over the admin API, and networks are the bots' own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp

from loadtest.swarm.scenario import ChaosPart
from loadtest.swarm.target import Target

ADMIN_S = 30.0


class ChaosImpossible(Exception):
    """What a scenario wants cannot be done to this target."""


def look_ahead(parts: Sequence[ChaosPart], target: Target) -> None:
    """Raises ChaosImpossible now for what would fail in the middle of the run."""
    for part in parts:
        if part.do in ("kill", "restart", "pause"):
            if target.cluster is None:
                raise ChaosImpossible(f"{part.do} {part.target}: only with --local")
            if part.target not in target.scrape_urls:
                raise ChaosImpossible(f"{part.do}: no process {part.target}; there are {sorted(target.scrape_urls)}")
        if part.do == "drain" and not target.admin_urls:
            raise ChaosImpossible("drain needs --admin")


class Chaos:
    """Runs a scenario's. `events`: what was done, when, for how long; for the report."""

    def __init__(
        self,
        parts: Sequence[ChaosPart],
        target: Target,
        starts_at: float,
        say_bots: Callable[[str], Awaitable[None]],
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self._parts = sorted(parts, key=lambda part: part.at_s)
        self._target, self._starts_at, self._say_bots = target, starts_at, say_bots

    async def run(self) -> None:
        """All of it, each at its time; several may be under way at once."""
        async with asyncio.TaskGroup() as group:
            for part in self._parts:
                await asyncio.sleep(max(0.0, self._starts_at + part.at_s - time.time()))
                group.create_task(self._one(part))

    async def _one(self, part: ChaosPart) -> None:
        began_s = time.time() - self._starts_at
        event = {"at_s": began_s, "for_s": 0.0, "what": " ".join(filter(None, (part.do, part.target, self._how(part))))}
        self.events.append(event)
        await self._do(part)
        event["for_s"] = time.time() - self._starts_at - began_s

    @staticmethod
    def _how(part: ChaosPart) -> str:
        return part.network if part.do == "network" else ""

    async def _do(self, part: ChaosPart) -> None:
        if part.do == "network":
            await self._say_bots(f"network {part.network}")
            await asyncio.sleep(part.for_s)
            await self._say_bots("network ")
        elif part.do == "drain":
            await self._drain(part.target, undo=False)
            await asyncio.sleep(part.for_s)
            await self._drain(part.target, undo=True)
        else:
            node = self._target.node(part.target)
            if part.do == "pause":
                node.process.pause()
                await asyncio.sleep(part.for_s)
                node.process.resume()
                return
            if part.do == "kill":
                node.process.kill()
            else:
                await node.process.stop()
            await asyncio.sleep(part.for_s)
            assert self._target.cluster is not None
            await self._target.cluster.start_node(node)

    async def _drain(self, worker: str, *, undo: bool) -> None:
        url = f"{self._target.admin_urls[0].rstrip('/')}/admin/v1/workers/{worker}/drain"
        headers = {"Authorization": f"Bearer {self._target.admin_token}"}
        timeout = aiohttp.ClientTimeout(total=ADMIN_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as http,
            http.post(url, json={"undo": undo}) as answer,
        ):
            if answer.status != 200:
                raise ChaosImpossible(f"drain {worker}: {answer.status} {(await answer.text())[:200]}")
