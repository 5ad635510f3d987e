"""What real processes say of themselves while bots play and a worker dies: metrics and logs, walked one by one."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from loadtest.cluster import Cluster, Shape
from loadtest.crowd import Crowd, Order
from loadtest.metrics import Metrics
from overworld import telemetry
from overworld.gateway.session import SessionState

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

BOTS = 20
WORKERS = {"OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": "1", "OVERWORLD_WORKER_LINK_TLS": "true"}
LABEL_VALUE = re.compile(r"[A-Za-z0-9_.]{1,40}")
SERIES_OF_A_METRIC_MAX = 64
STRUCTURE = {"event", "level", "timestamp", "role", "process"}


@dataclass
class Run:
    """What is left of a run: the last scrape of each process, its log, and the cluster's key."""

    folder: Path
    key: str = ""
    scrapes: dict[str, Metrics] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for text in self.logs.values() for line in text.splitlines()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    found = Run(tmp_path_factory.mktemp("observed"))
    shape = Shape(shards="2x2", worker_env=WORKERS)
    async with Cluster(found.folder, shape) as cluster:
        found.key = cluster.key
        order = Order(tuple(g.play_url for g in cluster.gateways), "frontier", cluster.key, "main", BOTS)
        crowd = await Crowd(order, found.folder / "crowd.log").start()
        try:
            await crowd.all_playing(60)
            killed = cluster.workers[0]
            killed.process.kill()
            await cluster.workers[1].process.wait_until(lambda: len(cluster.workers[1].shards()) == 4, 30)
            await crowd.all_playing(60)
            living = [cluster.workers[1], *cluster.gateways]
            deadline_s = asyncio.get_running_loop().time() + 30
            while not cluster.workers[1].metrics().total("overworld_snapshot_saved_total"):
                assert asyncio.get_running_loop().time() < deadline_s, "no snapshot was saved"
                await asyncio.sleep(0.1)
            found.scrapes = {node.name: await asyncio.to_thread(node.metrics) for node in living}
            await break_a_rule(cluster.gateways[0].play_url)
            await crowd.leave()
            assert await cluster.stop() == []
        finally:
            crowd.kill()
        found.logs = {node.name: node.process.log.read_text() for node in cluster.nodes}
    return found


async def break_a_rule(url: str) -> None:
    """A socket that says what no client says, and is closed for it."""
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        await socket.send_str("not binary")
        async with asyncio.timeout(10):
            assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE


def worker(run: Run) -> Metrics:
    return run.scrapes["worker-1"]


# ---------------------------------------------------------------- metrics


def test_series_are_few_and_labels_name_no_player(run: Run) -> None:
    for name, metrics in run.scrapes.items():
        series: defaultdict[str, int] = defaultdict(int)
        for sample, labels in metrics.samples:
            own = dict(labels)
            # A histogram's buckets are as many as it was declared with.
            own.pop("le", None)
            series[sample] += 1 if "le" not in dict(labels) else 0
            if sample.startswith("overworld_"):
                wrong = {k: v for k, v in own.items() if not LABEL_VALUE.fullmatch(v) or re.search("[0-9]{6}", v)}
                assert not wrong, f"{name}: {sample}{wrong}"
        assert {s: n for s, n in series.items() if n > SERIES_OF_A_METRIC_MAX} == {}
        assert sum(series.values()) < 600, f"{name} shows {sum(series.values())} series"


def test_a_worker_shows_ticks_players_entities_cells_and_stores(run: Run) -> None:
    shown = worker(run)
    assert shown.total("overworld_process", role="worker", title="frontier") == 1
    assert shown.total("overworld_players_online") == BOTS
    assert shown.total("overworld_entities") > BOTS
    assert shown.total("overworld_cells_watched") > 0
    assert shown.total("overworld_tick_interval_seconds") == pytest.approx(0.05)
    assert shown.total("overworld_dilation") >= 1
    assert shown.total("overworld_takeovers_total") == 4
    assert shown.total("overworld_snapshot_bytes") > 0
    assert 0 < shown.total("overworld_snapshot_age_seconds") < 60
    assert (shown.quantile("overworld_journal_append_seconds", 0.5) or 0) > 0
    assert shown.total("overworld_output_bytes_total") > 0


def test_the_budget_is_a_bucket_of_the_ticks(run: Run) -> None:
    shown = worker(run)
    buckets = {float(labels["le"]) for _, labels in shown.each("overworld_tick_budget_used_bucket")}
    assert {1.0, float("inf")} <= buckets
    ticks = shown.total("overworld_ticks_total")
    assert ticks > 0
    within = shown.total("overworld_tick_budget_used_bucket", le="1.0")
    assert ticks - within == shown.total("overworld_tick_over_budget_total")
    assert shown.total("overworld_tick_late_seconds_count") == ticks
    for metrics, role in ((shown, "worker"), (run.scrapes["gateway-0"], "gateway")):
        assert metrics.total(f"overworld_{role}_loop_late_seconds_count") > 0


def test_every_bounded_queue_shows_how_full_it_is(run: Run) -> None:
    wanted = {
        "worker-1": {
            "inbox_inputs", "inbox_events", "mailbox", "results_held", "journal_commands", "journal_bytes",
            "link_bytes",
        },
        "gateway-0": {"session_inputs", "socket_bytes", "link_bytes", "handshakes", "sockets"},
    }  # fmt: skip
    for name, queues in wanted.items():
        shown = {labels["queue"]: value for value, labels in run.scrapes[name].each("overworld_queue_fill")}
        assert set(shown) == queues
        assert all(0 <= value < 1 for value in shown.values()), shown


def test_single_shards_are_shown_by_what_they_cost(run: Run) -> None:
    shown = worker(run)
    assert {labels["shard"] for _, labels in shown.each("overworld_shard_load")} == {"0", "1", "2", "3"}
    assert shown.total("overworld_shard_players") == BOTS
    assert len(list(shown.each("overworld_shard_entities"))) <= telemetry.SHARDS_SHOWN_MAX


def test_a_gateway_shows_sockets_sessions_and_bytes(run: Run) -> None:
    both = run.scrapes["gateway-0"].plus(run.scrapes["gateway-1"])
    assert both.total("overworld_gateway_sockets") == BOTS
    assert both.total("overworld_gateway_sessions") == BOTS
    assert both.total("overworld_gateway_cells") > 0
    assert both.total("overworld_gateway_frame_bytes_total") > both.total("overworld_gateway_frames_total") > 0


# ---------------------------------------------------------------- logs


def test_every_line_of_every_log_is_one_event_with_its_process(run: Run) -> None:
    lines = run.lines()
    assert len(lines) > 30
    assert [line for line in lines if set(line) & STRUCTURE != STRUCTURE] == []
    assert {(line["role"], line["process"]) for line in lines} == {
        ("worker", "worker-0"), ("worker", "worker-1"), ("gateway", "gateway-0"), ("gateway", "gateway-1"),
    }  # fmt: skip
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(line["timestamp"])) for line in lines)
    assert {str(line["level"]) for line in lines} <= {"info", "warning", "error"}


def test_what_happens_to_a_shard_says_shard_epoch_and_tick(run: Run) -> None:
    events = defaultdict(list)
    for line in run.lines():
        events[str(line["event"])].append(line)
    for event, keys in {
        "shard_acquired": {"shard", "epoch"},
        "shard_recovered": {"shard", "epoch", "tick"},
        "shard_handed_back": {"shard", "epoch", "tick"},
    }.items():
        assert events[event], f"no {event} among {sorted(events)}"
        assert [line for line in events[event] if not keys <= line.keys()] == [], event


def test_what_happens_to_a_socket_says_session_shard_and_state(run: Run) -> None:
    closed = [line for line in run.lines() if line["event"] == "socket_closed"]
    assert closed
    for line in closed:
        assert line["role"] == "gateway"
        assert isinstance(line["session"], int)
        assert isinstance(line["shard"], int)
        assert line["state"] in {state.value for state in SessionState}
        assert line["code"]


def test_no_log_holds_a_secret_a_token_or_a_name_of_a_player(run: Run) -> None:
    secrets = [run.key, run.key[:16], "eyJ"]  # a JWT begins so
    # As loadtest's crowds name their bots.
    names = [f"bot-{number}" for number in range(BOTS)]
    for name, text in run.logs.items():
        assert [word for word in secrets + names if word in text] == [], name
