"""The HTTP ports: pages, guests' tokens, health."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from overworld.errors import SettingsError
from overworld.gateway.tokens import GUEST_ISSUER, player_id
from tests.gateway.arena import Arena, until

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


class TestPages:
    async def test_the_page_and_its_parts(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        gateway = await arena.gateway()
        for path, kind in (
            ("/", "text/html"),
            ("/main.js", "text/javascript"),
            ("/style.css", "text/css"),
            ("/js/index.js", "text/javascript"),
        ):
            async with http.get(f"http://127.0.0.1:{gateway.http_port}{path}") as answer:
                assert answer.status == 200, path
                assert answer.content_type.replace("application/", "text/") == kind
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-cache"
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy

    async def test_files_are_revalidated_cheaply(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        url = f"http://127.0.0.1:{(await arena.gateway()).http_port}/main.js"
        async with http.get(url) as first:
            tag = first.headers["ETag"]
        async with http.get(url, headers={"If-None-Match": tag}) as again:
            assert again.status == 304

    @pytest.mark.parametrize(
        "path", ["/../service.py", "/..%2fservice.py", "/js/../../tokens.py", "/%2e%2e/tokens.py", "/js", "/nothing"]
    )
    async def test_nothing_else_is_served(self, arena: Arena, http: aiohttp.ClientSession, path: str) -> None:
        from yarl import URL

        url = URL(f"http://127.0.0.1:{(await arena.gateway()).http_port}{path}", encoded=True)
        async with http.get(url) as answer:
            assert answer.status in (403, 404)

    async def test_a_client_folder_that_is_none_is_said(self, arena: Arena, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="CLIENT_DIR"):
            await arena.gateway(client_dir=str(tmp_path))

    async def test_a_taken_port_is_said(self, arena: Arena) -> None:
        first = await arena.gateway()
        with pytest.raises(SettingsError, match=str(first.port)):
            await arena.gateway(port=first.port)
        with pytest.raises(SettingsError, match=str(first.http_port)):
            await arena.gateway(http_port=first.http_port)

    async def test_the_world_in_plain_words(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        gateway = await arena.gateway()
        async with http.get(f"http://127.0.0.1:{gateway.http_port}/api/world") as answer:
            world = await answer.json()
        assert (world["title"], world["contract"]) == ("meadow", arena.contract.fingerprint)
        assert world["grid"]["shards"] == [2, 2]
        assert [field["name"] for field in world["inputs"][0]["fields"]] == ["turn", "eat"]


class TestGuests:
    async def ask(
        self, http: aiohttp.ClientSession, port: int, body: Any = None, status: int = 200, **how: Any
    ) -> dict[str, Any]:
        async with http.post(f"http://127.0.0.1:{port}/api/guest", json=body, **how) as answer:
            assert answer.status == status
            if status == 200:
                assert answer.headers["Cache-Control"] == "no-store"
            told: dict[str, Any] = await answer.json()
            return told

    async def test_a_guest_can_play(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        await arena.worker()
        gateway = await arena.gateway()
        guest = await self.ask(http, gateway.http_port, {"name": "ignored"})
        assert guest["title"] == "meadow"
        assert guest["url"] == f"ws://127.0.0.1:{gateway.port}/play"
        client = await arena.socket(gateway)
        client.hello(guest["token"])
        await client.welcomed()
        assert {attach.player for attach in arena.workers[0].attaches} == {int(guest["player"])}

    async def test_a_pass_makes_the_same_guest_again(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        port = (await arena.gateway()).http_port
        first = await self.ask(http, port)
        again = await self.ask(http, port, {"pass": first["pass"]})
        other = await self.ask(http, port, {"pass": "forged." + "0" * 64})
        assert again["player"] == first["player"]
        assert other["player"] != first["player"]
        name = first["pass"].rpartition(".")[0]
        assert int(first["player"]) == player_id(GUEST_ISSUER, name)
        assert arena.guests.verify(again["token"], time.time()).player == int(first["player"])

    @pytest.mark.parametrize("body", [[], 5, "text", {"pass": 5}, {"pass": ["x"]}])
    async def test_bodies_that_make_no_sense(self, arena: Arena, http: aiohttp.ClientSession, body: Any) -> None:
        told = await self.ask(http, (await arena.gateway()).http_port, body, status=400)
        assert told["error"]

    async def test_noise_and_size(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        url = f"http://127.0.0.1:{(await arena.gateway()).http_port}/api/guest"
        for data, status in ((b"\xff{", 400), (b"[" * 2000, 400), (b" " * 10_000, 413)):
            async with http.post(url, data=data) as answer:
                assert answer.status == status

    async def test_a_host_that_is_none(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        port = (await arena.gateway()).http_port
        for host in ("a b", "evil.example/x", "<script>", "x" * 300):
            async with http.post(f"http://127.0.0.1:{port}/api/guest", headers={"Host": host}) as answer:
                assert answer.status == 400

    async def test_not_where_they_are_off(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        await self.ask(http, (await arena.gateway(guest_logins=False)).http_port, status=403)

    async def test_so_many_a_minute(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        gateway = await arena.gateway(guest_logins_per_minute_max=3)
        for _ in range(3):
            await self.ask(http, gateway.http_port)
        async with http.post(f"http://127.0.0.1:{gateway.http_port}/api/guest") as answer:
            assert answer.status == 429
            assert answer.headers["Retry-After"]

    async def test_other_gateways_are_told_of(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        first, second = await arena.gateway(), await arena.gateway()
        expected = [f"ws://127.0.0.1:{gateway.port}/play" for gateway in (first, second)]
        await until(lambda: first._others, "the other gateway")
        assert (await self.ask(http, first.http_port))["urls"] == expected

    async def test_behind_a_balancer_its_address_is_told(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        gateway = await arena.gateway(socket_url="wss://play.example/play")
        assert (await self.ask(http, gateway.http_port))["url"] == "wss://play.example/play"


class TestInternal:
    async def test_health_and_metrics(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        await arena.worker()
        gateway = await arena.gateway()
        await arena.player(gateway)
        base = f"http://127.0.0.1:{gateway.internal_port}"
        for path in ("/livez", "/readyz"):
            async with http.get(base + path) as answer:
                assert answer.status == 200
        async with http.get(base + "/metrics") as answer:
            text = await answer.text()
        assert "overworld_gateway_sockets 1.0" in text
        assert 'overworld_gateway_sessions{state="playing"} 1.0' in text

    async def test_a_stopping_gateway_is_not_ready(self, arena: Arena, http: aiohttp.ClientSession) -> None:
        gateway = await arena.gateway()
        assert gateway._readiness() == ""
        await gateway.stop()
        assert gateway._readiness() != ""
