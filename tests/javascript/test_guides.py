"""The guides of the JavaScript client: what they show is put into an empty folder and played on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from loadtest.cluster import Cluster, Shape
from tests.browser.page import chromium, visit
from tests.javascript.packed import ESBUILD, JS, PATH, ROOT, install, install_beside, run, write_blocks
from tests.parts.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

README = JS / "README.md"
PAGE_GUIDE = ROOT / "docs" / "browser-client.md"

# Uses every function the README shows, cuts the socket, and says what it saw.
MAIN = """
import WebSocket from 'ws'
import { lance, ownPlace, predictOwn } from './own.js'
import { columnOf, drawOthers } from './picture.js'
import { play } from './play.js'
import { time } from './time.js'
import { tell } from './told.js'
import { watch } from './watch.js'

const sockets = []
class Kept extends WebSocket { constructor(url) { super(url); sockets.push(this) } }
const client = play(process.argv[2], Kept)
const said = []
tell(client, (words) => said.push(words))
predictOwn(client)
const { names, counts } = watch(client.mirror)
const until = async (what, so) => {
  for (let i = 0; i < 600; i++) { if (so()) return; await new Promise((done) => setTimeout(done, 50)) }
  throw new Error(`${what}: not within 30 s; ${JSON.stringify(client.numbers())}`)
}
await until('the own ship', () => ownPlace(client, performance.now()) && client.session.clock.offset_ms)
const [id, first] = [client.mirror.own.entity, ownPlace(client, performance.now())]
client.send('Steer', { turn: 0, thrust: 1, fire: 0 })
const moved = () => {
  const at = ownPlace(client, performance.now())
  return Math.hypot(at.x - first.x, at.y - first.y) > 256
}
await until('the ship moving', moved)
const lanced = lance(client, performance.now())
await until('the lance', () => client.session.acked.seq >= 2)
const { confirmed } = client.steering.predictor
sockets[0].terminate()
await until('the resume', () => client.numbers().resumes === 1 && client.mirror.avatar)
const drawn = {}
await until('others', () => {
  drawOthers(client, performance.now(), (kind, other, x, y, heading) => {
    if (other !== id && Number.isFinite(x + y + heading)) drawn[kind] = true
  })
  return drawn.Crystal
})
// What left a cell may be on its way to the next: for up to four ticks it is named and in no cell.
await until('a name for each entity and no other', () => names.size === client.mirror.size)
console.log(JSON.stringify({
  said, lanced, confirmed, drawn, named: names.size, size: client.mirror.size, mine: names.get(id), counts,
  same: client.mirror.own.entity === id, time: time(client, performance.now()),
  column: columnOf(client, 'Ship', 'hp').length, ships: client.mirror.table('Ship').count,
  numbers: client.numbers(), threw: (() => { try { client.send('Nothing', {}) } catch (e) { return e.message } })(),
}))
client.bye()
"""

COLOURED = """(() => {
  const canvas = document.querySelector('canvas'), { width, height } = canvas
  // A copy is read: Chromium warns of a canvas that is drawn on and read by turns.
  const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })
  copy.drawImage(canvas, 0, 0)
  const { data } = copy.getImageData(0, 0, width, height)
  let own = 0, others = 0
  for (let i = 0; i < data.length; i += 4) {
    if (!data[i + 3]) continue
    if (data[i] === 0x5d && data[i + 1] === 0xff && data[i + 2] === 0xb0) own++
    else others++
  }
  return own > 20 && others > 20 && { own, others }
})()"""

DEATHS = "window.deaths = 0, void client.on('frame', () => { window.deaths += (client.mirror.avatar?.flags & 4) >> 2 })"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page_port() -> int:
    """Where the guide's page is served."""
    return free_port()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory, page_port: int) -> AsyncIterator[Cluster]:
    """One worker behind one gateway that knows the guide's page."""
    env = {"OVERWORLD_GATEWAY_ORIGINS": f"http://127.0.0.1:{page_port}"}
    shape = Shape(workers=1, gateways=1, shards="1x1", gateway_env=env)
    async with Cluster(tmp_path_factory.mktemp("cluster"), shape) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Path:
    """The packed client, and the files of both guides."""
    made = tmp_path_factory.mktemp("guide")
    await install(archive, made)
    assert write_blocks(PAGE_GUIDE, made) == {"serve.js", "index.html", "flight.js", "main.js"}
    return made


async def test_every_file_of_the_readme_plays_in_node(folder: Path, cluster: Cluster) -> None:
    files = write_blocks(README, folder)
    install_beside(folder, "ws")
    (folder / "program.js").write_text(MAIN)
    assert files == set(re.findall(r"from '\./(\w+\.js)'", MAIN)), "the test uses every file of the guide"
    seen = json.loads(await run(folder, "node", "program.js", cluster.gateways[0].page_url))
    assert seen["lanced"] is True
    assert seen["same"] is True
    assert seen["confirmed"] > 0
    assert seen["named"] == seen["size"]
    assert seen["column"] == seen["ships"] >= 1
    assert '"energy"' in seen["mine"]
    assert seen["said"][0] == "playing"
    assert seen["said"][1].startswith("lost (lost), again in 0 s")
    assert seen["said"][2] == "playing"
    assert 0 < seen["time"]["speed"] <= 1
    assert seen["time"]["seen"] > 0
    assert "Nothing" in seen["threw"]
    table = README.read_text().split("## Statistics")[1].split("## Errors")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = re.findall(r"`(\w+)`", " ".join(cells))
    assert sorted(named) == sorted(seen["numbers"])


async def test_the_readmes_bundle_is_made(folder: Path) -> None:
    found = re.search(r"<!-- run -->\n```\nnpx esbuild (.*)\n```", README.read_text())
    assert found is not None
    await run(folder, ESBUILD, *found[1].split())
    assert "@overworld/client" in (folder / "game.js").read_text(), "the name that a hello gives"
    assert "from" not in (folder / "game.js").read_text()[:200]


@asynccontextmanager
async def served(folder: Path, game: str, port: int) -> AsyncIterator[str]:
    """The guide's own server, until the end."""
    argv = ("serve.js", game, str(port))
    child = await asyncio.create_subprocess_exec("node", *argv, cwd=folder, env={**os.environ, "PATH": PATH})
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(200):
            try:
                await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).close())
                break
            except OSError:
                assert child.returncode is None, "serve.js ended"
                await asyncio.sleep(0.05)
        yield url
    finally:
        child.kill()
        await child.wait()


async def test_the_guides_page_is_played_in_chromium(folder: Path, cluster: Cluster, page_port: int) -> None:
    """It connects, draws, moves at a key press by its own prediction, and has nothing to complain about."""
    async with (
        served(folder, cluster.gateways[0].page_url, page_port) as url,
        chromium() as browser,
        visit(browser, url) as seen,
    ):
        await seen.value("import('/main.js').then(({ client }) => { window.client = client })")
        await seen.value(DEATHS)
        await seen.until("client.steering?.shown(performance.now()) && client.session.clock.offset_ms", "a ship")
        await seen.until(COLOURED, "the own ship and others on the canvas")
        place = "client.steering.shown(performance.now())"
        start = await seen.value(place)
        await seen.page.keyboard.down("KeyW")
        far = f"(({{ x, y }}) => Math.hypot(x - {start['x']}, y - {start['y']}) > 3 * 256)({place})"
        await seen.until(far, "the ship flying")
        heading = (await seen.value(place))["heading"]
        await seen.page.keyboard.down("ArrowRight")
        await seen.until(f"Math.abs({place}.heading - {heading}) > 15", "the ship turning")
        await seen.page.keyboard.up("ArrowRight")
        await seen.until(COLOURED, "the ship in flight on the canvas")
        await seen.picture("guide-page")
        await seen.page.keyboard.up("KeyW")
        await seen.until("client.numbers().inputs_pending === 0", "all inputs acked")
        numbers = await seen.value("client.numbers()")
        # The welcome's own, then four keys; a key press that repeats is no change.
        assert numbers["acked"] == numbers["inputs_sent"] == 5, numbers
        assert numbers["errors"] == 0
        await seen.until("client.steering.predictor.confirmed > 20", "predicted ticks the server confirmed")
        if not numbers["inputs_late"] and not await seen.value("deaths"):
            assert numbers["mispredicted"] == 0, numbers
        assert "hp" in await seen.page.inner_text("output")
        assert seen.complaints == []
