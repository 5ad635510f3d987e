"""The servers to measure, each started for one workload, pinned to one core, and stopped again."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from loadtest.cluster import Cluster, Shape
from loadtest.peers import tools
from loadtest.peers.worlds import Workload
from loadtest.processes import Process
from loadtest.worlds import world_of
from overworld.client.guest import mint_token
from overworld.gateway.welcome import PROTOCOL
from overworld.wire.v1 import client_pb2 as pb
from tests.parts.ports import free_port

READY_S = 60.0
TOKEN_LIFE_S = 900
PROBE_EVERY = 16
FLOOR_BYTES = 300
UNBOUNDED = {
    "OVERWORLD_GATEWAY_SOCKETS_MAX": "8000",
    "OVERWORLD_GATEWAY_SOCKETS_PER_ADDRESS_MAX": "20000",
    "OVERWORLD_GATEWAY_TOKEN_TTL_S": str(TOKEN_LIFE_S),
}
QUEUE_AT_ONCE = {
    "OVERWORLD_GATEWAY_QUEUE_PLACES_MAX": "20000",
    "OVERWORLD_GATEWAY_QUEUE_RATE_PER_S": "300",
    "OVERWORLD_GATEWAY_QUEUE_WAIT_S": "60",
}
"""Who comes while time is stretched queues, and goes in at the rate at which the load generator comes to all servers:
the default of 10 a second would measure the queue.
"""
SETTINGS = {**UNBOUNDED, **QUEUE_AT_ONCE}
"""Of Overworld in the comparison, where they differ from the defaults; results name them."""


@dataclass(frozen=True)
class Running:
    """A server that is ready. `pids`: its processes, by name. `cluster`: of Overworld."""

    port: int
    protocol: str
    plan: Path
    pids: Mapping[str, int]
    cluster: Cluster | None = None
    in_view: Callable[[], float | None] = field(default=lambda: None)

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds used so far, user and system, by process."""
        used = {}
        for name, pid in self.pids.items():
            times = psutil.Process(pid).cpu_times()
            used[name] = float(times.user + times.system)
        return used

    def pin(self, core: int | None) -> None:
        """Keep all threads of all of its processes on one core."""
        if core is None:
            return
        for pid in self.pids.values():
            for thread in psutil.Process(pid).threads():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread.id, [core])


@asynccontextmanager
async def overworld(
    folder: Path, work: Workload, env: Mapping[str, str] | None = None, gateway_env: Mapping[str, str] = UNBOUNDED
) -> AsyncIterator[Running]:
    """A gateway, a worker and Redis, with the defaults of `overworld dev`: every tick journaled before it is shown."""
    shape = Shape(workers=1, gateways=1, title=work.title, gateway_env=gateway_env, env=env or {})
    async with Cluster(folder, shape) as cluster:
        contract, _ = world_of(shape)
        key = cluster.key.encode()
        lines = []
        for i in range(work.players):
            token = mint_token(key, shape.world, contract.title, f"load-{i}", life_s=TOKEN_LIFE_S)
            hello = pb.ClientMessage(hello=pb.Hello(protocol=PROTOCOL, title=contract.title, token=token))
            lines.append(f"/play 1 {hello.SerializeToString().hex()}\n")
        plan = _plan(folder, lines)
        pids = {
            "gateway": cluster.gateways[0].process.pid,
            "worker": cluster.workers[0].process.pid,
            "redis": cluster.redis.pid,
        }
        yield Running(cluster.gateways[0].port, "overworld", plan, pids, cluster)


@asynccontextmanager
async def colyseus(folder: Path, work: Workload) -> AsyncIterator[Running]:
    """Colyseus with its own websocket transport."""
    plan = folder / "plan"
    more = ["--part", work.part, "--clients", str(work.players), "--plan", str(plan)]
    async with _node(folder, "colyseus", work, more) as (process, port):
        yield Running(port, "colyseus", plan, {"colyseus": process.pid}, in_view=lambda: _told_in_view(process.log))


@asynccontextmanager
async def websocket(folder: Path, work: Workload) -> AsyncIterator[Running]:
    """A server by hand on Node's `ws`."""
    async with _node(folder, "websocket", work, []) as (process, port):
        lines = [f"/?probe={int(i % PROBE_EVERY == 0)} {int(i % PROBE_EVERY == 0)} -\n" for i in range(work.players)]
        plan = _plan(folder, lines)
        yield Running(port, "plain", plan, {"websocket": process.pid}, in_view=lambda: _told_in_view(process.log))


@asynccontextmanager
async def floor(folder: Path, work: Workload, frame_bytes: int = FLOOR_BYTES) -> AsyncIterator[Running]:
    """The floor: sends and receives, and does nothing else."""
    port = free_port()
    argv = [str(tools.program("floor")), "--port", str(port), "--bytes", str(frame_bytes)]
    async with _started(Process("floor", argv, folder / "floor.log", os.environ)) as process:
        plan = _plan(folder, ["/ 0 -\n"] * work.players)
        yield Running(port, "floor", plan, {"floor": process.pid})


RIVALS: dict[str, Callable[[Path, Workload], AbstractAsyncContextManager[Running]]] = {
    "overworld": partial(overworld, gateway_env=SETTINGS),
    "colyseus": colyseus,
    "websocket": websocket,
    "floor": floor,
}


# ---------------------------------------------------------------- inside


@asynccontextmanager
async def _node(folder: Path, name: str, work: Workload, more: list[str]) -> AsyncIterator[tuple[Process, int]]:
    tools.check_packages()
    port = free_port()
    argv = [tools.node(), str(tools.NODE / f"{name}.mjs"), "--port", str(port), "--side", str(work.side), *more]
    env = {**os.environ, "NODE_ENV": "production"}
    async with _started(Process(name, argv, folder / f"{name}.log", env, cwd=tools.NODE)) as process:
        yield process, port


@asynccontextmanager
async def _started(process: Process) -> AsyncIterator[Process]:
    process.log.parent.mkdir(parents=True, exist_ok=True)
    process.start()
    try:
        await process.wait_until(lambda: b"ready\n" in process.log.read_bytes(), READY_S)
        yield process
    finally:
        process.kill()


def _plan(folder: Path, lines: list[str]) -> Path:
    plan = folder / "plan"
    plan.write_text("".join(lines))
    return plan


def _told_in_view(log: Path) -> float | None:
    told = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("{")]
    return float(json.loads(told[-1])["inView"]) if told else None
