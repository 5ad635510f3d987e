"""A process of bots: `python -m loadtest.swarm.process`. The starter writes one line of JSON (an `Order`), then words:
"network NAME", "rest", "leave"; the process answers with a line of JSON (a window) about once a second, and with what
it came to at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil
import structlog
import uvloop

from loadtest.swarm.bot import LoadBot, Part
from loadtest.swarm.findings import Findings
from loadtest.swarm.network import Roads
from loadtest.swarm.pictures import Server
from loadtest.swarm.tokens import Tickets
from overworld.client.statistics import Histogram, Statistics

WINDOW_S = 1.0
LEAVE_AT_ONCE = 200
REST_S = 1.5


@dataclass(frozen=True)
class BotOrder:
    """One bot, and when it comes."""

    part: Part
    network: str
    due_s: float


@dataclass(frozen=True)
class Order:
    """What a process is to do."""

    urls: tuple[str, ...]
    title: str
    tickets: Tickets
    starts_at: float
    """Seconds since 1970: second 0 of the run, the same for all processes and machines."""
    seed: int
    changes_network: bool = False
    admin_urls: tuple[str, ...] = ()
    admin_token: str = field(default="", repr=False)
    bots: tuple[BotOrder, ...] = ()

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Order:
        """What `to_json` wrote."""
        plain = json.loads(line)
        bots = tuple(BotOrder(Part(**bot["part"]), bot["network"], bot["due_s"]) for bot in plain.pop("bots"))
        tickets = Tickets(**plain.pop("tickets"))
        for name in ("urls", "admin_urls"):
            plain[name] = tuple(plain[name])
        return cls(**plain, tickets=tickets, bots=bots)


class Bots:
    """All bots of this process, and what they count together."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.findings = Findings()
        self.statistics = Statistics()
        self.bots: list[LoadBot] = []
        self.roads = Roads(order.urls, order.seed, changes=order.changes_network)
        self._server = Server(order.admin_urls, order.admin_token) if order.admin_urls else None
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._process = psutil.Process()

    async def come(self) -> None:
        """Let them come when they are due."""
        for bot_order in sorted(self.order.bots, key=lambda bot: bot.due_s):
            wait_s = self.order.starts_at + bot_order.due_s - time.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            urls = await self.roads.urls(bot_order.network)
            number = bot_order.part.number
            bot = LoadBot(
                bot_order.part, urls, self.order.tickets.source(number), self.order.title,
                self.statistics, self.findings, self._server,
            )  # fmt: skip
            self.bots.append(bot)
            self._tasks.append(asyncio.create_task(bot.run(self._over)))

    async def rest(self) -> None:
        """No more inputs; wait until those on their way are acknowledged."""
        for bot in self.bots:
            bot.rest()
        await asyncio.sleep(REST_S)

    async def leave(self) -> None:
        """All leave; close everything."""
        self._over.set()
        for first in range(0, len(self.bots), LEAVE_AT_ONCE):
            await asyncio.gather(*(bot.stop() for bot in self.bots[first : first + LEAVE_AT_ONCE]))
        done = await asyncio.gather(*self._tasks, return_exceptions=True)
        for error in done:
            if isinstance(error, Exception):
                self.findings.fault("a bot's own code failed", repr(error))
        await self.roads.close()
        if self._server is not None:
            await self._server.close()

    def told(self) -> dict[str, Any]:
        """Everything so far, for a window."""
        times = self._process.cpu_times()
        return {
            "at_s": time.time() - self.order.starts_at,
            "bots": len(self.bots),
            "playing": sum(bot.playing for bot in self.bots),
            "played": sum(bot.played for bot in self.bots),
            "stopped": dict(Counter(bot.stopped for bot in self.bots if bot.stopped)),
            "unacked": sum(bot.client.session.unacked for bot in self.bots if bot.client is not None),
            "cpu_s": times.user + times.system,
            "rss_bytes": self._process.memory_info().rss,
            "statistics": self.statistics.to_plain(),
            "findings": self.findings.to_plain(),
        }


class LoopLag:
    """How late this process runs its timers: where that is much, it is the load generator that is measured."""

    def __init__(self, late: Histogram) -> None:
        self._late = late

    async def watch(self, interval_s: float = 0.02) -> None:
        """Until cancelled."""
        while True:
            due = time.monotonic() + interval_s
            await asyncio.sleep(interval_s)
            self._late.record(time.monotonic() - due)


async def run(order: Order, words: asyncio.StreamReader) -> None:
    """Obey."""
    bots = Bots(order)
    lag = asyncio.create_task(LoopLag(bots.findings.late).watch())
    coming = asyncio.create_task(bots.come())
    word = ""
    while word != "leave":
        _tell(bots.told())
        word = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WINDOW_S - time.time() % WINDOW_S):
                word = (await words.readline()).decode().strip() or "leave"
        if word.startswith("network"):
            bots.roads.become(word.partition(" ")[2])
        elif word == "rest":
            await bots.rest()
        if coming.done() and not coming.cancelled() and (error := coming.exception()) is not None:
            raise error
    coming.cancel()
    lag.cancel()
    last = bots.told()
    await bots.leave()
    _tell({**bots.told(), "playing": last["playing"], "stopped": last["stopped"], "over": True})


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def _main(order: Order) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await run(order, reader)


if __name__ == "__main__":
    # Standard output is the starter's.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    uvloop.run(_main(Order.from_json(sys.stdin.readline())))
