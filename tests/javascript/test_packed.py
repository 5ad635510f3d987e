"""The JavaScript client as its users get it: packed, installed into an empty folder without a network, and played with
in Node and in Chromium against real gateways and a real worker.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from loadtest.cluster import Cluster, Shape
from overworld.commands.codegen.languages import code_of
from overworld.commands.title_loader import load_title
from tests.browser.page import chromium
from tests.javascript.packed import ESBUILD, JS, install, install_beside, run

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

SIZE = re.compile(r"(\d+,\d+) bytes minified, (\d+,\d+) gzipped")

PROGRAM = """
import { connect } from '@overworld/client'
import { FrontierClient, steer } from './frontier.js'
import WebSocket from 'ws'

const sockets: WebSocket[] = []
class Kept extends WebSocket { constructor(url: string) { super(url); sockets.push(this) } }
const page = process.argv[2]
const client = connect({
  title: 'frontier', WebSocket: Kept as never,
  ticket: async () => (await fetch(`${page}api/guest`, { method: 'POST' })).json() as never,
})
const game = new FrontierClient(client)
let added = 0
game.onAdd(() => added++)
const until = async (what: string, so: () => unknown) => {
  for (let i = 0; i < 600; i++) { if (so()) return; await new Promise((done) => setTimeout(done, 50)) }
  throw new Error(`${what}: not within 30 s; ${JSON.stringify(client.numbers())}`)
}
await until('a ship', () => game.avatar?.kind === 'Ship' && game.own('Ship'))
const [id, first] = [game.avatar!.id, client.url]
game.send(steer({ turn: 0, thrust: 1, fire: 0 }))
await until('the input applied', () => client.session.acked.seq >= 1)
sockets[0].terminate()
await until('the resume', () => client.session.stats.resumes === 1)
await until('the ship anew', () => game.avatar)
game.send(steer({ turn: 1, thrust: 1, fire: 0 }))
await until('the next input applied', () => client.session.acked.seq >= 2)
const same = game.avatar!.id === id, elsewhere = client.url !== first
const ships = game.table('Ship')
console.log(JSON.stringify({ same, elsewhere, added, ships: ships.count, energy: game.own('Ship')!.energy }))
client.bye()
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installed(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Path:
    """An empty folder into which the packed client was installed, offline."""
    folder = tmp_path_factory.mktemp("game")
    await install(archive, folder)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """One worker behind two gateways."""
    async with Cluster(tmp_path_factory.mktemp("cluster"), Shape(workers=1, gateways=2, shards="1x1")) as running:
        yield running


async def test_what_is_packed_is_the_client_and_nothing_else(installed: Path) -> None:
    package = installed / "node_modules" / "@overworld" / "client"
    assert {path.name for path in package.iterdir()} == {"src", "types", "README.md", "LICENSE", "package.json"}
    modules = {path.stem for path in (JS / "src").glob("*.js")}
    assert {path.stem for path in (package / "src").iterdir()} == modules
    assert {path.name.removesuffix(".d.ts") for path in (package / "types").iterdir()} == modules
    assert "dependencies" not in json.loads((package / "package.json").read_text())


async def test_a_typed_program_plays_in_node_and_resumes_at_another_gateway(installed: Path, cluster: Cluster) -> None:
    """The title's generated types, `tsc --strict` over the packed declarations, a socket cut without a word."""
    file, text = code_of(load_title("frontier"), "typescript")
    (installed / file).write_text(text)
    (installed / "program.ts").write_text(PROGRAM)
    # What its users install beside it; Node 20 has no WebSocket of its own.
    install_beside(installed, "ws", "@types", "undici-types")
    options = {
        "strict": True, "noEmit": True, "target": "ES2022", "module": "NodeNext", "moduleResolution": "NodeNext",
        "lib": ["ES2023", "DOM"], "types": ["node"], "skipLibCheck": False,
    }  # fmt: skip
    (installed / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["program.ts"]}))
    await run(installed, "node", JS / "node_modules" / "typescript" / "bin" / "tsc", "-p", ".")
    await run(installed, ESBUILD, "program.ts", file, "--outdir=.", "--format=esm", "--target=es2022")
    said = json.loads(await run(installed, "node", "program.js", cluster.gateways[0].page_url))
    assert (said["same"], said["elsewhere"]) == (True, True)
    assert said["added"] >= said["ships"] >= 1
    assert 0 <= said["energy"] <= 12


async def test_a_bundle_plays_in_chromium(installed: Path, cluster: Cluster) -> None:
    (installed / "page.js").write_text("export * from '@overworld/client'\n")
    bundle = installed / "bundle.js"
    argv = ("page.js", "--bundle", "--minify", "--format=iife", "--global-name=sdk", f"--outfile={bundle}")
    await run(installed, ESBUILD, *argv)
    async with chromium() as browser:
        page = await (await browser.new_context(bypass_csp=True)).new_page()
        await page.goto(f"{cluster.gateways[0].page_url}api/world")
        await page.add_script_tag(content=bundle.read_text())
        played = await page.evaluate(
            """async () => {
              const client = sdk.connect({
                title: 'frontier', ticket: async () => (await fetch('/api/guest', { method: 'POST' })).json(),
              })
              const until = async (so) => {
                for (let i = 0; i < 600 && !so(); i++) await new Promise((done) => setTimeout(done, 50))
              }
              await until(() => client.mirror.avatar)
              client.send('Steer', { turn: 1, thrust: 1, fire: 0 })
              await until(() => client.session.acked.seq >= 1)
              const { acked, errors } = client.numbers()
              const said = { kind: client.mirror.avatar?.kind, acked, errors }
              client.bye()
              return said
            }"""
        )
    assert played == {"kind": "Ship", "acked": 1, "errors": 0}


async def test_the_readme_names_the_bundles_size() -> None:
    size = json.loads(await run(JS, "npm", "run", "--silent", "size"))
    named = SIZE.search((JS / "README.md").read_text())
    assert named is not None
    minified, gzipped = (int(figure.replace(",", "")) for figure in named.groups())
    assert abs(size["minified_bytes"] - minified) <= minified * 0.03
    assert abs(size["gzipped_bytes"] - gzipped) <= gzipped * 0.03
