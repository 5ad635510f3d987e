"""Gateways with real workers behind them, on in-memory stores, and the reference client in front."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from overworld.client.connection import Client
from overworld.client.guest import mint_token
from overworld.gateway.service import Gateway
from overworld.settings import GatewaySettings
from overworld.store.memory import MemoryDirectory
from overworld.wire.v1 import client_pb2 as pb
from tests.gateway.raw_client import RawClient
from tests.worker.cluster import KEY, Cluster, running, until

pytestmark = pytest.mark.asyncio

WAIT_S = 20.0


class World:
    """A cluster with gateways."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.gateways: list[Gateway] = []
        self.raw: list[RawClient] = []

    async def start(self, gateways: int) -> None:
        await self.cluster.worker("worker-a")
        given: dict[str, Any] = {"origin_absent": True}
        for i in range(gateways):
            settings = GatewaySettings(name=f"gateway-{i}", **given)
            directory = MemoryDirectory(self.cluster.redis)
            self.gateways.append(Gateway(settings, self.cluster.contract, directory, KEY))
            await self.gateways[-1].start()

    def token(self, name: str) -> str:
        return mint_token(KEY, self.cluster.contract.world, "meadow", name)

    async def raw_player(self, gateway: Gateway, name: str = "anna", resume: bytes = b"") -> RawClient:
        client = await RawClient().open(gateway.port)
        self.raw.append(client)
        client.hello("" if resume else self.token(name), resume=resume)
        return client

    def client(self, *gateways: Gateway, name: str = "anna") -> Client:
        async def token() -> str:
            return self.token(name)

        return Client([f"ws://127.0.0.1:{gateway.port}/play" for gateway in gateways], token, "meadow")

    async def close(self) -> None:
        for client in self.raw:
            await client.end()
        for gateway in self.gateways:
            await gateway.kill()
        await self.cluster.close()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def test_the_newest_login_wins_on_whatever_gateway(world: World) -> None:
    await world.start(gateways=2)
    first = await world.raw_player(world.gateways[0])
    await first.welcomed()
    second = await world.raw_player(world.gateways[1])
    await second.welcomed()
    assert await first.closed() == 4001
    second.input(1, 1, 0)
    await second.until(lambda: second.acked == 1, "an ack")


async def test_two_logins_at_once_leave_one_player(world: World) -> None:
    await world.start(gateways=2)
    clients = [await world.raw_player(world.gateways[i % 2]) for i in range(6)]
    await until(lambda: sum(not client.ended for client in clients) == 1, "one player")
    (left,) = [client for client in clients if not client.ended]
    await left.welcomed()
    assert {client.close_code for client in clients} <= {None, 4001}
    left.input(1, 1, 0)
    await left.until(lambda: left.acked == 1, "an ack")


async def test_a_session_that_said_goodbye_cannot_be_taken_up_again(world: World) -> None:
    await world.start(gateways=1)
    client = await world.raw_player(world.gateways[0])
    welcome = await client.welcomed()
    client.send(pb.ClientMessage(bye=pb.Bye()))
    assert await client.closed() == 1000
    again = await world.raw_player(world.gateways[0], resume=welcome.resume)
    assert await again.closed() == 4008


async def test_a_lost_socket_finds_its_session_on_another_gateway(world: World) -> None:
    await world.start(gateways=2)
    client = await world.raw_player(world.gateways[0])
    welcome = await client.welcomed()
    client.input(1, 1, 0)
    await client.until(lambda: client.acked == 1, "an ack")
    client.abort()
    again = await world.raw_player(world.gateways[1], resume=welcome.resume)
    resumed = await again.welcomed()
    assert (resumed.session, resumed.last_seq) == (welcome.session, 1)


async def test_the_reference_client_sees_the_same_through_takeover_and_drain(world: World) -> None:
    await world.start(gateways=2)
    first, second = world.gateways
    async with world.client(first, second) as client:
        await client.until(lambda c: c.mirror.own() is not None and len(c.mirror.cells) > 3, WAIT_S)
        client.send("Walk", turn=1)
        await client.until(lambda c: c.session.unacked == 0, WAIT_S)
        spare = await world.cluster.worker("worker-b")
        await world.cluster.workers[0].kill()
        client.send("Walk", turn=-1)
        await until(lambda: len(running(spare)) == 4, "a takeover")
        await client.until(lambda c: c.session.unacked == 0, WAIT_S)
        assert await first.stop()
        client.send("Walk", turn=1)
        await client.until(lambda c: c.playing and c.session.unacked == 0, WAIT_S)
        # How many there are depends on where the sheep has walked by now.
        await client.until(lambda c: c.mirror.own() is not None and len(c.mirror.cells) > 3, WAIT_S)
        told = client.statistics
        assert (told.broken, told.welcomes, told.closes[1012]) == (0, 2, 1)
