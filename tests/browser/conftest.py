"""A browser, and a stage to play on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser

from tests.browser.page import chromium as open_chromium
from tests.browser.stage import Stage, application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for a module; every visit has a window of its own."""
    async with open_chromium() as running:
        yield running


class Theatre:
    """A stage that is being served."""

    def __init__(self, stage: Stage, url: str) -> None:
        self.stage = stage
        self.url = url


@asynccontextmanager
async def served(stage: Stage, port: int) -> AsyncIterator[Theatre]:
    """Serves a stage."""
    runner = web.AppRunner(application(stage), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield Theatre(stage, f"http://127.0.0.1:{port}/")
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module")
async def theatre(free_port: int) -> AsyncIterator[Theatre]:
    """A small world with some bots in it, served afresh for each test."""
    async with served(Stage(size=256, shards=(1, 1), bots=12, seed=5), free_port) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def two_shards(free_port: int) -> AsyncIterator[Theatre]:
    """An empty world of two shards side by side."""
    async with served(Stage(size=256, shards=(2, 1), bots=0, seed=5), free_port) as opened:
        yield opened
