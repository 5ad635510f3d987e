"""[browser] The page in headless Chromium plays on real processes, and a picture of it is kept.

The page connects, the ship moves, turns and shoots on key press, every input is acknowledged, the console stays empty.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import Cluster, Shape
from loadtest.crowd import Crowd, Order
from loadtest.prove.proof import RESULTS, Proof
from tests.browser.page import PICTURES, chromium, visit
from tests.browser.scenes import ship_flies_on_key_press

PICTURE = "proof"
LOOK_TICKS = 40


@dataclass(frozen=True)
class Options:
    """How many bots play beside the person, in how small a world."""

    bots: int = 60
    keep_picture: bool = True


def run(proof: Proof, options: Options) -> None:
    """Play in a browser."""
    with tempfile.TemporaryDirectory(prefix="overworld-browser-") as folder:
        asyncio.run(play(proof, options, Path(folder)))


async def play(proof: Proof, options: Options, folder: Path) -> None:
    """A cluster, bots, and one person."""
    shape = Shape(shards="1x1")
    async with Cluster(folder, shape) as cluster:
        urls = tuple(gateway.play_url for gateway in cluster.gateways)
        order = Order(urls, shape.title, cluster.key, shape.world, options.bots)
        crowd = await Crowd(order, folder / "crowd.log").start()
        await crowd.all_playing(60)
        proof.say(f"{options.bots} bots play; a browser joins")
        async with chromium() as browser:
            proof.figures["browser"] = browser.version
            try:
                await ship_flies_on_key_press(browser, cluster.gateways[0].page_url, PICTURE)
                proof.figure("key_presses_fly_the_ship", True)
            except AssertionError as error:
                proof.require(False, f"the page: {error}")
            async with visit(browser, cluster.gateways[1].page_url) as seen:
                await seen.fly("Grace")
                await seen.ticks_pass(LOOK_TICKS)
                await seen.page.keyboard.press("F3")
                proof.figure("stats_after_two_seconds", await seen.stats())
                proof.require(not seen.complaints, f"the console says: {seen.complaints}")
        await crowd.leave()
    picture = PICTURES / f"{PICTURE}.png"
    proof.require(picture.exists(), "no picture was taken")
    if options.keep_picture and picture.exists():
        shutil.copyfile(picture, RESULTS / "browser.png")
        proof.figure("picture_bytes", picture.stat().st_size)
