"""The gateway's tests run on the event loop it has in production, for sockets behave differently on others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
import uvloop

from overworld.gateway.service import Gateway
from tests.gateway.arena import Arena


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every asynchronous test here runs on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture
async def arena() -> AsyncIterator[Arena]:
    """A world of four shards: start workers and gateways in it as the test needs."""
    made = Arena()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def gateway(arena: Arena) -> AsyncIterator[Gateway]:
    """A gateway with a world behind it and a witness in it, who must notice nothing of what others do."""
    await arena.worker()
    made = await arena.gateway()
    witness = await arena.player(made, "witness")
    yield made
    assert witness.close_code is None
    assert witness.error is None
    frames = len(witness.frames)
    await witness.until(lambda: len(witness.frames) > frames, "frames as ever")
