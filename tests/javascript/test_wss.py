"""Real clients over wss: the JavaScript client in Node and the Python one, at a gateway that has a certificate."""

from __future__ import annotations

import json
import shutil
import ssl
from pathlib import Path

import aiohttp
import pytest

from loadtest.cluster import Cluster, Shape
from overworld.client.connection import Client, ClientOptions
from overworld.client.guest import mint_token
from tests.end_to_end.outcomes import until
from tests.javascript.packed import JS, run
from tests.parts.tls import certificate_for

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

PROGRAM = """
import { connect } from 'CLIENT'
import WebSocket from 'WS'

const url = process.argv[2], token = process.argv[3]
const ticket = async () => ({ token, title: 'frontier', urls: [url] })
const client = connect({ title: 'frontier', WebSocket, ticket })
for (let i = 0; i < 600 && !client.mirror.avatar; i++) await new Promise((done) => setTimeout(done, 50))
client.send('Steer', { turn: 1, thrust: 1, fire: 0 })
for (let i = 0; i < 600 && client.session.acked.seq < 1; i++) await new Promise((done) => setTimeout(done, 50))
console.log(JSON.stringify({ url: client.url, kind: client.mirror.avatar?.kind, acked: client.session.acked.seq }))
client.bye()
"""


async def test_both_clients_play_over_wss_while_the_certificate_changes(tmp_path: Path) -> None:
    first, second = (certificate_for("localhost", tmp_path / name) for name in ("first", "second"))
    env = {"OVERWORLD_GATEWAY_TLS_CERTIFICATE": str(first.certificate), "OVERWORLD_GATEWAY_TLS_KEY": str(first.key)}
    shape = Shape(workers=1, gateways=1, shards="1x1", gateway_env=env)
    program = tmp_path / "program.mjs"
    paths = {"CLIENT": JS / "src" / "index.js", "WS": JS / "node_modules" / "ws" / "wrapper.mjs"}
    text = PROGRAM
    for name, path in paths.items():
        text = text.replace(f"'{name}'", f"'{path.as_uri()}'")
    program.write_text(text)
    async with Cluster(tmp_path / "cluster", shape) as cluster:
        gateway = cluster.gateways[0]
        url = f"wss://localhost:{gateway.port}/play"

        async def in_node(name: str, authority: Path) -> dict[str, object]:
            token = mint_token(cluster.key.encode(), "main", "frontier", name)
            argv = ("env", f"NODE_EXTRA_CA_CERTS={authority}", "node", program, url, token)
            return dict(json.loads(await run(tmp_path, *argv)))

        options = ClientOptions(ssl_context=ssl.create_default_context(cafile=str(first.authority)))
        token = mint_token(cluster.key.encode(), "main", "frontier", "python")
        async with Client(url, token, "frontier", options=options) as client:
            await client.until(lambda it: it.mirror.avatar is not None, 20.0)
            said = await in_node("node", first.authority)
            assert said == {"url": url, "kind": "Ship", "acked": 1}
            shutil.copy(second.certificate, first.certificate)
            shutil.copy(second.key, first.key)
            reads = "overworld_gateway_certificate_reads_total"
            await until(lambda: gateway.metrics().total(reads, result="new") >= 1, "the new certificate is read")
            said = await in_node("node-2", second.authority)
            assert said == {"url": url, "kind": "Ship", "acked": 1}
            frames = client.statistics.frames
            await client.until(lambda it: it.statistics.frames > frames + 5, 20.0)
            assert client.statistics.connects == 1
        async with aiohttp.ClientSession() as http:
            context = ssl.create_default_context(cafile=str(second.authority))
            async with http.get(f"https://localhost:{gateway.page_port}/", ssl=context) as page:
                assert page.status == 200
