"""One server, one workload, one measured window."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from loadtest.peers import tools
from loadtest.peers.rivals import RIVALS, Running
from loadtest.peers.worlds import Workload

UPDATES_PER_S_MIN = 19.0
GAP_MS_P99_MAX = 100.0
GENERATOR_CPU_MAX = 0.92
JOIN_S = 60.0

_CORES = sorted(os.sched_getaffinity(0))

Inputs = Literal["hz20", "change"]
Starter = Callable[[Path, Workload], AbstractAsyncContextManager[Running]]


@dataclass(frozen=True)
class Pace:
    """How long a run takes. `rate`: joins a second."""

    warm_s: float = 3.0
    window_s: float = 6.0
    rate: float = 300.0


@dataclass(frozen=True)
class Outcome:
    """What one run came to. CPU is of the server's processes, microseconds for each update a client got."""

    clients: int
    inputs: Inputs
    playing: int
    closes: dict[str, int]
    updates_per_client_s: float
    fewest_per_client_s: float
    """Of the client that got the fewest."""
    gap_ms_p50: float
    gap_ms_p99: float
    bytes_per_client_s: float
    """Of websocket frames, headers included."""
    inputs_per_client_s: float
    cpu_us_per_update: float
    cpu_share: dict[str, float]
    """Of a core, by process."""
    effect_ms_p50: float
    effect_ms_p99: float
    """From an input's sending to the frame that shows and acks it; -1 where that is not measured."""
    generator_cpu: float
    in_view: float | None = None
    """As the server counts it; None where it does not."""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """The issue's rule, for all who were to play."""
        everybody = self.playing == self.clients and not self.closes
        return everybody and self.updates_per_client_s >= UPDATES_PER_S_MIN and self.gap_ms_p99 < GAP_MS_P99_MAX

    @property
    def generator_was_the_wall(self) -> bool:
        """Then the outcome says nothing about the server."""
        return self.generator_cpu > GENERATOR_CPU_MAX

    def plain(self) -> dict[str, Any]:
        """For results."""
        return {**asdict(self), "holds": self.holds}


def cores() -> tuple[int | None, int | None]:
    """The server's core and the generator's; none where there is only one."""
    return (_CORES[0], _CORES[1]) if len(_CORES) > 1 else (None, None)


async def measure(
    name: str,
    work: Workload,
    inputs: Inputs,
    pace: Pace,
    started: Callable[[Running], Awaitable[None]] | None = None,
    start: Starter | None = None,
    window_ends: Callable[[], object] | None = None,
) -> Outcome:
    """Start a server (`start`: in a way of its own), load it, and read it off. `started` is called before the load
    comes, `window_ends` when the window is over and the server still there. This process keeps to the generator's core
    meanwhile. Raises StartFailed, ToolMissing or RuntimeError.
    """
    tools.allow_files()
    before = os.sched_getaffinity(0)
    _, core = cores()
    if core is not None:
        os.sched_setaffinity(0, [core])
    try:
        with tempfile.TemporaryDirectory(prefix="overworld-peers-") as folder:
            starter: Starter = start or RIVALS[name]
            async with starter(Path(folder) / name, work) as server:
                if started is not None:
                    await started(server)
                async with loaded(server, work, inputs, pace) as outcome:
                    found = await outcome()
                    if window_ends is not None:
                        window_ends()
                    return found
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def loaded(
    server: Running, work: Workload, inputs: Inputs, pace: Pace
) -> AsyncIterator[Callable[[], Awaitable[Outcome]]]:
    """A generator that runs; what is yielded waits for its window and gives the Outcome."""
    server_core, generator_core = cores()
    server.pin(server_core)
    program = tools.program("generator", tools.BUILT)
    options = {
        "port": server.port, "clients": work.players, "plan": server.plan, "protocol": server.protocol,
        "inputs": inputs, "rate": pace.rate, "warm": pace.warm_s, "window": pace.window_s, "join": JOIN_S,
    }  # fmt: skip
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    generator = await asyncio.create_subprocess_exec(str(program), *arguments, stdout=PIPE)
    try:
        if generator_core is not None:
            os.sched_setaffinity(generator.pid, [generator_core])

        async def outcome() -> Outcome:
            return await _window(generator, server, work, inputs, pace)

        yield outcome
    finally:
        if generator.returncode is None:
            generator.kill()
        await generator.wait()


async def _window(
    generator: asyncio.subprocess.Process, server: Running, work: Workload, inputs: Inputs, pace: Pace
) -> Outcome:
    assert generator.stdout is not None
    async with asyncio.timeout(JOIN_S + pace.warm_s + 30):
        line = await generator.stdout.readline()
    if line != b"window\n":
        raise RuntimeError(f"the generator said {line!r}")
    before = server.cpu_s()
    async with asyncio.timeout(pace.window_s + 30):
        told = json.loads(await generator.stdout.readline())
    used = {name: cpu - before[name] for name, cpu in server.cpu_s().items()}
    seconds, clients = told["window_s"], max(1, told["joined"])
    return Outcome(
        clients=work.players,
        inputs=inputs,
        playing=told["joined"] - told["closed"],
        closes=told["closes"],
        updates_per_client_s=told["updates"] / clients / seconds,
        fewest_per_client_s=told["fewest"] / seconds,
        gap_ms_p50=told["gap_ms_p50"],
        gap_ms_p99=told["gap_ms_p99"],
        bytes_per_client_s=told["bytes"] / clients / seconds,
        inputs_per_client_s=told["inputs"] / clients / seconds,
        cpu_us_per_update=1e6 * sum(used.values()) / max(1, told["updates"]),
        cpu_share={name: cpu / seconds for name, cpu in used.items()},
        effect_ms_p50=told["effect_ms_p50"],
        effect_ms_p99=told["effect_ms_p99"],
        generator_cpu=told["generator_cpu"],
        in_view=server.in_view(),
    )
