"""Workers that even out their loads, are emptied, and stand still, all while shards are played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from overworld.admin.cluster import PAUSED
from overworld.store.memory import MemoryDirectory
from overworld.wire.v1 import client_pb2
from overworld.worker.balancer import LEAD_TTL_S
from overworld.worker.service import Worker
from tests.worker.cluster import Cluster, running, until
from tests.worker.test_service import ALL, playing

pytestmark = pytest.mark.asyncio

BALANCED: dict[str, Any] = {
    "balance": True,
    "balance_settle_s": 0.2,
    "balance_rest_s": 0.5,
    "snapshot_interval_s": 60.0,
}


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster(**BALANCED)
    yield made
    await made.close()


def leads(worker: Worker) -> bool:
    return worker._balancer is not None and worker._balancer.leads


def phases(worker: Worker) -> set[str]:
    return {shard["phase"] for shard in worker.status()["shards"]}


async def order(cluster: Cluster, flag: str, value: str) -> None:
    await MemoryDirectory(cluster.redis).set_flag("test", flag, value)


# ---------------------------------------------------------------- balance


async def test_a_new_worker_gets_its_share_and_nobody_who_plays_is_lost(cluster: Cluster) -> None:
    a = await cluster.worker("a")
    await until(lambda: running(a) == ALL, "the first runs all shards")
    gateway = await playing(cluster, a, 0)
    b = await cluster.worker("b")
    await until(lambda: len(running(b)) == 2, "the new one has half of them")
    assert sorted(running(a) + running(b)) == ALL
    assert not gateway.lost
    heads = [cluster.redis.primary.head(("test", shard)) for shard in ALL]
    assert sum(head.epoch for head in heads if head) == 6, "each moved shard moved once"


async def test_one_leads_and_another_when_it_is_gone(cluster: Cluster) -> None:
    a, b = await cluster.worker("a"), await cluster.worker("b")
    await until(lambda: leads(a) != leads(b), "one leads")
    first, second = (a, b) if leads(a) else (b, a)
    await first.stop()
    await until(lambda: leads(second), "the other one leads", LEAD_TTL_S + 10)
    assert not leads(first)


async def test_a_drained_worker_is_emptied_and_may_come_back(cluster: Cluster) -> None:
    a, b = await asyncio.gather(cluster.worker("a"), cluster.worker("b"))
    await until(lambda: len(running(a)) == len(running(b)) == 2, "both run two")
    a.empty(True)
    await until(lambda: running(b) == ALL and not running(a), "it is empty")
    refused = await b.migrate(0, a.address)
    assert (refused.result, refused.reason) == ("refused", "this worker is drained")
    a.empty(False)
    await until(lambda: len(running(a)) == 2, "it has its share again")


async def test_shards_that_left_memory_are_moved_as_well() -> None:
    cluster = Cluster(**{**BALANCED, "sleep_after_s": 0.2, "leave_after_s": 0.2})
    try:
        a, b = await asyncio.gather(cluster.worker("a"), cluster.worker("b"))
        await until(lambda: phases(a) == phases(b) == {"away"} and len(a._hosts) == 2, "all left memory")
        a.empty(True)
        await until(lambda: len(b._hosts) == 4 and not a._hosts, "the other one has them")
    finally:
        await cluster.close()


async def test_the_last_worker_keeps_its_shards_though_it_is_to_be_empty(cluster: Cluster) -> None:
    a, b = await asyncio.gather(cluster.worker("a"), cluster.worker("b"))
    await until(lambda: len(running(a)) == len(running(b)) == 2, "both run two")
    a.empty(True)
    await until(lambda: running(b) == ALL, "the other one runs everything")
    await b.kill()
    await until(lambda: running(a) == ALL, "a world that stands still is worse")


async def test_shards_do_not_wander_while_nothing_changes(cluster: Cluster) -> None:
    a, b = await asyncio.gather(cluster.worker("a"), cluster.worker("b"))
    await until(lambda: len(running(a)) == len(running(b)) == 2, "both run two")
    tick = cluster.head_tick(0)
    await until(lambda: cluster.head_tick(0) > tick + 60, "three seconds pass")
    heads = [cluster.redis.primary.head(("test", shard)) for shard in ALL]
    assert [head.epoch for head in heads if head] == [1, 1, 1, 1]


# ---------------------------------------------------------------- pause


async def test_a_paused_world_stands_still_with_its_players_and_its_leases(cluster: Cluster) -> None:
    a = await cluster.worker("a", balance=False)
    await until(lambda: running(a) == ALL, "all shards run")
    gateway = await playing(cluster, a, 2)
    await order(cluster, PAUSED, "anna")
    await until(lambda: phases(a) == {"paused"}, "all stand still")
    assert a.paused == "anna"
    await until(lambda: (2, client_pb2.Notice.CODE_STALLED) in gateway.notices, "players are told")
    await until(lambda: a._hosts[2].held == 0, "what had run went out")
    ticks, before = [cluster.head_tick(shard) for shard in ALL], cluster.redis.primary.head(("test", 2))
    # Long enough for somebody to take shards whose owner is silent.
    await cluster.worker("b", balance=False)
    gateway.walk(gateway.links[a.address], 2, session=5, seq=1)
    await asyncio.wait({asyncio.create_task(beats(cluster, 2, 12))}, timeout=20)
    assert [cluster.head_tick(shard) for shard in ALL] == ticks
    after = cluster.redis.primary.head(("test", 2))
    assert before is not None
    assert after is not None
    assert (after.epoch, after.address) == (before.epoch, a.address)
    await order(cluster, PAUSED, "")
    await until(lambda: gateway.acked(2, 5) == 1, "it goes on, and the input is applied")
    assert (2, client_pb2.Notice.CODE_RESUMED) in gateway.notices
    assert not gateway.gone


async def beats(cluster: Cluster, shard: int, count: int) -> None:
    """Wait until the owner of a shard has beaten so often."""
    seen: set[int] = set()
    while len(seen) < count:
        head = cluster.redis.primary.head(("test", shard))
        assert head is not None
        seen.add(head.beat)
        await asyncio.sleep(0.01)


async def test_a_worker_that_starts_in_a_paused_world_runs_no_tick(cluster: Cluster) -> None:
    a = await cluster.worker("a")
    await until(lambda: running(a) == ALL, "all shards run")
    await order(cluster, PAUSED, "anna")
    await until(lambda: phases(a) == {"paused"}, "all stand still")
    await a.kill()
    ticks = [cluster.head_tick(shard) for shard in ALL]
    b = await cluster.worker("b")
    await until(lambda: phases(b) == {"paused"} and len(b._hosts) == 4, "all stand still at the new one")
    await beats(cluster, 0, 4)
    assert [cluster.head_tick(shard) for shard in ALL] == ticks
    await order(cluster, PAUSED, "")
    await until(lambda: min(cluster.head_tick(shard) for shard in ALL) > max(ticks) + 5, "all go on")


async def test_paused_shards_can_be_moved(cluster: Cluster) -> None:
    a = await cluster.worker("a")
    await until(lambda: running(a) == ALL, "all shards run")
    await order(cluster, PAUSED, "anna")
    await until(lambda: phases(a) == {"paused"}, "all stand still")
    b = await cluster.worker("b")
    await until(lambda: len(b._hosts) == 2 and phases(b) == {"paused"}, "half of them stand still elsewhere")
    assert await a.stop(), "and the others follow when it stops"
    await until(lambda: len(b._hosts) == 4, "all of them")
    heads = [cluster.redis.primary.head(("test", shard)) for shard in ALL]
    assert {head.address for head in heads if head} == {b.address}
    await order(cluster, PAUSED, "")
    await until(lambda: running(b) == ALL, "all go on")
