"""[feel] The own ship answers within a frame, predictions are right, and who aims well hits, however far the server is.

Real processes behind a proxy that delays. A marksman flies and shoots at a target that flies about; both are clients of
the Python SDK, drawn 60 times a second as a page would.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from loadtest.cluster import HOST, Cluster, Shape
from loadtest.figures import percentiles
from loadtest.marksman import Marksman
from loadtest.prove.proof import Proof
from loadtest.proxy import Proxy, round_trip
from loadtest.ranges import Range
from overworld.client.connection import Client, ClientOptions
from overworld.client.contract import ClientContract
from overworld.client.guest import ask_guest
from overworld.client.prediction import Predictor
from overworld.client.protocol import SessionLimits
from overworld.titles.frontier.prediction import ANGLES, PREDICTED, flight_rule
from overworld.titles.frontier.rules import rules_of

FRAME_S = 1 / 60
JOIN_S = 60.0
ROUND_TRIPS_MS = (20, 80, 200)
ANSWER_S_MAX = 0.5


@dataclass(frozen=True)
class Options:
    """`seconds` of play for each round trip, after `warm_s`."""

    seconds: float = 60.0
    warm_s: float = 8.0
    seed: int = 1


@dataclass
class Felt:
    """What one run came to. Times in seconds."""

    answers_s: list[float] = field(default_factory=list)
    """From a changed command to the first frame that shows it."""
    shots: int = 0
    hits: int = 0
    beyond: int = 0
    """Shots at what lay further back than the title looks; not among `shots`."""
    ago_ticks: list[float] = field(default_factory=list)


def run(proof: Proof, options: Options) -> None:
    """All round trips, each with a cluster of its own."""
    for milliseconds in ROUND_TRIPS_MS:
        with tempfile.TemporaryDirectory(prefix="overworld-feel-") as folder:
            asyncio.run(play(proof, options, milliseconds, Path(folder)))


async def play(proof: Proof, options: Options, milliseconds: int, folder: Path) -> None:
    """One round trip."""
    shape = Shape(workers=1, gateways=1, title="loadtest.ranges:Range", seed=options.seed)
    async with Cluster(folder, shape) as cluster:
        gateway = cluster.gateways[0]
        async with Proxy(HOST, gateway.port, round_trip(milliseconds / 1000), options.seed) as proxy:
            url = f"ws://{HOST}:{proxy.port}/play"
            async with Player(gateway.page_url, url) as shooter, Player(gateway.page_url, url) as target:
                await measure(proof, options, milliseconds, shooter, target)


async def measure(proof: Proof, options: Options, milliseconds: int, shooter: Client, target: Client) -> None:
    """Play, and note the figures."""
    for client in (shooter, target):
        await client.until(lambda c: c.steering is not None and c.steering.predictor.started, JOIN_S)
    assert shooter.steering is not None
    figures = shooter.steering.predictor.figures
    marksman = Marksman(shooter.mirror, shooter.steering)
    shooter.on_frame = lambda _: marksman.others.frame()
    chance = random.Random(options.seed)
    await shoot(marksman, shooter, target, chance, options.warm_s, Felt())
    wrong, late, confirmed = figures.mispredicted, figures.late, figures.confirmed
    felt = Felt()
    await shoot(marksman, shooter, target, chance, options.seconds, felt)
    name = f"rtt_{milliseconds}_ms"
    proof.figure(f"{name}_answer_ms", percentiles([s * 1000 for s in felt.answers_s], 50, 99))
    proof.figure(f"{name}_mispredicted_per_min", (figures.mispredicted - wrong) * 60 / options.seconds)
    proof.figure(f"{name}_inputs_late", figures.late - late)
    proof.figure(f"{name}_states_compared", figures.confirmed - confirmed)
    proof.figure(
        f"{name}_corrections_units", [c / Range.world.units_per_one for c in figures.corrections[wrong:]][-20:]
    )
    proof.figure(f"{name}_lead_ms", shooter.steering.lead.seconds * 1000)
    proof.figure(f"{name}_seen_ago_ms", percentiles([ago * 50 for ago in felt.ago_ticks], 50, 99))
    proof.figure(f"{name}_shots_beyond_bound", felt.beyond)
    proof.figure(f"{name}_shots", felt.shots)
    proof.figure(f"{name}_confirmed_share", felt.hits / max(1, felt.shots))
    proof.require(felt.shots + felt.beyond > 0, f"nobody shot at {milliseconds} ms")
    proof.require(shooter.stopped is None and target.stopped is None, "a client was closed")


async def shoot(
    marksman: Marksman, shooter: Client, target: Client, chance: random.Random, seconds: float, felt: Felt
) -> None:
    """Aim and fire, a frame at a time, while the target flies about."""
    until = time.monotonic() + seconds
    rules, bound = rules_of(Range.world), Range.rewind_ms * Range.world.tick_hz / 1000
    held, fly_at, ready_at = 0, 0.0, 0.0
    while (now := time.monotonic()) < until:
        await asyncio.sleep(FRAME_S)
        now = time.monotonic()
        avatar = target.mirror.avatar
        if now >= fly_at:
            fly_at = now + chance.uniform(0.3, 1.0)
            target.send("Steer", turn=chance.choice((-1, 0, 1)), thrust=chance.choice((1, 1, 0, -1)))
        if avatar is None or marksman.off(avatar.entity, now) is None:
            continue
        turn = marksman.aim(avatar.entity, now)
        if turn != held:
            began, before = now, marksman.steering.shown(now)
            shooter.send("Steer", turn=turn)
            if held == 0 and before is not None:
                felt.answers_s.append(await answered(marksman, before["heading"], began))
            held, now = turn, time.monotonic()
        off = marksman.off(avatar.entity, now)
        if off is None or now < ready_at or abs(off[2]) > rules.hit_radius or not 0 < off[1] < rules.lance_reach:
            continue
        hits = struck(shooter, avatar.entity)
        ago = marksman.loose(now)
        shooter.push()
        ready_at = now + 1.2
        if ago is not None:
            felt.ago_ticks.append(ago)
            await count(felt, ago <= bound, partial(more, shooter, avatar.entity, hits), marksman)


async def answered(marksman: Marksman, heading: float, began: float) -> float:
    """When the next frames show another heading."""
    while time.monotonic() < began + ANSWER_S_MAX:
        await asyncio.sleep(FRAME_S / 4)
        shown = marksman.steering.shown(time.monotonic())
        if shown is not None and shown["heading"] != heading:
            break
    return time.monotonic() - began


async def count(felt: Felt, within: bool, hit: Callable[[], bool], marksman: Marksman) -> None:
    """Wait until the server must have said whether it was a hit."""
    if not within:
        felt.beyond += 1
        return
    felt.shots += 1
    until = time.monotonic() + marksman.steering.lead.seconds + 0.3
    while time.monotonic() < until and not hit():
        await asyncio.sleep(FRAME_S)
    felt.hits += hit()


def more(client: Client, entity: int, hits: int) -> bool:
    """Whether a ship was hit more often than that."""
    return struck(client, entity) > hits


def struck(client: Client, entity: int) -> int:
    """How often a ship was hit, as a client sees it."""
    contract = client.mirror.contract
    assert contract is not None
    kind = contract.kind("Ship")
    seen = client.mirror.entity(kind, entity)
    return seen.values[contract.kinds[kind].index["score"]] if seen is not None else -1


class Player:
    """A predicted player behind the proxy: `async with` gives its client."""

    def __init__(self, page_url: str, url: str) -> None:
        self._page_url, self._url = page_url, url
        self._client: Client | None = None

    async def __aenter__(self) -> Client:
        guest = await ask_guest(self._page_url)
        options = ClientOptions(limits=SessionLimits(ping_interval_s=1.0))
        self._client = Client(self._url, guest.token, guest.title, options=options, predictor=predictor)
        return await self._client.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.stop()


def predictor(contract: ClientContract) -> Predictor:
    """Frontier's flight in the range."""
    return Predictor(flight_rule(Range.world), PREDICTED, ANGLES, snap=contract.cell_size / 2)
