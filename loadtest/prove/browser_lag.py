"""[browser-lag] The page in headless Chromium plays behind 150 ms: what its player does is seen in the next frame.

Keys are pressed on a page that plays through a proxy. The page itself says which of its frames first showed each, and
keeps that frame's pixels. The pair of one press is kept beside the results.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.figures import percentiles
from loadtest.prove.proof import RESULTS, Proof
from tests.browser import lag
from tests.browser.page import chromium, visit

KEYS = ("KeyD", "KeyA")
HOLD_S = 0.25
FIGURES = (
    "ping_ms", "jitter_ms", "lead_ms", "delay_ms", "mispredicted", "inputs_sent", "inputs_late", "frames_per_second",
    "frames_dropped", "errors",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """`settle_ticks` of play before the first key."""

    round_trip_ms: float = 150.0
    presses: int = 40
    settle_ticks: int = 100
    seed: int = 1
    keep_pictures: bool = True


def run(proof: Proof, options: Options) -> None:
    """Play in a browser."""
    with tempfile.TemporaryDirectory(prefix="overworld-browser-lag-") as folder:
        asyncio.run(play(proof, options, Path(folder)))


async def play(proof: Proof, options: Options, folder: Path) -> None:
    """One cluster, one page."""
    async with (
        lag.behind(folder, options.round_trip_ms / 1000, options.seed) as url,
        chromium() as browser,
        visit(browser, url) as seen,
    ):
        await seen.fly("Ada")
        await seen.until("window.overworld.stats().ping_ms > 0", "the way measured")
        await seen.ticks_pass(options.settle_ticks)
        await lag.watch(seen)
        before = await seen.stats()
        # Ahead, so that there is something to be wrong about.
        await seen.page.keyboard.down("KeyW")
        answers = [await lag.press(seen, KEYS[i % 2], HOLD_S) for i in range(options.presses)]
        pair = await lag.keep_pair(seen, "lag")
        await seen.page.keyboard.up("KeyW")
        await seen.until("window.overworld.stats().inputs_pending === 0", "all inputs acked")
        stats = await seen.stats()
        proof.figures["browser"] = browser.version
        proof.figure("presses", len(answers))
        proof.figure("answer_frames", percentiles([answer.frames for answer in answers], 50, 99))
        proof.figure("answer_ms", percentiles([answer.ms for answer in answers], 50, 99))
        proof.figure("page", {name: stats[name] for name in FIGURES if name in stats})
        proof.figure("mispredicted_while_playing", stats["mispredicted"] - before["mispredicted"])
        late = stats["inputs_late"] - before["inputs_late"]
        proof.require(stats["mispredicted"] == before["mispredicted"] or late > 0, "predictions were wrong")
        proof.require(stats["ping_ms"] > options.round_trip_ms * 0.8, "the page did not play behind the network")
        frames = sorted(answer.frames for answer in answers)
        proof.require(frames[len(frames) // 2] <= 2, "the own ship waits for the server")
        proof.require(pair[0].read_bytes() != pair[1].read_bytes(), "the pictures of before and after are the same")
        proof.require(not seen.complaints, f"the console says: {seen.complaints}")
    if options.keep_pictures:
        for path in pair:
            shutil.copyfile(path, RESULTS / f"browser-{path.name}")
