"""Entities that cross borders on workers with a real Redis: through outages of it, and through a worker's death."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from overworld.game import contract_of
from overworld.shard.core import ShardCore
from overworld.store.local_redis import LocalRedis
from overworld.store.redis_client import open_redis
from overworld.worker.service import Worker
from tests.parts.redis import RedisFactory
from tests.worker.cluster import running, until
from tests.worker.ferry import Ferry
from tests.worker.harbour import NAMES, SHARDS, boats_in, names_at, sent
from tests.worker.test_real_stores import World

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def server(redis_factory: RedisFactory) -> LocalRedis:
    return await redis_factory.start(appendonly=True)


@pytest_asyncio.fixture
async def world(server: LocalRedis, tmp_path: Path) -> AsyncIterator[World]:
    made = World(server.url, tmp_path / "blobs")
    made.title = Ferry()  # type: ignore[assignment]
    made.contract = contract_of(made.title, "test", seed=7)
    yield made
    await made.close()


def cores(workers: list[Worker]) -> dict[int, ShardCore]:
    return {s: host.core for w in workers for s, host in w._hosts.items() if host.core is not None}


async def grown(workers: list[Worker], by: int = 6) -> None:
    """Wait until so much more mail was applied each way."""
    ways = [(0, 1), (1, 0)]

    def applied() -> list[int]:
        found = cores(workers)
        return [found[b].received(a) if b in found else 0 for a, b in ways]

    before = applied()
    await until(lambda: all(n >= m + by for n, m in zip(applied(), before, strict=True)), f"{by} messages each way")


async def names(world: World, workers: list[Worker]) -> list[int]:
    """Names of all boats, in the shards and on their way, by the stores alone. Stops the workers."""
    for worker in workers:
        assert await worker.stop()
    ownership = (await world.parts()).ownership
    built = {shard: await world.replayed(shard) for shard in SHARDS}
    found = Counter(name for core in built.values() for name in names_at(core))
    for a, b in ((0, 1), (1, 0)):
        waiting = await ownership.read_outbox(a, b, built[b].received(a))
        assert [m.number for m in waiting] == list(range(built[b].received(a) + 1, sent(built[a], b) + 1))
        found.update(boats_in([m.body for m in waiting]))
    return sorted(found.elements())


async def two(world: World) -> list[Worker]:
    workers = list(await asyncio.gather(world.worker("a"), world.worker("b")))
    await until(lambda: sorted(running(workers[0]) + running(workers[1])) == [0, 1], "both shards run")
    return workers


async def test_boats_cross_between_workers_and_outlive_one_of_them(world: World) -> None:
    workers = await two(world)
    await grown(workers)
    lost = workers.pop(next(i for i, w in enumerate(workers) if running(w)))
    await lost.kill()
    await until(lambda: running(workers[0]) == [0, 1], "the other worker took over")
    await grown(workers)
    assert await names(world, workers) == NAMES


async def test_a_redis_that_comes_back_empty_costs_no_boat_while_the_workers_live(
    world: World, server: LocalRedis
) -> None:
    workers = await two(world)
    await grown(workers)
    client = await open_redis(server.url)
    await client.flushall()
    await client.aclose()
    await until(lambda: all(h.epoch == 2 for w in workers for h in w._hosts.values()), "journals begun anew")
    await grown(workers)
    assert await names(world, workers) == NAMES
