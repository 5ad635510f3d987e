"""A crowd of bots in a process of its own, each with its whole history on disk: `python -m loadtest.crowd`.

The starter writes one line of JSON (an `Order`), then may write "rest" (no more inputs), "leave" (all bots say bye) or
"drop" (all sockets vanish without a word); the crowd answers in lines of JSON: how many play, about every half second,
and at the end its report. `Crowd` is the starter's side.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import uvloop

from loadtest.history import Event, HistoryWriter
from loadtest.machine import REPOSITORY
from loadtest.processes import guard, release
from overworld.client.closes import Next, Verdict
from overworld.client.guest import Tokens
from overworld.client.swarm import BotOptions, Swarm
from overworld.errors import WireError

TELL_S = 0.5
LINE_BYTES_MAX = 1 << 22


@dataclass(frozen=True)
class Order:
    """What a crowd is to do. `history` empty: keep none."""

    urls: tuple[str, ...]
    title: str
    key: str
    """The cluster's key: with it bots sign their own tokens. Bot n is the same player in every run."""
    world: str
    count: int
    first: int = 0
    seed: int = 0
    brain: str = "auto"
    light: bool = False
    joins_per_s: float = 100.0
    history: str = ""
    cores: tuple[int, ...] = ()
    """Keep to these cores; empty: all."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Order:
        """What `to_json` wrote."""
        plain = json.loads(line)
        plain.update(urls=tuple(plain["urls"]), cores=tuple(plain["cores"]))
        return cls(**plain)


class Recorder:
    """Writes one bot's life down."""

    def __init__(self, writer: HistoryWriter, bot: int) -> None:
        self._writer = writer
        self._bot = bot

    def connecting(self, url: str) -> None:
        """A socket is being opened."""
        self._writer.note(Event.CONNECT, self._bot, url.encode())

    def received(self, data: bytes) -> None:
        """A frame."""
        self._writer.note(Event.FRAME, self._bot, data)

    def sent(self, data: bytes) -> None:
        """A message to the server."""
        self._writer.note(Event.SENT, self._bot, data)

    def broke(self, error: WireError) -> None:
        """The last frame broke a rule."""
        self._writer.note(Event.FAILED, self._bot, str(error).encode())

    def gone(self, verdict: Verdict) -> None:
        """The socket is gone."""
        left = verdict.next is Next.STOP and verdict.code == 1000
        event = Event.LEFT if left else Event.CLOSED if verdict.next is Next.STOP else Event.LOST
        self._writer.note(event, self._bot, f"{verdict.code} {verdict.reason}".encode())


# ---------------------------------------------------------------- the crowd's side


async def _run(order: Order) -> None:
    tokens = Tokens(cluster_key=order.key.encode(), world=order.world, title=order.title, name="load")
    options = BotOptions(
        urls=order.urls, title=order.title, tokens=tokens, count=order.count, seed=order.seed,
        brain=order.brain, light=order.light, joins_per_s=order.joins_per_s, first=order.first,
    )  # fmt: skip
    writer = HistoryWriter(Path(order.history)) if order.history else None
    make: Callable[[int], Recorder] | None = (lambda bot: Recorder(writer, bot)) if writer is not None else None
    swarm = Swarm(options, witness=make)
    orders = await _orders()
    coming = asyncio.create_task(swarm.start())
    try:
        word = ""
        while word not in ("leave", "drop"):
            _tell({"playing": swarm.playing, "report": swarm.report().to_plain()})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELL_S):
                    word = (await orders.readline()).decode().strip() or "drop"
            if word == "rest":
                for bot in swarm.bots:
                    bot.rest()
        coming.cancel()
        report = swarm.report().to_plain()
        if word == "leave":
            await swarm.stop()
        _tell({"playing": swarm.playing, "report": report, "over": True})
    finally:
        coming.cancel()
        if writer is not None:
            writer.close()
    if word == "drop":
        # Sockets that vanish, as in a crash: no bye, no close frame.
        os._exit(0)


async def _orders() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the order, obey it."""
    order = Order.from_json(sys.stdin.readline())
    if order.cores:
        os.sched_setaffinity(0, order.cores)
    uvloop.run(_run(order))


# ---------------------------------------------------------------- the starter's side


class CrowdFailed(Exception):
    """A crowd ended, or did not come to play, in time."""


@dataclass
class Crowd:
    """One crowd process. `playing` and `report` are what it last told."""

    order: Order
    log: Path
    playing: int = 0
    report: dict[str, Any] = field(default_factory=dict)
    over: bool = False
    _process: asyncio.subprocess.Process | None = None
    _listening: asyncio.Task[None] | None = None

    async def start(self) -> Self:
        """Start the process; bots begin to come."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "loadtest.crowd",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                cwd=REPOSITORY, start_new_session=True, limit=LINE_BYTES_MAX,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY / "server")},
            )  # fmt: skip
        guard(self._process.pid)
        await self._say(self.order.to_json())
        self._listening = asyncio.create_task(self._listen())
        return self

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    async def all_playing(self, timeout_s: float) -> None:
        """Wait until the crowd tells, from now on, that every bot plays. Raises CrowdFailed."""
        self.playing = 0
        await self._until(lambda: self.playing == self.order.count, timeout_s, "play")

    async def rest(self) -> None:
        """No more inputs."""
        await self._say("rest")

    async def leave(self, timeout_s: float = 60.0) -> None:
        """All bots leave; wait for the report. Raises CrowdFailed."""
        await self._say("leave")
        await self._until(lambda: self.over, timeout_s, "leave")
        await self._end()

    async def drop(self, timeout_s: float = 60.0) -> None:
        """All sockets vanish; wait for the report. Raises CrowdFailed."""
        await self._say("drop")
        await self._until(lambda: self.over, timeout_s, "go")
        await self._end()

    def kill(self) -> None:
        """At once. A history may lose its last second."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _end(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(30):
            await self._process.wait()
        release(self._process.pid)
        if self._listening is not None:
            await self._listening

    async def _say(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            self.playing, self.report, self.over = told["playing"], told["report"], told.get("over", False)

    async def _until(self, happened: Callable[[], bool], timeout_s: float, what: str) -> None:
        assert self._process is not None
        try:
            async with asyncio.timeout(timeout_s):
                while not happened():
                    if self._process.returncode is not None and not self.over:
                        raise CrowdFailed(f"the crowd ended: {self.log.read_text(errors='replace')[-2000:]}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            said = self.log.read_text(errors="replace")[-2000:]
            raise CrowdFailed(
                f"{self.playing} of {self.order.count} bots play; they did not {what} within {timeout_s:.0f} s: "
                f"{self.report.get('stopped')} {said}"
            ) from None


def split(count: int, parts: int) -> Sequence[tuple[int, int]]:
    """(first, count) of each part of `count` bots."""
    bounds = [count * i // parts for i in range(parts + 1)]
    return [(a, b - a) for a, b in pairwise(bounds) if b > a]


if __name__ == "__main__":
    main()
