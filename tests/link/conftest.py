"""Links run on both event loops that they meet: uvloop in production, asyncio's own where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every asynchronous test here runs on each of them."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
