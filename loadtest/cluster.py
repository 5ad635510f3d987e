"""A whole cluster of real processes on free loopback ports: Redis, blob storage, workers and gateways.

    async with Cluster(folder, Shape(workers=2, gateways=2, blob="azurite")) as cluster:
        cluster.workers[0].process.kill()
        await cluster.start_node(cluster.workers[0])

Every process has its own group and its log in `folder`; all of them end with the `async with`, and even when whoever
started them is killed (see `loadtest.reaper`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from loadtest.machine import REPOSITORY
from loadtest.metrics import Metrics, scrape
from loadtest.processes import Process, guard, release
from overworld.errors import StoreUnavailable
from overworld.store.blobs import open_blobs
from overworld.store.local_redis import LocalRedis
from overworld.store.ports import Blobs
from tests.parts.azurite import Azurite
from tests.parts.ports import free_port

HOST = "127.0.0.1"
READY_S = 60.0
STOP_S = 60.0
RUN = frozenset({"running", "asleep", "away"})
"""Phases of a shard that is in its worker's hands."""


@dataclass(frozen=True)
class Shape:
    """What a cluster consists of. The mappings are further environment variables: of all, of workers, of gateways."""

    workers: int = 2
    gateways: int = 2
    title: str = "frontier"
    world: str = "main"
    shards: str = ""
    seed: int = 1
    blob: Literal["directory", "azurite"] = "directory"
    commit_level: int | None = None
    audit_ticks: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    worker_env: Mapping[str, str] = field(default_factory=dict)
    gateway_env: Mapping[str, str] = field(default_factory=dict)
    python_path: tuple[Path, ...] = ()
    """Further folders to import titles from."""
    redis_options: tuple[str, ...] = ()


@dataclass
class Node:
    """A worker or a gateway, over all its lives. It keeps its ports."""

    process: Process
    port: int
    internal_port: int
    """Of /livez, /readyz, /metrics."""
    page_port: int = 0
    """Of the public pages (gateways)."""
    host: str = HOST

    @property
    def name(self) -> str:
        """As its peers know it."""
        return self.process.name

    @property
    def internal_url(self) -> str:
        """Where /readyz, /metrics and the like are."""
        return f"http://{self.host}:{self.internal_port}"

    @property
    def page_url(self) -> str:
        """Where people play (gateways)."""
        return f"http://{self.host}:{self.page_port}/"

    @property
    def play_url(self) -> str:
        """Where clients connect (gateways)."""
        return f"ws://{self.host}:{self.port}/play"

    def ready(self) -> bool:
        """Whether /readyz says yes now."""
        try:
            with urllib.request.urlopen(f"{self.internal_url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def metrics(self) -> Metrics:
        """A scrape. Raises OSError."""
        return scrape(f"{self.internal_url}/metrics")

    def shards(self) -> dict[int, int]:
        """Epochs of the shards that a worker runs now (sleeping ones too), by shard; empty where it does not answer."""
        shards = self._status().get("shards", [])
        return {int(s["shard"]): int(s["epoch"]) for s in shards if s["phase"] in RUN}

    def standbys(self) -> dict[int, int | None]:
        """How many ticks a worker is behind with the shards it follows; None: it has no state of it yet."""
        return {int(shard): lag for shard, lag in self._status().get("standbys", {}).items()}

    def _status(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.internal_url}/status", timeout=2) as answer:
                found: dict[str, Any] = json.load(answer)
        except OSError:
            return {}
        return found


class Cluster:
    """Processes of one world. `redis_up`, `start`, `stop` and the nodes' own methods may be called at any time."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.shape = shape
        self.key = secrets.token_hex(32)
        self.redis = LocalRedis()
        self.redis_port = free_port()
        self.azurite: Azurite | None = None
        self.page_ports = [free_port() for _ in range(shape.gateways)]
        self.workers: list[Node] = []
        self.gateways: list[Node] = []

    async def __aenter__(self) -> Self:
        try:
            await self.start_stores()
            self.workers = [self._worker(i) for i in range(self.shape.workers)]
            self.gateways = [self._gateway(i) for i in range(self.shape.gateways)]
            await self.start()
        except BaseException:
            self.end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    # ------------------------------------------------------------ stores

    async def start_stores(self) -> None:
        """Redis with its data kept over restarts, and blob storage."""
        if self.shape.blob == "azurite":
            self.azurite = Azurite(self.folder / "azurite.log")
            await self.azurite.start()
        await self.start_redis()

    async def start_redis(self) -> None:
        """Start (again) on the same port and files."""
        await self.redis.start(
            self.folder / "redis", self.redis_port, appendonly=True, options=self.shape.redis_options
        )
        guard(self.redis.pid)

    async def stop_redis(self, *, kill: bool = False) -> None:
        """In order, or as a crash would."""
        group = self.redis.pid
        if not kill:
            await self.redis.stop()
        self.redis.kill()
        release(group)

    def wipe_redis(self) -> None:
        """Forget everything a stopped Redis had written."""
        shutil.rmtree(self.folder / "redis")

    @property
    def redis_url(self) -> str:
        """Where Redis listens."""
        return f"redis://{HOST}:{self.redis_port}/0"

    # ------------------------------------------------------------ nodes

    @property
    def nodes(self) -> list[Node]:
        """Workers, then gateways."""
        return [*self.workers, *self.gateways]

    async def start(self) -> None:
        """Start every node that does not run, and wait until all are ready."""
        for node in self.nodes:
            if not node.process.alive:
                node.process.start()
        for node in self.nodes:
            await self.wait_ready(node)

    async def start_node(self, node: Node) -> None:
        """Start one node (again) and wait until it is ready."""
        node.process.start()
        await self.wait_ready(node)

    async def add_worker(self) -> Node:
        """Start one more worker, and wait until it is ready."""
        node = self._worker(len(self.workers))
        self.workers.append(node)
        await self.start_node(node)
        return node

    async def wait_ready(self, node: Node) -> None:
        """Until /readyz says yes. Raises StartFailed."""
        await node.process.wait_until(node.ready, READY_S)

    async def stop(self) -> list[str]:
        """SIGTERM to gateways, then to workers. Returns the names of those that had to be killed or failed."""
        failed = []
        for group in (self.gateways, self.workers):
            running = {node.name for node in group if node.process.alive}
            codes = await asyncio.gather(*(node.process.stop(STOP_S) for node in group if node.name in running))
            names = [node.name for node in group if node.name in running]
            failed += [f"{name} ended with {code}" for name, code in zip(names, codes, strict=True) if code != 0]
        return failed

    def end(self) -> None:
        """Kill whatever runs, stores too."""
        for node in self.nodes:
            node.process.kill()
        with contextlib.suppress(StoreUnavailable):
            release(self.redis.pid)
        self.redis.kill()
        if self.azurite is not None:
            self.azurite.stop()

    # ------------------------------------------------------------ environment

    def _worker(self, index: int) -> Node:
        name, port, internal_port = f"worker-{index}", free_port(), free_port()
        own = {
            "OVERWORLD_WORKER_NAME": name,
            "OVERWORLD_WORKER_PORT": str(port),
            "OVERWORLD_WORKER_HTTP_PORT": str(internal_port),
            "OVERWORLD_WORKER_AUDIT_TICKS": str(self.shape.audit_ticks),
            **self.shape.worker_env,
        }
        return Node(self._process("worker", name, own), port, internal_port)

    def _gateway(self, index: int) -> Node:
        name, port, internal_port, page_port = f"gateway-{index}", free_port(), free_port(), self.page_ports[index]
        own = {
            "OVERWORLD_GATEWAY_NAME": name,
            "OVERWORLD_GATEWAY_PORT": str(port),
            "OVERWORLD_GATEWAY_HTTP_PORT": str(page_port),
            "OVERWORLD_GATEWAY_INTERNAL_PORT": str(internal_port),
            # Bots are no browsers, and all come from one address.
            "OVERWORLD_GATEWAY_ORIGIN_ABSENT": "true",
            # A page goes on at another gateway when its own is lost.
            "OVERWORLD_GATEWAY_ORIGINS": ",".join(f"http://{HOST}:{port}" for port in self.page_ports),
            "OVERWORLD_GATEWAY_SOCKETS_PER_ADDRESS_MAX": "5000",
            "OVERWORLD_GATEWAY_GUEST_LOGINS": "true",
            "OVERWORLD_GATEWAY_DRAIN_S": "0.5",
            **self.shape.gateway_env,
        }
        return Node(self._process("gateway", name, own), port, internal_port, page_port)

    def _process(self, role: str, name: str, own: Mapping[str, str]) -> Process:
        argv = [sys.executable, "-m", "overworld", role]
        return Process(name, argv, self.folder / f"{name}.log", {**self.environment(), **own}, cwd=REPOSITORY)

    def environment(self) -> dict[str, str]:
        """What every process of the cluster is told."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("OVERWORLD_")}
        path = [str(p) for p in (*self.shape.python_path, REPOSITORY / "server")]
        env = {
            **kept,
            "PYTHONPATH": os.pathsep.join(path),
            "OVERWORLD_CLUSTER_KEY": self.key,
            "OVERWORLD_REDIS_URL": self.redis_url,
            "OVERWORLD_WORLD": self.shape.world,
            "OVERWORLD_TITLE": self.shape.title,
            "OVERWORLD_SEED": str(self.shape.seed),
            "OVERWORLD_SHARDS": self.shape.shards,
            "OVERWORLD_BLOB_URL": self.blob_url,
            **self.shape.env,
        }
        if self.shape.commit_level is not None:
            env["OVERWORLD_COMMIT_LEVEL"] = str(self.shape.commit_level)
        return env

    @property
    def blob_url(self) -> str:
        """The setting that names the blob storage."""
        if self.azurite is None:
            return f"dir:{self.folder / 'blobs'}"
        return f"azurite:{self.azurite.connection_string};Container=worlds"

    async def open_blobs(self) -> Blobs:
        """The blob storage, as the processes see it."""
        blobs = open_blobs(self.blob_url)
        await blobs.check()
        return blobs
