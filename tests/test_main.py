"""The command line as people and orchestrators use it: real processes, signals and a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from loadtest.processes import Process
from overworld.client.connection import Client, ClientOptions
from overworld.client.guest import ask_guest
from overworld.client.networks import NETWORKS
from overworld.client.protocol import SessionLimits
from overworld.game import contract_of
from overworld.gateway.tokens import GuestTokens
from overworld.shard.core import ShardCore
from overworld.store.blob_directory import DirectoryBlobs
from overworld.store.group_commit import GroupCommit
from overworld.store.local_redis import LocalRedis
from overworld.store.redis_client import open_redis
from overworld.store.redis_ownership import RedisOwnership
from overworld.store.snapshots import SnapshotStore
from overworld.titles.frontier import Frontier
from overworld.worker.recovery import recover
from overworld.world.contract import WorldContract
from tests.parts.ports import free_port
from tests.parts.redis import RedisFactory
from tests.worker.cluster import Gateway, until

pytestmark = pytest.mark.asyncio

ROOT = Path(__file__).resolve().parent.parent
KEY = "0123456789abcdef" * 4
SHARDS = [0, 1]
READY_S = 60.0
STOP_S = 30.0


def environment(**given: str) -> dict[str, str]:
    """Our own, without any setting, and with what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OVERWORLD_")}
    return {**kept, "PYTHONPATH": str(ROOT / "server"), **given}


def fetch(url: str) -> int:
    """HTTP status of a page."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return int(answer.status)


def overworld(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "overworld", *arguments],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


class Workers:
    """Worker processes of one world."""

    def __init__(self, redis: LocalRedis, folder: Path) -> None:
        self.redis = redis
        self.folder = folder
        self.title = Frontier()
        self.contract: WorldContract = contract_of(self.title, "main", 3, replace(self.title.world, shards=(2, 1)))
        self.processes: list[Process] = []
        self.ports: dict[str, tuple[int, int]] = {}

    def start(self, name: str, *arguments: str, **settings: str) -> Process:
        port, http_port = self.ports.setdefault(name, (free_port(), free_port()))
        env = environment(
            OVERWORLD_CLUSTER_KEY=KEY,
            OVERWORLD_REDIS_URL=self.redis.url,
            OVERWORLD_BLOB_URL=str(self.folder / "blobs"),
            OVERWORLD_SHARDS="2x1",
            OVERWORLD_SEED="3",
            OVERWORLD_LOG_FORMAT="console",
            OVERWORLD_WORKER_NAME=name,
            OVERWORLD_WORKER_PORT=str(port),
            OVERWORLD_WORKER_HTTP_PORT=str(http_port),
            OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S="1",
            # Tests say themselves where shards are to be.
            OVERWORLD_WORKER_BALANCE="false",
            **{"OVERWORLD_WORKER_START_WAIT_S": "0.5", **settings},
        )
        argv = [sys.executable, "-m", "overworld", "worker", *arguments]
        process = Process(name, argv, self.folder / f"{name}.log", env)
        self.processes.append(process)
        process.start()
        return process

    def start_pair(self) -> dict[str, Process]:
        """Two that share the shards. On a busy machine one may start seconds before the other."""
        return {name: self.start(name, OVERWORLD_WORKER_START_WAIT_S="4") for name in ("a", "b")}

    def status(self, name: str) -> dict[str, Any]:
        """What it says of itself; nothing where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name][1]}/status", timeout=2) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            return {"shards": []}

    def running(self, *names: str) -> list[int]:
        shards = [s for name in names for s in self.status(name)["shards"] if s["phase"] == "running" and s["tick"]]
        return sorted(s["shard"] for s in shards)

    async def until_running(self, *names: str) -> None:
        await until(lambda: self.running(*names) == SHARDS, f"{' and '.join(names)} run every shard", READY_S)

    async def replayed(self, shard: int) -> ShardCore:
        """The shard as snapshot and journal have it."""
        client = await open_redis(self.redis.url)
        group = GroupCommit(client)
        try:
            ownership = RedisOwnership(client, group, "main")
            head = await ownership.look(shard)
            assert head is not None
            shelf = SnapshotStore(DirectoryBlobs(self.folder / "blobs"), "main")

            def new_core() -> ShardCore:
                return ShardCore(self.contract, self.title, shard)

            return (await recover(new_core, shard, head, ownership, shelf)).core
        finally:
            await group.close()
            await client.aclose()

    def end(self) -> None:
        for process in self.processes:
            process.kill()


@pytest_asyncio.fixture
async def workers(redis_factory: RedisFactory, tmp_path: Path) -> AsyncIterator[Workers]:
    made = Workers(await redis_factory.start(appendonly=True), tmp_path)
    yield made
    made.end()


@pytest.fixture
def gateway(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr("tests.worker.cluster.KEY", KEY.encode())
    made = Gateway(workers.contract)
    yield made
    made.close()


async def play(gateway: Gateway, address: str, shard: int, *, resume: bool = False) -> None:
    link = await gateway.dial(address)
    gateway.attach(link, shard, 5, 50, resume=resume)
    heard = len(gateway.of(shard))
    await until(lambda: any(5 in o.sessions("joined", "seqs") for o in gateway.of(shard)[heard:]), "the session joined")


def address_of(workers: Workers, name: str) -> str:
    return f"127.0.0.1:{workers.ports[name][0]}"


# ---------------------------------------------------------------- refusals


async def test_missing_settings_are_told_one_by_one() -> None:
    done = overworld("worker", OVERWORLD_WORKER_PORT="x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "overworld: OVERWORLD_CLUSTER_KEY: is required\n"
    done = overworld("worker", OVERWORLD_CLUSTER_KEY=KEY, OVERWORLD_WORKER_PORT="x", OVERWORLD_WORKER_LEASE_TTL_S="0")
    assert done.returncode == 2
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        "OVERWORLD_WORKER_PORT",
        "OVERWORLD_WORKER_LEASE_TTL_S",
    ]


async def test_a_misspelt_setting_is_told() -> None:
    done = overworld("worker", OVERWORLD_CLUSTER_KEY=KEY, OVERWORLD_WORKER_PROT="1")
    assert done.returncode == 2
    assert "OVERWORLD_WORKER_PROT: no such setting" in done.stderr


@pytest.mark.parametrize("role", ["worker", "gateway"])
async def test_a_missing_redis_is_one_line(role: str, tmp_path: Path) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}"
    done = overworld(
        role, OVERWORLD_CLUSTER_KEY=KEY, OVERWORLD_REDIS_URL=url, OVERWORLD_BLOB_URL=str(tmp_path / "blobs")
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("overworld: ")]
    assert lines == done.stderr.splitlines(), "nothing but the one line"
    assert len(lines) == 1
    assert "OVERWORLD_REDIS_URL" in lines[0]
    assert "127.0.0.1" in lines[0]
    assert "secret" not in done.stderr


async def test_missing_blob_storage_is_one_line(redis_server: LocalRedis, tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    done = overworld(
        "worker",
        OVERWORLD_CLUSTER_KEY=KEY,
        OVERWORLD_REDIS_URL=redis_server.url,
        OVERWORLD_BLOB_URL=str(blocked / "blobs"),
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "OVERWORLD_BLOB_URL" in done.stderr
    done = overworld("worker", OVERWORLD_CLUSTER_KEY=KEY, OVERWORLD_REDIS_URL=redis_server.url)
    assert done.stderr.startswith("overworld: OVERWORLD_BLOB_URL: is required")


async def test_an_unknown_title_is_one_line() -> None:
    done = overworld("worker", OVERWORLD_CLUSTER_KEY=KEY, OVERWORLD_TITLE="chess")
    assert done.returncode == 2
    assert done.stderr == "overworld: no title 'chess': installed are duel, frontier, roam\n"


async def test_shards_that_do_not_fit_the_world_are_one_line() -> None:
    done = overworld("worker", OVERWORLD_CLUSTER_KEY=KEY, OVERWORLD_SHARDS="7x1")
    assert done.returncode == 2
    assert "OVERWORLD_SHARDS: a world of" in done.stderr


# ---------------------------------------------------------------- a worker's life


async def test_sigterm_saves_everything_and_the_next_start_goes_on(workers: Workers, gateway: Gateway) -> None:
    process = workers.start("a")
    await workers.until_running("a")
    await play(gateway, address_of(workers, "a"), 1)
    assert await process.stop(STOP_S) == 0, process.log_tail()
    core = await workers.replayed(1)
    assert core.tick >= max(o.tick for o in gateway.of(1))
    workers.start("a")
    await workers.until_running("a")
    now = next(s for s in workers.status("a")["shards"] if s["shard"] == 1)
    assert now["tick"] >= core.tick
    assert now["epoch"] == 2


async def test_a_second_sigterm_ends_at_once(workers: Workers) -> None:
    process = workers.start("a", OVERWORLD_WORKER_STOP_TIMEOUT_S="600")
    await workers.until_running("a")
    workers.redis.pause()  # an orderly stop has to wait for it
    process.send(signal.SIGTERM)
    await until(lambda: "stopping" in process.log_tail(), "it stops in order")
    process.send(signal.SIGTERM)
    assert await process.wait(STOP_S) == 4
    workers.redis.resume()


async def test_it_stops_when_whoever_started_it_is_gone(workers: Workers) -> None:
    """Standard input of these processes is empty: with --follow-stdin that is the end at once."""
    process = workers.start("a", "--follow-stdin")
    assert await process.wait(READY_S) == 0, process.log_tail()


async def test_health_asks_the_process_of_the_settings(workers: Workers) -> None:
    port = free_port()
    assert overworld("health", OVERWORLD_WORKER_HTTP_PORT=str(port)).returncode == 1
    workers.start("a")
    await workers.until_running("a")
    done = overworld("health", OVERWORLD_WORKER_HTTP_PORT=str(workers.ports["a"][1]))
    assert (done.returncode, done.stdout) == (0, "ready\n")
    assert overworld("health").returncode == 2


async def test_a_killed_workers_shards_go_to_the_other_and_nothing_seen_is_lost(
    workers: Workers, gateway: Gateway
) -> None:
    processes = workers.start_pair()
    await workers.until_running("a", "b")
    assert [len(workers.running(name)) for name in ("a", "b")] == [1, 1], "shared fairly"
    (shard,) = workers.running("a")
    await play(gateway, address_of(workers, "a"), shard)
    await until(lambda: len(gateway.of(shard)) > 20, "ticks are released")
    processes["a"].kill()
    await workers.until_running("b")
    seen = {o.tick for o in gateway.of(shard)}
    await play(gateway, address_of(workers, "b"), shard, resume=True)
    new = [o for o in gateway.of(shard) if o.epoch == 2]
    assert min(o.tick for o in new) > max(seen), "no tick that was seen is run again"
    assert await processes["b"].stop(STOP_S) == 0
    whole = await workers.replayed(shard)
    assert whole.shard.players.ids.tolist() == [50]


async def test_a_zombie_sends_nothing_after_it_was_taken_over(workers: Workers, gateway: Gateway) -> None:
    processes = workers.start_pair()
    await workers.until_running("a", "b")
    (shard,) = workers.running("a")
    await play(gateway, address_of(workers, "a"), shard)
    await until(lambda: len(gateway.of(shard)) > 10, "ticks are released")
    processes["a"].pause()
    await workers.until_running("b")
    before = {(o.epoch, o.tick) for o in gateway.of(shard)}
    processes["a"].resume()
    await until(lambda: any(gone[0] == shard for gone in gateway.gone), "the zombie gives the shard up")
    late = {(o.epoch, o.tick) for o in gateway.of(shard)} - before
    core = await workers.replayed(shard)
    taken_over_at = next(s for s in workers.status("b")["shards"] if s["shard"] == shard)
    assert taken_over_at["epoch"] == 2
    # What its kernel still held was released before the standstill; nothing of it is beyond the new owner's start.
    assert all(tick <= core.tick for _, tick in late)
    assert all(epoch == 1 for epoch, _ in late)
    assert processes["a"].alive
    assert workers.running("a") == []


# ---------------------------------------------------------------- small commands


async def test_titles_are_listed() -> None:
    done = overworld("titles")
    assert done.returncode == 0
    assert "frontier\toverworld.titles.frontier:Frontier\tversion 1" in done.stdout


async def test_a_token_is_one_that_gateways_take() -> None:
    done = overworld("token", "--name", "ada", OVERWORLD_CLUSTER_KEY=KEY, OVERWORLD_WORLD="main")
    assert done.returncode == 0
    login = GuestTokens(KEY.encode(), "main/frontier", 3600).verify(done.stdout.strip(), time.time())
    assert login.player > 0


async def test_help_names_every_command() -> None:
    done = overworld("--help")
    for command in ("worker", "gateway", "dev", "bots", "token", "health", "titles", "admin"):
        assert command in done.stdout


# ---------------------------------------------------------------- dev


@pytest.mark.e2e
async def test_dev_starts_a_world_restarts_what_dies_and_keeps_the_world_over_ctrl_c(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    argv = [sys.executable, "-m", "overworld", "dev", "--data", str(data), "--bots", "4", "--port", str(port)]
    dev = Process("dev", argv, tmp_path / "dev.log", environment())
    try:
        dev.start()
        await dev.wait_until(lambda: "Ctrl-C stops everything" in dev.log_tail(), READY_S)
        assert await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/") == 200
        seen = await asyncio.to_thread(overworld, "admin", "list", "workers", "--json", "--data", str(data))
        assert [row["name"] for row in json.loads(seen.stdout)["workers"]] == ["worker-0", "worker-1"], seen.stderr
        worker_log = data / "logs" / "worker-0.log"
        await until(lambda: "shard_recovered" in worker_log.read_text(), "worker 0 has a shard", READY_S)
        killed = int(
            next(line for line in dev.log_tail().splitlines() if "worker-0" in line).split("pid")[1].split()[0]
        )
        os.kill(killed, signal.SIGKILL)
        await dev.wait_until(lambda: "worker-0 runs again" in dev.log_tail(), READY_S)
        dev.send(signal.SIGINT)
        assert await dev.wait(90) == 0, dev.log_tail()
        assert "The world is kept" in dev.log_tail()
        dev.start()
        await dev.wait_until(lambda: dev.log_tail(200).count("Ctrl-C stops everything") == 2, READY_S)
        logs = [data / "logs" / f"worker-{i}.log" for i in range(2)]
        await until(lambda: any("source=snap/main/" in log.read_text() for log in logs), "a snapshot was used")
        dev.send(signal.SIGTERM)
        assert await dev.wait(90) == 0, dev.log_tail()
    finally:
        dev.kill()


@pytest.mark.e2e
async def test_dev_and_bots_put_bad_networks_before_gateways(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    argv = [sys.executable, "-m", "overworld", "dev", "--data", str(data), "--bots", "0", "--port", str(port)]
    argv += ["--workers", "1", "--gateways", "1", "--network", "bad-wifi"]
    dev = Process("dev", argv, tmp_path / "dev.log", environment())
    try:
        dev.start()
        await dev.wait_until(lambda: "Ctrl-C stops everything" in dev.log_tail(), READY_S)
        guest = await ask_guest(f"http://127.0.0.1:{port}/")
        options = ClientOptions(limits=SessionLimits(ping_interval_s=0.2))
        async with Client(guest.urls, guest.token, guest.title, options=options) as client:
            await client.until(lambda c: c.session.clock.round_trip_least_s > 0, READY_S)
            assert client.session.clock.round_trip_least_s >= 2 * NETWORKS["bad-wifi"].delay_s
        # Two bad networks, one after the other, and nobody is lost on the way.
        argv = ["--players", "3", "--seconds", "4", "--guest-url", f"http://127.0.0.1:{port}", "--network", "wifi"]
        done = await asyncio.to_thread(overworld, "bots", *(f"--url={url}" for url in guest.urls), *argv)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        assert (told["bots"], told["playing"], told["closed"], told["stopped"]) == (3, 3, 0, {})
        assert told["inputs_per_bot_s"] > 0
        assert told["frames_per_bot_s"] > 0
        dev.send(signal.SIGINT)
        assert await dev.wait(90) == 0, dev.log_tail()
    finally:
        dev.kill()


async def test_bots_say_before_what_no_bad_network_can_be_put() -> None:
    done = overworld("bots", "--url", "wss://play.example/play", "--network", "mobile")
    assert done.returncode == 2
    assert "a bad network is put before ws://host:port only" in done.stderr
    done = overworld("bots", "--url", "ws://127.0.0.1:1/play", "--network", "pigeon")
    assert done.returncode == 2
    assert "'bad-wifi'" in done.stderr


async def test_dev_refuses_a_folder_with_another_world(tmp_path: Path) -> None:
    (tmp_path / "world.json").write_text('{"title": "duel", "world": "main", "shards": "1x1", "seed": 0}')
    done = overworld("dev", "--data", str(tmp_path))
    assert done.returncode == 2
    assert "keeps a world with title 'duel', not 'frontier'" in done.stderr
