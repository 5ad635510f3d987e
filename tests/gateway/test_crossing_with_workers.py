"""Players who cross the borders of a real world: real workers, in-memory stores, and the reference client in front."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from overworld.client.connection import Client
from overworld.client.guest import mint_token
from overworld.gateway.service import Gateway
from overworld.settings import GatewaySettings
from overworld.store.memory import MemoryDirectory
from overworld.worker.service import Worker
from tests.gateway.arena import moves
from tests.worker.cluster import KEY, Cluster, running, until
from tests.worker.ferry import Ferry

pytestmark = pytest.mark.asyncio

WAIT_S = 20.0
SPEED = 30


class Crossing:
    """Two shards, each on a worker of its own, and a gateway or two."""

    def __init__(self) -> None:
        self.cluster = Cluster(Ferry())
        self.gateways: list[Gateway] = []

    async def start(self, gateways: int = 1) -> tuple[Worker, Worker]:
        """Returns the workers of shard 0 and shard 1."""
        workers = await asyncio.gather(*(self.cluster.worker(name) for name in "ab"))
        await until(lambda: sorted(running(workers[0]) + running(workers[1])) == [0, 1], "both shards run")
        given: dict[str, Any] = {"origin_absent": True}
        for i in range(gateways):
            settings = GatewaySettings(name=f"gateway-{i}", **given)
            made = Gateway(settings, self.cluster.contract, MemoryDirectory(self.cluster.redis), KEY)
            self.gateways.append(made)
            await made.start()
        return (workers[0], workers[1]) if running(workers[0]) == [0] else (workers[1], workers[0])

    def sailor(self, name: str = "anna") -> Sailor:
        async def token() -> str:
            return mint_token(KEY, self.cluster.contract.world, "ferry", name)

        urls = [f"ws://127.0.0.1:{gateway.port}/play" for gateway in self.gateways]
        return Sailor(Client(urls, token, "ferry"))

    async def close(self) -> None:
        for gateway in self.gateways:
            await gateway.kill()
        await self.cluster.close()


class Sailor:
    """A player who steers to and fro. `boats`: every avatar the server said it had; None where it took one away."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.boats: set[int | None] = set()
        self._told = 0
        client.on_frame = self._look

    def _look(self, client: Client) -> None:
        avatar = client.mirror.avatar
        if avatar is not None:
            self.boats.add(avatar.entity)
            self._told = client.statistics.welcomes
        elif self._told == client.statistics.welcomes:
            self.boats.add(None)

    @property
    def shard(self) -> int | None:
        """Where its boat is; None between two shards."""
        own = self.client.mirror.own()
        return own.cell // 2 % 2 if own is not None else None

    async def sail_to(self, shard: int) -> None:
        """Steer there, with an input every few frames."""
        for _ in range(400):
            if self.shard == shard:
                return
            self.client.send("Steer", vx=SPEED if shard else -SPEED)
            for _ in range(2):
                await self.client.frame(WAIT_S)
        raise AssertionError(f"shard {shard} is out of reach")

    async def settle(self) -> None:
        """Wait until all it commanded has happened."""
        await self.client.until(lambda client: client.session.unacked == 0, WAIT_S)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Crossing]:
    made = Crossing()
    yield made
    await made.close()


async def test_a_player_notices_no_border(world: Crossing) -> None:
    await world.start()
    before = moves()
    sailor = world.sailor()
    async with sailor.client as client:
        for shard in (0, 1, 0, 1, 0, 1):
            await sailor.sail_to(shard)
        await sailor.settle()
        told = client.statistics
        assert moves() >= before + 5
        assert (told.broken, told.welcomes, dict(told.closes), dict(told.notices)) == (0, 1, {}, {})
        assert len(sailor.boats) == 1, "it has been the same boat all the way"
        assert told.inputs_refused == told.inputs_abandoned == 0
        assert told.inputs_acked == told.inputs == client.session.last_seq


async def test_the_shard_a_player_goes_to_loses_its_worker(world: Crossing) -> None:
    _, second = await world.start()
    sailor = world.sailor()
    async with sailor.client as client:
        await sailor.sail_to(1)
        await sailor.sail_to(0)
        await second.kill()
        world.cluster.workers.remove(second)
        await sailor.sail_to(1)
        await sailor.settle()
        await sailor.sail_to(0)
        await sailor.settle()
        told = client.statistics
        assert (told.broken, told.welcomes, dict(told.closes)) == (0, 1, {})
        assert len(sailor.boats) == 1
        assert told.inputs_acked == client.session.last_seq


async def test_a_player_far_from_home_is_found_through_another_gateway(world: Crossing) -> None:
    await world.start(gateways=2)
    sailor = world.sailor()
    async with sailor.client as client:
        await sailor.sail_to(0)
        for gateway, shard in zip(world.gateways, (1, 0), strict=True):
            await sailor.sail_to(shard)
            if gateway is not world.gateways[-1]:
                await gateway.kill()
                await client.until(lambda c: c.statistics.welcomes == 2 and c.mirror.own() is not None, WAIT_S)
        await sailor.settle()
        told = client.statistics
        assert (told.broken, told.welcomes, told.resumes) == (0, 2, 1)
        assert len(sailor.boats) == 1
        assert told.inputs_acked == client.session.last_seq


async def test_a_login_finds_its_boat_wherever_it_is(world: Crossing) -> None:
    await world.start()
    for shard in (0, 1):
        first = world.sailor(f"sailor-{shard}")
        async with first.client as client:
            await first.sail_to(shard)
            await first.settle()
            boats = first.boats
            second = world.sailor(f"sailor-{shard}")
            async with second.client as other:
                await other.until(lambda c: c.mirror.own() is not None, WAIT_S)
                await second.sail_to(1 - shard)
                await second.settle()
                assert second.boats == boats
            assert client.statistics.closes[4001] == 1
