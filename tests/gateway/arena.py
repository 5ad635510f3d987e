"""A world with as many fake workers and real gateways as a test needs, and raw clients."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

from overworld import telemetry
from overworld.game import contract_of
from overworld.gateway.service import Gateway
from overworld.gateway.tokens import GUEST_ISSUER, GuestTokens, audience_of, player_id
from overworld.settings import GatewaySettings
from overworld.store.memory import MemoryDirectory, MemoryRedis
from overworld.world.home import home_shard
from tests.gateway.fake_worker import FakeWorker, SharedWorld
from tests.gateway.raw_client import RawClient
from tests.shard.meadow import Meadow

KEY = b"k" * 32
WAIT_S = 15.0


class Arena:
    """One world. Everything started in it is closed with it."""

    def __init__(self, lane: bool = True) -> None:
        """`lane`: whether its gateways use compiled code for sockets."""
        self.lane = lane
        self.contract = contract_of(Meadow(), "test", seed=7)
        self.redis = MemoryRedis()
        self.world = SharedWorld()
        self.workers: list[FakeWorker] = []
        self.gateways: list[Gateway] = []
        self.clients: list[RawClient] = []
        self.guests = GuestTokens(KEY, audience_of("test", "meadow"), 60)

    @property
    def shards(self) -> range:
        return range(self.contract.grid.shard_count)

    async def worker(self, *shards: int, name: str = "") -> FakeWorker:
        """A worker that owns these shards; all of them where none is named."""
        worker = FakeWorker(name or f"worker-{len(self.workers)}", self.contract, KEY, self.redis, self.world)
        self.workers.append(worker)
        await worker.start()
        worker.own(*(shards or self.shards))
        return worker

    async def gateway(self, **settings: Any) -> Gateway:
        """A running gateway."""
        given = {
            "origin_absent": True,
            "guest_logins": True,
            "drain_s": 0.05,
            "name": f"gateway-{len(self.gateways)}",
            "host": "127.0.0.1",
            "lane": self.lane,
            **settings,
        }
        gateway = Gateway(GatewaySettings(**given), self.contract, MemoryDirectory(self.redis), KEY)
        self.gateways.append(gateway)
        await gateway.start()
        assert (gateway.players.lane is not None) == self.lane, "lane.c was not built: make setup does it"
        return gateway

    def names_of(self, shard: int, count: int) -> list[str]:
        """Names of players who live in a shard."""
        named = (f"player-{i}" for i in itertools.count())
        mine = (n for n in named if home_shard(player_id(GUEST_ISSUER, n), len(self.shards)) == shard)
        return list(itertools.islice(mine, count))

    def token(self, name: str = "anna") -> str:
        """A new login token; the same name is the same player."""
        return self.guests.issue(name, time.time())

    async def socket(self, gateway: Gateway, **how: Any) -> RawClient:
        """An open socket, before its hello."""
        client = RawClient(self.contract.grid)
        self.clients.append(client)
        return await client.open(gateway.port, **how)

    async def player(self, gateway: Gateway, name: str = "anna", *, resume: bytes = b"", **how: Any) -> RawClient:
        """A client that has its Welcome and sees every cell of its view."""
        client = await self.socket(gateway, **how)
        client.hello("" if resume else self.token(name), resume=resume)
        await client.welcomed()
        await self.sees_all(client)
        return client

    async def sees_all(self, client: RawClient) -> None:
        """Wait until the client holds every cell around it."""
        assert client.model is not None
        held = client.model.held
        session = client.welcomes[-1].session
        await client.until(
            lambda: set(held) == set(self.contract.grid.view_of(self.world.centers[session])), "the whole view"
        )

    def session(self, client: RawClient) -> int:
        """The client's session number."""
        return client.welcomes[-1].session

    async def close(self) -> None:
        for client in self.clients:
            await client.end()
        for gateway in self.gateways:
            await gateway.kill()
        for worker in self.workers:
            await worker.kill()


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait until something holds."""
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline_s, f"waited {WAIT_S:g} s in vain: {what}"
        await asyncio.sleep(0.003)


def drops(reason: str) -> float:
    """How often something was dropped for a reason, in this process so far."""
    return float(telemetry.gateway_dropped_total.labels(reason)._value.get())


def moves() -> float:
    """How often a session followed its player to another shard, in this process so far."""
    return float(telemetry.gateway_moves_total._value.get())


def closes(code: int | str) -> float:
    """How many sockets were closed with a code, in this process so far."""
    return float(telemetry.gateway_closes_total.labels(str(code))._value.get())


def refusals(reason: str) -> float:
    """How many sockets were refused for a reason, in this process so far."""
    return float(telemetry.gateway_refusals_total.labels(reason)._value.get())
