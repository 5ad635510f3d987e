"""[feel] The own ship answers within a frame, predictions are right, and who aims well hits, however far the server is.

Real processes behind a proxy that delays. A marksman flies and shoots at a target that flies about; both are clients of
the Python SDK, drawn 60 times a second as a page would. A shot counts as aimed where the beam touches the target on the
marksman's own screen, by however little. It is judged by the server's ack: hits are counted by the tick that applied
the shot, so no shot is lost to a slow answer. Then ships are bumped, and it is measured how far predictions were off.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.cluster import HOST, Cluster, Shape
from loadtest.figures import percentiles
from loadtest.marksman import Marksman, Shot
from loadtest.prove.proof import Proof
from loadtest.ranges import Bumpers, Range
from overworld.client.beat import PARTS
from overworld.client.connection import Client, ClientOptions
from overworld.client.contract import ClientContract
from overworld.client.guest import ask_guest
from overworld.client.networks import round_trip
from overworld.client.prediction import Predictor
from overworld.client.protocol import SessionLimits
from overworld.client.proxy import Proxy
from overworld.titles.frontier.lance import AHEAD_TICKS_MAX
from overworld.titles.frontier.prediction import ANGLES, PREDICTED, flight_rule
from overworld.titles.frontier.rules import rules_of

FRAME_S = 1 / 60
JOIN_S = 60.0
ROUND_TRIPS_MS = (20, 80, 200)
ANSWER_S_MAX = 0.5
SHOTS_EVERY_S = 0.12
"""More than two ticks: no two shots are applied by one."""
JUDGED_S = 10.0


@dataclass(frozen=True)
class Options:
    """`seconds` of shooting for each round trip, after `warm_s`; then `bumped_s` of being bumped."""

    seconds: float = 90.0
    bumped_s: float = 30.0
    warm_s: float = 8.0
    seed: int = 1


@dataclass
class Felt:
    """What one run came to. Times in seconds."""

    answers_s: list[float] = field(default_factory=list)
    """From a changed command to the first frame that shows it."""
    beyond: int = 0
    """Shots at what lay further back than the title looks; not among the book's."""
    ago_ticks: list[float] = field(default_factory=list)
    guessed: int = 0
    """Shots at what was drawn by its velocity, because the next tick was late."""


class Book:
    """Shots and what became of them: the target's count of hits, tick by tick, and the tick that applied each shot."""

    def __init__(self, shooter: Client, target: int) -> None:
        self.shots: list[Shot] = []
        self.hits = self.missed = 0
        self._waiting: list[Shot] = []
        self._applied: list[tuple[int, Shot]] = []
        self._known = (0, struck(shooter, target))
        self._shooter, self._target = shooter, target

    def fired(self, shot: Shot) -> None:
        """One more shot is on its way."""
        self.shots.append(shot)
        self._waiting.append(shot)

    @property
    def open(self) -> int:
        """Shots that the server has not judged yet."""
        return len(self._waiting) + len(self._applied)

    def frame(self) -> None:
        """A frame has been applied."""
        mirror = self._shooter.mirror
        if mirror.acked_at is None or 0 not in mirror.ticks:
            return
        acked, at = mirror.acked, mirror.acked_at[1]
        self._applied += [(at, shot) for shot in self._waiting if shot.seq <= acked]
        self._waiting = [shot for shot in self._waiting if shot.seq > acked]
        tick, count = mirror.ticks[0][1], struck(self._shooter, self._target)
        judged = [shot for at, shot in self._applied if at <= tick]
        if judged and count >= 0:
            # Two shots of one frame may share a tick, which takes each one's last and counts one hit.
            hit = min(len(judged), count - self._known[1])
            self.hits += hit
            self.missed += len(judged) - hit
            self._applied = [(at, shot) for at, shot in self._applied if at > tick]
        if count >= 0:
            self._known = (tick, count)


def run(proof: Proof, options: Options) -> None:
    """All round trips, each with a cluster of its own; then bumps, at each of them."""
    for milliseconds in ROUND_TRIPS_MS:
        for title in ("Range", "Bumpers"):
            with tempfile.TemporaryDirectory(prefix="overworld-feel-") as folder:
                asyncio.run(play(proof, options, milliseconds, title, Path(folder)))


async def play(proof: Proof, options: Options, milliseconds: int, title: str, folder: Path) -> None:
    """One round trip in one title."""
    shape = Shape(workers=1, gateways=1, title=f"loadtest.ranges:{title}", seed=options.seed)
    async with Cluster(folder, shape) as cluster:
        gateway = cluster.gateways[0]
        async with Proxy(HOST, gateway.port, round_trip(milliseconds / 1000), options.seed) as proxy:
            url = f"ws://{HOST}:{proxy.port}/play"
            async with Player(gateway.page_url, url) as shooter, Player(gateway.page_url, url) as target:
                for client in (shooter, target):
                    await client.until(lambda c: c.steering is not None and c.steering.predictor.started, JOIN_S)
                name = f"rtt_{milliseconds}_ms"
                if title == "Range":
                    await measure(proof, options, name, shooter, target)
                else:
                    await bump(proof, options, name, shooter, target)
                proof.require(shooter.stopped is None and target.stopped is None, "a client was closed")


async def measure(proof: Proof, options: Options, name: str, shooter: Client, target: Client) -> None:
    """Play, and note the figures."""
    assert shooter.steering is not None
    assert target.steering is not None
    marksman = Marksman(shooter.interpolator, shooter.steering)
    chance = random.Random(options.seed)
    await shoot(marksman, shooter, target, chance, options.warm_s)
    both = [client.steering.predictor.figures for client in (shooter, target) if client.steering is not None]
    wrong = [figures.mispredicted for figures in both]
    late, confirmed = both[0].late, both[0].confirmed
    began = time.monotonic()
    felt, book = await shoot(marksman, shooter, target, chance, options.seconds)
    minutes = (time.monotonic() - began) / 60
    mine, theirs = (figures.mispredicted - before for figures, before in zip(both, wrong, strict=True))
    proof.figure(f"{name}_answer_ms", percentiles([s * 1000 for s in felt.answers_s], 50, 99))
    proof.figure(f"{name}_mispredicted_per_min", mine / minutes)
    proof.figure(f"{name}_mispredicted_per_min_when_shot_at", theirs / minutes)
    proof.figure(f"{name}_inputs_late", both[0].late - late)
    proof.figure(f"{name}_states_compared", both[0].confirmed - confirmed)
    proof.figure(f"{name}_lead_ms", shooter.steering.lead.seconds * 1000)
    proof.figure(f"{name}_seen_ago_ms", percentiles([ago * 50 for ago in felt.ago_ticks], 50, 99))
    proof.figure(f"{name}_shots_beyond_bound", felt.beyond)
    proof.figure(f"{name}_shots_at_guesses", felt.guessed)
    proof.figure(f"{name}_shots", book.hits + book.missed)
    proof.figure(f"{name}_confirmed_share", book.hits / max(1, book.hits + book.missed))
    proof.require(book.open == 0, f"{book.open} shots were never judged at {name}")
    proof.require(len(book.shots) + felt.beyond > 0, f"nobody shot at {name}")


async def bump(proof: Proof, options: Options, name: str, shooter: Client, target: Client) -> None:
    """Fly about and be bumped: how far off were predictions, and how far did the picture jump?"""
    chance = random.Random(options.seed)
    assert shooter.steering is not None
    figures = shooter.steering.predictor.figures
    await fly(shooter, target, chance, options.warm_s)
    wrong = figures.mispredicted
    figures.moved.clear()
    jumps = await fly(shooter, target, chance, options.bumped_s)
    one = Bumpers.world.units_per_one
    corrections = [moved / one for moved in figures.moved]
    proof.figure(f"{name}_bumped_corrections", figures.mispredicted - wrong)
    proof.figure(f"{name}_bumped_correction_units", percentiles(corrections, 50, 99))
    proof.figure(f"{name}_bumped_drawn_jump_units", percentiles([jump / one for jump in jumps], 50, 99))


async def fly(shooter: Client, target: Client, chance: random.Random, seconds: float) -> list[float]:
    """Steer at random. Returns how far from its way by its velocity the own ship was drawn, frame by frame."""
    jumps: list[float] = []
    until, steer_at = time.monotonic() + seconds, 0.0
    steering = shooter.steering
    assert steering is not None
    before: dict[str, float] | None = None
    while (now := time.monotonic()) < until:
        if now >= steer_at:
            steer_at = now + chance.uniform(0.3, 1.0)
            for client in (shooter, target):
                client.send("Steer", turn=chance.choice((-1, 0, 1)), thrust=chance.choice((1, 1, 0)))
        shown, at = steering.shown(now), steering.tick(now)
        if shown is not None and before is not None:
            ticks = at - before["at"]
            way = [shown[axis] - before[axis] - before[f"v{axis}"] * ticks for axis in ("x", "y")]
            jumps.append(math.hypot(*way))
        before = {**shown, "at": at} if shown is not None else None
        await asyncio.sleep(FRAME_S)
    return jumps


async def shoot(
    marksman: Marksman, shooter: Client, target: Client, chance: random.Random, seconds: float
) -> tuple[Felt, Book]:
    """Aim and fire, a frame at a time, while the target flies about; then wait for the server's word on each shot."""
    until = time.monotonic() + seconds
    rules, bound = rules_of(Range.world), Range.rewind_ms * Range.world.tick_hz // 1000
    held, fly_at, ready_at = 0, 0.0, 0.0
    await shooter.until(lambda c: target.mirror.avatar is not None and struck(c, aimed_at(target)) >= 0, JOIN_S)
    felt, other = Felt(), aimed_at(target)
    book = Book(shooter, other)

    shooter.on_frame = lambda _: book.frame()
    while (now := time.monotonic()) < until:
        await asyncio.sleep(FRAME_S)
        now = time.monotonic()
        if now >= fly_at:
            fly_at = now + chance.uniform(0.3, 1.0)
            target.send("Steer", turn=chance.choice((-1, 0, 1)), thrust=chance.choice((1, 1, 0, -1)))
        if marksman.off(other, now) is None:
            continue
        turn = marksman.aim(other, now)
        if turn != held:
            began, before = now, marksman.steering.shown(now)
            shooter.send("Steer", turn=turn)
            if held == 0 and before is not None:
                felt.answers_s.append(await answered(marksman, before["heading"], began))
            held, now = turn, time.monotonic()
        off = marksman.off(other, now)
        if off is None or now < ready_at or abs(off[2]) > rules.hit_radius or not 0 < off[1] < rules.lance_reach:
            continue
        shot = marksman.loose(now)
        shooter.push()
        ready_at = now + SHOTS_EVERY_S
        if shot is None:
            continue
        if shot.ago_ticks > bound or (not shot.seen.span and shot.seen.part > AHEAD_TICKS_MAX * PARTS):
            felt.beyond += 1
            continue
        felt.ago_ticks.append(shot.ago_ticks - shot.seen.part / PARTS)
        felt.guessed += not shot.seen.span
        book.fired(shot)
    with contextlib.suppress(TimeoutError):
        await shooter.until(lambda _: book.open == 0, JUDGED_S)
    return felt, book


async def answered(marksman: Marksman, heading: float, began: float) -> float:
    """When the next frames show another heading."""
    while time.monotonic() < began + ANSWER_S_MAX:
        await asyncio.sleep(FRAME_S / 4)
        shown = marksman.steering.shown(time.monotonic())
        if shown is not None and shown["heading"] != heading:
            break
    return time.monotonic() - began


def aimed_at(target: Client) -> int:
    """The target's entity."""
    assert target.mirror.avatar is not None
    return target.mirror.avatar.entity


def struck(client: Client, entity: int) -> int:
    """How often a ship was hit, as a client sees it; -1 where it does not see it."""
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
