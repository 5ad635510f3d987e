"""The workers' own word on their state: samples of /audit/state, taken while the world runs."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import aiohttp
import numpy as np

from loadtest.cluster import Node
from loadtest.truth import Ints, Truth
from overworld.worker import tasks
from overworld.world.contract import WorldContract

TIMEOUT_S = 5.0


class AuditCollector:
    """Asks, a few times a second, whichever worker runs a shard for its newest committed tick."""

    def __init__(self, workers: list[Node], contract: WorldContract, pause_s: float = 0.5) -> None:
        self.truths = {shard: Truth(shard, contract) for shard in range(contract.grid.shard_count)}
        self.failed_reads = 0
        self._workers = workers
        self._pause_s = pause_s
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        await tasks.end([self._task])

    @property
    def samples(self) -> int:
        """(shard, tick) pairs known."""
        return sum(len(truth.ticks) for truth in self.truths.values())

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as http:
            while True:
                for shard in self.truths:
                    for worker in self._workers:
                        if worker.process.alive and await self._ask(http, worker, shard):
                            break
                    # Spread out, so that the samples of one shard do not always meet the same phase of a tick.
                    await asyncio.sleep(self._pause_s / len(self.truths))

    async def _ask(self, http: aiohttp.ClientSession, worker: Node, shard: int) -> bool:
        try:
            async with http.get(f"{worker.internal_url}/audit/state", params={"shard": shard}) as answer:
                if answer.status != 200:
                    return False
                state = await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            self.failed_reads += 1
            return False
        self.truths[shard].add(int(state["tick"]), rows_of_state(state), state.get("epoch"))
        return True


def rows_of_state(state: dict[str, Any]) -> list[Ints]:
    """Rows of an answer of /audit/state, as `Truth` has them."""
    found = []
    for kind in state["kinds"]:
        columns = [[kind["kind"]] * len(kind["ids"]), kind["ids"], kind["cells"], *kind["columns"].values()]
        found.append(np.array(columns, np.int64).T.copy())
    return found
