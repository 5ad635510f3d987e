"""The gateway's tests run on the event loop it has in production, for sockets behave differently on others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

from overworld.gateway import lane_library
from overworld.gateway.service import Gateway
from tests.gateway.arena import Arena


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every asynchronous test here runs on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session", autouse=True)
def compiled_lane() -> None:
    """The lane as its source is now: an editable installation does not follow C."""
    source, built = Path(lane_library.__file__).with_name("lane.c"), lane_library.path()
    if built is None or built.stat().st_mtime < source.stat().st_mtime:
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"]
        subprocess.run(command, cwd=Path(__file__).parents[2], check=True, timeout=120, capture_output=True)


@pytest.fixture
def lane() -> bool:
    """Whether gateways use compiled code for sockets; modules that try both ways say so."""
    return True


@pytest_asyncio.fixture
async def arena(lane: bool) -> AsyncIterator[Arena]:
    """A world of four shards: start workers and gateways in it as the test needs."""
    made = Arena(lane)
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
