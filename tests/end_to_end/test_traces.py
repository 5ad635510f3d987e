"""Traces of real processes: players who come, move and go, a shard that moves, snapshots and orders of an operator."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import pytest

from loadtest.cluster import Cluster, Shape
from loadtest.crowd import Crowd, Order
from overworld.admin.node import PATH
from overworld.commands.traces import ids_of
from overworld.tracing import of_session, of_shard
from tests.parts.collector import Collected, Collector

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

BOTS = 8


async def play(folder: Path, collector: Collector) -> None:
    """Bots come, one shard moves, all go."""
    env = {"OVERWORLD_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OVERWORLD_ADMIN_TOKEN": "t" * 40}
    shape = Shape(shards="2x1", gateways=1, env=env, worker_env={"OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": "1"})
    async with Cluster(folder, shape) as cluster:
        order = Order((cluster.gateways[0].play_url,), "frontier", cluster.key, "main", BOTS)
        crowd = await Crowd(order, folder / "crowd.log").start()
        try:
            await crowd.all_playing(60)
            # The one worker's SIGTERM moves its shard to the other.
            assert await cluster.workers[0].process.stop(60) == 0
            await cluster.workers[1].process.wait_until(lambda: len(cluster.workers[1].shards()) == 2, 30)
            await asyncio.to_thread(order_broadcast, cluster.gateways[0].internal_url)
            await crowd.all_playing(60)
            await crowd.leave()
            assert await cluster.stop() == []
        finally:
            crowd.kill()


def order_broadcast(internal_url: str) -> None:
    headers = {"Authorization": f"Bearer {'t' * 40}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{internal_url}{PATH}/broadcast", b'{"text": "hello"}', headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.asyncio
async def test_sessions_and_shards_are_traces_over_all_processes(tmp_path: Path) -> None:
    with Collector() as collector:
        await play(tmp_path, collector)
    by_name: dict[str, list[Collected]] = {}
    for span in collector.spans:
        by_name.setdefault(span.name, []).append(span)
    assert set(by_name) >= {
        "session", "session.join", "session.attach", "shard.takeover", "shard.snapshot", "shard.moved",
        "shard.migration", "admin.call",
    }  # fmt: skip
    assert len(by_name["session"]) == BOTS
    for whole in by_name["session"]:
        number = int(whole.about["overworld.session"])
        assert (int(whole.trace, 16), int(whole.span, 16)) == ids_of("main", of_session(number))
        parts = [span for span in collector.spans if span.trace == whole.trace and span is not whole]
        assert {span.name for span in parts} >= {"session.join", "session.attach"}
        assert {span.service for span in parts} == {"overworld-gateway", "overworld-worker"}
        assert {span.parent for span in parts} == {whole.span}
        assert all(span.seconds <= whole.seconds for span in parts if span.name == "session.join")
    moved = by_name["shard.moved"][0]
    shard, epoch = moved.about["overworld.shard"], moved.about["overworld.epoch"]
    assert int(moved.trace, 16) == ids_of("main", of_shard(shard, epoch))[0]
    assert moved.instance == "worker-1"
    takeovers = [span for span in by_name["shard.takeover"] if span.trace == moved.trace]
    assert [span.instance for span in takeovers] == ["worker-1"]
    # Nothing a tick: two shards ticked 20 times a second for seconds.
    assert len(collector.spans) < 200
    assert not any("player" in name for span in collector.spans for name in span.about)
