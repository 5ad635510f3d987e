"""Bots: many clients in one process that play a title from a seed and count what happens to them.

`play` is a whole run; `Swarm` is for those who want the clients in their hands.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import structlog

from overworld.client.brains import Brain, brain_for
from overworld.client.connection import Client, ClientOptions, Witness
from overworld.client.contract import ClientContract
from overworld.client.guest import Tokens
from overworld.client.networks import network_of
from overworld.client.proxy import Road
from overworld.client.statistics import Statistics

log = structlog.get_logger(__name__)

_LOST_LOOK_S = 0.25
"""How soon a bot whose socket is lost looks whether it plays again."""
_BYE = 1000


@dataclass(frozen=True)
class BotOptions:
    """What bots play, and how. Plain data, so that it can be handed to other processes."""

    urls: tuple[str, ...]
    """Game sockets. Bots are spread over them."""
    title: str
    tokens: Tokens
    count: int = 50
    processes: int = 1
    seed: int = 0
    duration_s: float | None = None
    """None: until told to stop."""
    brain: str = "auto"
    light: bool = False
    """Keep no picture of the world: for load."""
    joins_per_s: float = 200.0
    """How fast bots come; the rate of all processes together."""
    report_interval_s: float = 5.0
    first: int = 0
    """Number of the first bot; each has its own chance, from the seed and its number."""
    client: ClientOptions = field(default_factory=ClientOptions)
    network: str = ""
    """The network bots have, by name (`overworld.client.networks`); empty: as it is."""


@dataclass
class BotReport:
    """What a run came to."""

    bots: int = 0
    playing: int = 0
    """Bots that were playing at the end."""
    seconds: float = 0.0
    statistics: Statistics = field(default_factory=Statistics)
    stopped: Counter[str] = field(default_factory=Counter)
    """Bots that stopped before the end, by close code and reason."""

    @property
    def closed(self) -> int:
        """Sockets that were closed other than by the bots' own leaving."""
        return self.statistics.closes.total() - self.statistics.closes[_BYE]

    def add(self, other: BotReport) -> None:
        """Add another process's report."""
        self.bots += other.bots
        self.playing += other.playing
        self.seconds = max(self.seconds, other.seconds)
        self.statistics.add(other.statistics)
        self.stopped.update(other.stopped)

    def summary(self) -> dict[str, Any]:
        """Figures for people."""
        played_s = max(self.seconds * self.bots, 1e-9)
        statistics = self.statistics
        return {
            "bots": self.bots,
            "playing": self.playing,
            "seconds": round(self.seconds, 1),
            "closed": self.closed,
            "frames_per_bot_s": round(statistics.frames / played_s, 2),
            "bytes_per_bot_s": round(statistics.frame_bytes / played_s),
            "inputs_per_bot_s": round(statistics.inputs / played_s, 2),
            "stopped": dict(self.stopped),
            **statistics.summary(),
        }

    def to_plain(self) -> dict[str, Any]:
        """Plain data for JSON that loses nothing; `from_plain` reads it."""
        return {**vars(self), "statistics": self.statistics.to_plain(), "stopped": dict(self.stopped)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> BotReport:
        """The report that `to_plain` wrote."""
        statistics = Statistics.from_plain(plain["statistics"])
        return cls(**{**plain, "statistics": statistics, "stopped": Counter(plain["stopped"])})


class Bot:
    """One player without a person. It sends an input when its brain's decision differs from the last one."""

    def __init__(
        self, number: int, options: BotOptions, statistics: Statistics | None, witness: Witness | None
    ) -> None:
        self.number = number
        self.options = options
        self.chance = random.Random(f"{options.seed}:{number}")
        # Each begins with the next gateway, so that they are spread evenly.
        turn = number % len(options.urls)
        self.client = Client(
            options.urls[turn:] + options.urls[:turn],
            options.tokens.source(number),
            options.title,
            options=replace(options.client, light=options.light),
            statistics=statistics,
            chance=self.chance,
            witness=witness,
        )
        self._loop = asyncio.get_running_loop()
        self._brain: Brain | None = None
        self._contract: ClientContract | None = None
        self._held: tuple[int, tuple[int, ...]] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Connect, and play as soon as there is a Welcome."""
        await self.client.start()
        self._timer = self._loop.call_later(_LOST_LOOK_S, self._think)

    async def stop(self) -> None:
        """Leave the game."""
        self.rest()
        await self.client.stop()

    def rest(self) -> None:
        """Send no more inputs; the session stays."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _think(self) -> None:
        again_s = _LOST_LOOK_S
        if self.client.playing:
            decision = self._mind().decide(self.client.session.mirror)
            again_s = decision.again_s
            if decision.command is not None and decision.command != self._held:
                number, values = decision.command
                if self.client.submit(number, list(values)) is not None:
                    self._held = decision.command
        self._timer = self._loop.call_later(again_s, self._think)

    def _mind(self) -> Brain:
        """The brain, made anew where a reconnect brought another contract."""
        contract = self.client.session.mirror.contract
        assert contract is not None
        if self._brain is None or self._contract is None or contract.fingerprint != self._contract.fingerprint:
            self._brain = brain_for(self.options.brain, contract, self.chance, light=self.options.light)
            self._contract, self._held = contract, None
        return self._brain


class Swarm:
    """Bots of one process. `shared_statistics` False gives every bot its own, for those who look at single ones."""

    def __init__(
        self,
        options: BotOptions,
        *,
        shared_statistics: bool = True,
        witness: Callable[[int], Witness] | None = None,
    ) -> None:
        self.options = options
        shared = Statistics() if shared_statistics else None
        numbers = range(options.first, options.first + options.count)
        self.bots = [Bot(n, options, shared, witness(n) if witness is not None else None) for n in numbers]
        self._began = time.monotonic()

    @property
    def playing(self) -> int:
        """Bots with a Welcome and a socket."""
        return sum(bot.client.playing for bot in self.bots)

    async def start(self) -> None:
        """Let the bots come, at the options' rate."""
        pause_s = self.options.processes / self.options.joins_per_s
        for bot in self.bots:
            await bot.start()
            await asyncio.sleep(pause_s)

    async def all_playing(self, timeout_s: float) -> None:
        """Wait until every bot plays. Raises TimeoutError, and ClientStopped where one cannot."""
        async with asyncio.timeout(timeout_s):
            for bot in self.bots:
                await bot.client.until(lambda client: client.playing, timeout_s)

    async def stop(self) -> BotReport:
        """Let all bots leave, and report. `playing` counts those that were playing until then."""
        before = self.report()
        await asyncio.gather(*(bot.stop() for bot in self.bots))
        return replace(before, statistics=self.report().statistics)

    def report(self) -> BotReport:
        """What happened so far. Shared statistics are not copied: they go on counting."""
        total = self.bots[0].client.statistics if self.bots else Statistics()
        if len({id(bot.client.statistics) for bot in self.bots}) > 1:
            total = Statistics()
            for bot in self.bots:
                total.add(bot.client.statistics)
        stopped = Counter(str(bot.client.stopped) for bot in self.bots if bot.client.stopped is not None)
        seconds = time.monotonic() - self._began
        return BotReport(len(self.bots), self.playing, seconds, total, stopped)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def play(options: BotOptions, stop: asyncio.Event) -> BotReport:
    """Bots of this process play until `stop` is set or the time is over, then leave. Raises ValueError for a network
    that is not there, or that cannot be put before these addresses.
    """
    if options.network:
        async with Road(options.urls, network_of(options.network), options.seed + options.first) as urls:
            return await play(replace(options, urls=urls, network=""), stop)
    swarm = Swarm(options)
    deadline = time.monotonic() + options.duration_s if options.duration_s is not None else None
    coming = asyncio.create_task(swarm.start())
    try:
        before = 0
        while not stop.is_set():
            wait_s = options.report_interval_s
            if deadline is not None:
                wait_s = min(wait_s, deadline - time.monotonic())
                if wait_s <= 0:
                    break
            began = time.monotonic()
            try:
                async with asyncio.timeout(wait_s):
                    await stop.wait()
            except TimeoutError:
                if wait_s == options.report_interval_s:
                    before = _tell(swarm, before, time.monotonic() - began)
            if all(bot.client.stopped is not None for bot in swarm.bots):
                break
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        report = await swarm.stop()
    return report


def _tell(swarm: Swarm, frames_before: int, seconds: float) -> int:
    report = swarm.report()
    statistics = report.statistics
    log.info(
        "bots",
        playing=report.playing,
        of=report.bots,
        frames_per_s=round((statistics.frames - frames_before) / seconds),
        gap_p99_ms=statistics.gap.quantile_us(0.99) / 1000,
        ack_p50_ms=statistics.ack.quantile_us(0.5) / 1000,
        closed=report.closed,
        broken=statistics.broken,
        stopped=dict(report.stopped),
    )
    return statistics.frames
