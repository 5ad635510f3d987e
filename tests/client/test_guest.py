"""Guests' tokens: asked for over HTTP, or minted as a gateway would."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from overworld.client.guest import Tokens, ask_guest, mint_token
from overworld.errors import WireError
from overworld.gateway.tokens import GUEST_ISSUER, GuestTokens, audience_of, player_id

KEY = b"k" * 32


def test_a_gateway_takes_a_minted_token_and_only_for_its_world() -> None:
    now = time.time()
    gateway = GuestTokens(KEY, audience_of("main", "demo"), ttl_s=60)
    first, second = (gateway.verify(mint_token(KEY, "main", "demo", "bot-7"), now) for _ in range(2))
    assert first.player == second.player == player_id(GUEST_ISSUER, "bot-7")
    assert first.token_id != second.token_id
    for key, world in ((KEY, "other"), (b"x" * 32, "main")):
        with pytest.raises(WireError, match="4003"):
            gateway.verify(mint_token(key, world, "demo", "bot-7"), now)


@pytest.mark.asyncio
async def test_a_minted_bot_keeps_its_account() -> None:
    gateway = GuestTokens(KEY, audience_of("main", "demo"), ttl_s=60)
    tokens = Tokens(cluster_key=KEY, title="demo")
    players = [gateway.verify(await tokens.source(n)(), time.time()).player for n in (3, 3, 4)]
    assert players[0] == players[1] != players[2]
    assert "k" * 8 not in repr(tokens)


@asynccontextmanager
async def answering(*answers: web.Response) -> AsyncIterator[tuple[str, list[object]]]:
    """An HTTP server that gives these answers in turn; its address, and the bodies it was sent."""
    left, bodies = list(answers), []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return left.pop(0)

    application = web.Application()
    application.router.add_post("/api/guest", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", bodies
    finally:
        await runner.cleanup()


def guest(token: str, guest_pass: str) -> web.Response:
    return web.json_response(
        {
            "token": token,
            "pass": guest_pass,
            "player": "5",
            "title": "demo",
            "url": "ws://a/play",
            "urls": ["ws://a/play"],
        }
    )


@pytest.mark.asyncio
async def test_a_guest_is_told_where_to_play() -> None:
    async with answering(guest("t1", "p1")) as (url, _):
        told = await ask_guest(url + "/")
    assert (told.title, told.urls) == ("demo", ("ws://a/play",))
    assert "t1" not in repr(told)


@pytest.mark.asyncio
async def test_a_guest_stays_the_same_guest() -> None:
    async with answering(guest("t1", "p1"), guest("t2", "p2"), guest("t3", "p3")) as (url, bodies):
        source = Tokens(guest_urls=(url,)).source(0)
        assert [await source() for _ in range(3)] == ["t1", "t2", "t3"]
        assert bodies == [{}, {"pass": "p1"}, {"pass": "p2"}]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (web.json_response({"error": "no guests here"}, status=403), "answered 403: .*no guests here"),
        (web.json_response(["t"]), "without a token"),
        (web.json_response({"token": 5, "pass": "p", "title": "t", "urls": ["u"]}), "without a token"),
        (web.json_response({"token": "t", "pass": "p", "title": "t", "urls": [7]}), "without a token"),
        (web.Response(text="{", content_type="application/json"), "JSONDecodeError"),
        (web.Response(body=b" " * 20_000), "more than 16384 bytes"),
    ],
)
async def test_a_refusal_says_why(answer: web.Response, reason: str) -> None:
    async with answering(answer) as (url, _):
        with pytest.raises(ConnectionError, match=reason):
            await ask_guest(url)


@pytest.mark.asyncio
async def test_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="api/guest"):
            await ask_guest(f"http://127.0.0.1:{taken.getsockname()[1]}")
