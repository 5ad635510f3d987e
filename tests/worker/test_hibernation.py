"""Shards that nobody needs: they stop ticking, leave memory, and are there at once when somebody comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import structlog

from overworld.game import Shard
from overworld.wire.v1 import link_pb2
from overworld.worker.hibernation import Rest, RestLimits
from overworld.worker.post import Post
from overworld.worker.service import Worker
from tests.shard.meadow import Meadow
from tests.worker.cluster import Cluster, running, until
from tests.worker.ferry import BOATS, Boat, Ferry

SLEEPY: dict[str, Any] = {"sleep_after_s": 0.2, "leave_after_s": 0.3}


class StillFerry(Ferry):
    """Its boats lie in their harbours, and nobody waves."""

    def setup(self, shard: Shard) -> None:
        super().setup(shard)
        shard[Boat].at.vx = np.zeros(BOATS, np.int64)

    def step(self, shard: Shard, inputs: Any) -> None:
        shard.begin_tick(shard.tick)
        boats = shard[Boat]
        steer = inputs[self.inputs[0]].last()
        boats.at.vx[steer.row] = steer.vx * 100
        boats.at.advance()
        boats.at.bounce(shard.grid.world_bounds)


class Restless(Meadow):
    def awake(self, shard: Shard) -> bool:
        return shard.index == 2


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster(StillFerry(), **SLEEPY)
    yield made
    await made.close()


def phases(worker: Worker) -> dict[int, str]:
    return {shard["shard"]: shard["phase"] for shard in worker.status()["shards"]}


def test_a_shard_rests_only_after_it_was_idle_for_long_enough() -> None:
    rest = Rest(RestLimits(sleep_s=10, leave_s=20), 100.0)
    assert [rest.sleeps(t) for t in (109.9, 110.0)] == [False, True]
    assert [rest.leaves(t) for t in (129.9, 130.0)] == [False, True]
    rest.busy(129.0)
    assert not rest.sleeps(130.0)
    assert not Rest(RestLimits(sleep_s=0), 0.0).sleeps(1e9)


@pytest.mark.asyncio
async def test_nobody_comes_and_the_shard_sleeps_and_leaves_memory_and_keeps_its_lease(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: phases(worker) == {0: "away", 1: "away"}, "both have left memory")
    tick = cluster.head_tick(0)
    beat = cluster.redis.primary.head(("test", 0))
    await until(lambda: cluster.redis.primary.head(("test", 0)) != beat, "the lease is kept by hand")
    assert cluster.head_tick(0) == tick, "no tick ran"
    assert worker._hosts[0].core is None
    assert worker._hosts[0].epoch == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("phase", ["asleep", "away"])
async def test_a_player_wakes_it_and_it_goes_on_where_it_stopped(cluster: Cluster, phase: str) -> None:
    leave_s = 60.0 if phase == "asleep" else 0.1
    cluster.given |= {"leave_after_s": leave_s}
    worker = await cluster.worker("w")
    await until(lambda: set(phases(worker).values()) == {phase} and len(phases(worker)) == 2, f"both are {phase}")
    await until(lambda: worker._hosts[0].held == 0, "its last tick is in the journal")
    tick = cluster.head_tick(0)
    gateway = await cluster.gateway()
    link = await gateway.dial(worker.address)
    gateway.attach(link, 0, session=100, player=2)
    await until(lambda: gateway.joined(0, 100), "the player is in")
    assert gateway.of(0)[0].tick == tick + 1
    assert phases(worker)[1] == phase, "the other one sleeps on"
    await until(lambda: cluster.head_tick(0) > tick + 20, "it ticks for as long as somebody is there")
    gateway.detach(link, 0, 100, leaving=True)
    await until(lambda: phases(worker)[0] == phase, "and sleeps again")


@pytest.mark.asyncio
async def test_who_looks_over_the_border_wakes_it(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: phases(worker) == {0: "away", 1: "away"}, "both have left memory")
    gateway = await cluster.gateway()
    link = await gateway.dial(worker.address)
    gateway.watch(link, 1, [2])
    await until(lambda: len(gateway.of(1)) > 20, "it shows its ticks")
    assert gateway.of(1)[0].message.keyframe_cells_u32, "first of all what stands there"


@pytest.mark.asyncio
@pytest.mark.parametrize("handed_over", [True, False])
async def test_an_entity_that_comes_wakes_it(
    cluster: Cluster, handed_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not handed_over:
        monkeypatch.setattr(Post, "send", lambda *_: None)
        monkeypatch.setattr("overworld.worker.hibernation.RestLimits.look_s", 0.2)
    worker = await cluster.worker("w")
    await until(lambda: phases(worker) == {0: "away", 1: "away"}, "both have left memory")
    gateway = await cluster.gateway()
    link = await gateway.dial(worker.address)
    gateway.attach(link, 0, session=100, player=2)
    await until(lambda: gateway.joined(0, 100), "the player is in")
    one = {"sessions_i64": 100, "seqs_u32": 1, "kinds_u32": 0, "seen_ticks_u32": 0, "counts_u32": 1, "values_i32": 120}
    columns = {name: np.array([value], f"<{name[-3]}{int(name[-2:]) // 8}").tobytes() for name, value in one.items()}
    # 12,000 position units a tick: over the border at once.
    link.send(link_pb2.LinkMessage(inputs=link_pb2.InputBatch(shard=0, **columns)))
    await until(lambda: any(o.message.moved_sessions_i64 for o in gateway.of(0)), "the boat has left shard 0")
    await until(lambda: 1 in running(worker), "and shard 1 has woken for it")
    core = worker._hosts[1].core
    assert core is not None
    await until(lambda: len(core.shard[Boat]) == BOATS + 1, "the boat is there")


@pytest.mark.asyncio
async def test_a_title_keeps_a_shard_awake_and_0_keeps_all_awake() -> None:
    cluster = Cluster(Restless(), sleep_after_s=0.2, leave_after_s=60)
    try:
        worker = await cluster.worker("w")
        await until(lambda: sorted(phases(worker).values()) == ["asleep"] * 3 + ["running"], "three sleep")
        assert phases(worker)[2] == "running"
    finally:
        await cluster.close()


@pytest.mark.asyncio
async def test_a_shard_that_is_away_is_migrated_stopped_and_taken_over(cluster: Cluster) -> None:
    first = await cluster.worker("a")
    await until(lambda: phases(first) == {0: "away", 1: "away"}, "both have left memory")
    tick = cluster.head_tick(0)
    second = await cluster.worker("b")
    moved = await second.migrate(0, second.address)
    assert not moved.reason, moved
    await until(lambda: 0 in phases(second), "b has it")
    await until(lambda: phases(second)[0] == "away", "where it sleeps again")
    assert await first.stop()
    await until(lambda: set(phases(second)) == {0, 1}, "b has both")
    await second.kill()
    third = await cluster.worker("c")
    await until(lambda: set(phases(third)) == {0, 1}, "c has taken both over")
    assert cluster.head_tick(0) >= tick


@pytest.mark.asyncio
async def test_blob_storage_that_is_down_keeps_it_in_memory_and_is_not_asked_all_the_time(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == [0, 1], "both run")
    cluster.shelf.down = True
    with structlog.testing.capture_logs() as logs:
        await until(lambda: any(entry["event"] == "shard_stays" for entry in logs), "it cannot be saved")
        tick = cluster.head_tick(0)
        await until(lambda: cluster.head_tick(0) > tick + 2, "it ticks on meanwhile")
        await until(lambda: phases(worker)[0] == "asleep", "and sleeps again")
    assert worker._hosts[0].core is not None, "its state is kept"
    assert sum(entry["event"] == "shard_stays" and entry["shard"] == 0 for entry in logs) <= 3
    cluster.shelf.down = False
    await until(lambda: phases(worker) == {0: "away", 1: "away"}, "until it can be saved")
