"""The page on the stage: how it plays, and what it says when things go wrong."""

from __future__ import annotations

from itertools import pairwise

import pytest
from playwright.async_api import Browser

from overworld.wire.v1 import client_pb2 as pb
from tests.browser.conftest import Theatre
from tests.browser.page import visit
from tests.browser.scenes import ship_flies_by_thumbs, ship_flies_on_key_press

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def test_ship_flies_on_key_press(browser: Browser, theatre: Theatre) -> None:
    await ship_flies_on_key_press(browser, theatre.url, "stage-keyboard")


async def test_ship_flies_by_thumbs(browser: Browser, theatre: Theatre) -> None:
    await ship_flies_by_thumbs(browser, theatre.url, "stage-thumbs")


async def test_a_visit_needs_no_mouse(browser: Browser, theatre: Theatre) -> None:
    async with visit(browser, theatre.url) as seen:
        await seen.until("document.activeElement.id === 'name'", "the callsign in focus")
        await seen.page.keyboard.type("Grace")
        await seen.page.keyboard.press("Enter")
        await seen.until("window.overworld?.stats().ship", "the own ship")
        assert await seen.value("document.activeElement.id") == "world"
        await seen.until("document.getElementById('callsign').textContent === 'Grace'", "the callsign shown")
        await seen.page.keyboard.press("F3")
        await seen.until("document.getElementById('numbers').textContent.includes('epoch 1')", "the numbers")
        numbers = await seen.page.inner_text("#numbers")
        assert all(word in numbers for word in ("ping", "tick", "entities", "B/s", "fps", "gateway")), numbers
        assert seen.complaints == []


async def test_a_lost_socket_is_resumed_and_nobody_blinks(browser: Browser, theatre: Theatre) -> None:
    async with visit(browser, theatre.url) as seen:
        ship = await seen.fly()
        await seen.page.keyboard.down("KeyW")
        await seen.ticks_pass(3)
        await seen.value(
            "window.gone = 0, window.overworld.client.mirror.on('remove', e => window.gone += e.kind === 'Crystal')"
        )
        before = (await seen.stats())["entities"]
        assert before > 5
        await theatre.stage.drop(1012, "restarting")
        await seen.until("window.overworld.stats().resumes === 1", "the resume")
        await seen.until(f"window.overworld.stats().entities > {before // 2}", "the picture anew")
        assert (await seen.stats())["ship"]["id"] == ship["id"]
        assert await seen.value("window.gone") <= before // 2, "crystals were taken for gone"
        await seen.until("document.getElementById('message').className === ''", "the message going")
        assert seen.complaints == []


WATCH = """
    window.seen = [], window.gone = 0
    const { client, stats } = window.overworld
    const id = client.mirror.own.entity
    client.mirror.on('remove', e => window.gone += e.id === id)
    const look = () => {
      window.seen.push([performance.now(), stats().ship?.x ?? null, client.mirror.avatar?.shard ?? null])
      requestAnimationFrame(look)
    }
    look()
"""


async def test_the_own_ship_crosses_into_another_shard_without_a_blink(browser: Browser, two_shards: Theatre) -> None:
    speed = 1.0
    async with visit(browser, two_shards.url) as seen:
        await seen.fly()
        (seat,) = two_shards.stage.seats.values()
        before = seat.shard
        two_shards.stage.send_across(seat.session, 16, speed)
        await seen.until("Math.abs(window.overworld.stats().ship.x - 128) < 16", "the ship near the border")
        await seen.ticks_pass(3)
        await seen.value(f"(() => {{ {WATCH} }})()")
        await seen.until("Math.abs(window.overworld.stats().ship.x - 128) > 16", "the ship far beyond it")
        await seen.picture("stage-crossed")
        looks = await seen.value("window.seen")
        assert seat.shard == 1 - before
        assert await seen.value("window.gone") == 0, "it was never taken for gone"
        assert looks[0][2] == before
        assert looks[-1][2] == 1 - before
        way = 1 - 2 * before
        for (then, x0, _), (now, x1, shard) in pairwise(looks):
            assert shard is not None, "the avatar is always in the picture"
            step, expected = way * (x1 - x0), speed * (now - then) / 50
            assert -0.5 < step < expected + 0.5, f"{step} instead of {expected} units in {now - then} ms at {x0}"
        assert seen.complaints == []


async def test_the_player_is_told_what_the_server_says(browser: Browser, theatre: Theatre) -> None:
    async with visit(browser, theatre.url) as seen:
        await seen.fly()
        said = "document.getElementById('message').textContent"
        await theatre.stage.notice(pb.Notice.CODE_STALLED)
        await seen.until(f"{said}.includes('stands still')", "the world standing still")
        await theatre.stage.notice(pb.Notice.CODE_RESUMED)
        await seen.until(f"{said}.includes('goes on')", "the world going on")
        await theatre.stage.notice(pb.Notice.CODE_BROADCAST, "<b>Tea</b> at five")
        await seen.until(f"{said} === '<b>Tea</b> at five'", "the operator's words, as they were written")
        await theatre.stage.drop(1013, "the server is full, try again in 30 s")
        await seen.until(f"{said}.includes('Trying again in 3')", "how long it will take")
        await seen.picture("stage-lost")


async def test_who_is_replaced_comes_back_to_the_start(browser: Browser, theatre: Theatre) -> None:
    async with visit(browser, theatre.url) as seen:
        await seen.fly()
        await theatre.stage.drop(4001, "replaced")
        await seen.until("!document.getElementById('start').hidden", "the start card")
        assert "another window" in await seen.page.inner_text("#start-error")
        await seen.picture("stage-replaced")
        await seen.page.keyboard.press("Enter")
        await seen.until("window.overworld.client.state === 'playing'", "flying again")


async def test_less_motion_for_who_asks_for_it(browser: Browser, theatre: Theatre) -> None:
    async with visit(browser, theatre.url, reduced_motion="reduce") as seen:
        await seen.fly()
        await seen.page.keyboard.down("KeyW")
        await seen.ticks_pass(20)
        await seen.picture("stage-less-motion")
        assert seen.complaints == []
