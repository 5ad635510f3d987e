"""Playing behind a slow network: which frame of the page shows a key press, and the very pixels of it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import HOST, Cluster, Shape
from overworld.client.networks import round_trip
from overworld.client.proxy import Proxy
from tests.browser.page import PICTURES, Visit

# Runs after the page's own frame: what `stats` says is what has just been drawn.
WATCH = """() => {
  const look = window.look = { pressed_ms: 0, frames: 0, answer: null, before: '', after: '', angle: 0 }
  window.addEventListener('keydown', () => {
    if (look.pressed_ms || look.armed !== true) return
    look.pressed_ms = performance.now()
    look.angle = window.overworld.stats().ship.angle
    look.before = document.getElementById('world').toDataURL()
  }, true)
  const frame = () => {
    const ship = window.overworld.stats().ship
    if (look.pressed_ms && !look.answer && ship) {
      look.frames++
      if (Math.abs(Math.sin(ship.angle - look.angle)) > 1e-4) {
        look.answer = { frames: look.frames, ms: performance.now() - look.pressed_ms }
        requestAnimationFrame(() => { look.after = document.getElementById('world').toDataURL() })
      }
    }
    requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
}"""
ARM = "Object.assign(window.look, { armed: true, pressed_ms: 0, frames: 0, answer: null, before: '', after: '' })"


@dataclass(frozen=True)
class Answer:
    """From a key press to the first frame that shows it: how many frames that was (1: the next one), and how long."""

    frames: int
    ms: float


@asynccontextmanager
async def behind(folder: Path, round_trip_s: float, seed: int = 1) -> AsyncIterator[str]:
    """A cluster whose page plays through a proxy; gives the page's address."""
    async with Proxy(HOST, 0, round_trip(round_trip_s), seed) as proxy:
        env = {"OVERWORLD_GATEWAY_SOCKET_URL": f"ws://{HOST}:{proxy.port}/play"}
        shape = Shape(workers=1, gateways=1, shards="1x1", seed=seed, gateway_env=env)
        async with Cluster(folder, shape) as cluster:
            proxy.target = (HOST, cluster.gateways[0].port)
            yield cluster.gateways[0].page_url
            assert proxy.connections > 0, "the page did not play through the proxy"


async def watch(seen: Visit) -> None:
    """Call once the page plays."""
    await seen.value(f"({WATCH})()")


async def press(seen: Visit, key: str, hold_s: float) -> Answer:
    """Press a key that turns the ship, hold it for a moment, and say when the page showed it."""
    await seen.value(ARM)
    await seen.page.keyboard.down(key)
    answer = await seen.until("window.look.after && window.look.answer", "an answer to a key")
    await asyncio.sleep(hold_s)
    await seen.page.keyboard.up(key)
    return Answer(answer["frames"], answer["ms"])


async def keep_pair(seen: Visit, name: str) -> tuple[Path, Path]:
    """Write the last press's two pictures: the frame before it, and one frame after the first that shows it."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    paths = PICTURES / f"{name}-before.png", PICTURES / f"{name}-after.png"
    for path, which in zip(paths, ("before", "after"), strict=True):
        data = await seen.value(f"window.look.{which}")
        path.write_bytes(base64.b64decode(data.split(",", 1)[1]))
    return paths
