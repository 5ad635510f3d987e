"""The page against a whole cluster of real processes: two gateways, two workers, Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from loadtest.cluster import Cluster, Shape
from tests.browser.page import visit
from tests.browser.scenes import ship_flies_by_thumbs, ship_flies_on_key_press

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """One cluster for the module."""
    async with Cluster(tmp_path_factory.mktemp("cluster"), Shape(workers=2, gateways=2)) as running:
        yield running


async def test_ship_flies_on_key_press(browser: Browser, cluster: Cluster) -> None:
    await ship_flies_on_key_press(browser, cluster.gateways[0].page_url, "cluster-keyboard")


async def test_ship_flies_by_thumbs(browser: Browser, cluster: Cluster) -> None:
    await ship_flies_by_thumbs(browser, cluster.gateways[1].page_url, "cluster-thumbs")


async def test_a_killed_gateway_costs_a_blink(browser: Browser, cluster: Cluster) -> None:
    async with visit(browser, cluster.gateways[0].page_url) as seen:
        ship = await seen.fly()
        await seen.page.keyboard.down("KeyW")
        await seen.until("window.overworld.stats().acked >= 1", "the first input applied")
        url = (await seen.stats())["gateway"]
        gateway = next(node for node in cluster.gateways if node.play_url == url)
        gateway.process.kill()
        await seen.until("window.overworld.stats().resumes === 1", "the resume at the other gateway")
        await seen.until("window.overworld.stats().ship?.alive", "the ship anew")
        stats = await seen.stats()
        assert stats["gateway"] != gateway.play_url
        assert stats["ship"]["id"] == ship["id"]
        # The command it held is held still, and the next one counts on.
        await seen.page.keyboard.up("KeyW")
        await seen.until("window.overworld.stats().acked >= 2", "the next input applied")
        await cluster.start_node(gateway)


async def test_the_same_guest_comes_back_with_its_ship(browser: Browser, cluster: Cluster) -> None:
    async with visit(browser, cluster.gateways[0].page_url) as seen:
        await seen.fly()
        first = await seen.value("localStorage.getItem('overworld.pass')")
        await seen.page.reload()
        await seen.fly()
        assert first
        assert await seen.value("localStorage.getItem('overworld.pass')") == first
        assert seen.complaints == []
