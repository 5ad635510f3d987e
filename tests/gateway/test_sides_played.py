"""What only a team may see, played: a worker, a gateway with and without the lane, sockets, the reference client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from overworld.client.connection import Client
from overworld.client.guest import mint_token
from overworld.game import TEAM, Entity, Grid, Input, Inputs, Int32, Ints, Motion, Shard, Title, UInt8
from overworld.gateway.service import Gateway
from overworld.settings import GatewaySettings
from overworld.store.memory import MemoryDirectory
from tests.worker.cluster import KEY, Cluster

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("lane", [True, False])]

WAIT_S = 20.0
SIDE = 1000


class Fighter(Entity):
    at = Motion()
    team = UInt8(maximum=2)
    supply = Int32(audience=TEAM)


class Enlist(Input):
    side = UInt8(maximum=2)


class Skirmish(Title):
    """Everybody stands in the middle of one shard, and goes over to the other side when told to."""

    name, version = "skirmish", 1
    world = Grid(width=64, height=64, cell=32, shards=(1, 1), view=64)
    entities: ClassVar[tuple[type[Entity], ...]] = (Fighter,)
    inputs: ClassVar[tuple[type[Input], ...]] = (Enlist,)

    def join(self, shard: Shard, players: Ints) -> None:
        rows = shard[Fighter].spawn(len(players))
        x0, y0, x1, y1 = shard.bounds
        shard[Fighter].at.x[rows], shard[Fighter].at.y[rows] = (x0 + x1) // 2, (y0 + y1) // 2
        shard.give_avatar(players, shard[Fighter], rows)

    def step(self, shard: Shard, inputs: Inputs) -> None:
        fighters, enlist = shard[Fighter], inputs[Enlist]
        fighters.team[enlist.row] = enlist.side
        # Says whose it is, and changes at every tick.
        fighters.supply[:] = fighters.team * SIDE + shard.tick % SIDE


def told(client: Client) -> dict[int, int]:
    """Supplies that the client knows, by entity. They are of its own team, always."""
    mirror = client.mirror
    found = {seen.entity: seen.team[0] for seen in mirror.entities(0) if seen.team is not None}
    assert mirror.avatar is not None
    assert {supply // SIDE for supply in found.values()} <= {mirror.avatar.team} - {0}
    return found


def place(client: Client) -> int:
    """The client's own entity."""
    assert client.mirror.avatar is not None
    return client.mirror.avatar.entity


async def knows(client: Client, *mates: Client) -> None:
    """Wait until the client knows the supplies of these, and of nobody else."""
    known = {place(mate) for mate in mates}
    await client.until(lambda c: told(c).keys() == known, WAIT_S)


@pytest_asyncio.fixture
async def players(lane: bool) -> AsyncIterator[list[Client]]:
    """Four clients who play."""
    cluster = Cluster(Skirmish())
    await cluster.worker("worker-a")
    given: dict[str, Any] = {"origin_absent": True, "lane": lane}
    settings = GatewaySettings(name="gateway-0", **given)
    gateway = Gateway(settings, cluster.contract, MemoryDirectory(cluster.redis), KEY)
    await gateway.start()
    async with AsyncExitStack() as stack:
        clients = []
        for name in ("anna", "berta", "carla", "dora"):

            async def token(name: str = name) -> str:
                return mint_token(KEY, cluster.contract.world, "skirmish", name)

            client = Client([f"ws://127.0.0.1:{gateway.port}/play"], token, "skirmish")
            clients.append(await stack.enter_async_context(client))
        for client in clients:
            await client.until(lambda c: c.mirror.own() is not None and len(list(c.mirror.entities(0))) == 4, WAIT_S)
        yield clients
        assert [client.statistics.broken for client in clients] == [0] * 4
    await gateway.kill()
    await cluster.close()


async def test_supplies_are_told_to_the_own_side_only_and_follow_whoever_goes_over(players: list[Client]) -> None:
    anna, berta, carla, dora = players
    assert [told(client) for client in players] == [{}] * 4
    for client, side in ((anna, 1), (berta, 1), (carla, 2)):
        client.send("Enlist", side=side)
    await knows(anna, anna, berta)
    await knows(berta, anna, berta)
    await knows(carla, carla)
    await knows(dora)
    berta.send("Enlist", side=2)
    dora.send("Enlist", side=2)
    await knows(anna, anna)
    await knows(berta, berta, carla, dora)
    await knows(dora, berta, carla, dora)
    before = told(carla)
    await carla.until(lambda c: all(told(c)[entity] != before[entity] for entity in before), WAIT_S)


async def test_who_comes_back_knows_his_side_again(players: list[Client]) -> None:
    anna, berta, *_ = players
    for client in (anna, berta):
        client.send("Enlist", side=1)
    await knows(anna, anna, berta)
    resumes = anna.statistics.resumes
    anna.cut()
    await anna.until(lambda c: c.statistics.resumes > resumes and c.playing, WAIT_S)
    await knows(anna, anna, berta)
