"""What is put under load: a cluster started here, or another one, of which only addresses and tokens are known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import psutil

from loadtest.cluster import Cluster, Node, Shape
from loadtest.metrics import Metrics, parse
from loadtest.swarm.scenario import ClusterPart
from loadtest.swarm.tokens import Tickets
from overworld.admin.tokens import AdminTokens

TOKEN_TTL_S = 86_400.0
SCRAPE_TIMEOUT_S = 3.0
ClusterMaker = Callable[[Path, Shape], Cluster]


@dataclass
class Target:
    """Where bots go, and whom to ask about it. `scrape_urls`: by process, its /metrics."""

    urls: tuple[str, ...]
    title: str
    tickets: Tickets
    admin_urls: tuple[str, ...] = ()
    admin_token: str = field(default="", repr=False)
    scrape_urls: dict[str, str] = field(default_factory=dict)
    alone: bool = False
    """Nobody else plays there, so that what its processes count is ours."""
    cluster: Cluster | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.cluster is not None:
            await self.cluster.__aexit__()

    async def find_processes(self) -> None:
        """Ask the admin API which processes there are, and where their /metrics is."""
        if not self.admin_urls or self.scrape_urls:
            return
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        timeout = aiohttp.ClientTimeout(total=SCRAPE_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as http:
            for role in ("workers", "gateways"):
                async with http.get(f"{self.admin_urls[0].rstrip('/')}/admin/v1/{role}") as answer:
                    answer.raise_for_status()
                    for row in (await answer.json())[role]:
                        if row["http"]:
                            self.scrape_urls[row["name"]] = f"http://{row['http']}/metrics"

    def node(self, name: str) -> Node:
        """A process of a cluster started here. Raises KeyError."""
        nodes = {node.name: node for node in (self.cluster.nodes if self.cluster is not None else [])}
        return nodes[name]


async def local(
    part: ClusterPart, folder: Path, make: ClusterMaker = Cluster, env: dict[str, str] | None = None
) -> Target:
    """A cluster on this machine, for this run alone."""
    shape = Shape(
        workers=part.workers, gateways=part.gateways, title=part.title, shards=part.shards, seed=part.seed,
        commit_level=part.commit_level, env=env or {},
    )  # fmt: skip
    cluster = make(folder, shape)
    await cluster.__aenter__()
    token = AdminTokens(cluster.key.encode()).issue("loadtest", time.time(), TOKEN_TTL_S)
    return Target(
        urls=tuple(gateway.play_url for gateway in cluster.gateways),
        title=part.title,
        tickets=Tickets(key=cluster.key, world=shape.world, title=part.title),
        admin_urls=tuple(node.internal_url for node in cluster.nodes),
        admin_token=token,
        scrape_urls={node.name: f"{node.internal_url}/metrics" for node in cluster.nodes},
        alone=True,
        cluster=cluster,
    )


class Watcher:
    """Reads every process's /metrics every few seconds. `series`: by process, rows of (second, CPU seconds so far,
    resident bytes, ticks run, seconds in ticks, ticks' p99 in seconds).
    """

    def __init__(self, target: Target, starts_at: float, interval_s: float = 2.0) -> None:
        self.series: dict[str, list[tuple[float, ...]]] = {}
        self.newest: dict[str, Metrics] = {}
        self.failed = 0
        self._target, self._starts_at, self._interval_s = target, starts_at, interval_s

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._interval_s)

    async def look(self) -> None:
        """Read all once."""
        timeout = aiohttp.ClientTimeout(total=SCRAPE_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            await asyncio.gather(*(self._one(http, name, url) for name, url in self._target.scrape_urls.items()))
        self._look_at_redis()

    def total(self, metric: str) -> float:
        """Of all processes, as last read."""
        return sum(metrics.total(metric) for metrics in self.newest.values())

    async def _one(self, http: aiohttp.ClientSession, name: str, url: str) -> None:
        try:
            async with http.get(url) as answer:
                metrics = parse(await answer.text())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            self.failed += 1
            return
        self._note(name, metrics)

    def _note(self, name: str, metrics: Metrics) -> None:
        before = self.newest.get(name)
        self.newest[name] = metrics
        gained = metrics.since(before) if before is not None else metrics
        p99_s = gained.quantile("overworld_tick_seconds", 0.99) or 0.0
        row = (
            time.time() - self._starts_at,
            metrics.total("process_cpu_seconds_total"),
            metrics.total("process_resident_memory_bytes"),
            metrics.total("overworld_tick_seconds_count"),
            metrics.total("overworld_tick_seconds_sum"),
            p99_s,
        )
        self.series.setdefault(name, []).append(row)

    def _look_at_redis(self) -> None:
        cluster = self._target.cluster
        if cluster is None:
            return
        try:
            process = psutil.Process(cluster.redis.pid)
            times = process.cpu_times()
            row = (time.time() - self._starts_at, times.user + times.system, process.memory_info().rss, 0.0, 0.0, 0.0)
            self.series.setdefault("redis", []).append(row)
        except psutil.Error:
            self.failed += 1


def plain_of(target: Target) -> dict[str, Any]:
    """What a report says of a target: no secrets."""
    return {
        "gateways": list(target.urls),
        "title": target.title,
        "local": target.cluster is not None,
        "processes": sorted(target.scrape_urls),
    }
