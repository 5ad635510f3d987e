"""The proxy: late, in order, whole; and cut off when told."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from overworld.client.networks import NETWORKS, Network, Way, network_of, round_trip
from overworld.client.proxy import Proxy, Road

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


def test_ways_keep_order_bandwidth_and_stalls() -> None:
    for name, network in NETWORKS.items():
        way, now, last, sent = Way(network, random.Random(name), 0.0), 0.0, 0.0, 0
        stalled = 0
        for _ in range(20_000):
            at = way.arrival(500, now)
            sent += 500
            assert at >= max(last, now + network.delay_s), name
            assert not network.bytes_per_s or at >= sent / network.bytes_per_s + network.delay_s - 1e-6
            stalled += at - now > network.delay_s + network.jitter_s + 0.1
            last, now = at, now + 0.005
        # As often as the profile says, within chance.
        assert (stalled > 10) == (network.stall_every_s > 0), (name, stalled)


def test_bandwidth_is_what_a_network_says() -> None:
    way = Way(Network(bytes_per_s=1000.0), random.Random(1), 10.0)
    assert [way.arrival(500, 10.0) for _ in range(3)] == [10.5, 11.0, 11.5]
    assert way.arrival(1000, 20.0) == 21.0


def test_a_name_that_is_not_there_says_which_are() -> None:
    assert network_of("bad-wifi") is NETWORKS["bad-wifi"]
    with pytest.raises(ValueError, match="no network 'carrier-pigeon'; there are good, wifi"):
        network_of("carrier-pigeon")


@pytest.mark.asyncio
async def test_a_network_resets_connections_by_itself() -> None:
    network = Network(reset_every_s=0.02)
    async with asyncio.timeout(WAIT_S), echo() as port, Proxy("127.0.0.1", port, network) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
        assert proxy.resets == 1
        await leave(writer)


@pytest.mark.asyncio
async def test_a_half_open_connection_says_nothing_and_does_not_end() -> None:
    network = Network(half_open_every_s=0.02)
    async with asyncio.timeout(WAIT_S), echo() as port, Proxy("127.0.0.1", port, network) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        while not proxy.half_open:
            await asyncio.sleep(0.01)
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read(1)
        await leave(writer)


@pytest.mark.asyncio
async def test_a_road_leads_to_every_gateway() -> None:
    async with asyncio.timeout(WAIT_S), echo() as port:
        road = Road([f"ws://127.0.0.1:{port}/play"] * 2, Network())
        async with road as urls:
            assert [url.rsplit("/", 1)[1] for url in urls] == ["play", "play"]
            assert len({proxy.port for proxy in road.proxies}) == 2
    with pytest.raises(ValueError, match=r"only, not 'wss://play\.example/play'"):
        Road(["wss://play.example/play"], Network())
