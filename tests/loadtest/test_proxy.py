"""The proxy: late, in order, whole; and cut off when told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from loadtest.proxy import Network, Proxy, round_trip

WAIT_S = 20.0
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def leave(writer: asyncio.StreamWriter) -> None:
    """Close a connection and see it closed."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A service that sends back what it gets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        await leave(writer)

    served: set[asyncio.Task[None] | None] = set()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*(task for task in served if task is not None))


@pytest.mark.asyncio
async def test_everything_arrives_in_order_and_no_sooner_than_told() -> None:
    network = round_trip(0.04)
    assert (network.delay_s, network.jitter_s) == pytest.approx((0.0175, 0.005))
    sent = b"".join(i.to_bytes(4, "big") for i in range(40_000))
    async with asyncio.timeout(WAIT_S), echo() as port, Proxy("127.0.0.1", port, network, seed=7) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        began = time.monotonic()
        for first in range(0, len(sent), 1000):
            writer.write(sent[first : first + 1000])
        writer.write_eof()
        assert await reader.readexactly(4) == sent[:4]
        assert time.monotonic() - began >= 2 * network.delay_s
        assert await reader.read(-1) == sent[4:]
        await leave(writer)


@pytest.mark.asyncio
async def test_a_reset_ends_both_ends_and_later_connections_work() -> None:
    async with asyncio.timeout(WAIT_S), echo() as port, Proxy("127.0.0.1", port, Network()) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        proxy.reset_all()
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
        await leave(writer)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"
        assert proxy.connections == 2
        await leave(writer)


@pytest.mark.asyncio
async def test_a_service_that_is_not_there_closes_the_connection() -> None:
    async with asyncio.timeout(WAIT_S):
        async with echo() as port:
            pass
        async with Proxy("127.0.0.1", port, Network()) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            await leave(writer)
