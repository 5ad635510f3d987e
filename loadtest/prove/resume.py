"""[resume] A client whose socket is reset again and again sees the same world as one that never lost its own.

Both look at the whole of a small world of frontier, drones and all. After every resume their pictures of each tick that
both saw must be equal, field by field, and every input must have been applied once.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtest.cluster import HOST, Cluster, Shape
from loadtest.figures import percentiles
from loadtest.prove.proof import Proof
from overworld.client.closes import BackOff
from overworld.client.connection import Client, ClientOptions
from overworld.client.guest import ask_guest
from overworld.client.networks import Network
from overworld.client.protocol import SessionLimits
from overworld.client.proxy import Proxy

WAIT_S = 30.0
PICTURES_MAX = 400
LIMITS = SessionLimits(back_off=BackOff(0.01, 0.05), steady_s=0.0)
Picture = list[tuple[int, ...]]


@dataclass(frozen=True)
class Options:
    """`rest_s`: how long a socket lives at most after each resume."""

    resumes: int = 200
    rest_s: float = 0.4
    seed: int = 1


class Album:
    """What a client saw, by tick."""

    def __init__(self, client: Client) -> None:
        self.pictures: dict[int, Picture] = {}
        self._client = client
        client.on_frame = lambda _: self._keep()

    @property
    def newest(self) -> int:
        """The newest tick seen; 0 for none."""
        return max(self.pictures, default=0)

    async def reach(self, tick: int) -> None:
        """Wait until that tick has been seen."""
        await until(self._client, lambda _: self.newest >= tick)

    def _keep(self) -> None:
        mirror = self._client.mirror
        if 0 not in mirror.ticks:
            return
        # A socket begins with its cells' keyframes: before them there is nothing to compare.
        picture = mirror.picture()
        if picture:
            self.pictures[mirror.ticks[0][1]] = picture
        while len(self.pictures) > PICTURES_MAX:
            del self.pictures[next(iter(self.pictures))]


def run(proof: Proof, options: Options) -> None:
    """Reset, resume, compare."""
    with tempfile.TemporaryDirectory(prefix="overworld-resume-") as folder:
        asyncio.run(play(proof, options, Path(folder)))


async def play(proof: Proof, options: Options, folder: Path) -> None:
    """One cluster, two clients."""
    shape = Shape(workers=1, gateways=1, title="loadtest.ranges:Arena", seed=options.seed)
    async with Cluster(folder, shape) as cluster:
        gateway = cluster.gateways[0]
        async with Proxy(HOST, gateway.port, Network(), options.seed) as proxy:
            urls = (f"ws://{HOST}:{proxy.port}/play", gateway.play_url)
            guests = [await ask_guest(gateway.page_url) for _ in urls]
            clients = [
                Client(url, guest.token, guest.title, options=ClientOptions(limits=LIMITS))
                for url, guest in zip(urls, guests, strict=True)
            ]
            async with clients[0], clients[1]:
                await reset_often(proof, options, proxy, clients[0], clients[1])


async def reset_often(proof: Proof, options: Options, proxy: Proxy, shaken: Client, steady: Client) -> None:
    """The run itself."""
    chance = random.Random(options.seed)
    shaken_album, steady_album = Album(shaken), Album(steady)
    avatar = await first_avatar(shaken)
    back_s: list[float] = []
    compared = different = other_avatar = 0
    for number in range(options.resumes):
        shaken.send("Steer", turn=chance.randint(-1, 1), thrust=chance.randint(-1, 1), fire=chance.randint(0, 1))
        await asyncio.sleep(chance.uniform(0.0, options.rest_s))
        shaken_album.pictures.clear()
        cut_s, resumes = time.monotonic(), shaken.statistics.resumes
        proxy.reset_all()
        await until(shaken, partial(resumed, more_than=resumes))
        back_s.append(time.monotonic() - cut_s)
        await shaken_album.reach(shaken_album.newest + 2)
        await steady_album.reach(shaken_album.newest)
        for tick, picture in shaken_album.pictures.items():
            if tick in steady_album.pictures:
                compared += 1
                different += picture != steady_album.pictures[tick]
        own = shaken.mirror.own()
        other_avatar += own is None or own.entity != avatar
        if number % 25 == 24:
            proof.say(f"{number + 1} resumes, {compared} pictures compared, {different} differ")
    await until(shaken, lambda c: c.session.unacked == 0)
    proof.figure("resumes", shaken.statistics.resumes)
    proof.figure("back_ms", percentiles([s * 1000 for s in back_s], 50, 99))
    proof.figure("pictures_compared", compared)
    proof.figure("inputs", shaken.statistics.inputs)
    proof.figure("inputs_sent", shaken.statistics.inputs_sent)
    proof.require(shaken.statistics.resumes >= options.resumes, "a reset led to something else than a resume")
    proof.require(compared >= options.resumes, "too few ticks were seen by both")
    proof.require(different == 0, f"{different} of {compared} pictures differ")
    proof.require(other_avatar == 0, f"{other_avatar} resumes gave another avatar")
    proof.require(steady.statistics.connects == 1, "the steady client lost its socket")
    statistics = shaken.statistics
    proof.require(statistics.inputs_acked == statistics.inputs, "an input was not applied")
    proof.require(
        statistics.broken == 0 and statistics.inputs_abandoned == 0, "a frame was broken or an input given up"
    )


def resumed(client: Client, more_than: int) -> bool:
    """Whether the session was taken up once more, and its avatar is seen."""
    return client.statistics.resumes > more_than and client.mirror.own() is not None


async def first_avatar(client: Client) -> int:
    """The client's entity."""
    await until(client, lambda c: c.mirror.own() is not None)
    own = client.mirror.own()
    assert own is not None
    return own.entity


async def until(client: Client, happened: Callable[[Client], bool]) -> None:
    """Asks often, whether or not frames come: sockets are lost meanwhile."""
    async with asyncio.timeout(WAIT_S):
        while not happened(client):
            if client.stopped is not None:
                raise client.stopped
            await asyncio.sleep(0.005)
