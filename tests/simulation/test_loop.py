"""The simulated loop and network keep their own promises."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.simulation.loop import Deadlock, Process, SimulatedLoop
from tests.simulation.network import Network, Weather


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Collector(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def count(ticks: list[float]) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(100):
        await asyncio.sleep(0.05)
        ticks.append(loop.time())


def test_an_hour_passes_in_no_time() -> None:
    loop = SimulatedLoop()
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.time() == pytest.approx(3600)
    loop.close()


def test_a_paused_process_does_nothing_and_then_goes_on() -> None:
    loop = SimulatedLoop()
    process, ticks = Process("a"), list[float]()
    loop.start(process, count(ticks))
    loop.run_until_complete(asyncio.sleep(1.01))
    before = len(ticks)
    loop.pause(process)
    loop.run_until_complete(asyncio.sleep(10))
    assert len(ticks) == before
    loop.resume(process)
    loop.run_until_complete(asyncio.sleep(1.01))
    assert len(ticks) > before
    loop.kill(process)
    after = len(ticks)
    loop.run_until_complete(asyncio.sleep(10))
    assert len(ticks) == after
    loop.close()


def test_waiting_for_nothing_is_found() -> None:
    loop = SimulatedLoop()
    with pytest.raises(Deadlock):
        loop.run_until_complete(loop.create_future())
    loop.close()


async def exchange(network: Network, pieces: int) -> tuple[bytes, float]:
    loop = asyncio.get_running_loop()
    await loop.create_server(Echo, "127.0.0.1", 9)
    transport, collector = await loop.create_connection(Collector, "127.0.0.1", 9)
    for i in range(pieces):
        transport.write(bytes([i]))
        await asyncio.sleep(0.001)
    await asyncio.sleep(30)
    assert network.in_flight(network.pipes[0]) == 0
    return collector.received, loop.time()


def run_exchange(seed: int, weather: Weather) -> tuple[bytes, float]:
    loop = SimulatedLoop()
    network = Network(loop, random.Random(seed))
    network.weather = weather
    try:
        return loop.run_until_complete(exchange(network, 200))
    finally:
        loop.close()


@pytest.mark.parametrize("seed", range(5))
def test_bytes_of_a_connection_arrive_in_order_whatever_the_delays(seed: int) -> None:
    received, _ = run_exchange(seed, Weather(0.0001, 0.05, spike_chance=0.1, spike_max_s=2))
    assert received == bytes(range(200))


def test_the_same_seed_gives_the_same_run() -> None:
    stormy = Weather(0.0001, 0.05, reset_chance=0.005)
    assert run_exchange(7, stormy) == run_exchange(7, stormy)


def test_a_killed_processes_connections_end_after_their_last_bytes() -> None:
    loop = SimulatedLoop()
    network = Network(loop, random.Random(1))
    server, client = Process("server"), Process("client")
    collectors: list[Collector] = []

    async def serve() -> None:
        await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 9)

    async def connect() -> None:
        transport, collector = await asyncio.get_running_loop().create_connection(Collector, "127.0.0.1", 9)
        collectors.append(collector)
        transport.write(b"hello")

    loop.start(server, serve())
    loop.start(client, connect())
    loop.run_until_complete(asyncio.sleep(1))
    assert collectors[0].received == b"hello"
    loop.kill(server)
    loop.run_until_complete(asyncio.sleep(1))
    assert collectors[0].lost
    assert ("127.0.0.1", 9) not in network.listeners
    loop.close()
