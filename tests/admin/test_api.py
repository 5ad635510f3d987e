"""The admin API of real workers and gateways, on in-memory stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from overworld.admin.node import told_address
from overworld.admin.oidc import Oidc
from overworld.admin.tokens import READ, AdminTokens
from overworld.client.guest import mint_token
from overworld.gateway.service import Gateway
from overworld.gateway.tokens import GUEST_ISSUER, player_id
from overworld.settings import GatewaySettings
from overworld.store.memory import MemoryDirectory
from overworld.store.ports import Role
from overworld.wire.v1 import client_pb2 as pb
from overworld.worker.service import Worker
from tests.gateway.raw_client import RawClient
from tests.worker.cluster import KEY, Cluster, running, until

pytestmark = pytest.mark.asyncio

ALL = [0, 1, 2, 3]
STATIC = "s" * 40
TOKENS = AdminTokens(KEY)
Said = tuple[int, dict[str, Any]]


class World:
    """Two workers, two gateways, and somebody who asks."""

    def __init__(self, oidc: Oidc | None = None) -> None:
        self.oidc = oidc
        self.cluster = Cluster(balance=True, balance_settle_s=60.0)
        self.gateways: list[Gateway] = []
        self.clients: list[RawClient] = []
        self.session = aiohttp.ClientSession()

    async def start(self) -> None:
        a, b = await asyncio.gather(self.cluster.worker("worker-a"), self.cluster.worker("worker-b"))
        for name in ("gateway-0", "gateway-1"):
            given: dict[str, Any] = {"name": name, "origin_absent": True, "world_wait_s": 1.0}
            settings = GatewaySettings(**given)
            directory = MemoryDirectory(self.cluster.redis)
            self.gateways.append(Gateway(settings, self.cluster.contract, directory, KEY, STATIC, self.oidc))
            await self.gateways[-1].start()
        await until(lambda: sorted(running(a) + running(b)) == ALL, "all shards run")
        await until(lambda: len(self.cluster.redis.primary.members[Role.GATEWAY]) == 2, "gateways are announced")

    @property
    def a(self) -> Worker:
        return self.cluster.workers[0]

    @property
    def b(self) -> Worker:
        return self.cluster.workers[1]

    def ports(self) -> list[int]:
        return [*(w.http_port for w in self.cluster.workers), *(g.internal_port for g in self.gateways)]

    async def ask(self, port: int, path: str, token: str | None = None) -> Said:
        return await self._call("GET", port, path, token)

    async def order(self, port: int, path: str, token: str | None = None, **body: Any) -> Said:
        return await self._call("POST", port, path, token, json=body)

    async def _call(self, method: str, port: int, path: str, token: str | None, **more: Any) -> Said:
        token = TOKENS.issue("anna", time.time(), 60) if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://127.0.0.1:{port}/admin/v1/{path}"
        async with self.session.request(method, url, headers=headers, **more) as answer:
            return answer.status, await answer.json()

    async def player(self, gateway: int, name: str) -> RawClient:
        client = await RawClient().open(self.gateways[gateway].port)
        self.clients.append(client)
        client.hello(mint_token(KEY, "test", "meadow", name))
        return client

    async def close(self) -> None:
        await self.session.close()
        for client in self.clients:
            await client.end()
        for gateway in self.gateways:
            await gateway.kill()
        await self.cluster.close()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    try:
        await made.start()
        yield made
    finally:
        await made.close()


# ---------------------------------------------------------------- who may


async def test_nobody_comes_in_without_a_token_that_is_good_for_it(world: World) -> None:
    for port in world.ports():
        for path in ("workers", "self", "nothing"):
            status, said = await world.ask(port, path, token="")
            assert (status, list(said)) == (401, ["error"])
        assert (await world.ask(port, "workers", token=AdminTokens(b"o" * 32).issue("eve", time.time(), 60)))[0] == 401
        looker = TOKENS.issue("bert", time.time(), 60, READ)
        assert (await world.ask(port, "workers", token=looker))[0] == 200
        for path in ("broadcast", "workers/worker-a/drain", "self/drain", "self/kick", "worlds/test/pause"):
            assert (await world.order(port, path, token=looker, text="hello"))[0] == 403
    assert (await world.ask(world.gateways[0].internal_port, "workers", token=STATIC))[0] == 200
    assert (await world.ask(world.a.http_port, "workers", token=STATIC))[0] == 401, "it was not told of that one"
    assert not world.a.status()["emptied"]


async def test_every_call_is_logged_with_who(world: World) -> None:
    with capture_logs() as logs:
        await world.order(world.gateways[0].internal_port, "workers/worker-a/drain", undo=True)
        await world.ask(world.a.http_port, "workers", token="wrong")
    calls = [(log["who"], log["path"], log["status"]) for log in logs if log["event"] == "admin_call"]
    assert ("anna via gateway-0", "/admin/v1/self/drain", 200) in calls, "the process that does it knows for whom"
    assert ("anna", "/admin/v1/workers/worker-a/drain", 200) in calls
    assert ("", "/admin/v1/workers", 401) in calls


# ---------------------------------------------------------------- what there is


async def test_any_process_shows_the_whole_cluster(world: World) -> None:
    await (await world.player(0, "anna")).welcomed()
    number = player_id(GUEST_ISSUER, "anna")
    await until(lambda: world.a._loads.announcement()["players"] + world.b._loads.announcement()["players"], "told")
    for port in world.ports():
        _, said = await world.ask(port, "workers")
        assert [w["name"] for w in said["workers"]] == ["worker-a", "worker-b"]
        assert [w["error"] for w in said["workers"]] == ["", ""]
        assert sum(w["leads"] for w in said["workers"]) <= 1
        _, said = await world.ask(port, "gateways")
        assert [(g["name"], g["sockets"], g["error"]) for g in said["gateways"]] == [
            ("gateway-0", 1, ""),
            ("gateway-1", 0, ""),
        ]
        _, said = await world.ask(port, "shards")
        assert [s["shard"] for s in said["shards"]] == ALL
        assert {s["owner"] for s in said["shards"]} == {"worker-a", "worker-b"}
        assert {s["phase"] for s in said["shards"]} == {"running"}
        assert sum(s["players"] for s in said["shards"]) == 1
        assert all(s["entities"] > 0 and s["epoch"] == 1 and s["tick"] > 0 for s in said["shards"])
        _, said = await world.ask(port, "worlds")
        [row] = said["worlds"]
        assert (row["world"], row["title"], row["shards_running"], row["players"]) == ("test", "meadow", 4, 1)
        assert (row["workers"], row["gateways"], row["paused"]) == (2, 2, None)
        _, said = await world.ask(port, "players")
        assert [(p["player"], p["gateway"], p["state"]) for p in said["players"]] == [
            (str(number), "gateway-0", "playing")
        ]
        _, said = await world.ask(port, "balance")
        assert said["balance"]["on"]
        assert [w["shards"] for w in said["balance"]["workers"]] == [2, 2]


async def test_who_does_not_answer_is_named_and_not_left_out(world: World) -> None:
    directory = MemoryDirectory(world.cluster.redis)
    await directory.announce(Role.GATEWAY, "gateway-9", "ws://127.0.0.1:9/play", {}, "127.0.0.1:9")
    await directory.announce(Role.WORKER, "worker-z", "127.0.0.1:9", {})
    _, said = await world.ask(world.a.http_port, "gateways")
    assert [g["name"] for g in said["gateways"]] == ["gateway-0", "gateway-1", "gateway-9"]
    assert "does not answer" in said["gateways"][2]["error"]
    _, said = await world.ask(world.a.http_port, "workers")
    assert "no internal address" in said["workers"][2]["error"]
    status, said = await world.order(world.a.http_port, "broadcast", text="hello")
    assert status == 200
    assert "does not answer" in said["gateways"]["gateway-9"]["error"]


async def test_what_cannot_be_done_is_said(world: World) -> None:
    port = world.b.http_port
    for path, body, status in (
        ("workers/worker-x/drain", {}, 404),
        ("shards/0/migrate", {"to": "worker-x"}, 404),
        ("shards/99/migrate", {"to": "worker-a"}, 404),
        ("shards/0/migrate", {}, 400),
        ("worlds/other/pause", {}, 404),
        ("players/7/kick", {}, 404),
        ("broadcast", {"text": ""}, 400),
        ("broadcast", {"text": "x" * 10_000}, 400),
        ("workers/worker-a/drain", {"undo": "yes"}, 400),
        ("nothing", {}, 404),
        ("self/nothing", {}, 404),
    ):
        code, said = await world.order(port, path, **body)
        assert (path, code, list(said)) == (path, status, ["error"])
    status, said = await world._call("POST", port, "broadcast", None, data=b"[1]")
    assert (status, said["error"]) == (400, "the body is not a JSON object")
    assert (await world._call("POST", port, "broadcast", None, data=b"x" * 100_000))[0] == 413


# ---------------------------------------------------------------- what can be done


async def test_a_shard_is_moved_from_wherever_one_asks(world: World) -> None:
    for port in world.ports():
        shard = running(world.a)[0] if len(running(world.a)) > 1 else running(world.b)[0]
        target = world.b if shard in running(world.a) else world.a
        status, said = await world.order(port, f"shards/{shard}/migrate", to=target.name)
        assert (status, said["owner"]) == (200, target.name), said
        assert shard in target._hosts
        status, said = await world.order(port, f"shards/{shard}/migrate", to=target.address)
        assert (status, said["error"]) == (409, f"shard {shard}: it is here already")


async def test_cells_are_checked_from_wherever_one_asks(world: World) -> None:
    tick = 0
    for shard, port in enumerate(world.ports()):
        _, said = await world.ask(world.a.http_port, "shards")
        tick = said["shards"][shard]["tick"] + 10
        grid = world.cluster.contract.grid
        x0, y0, _, _ = grid.bounds(shard)
        cell = int(grid.cells_of(np.array([x0]), np.array([y0]))[0])
        status, said = await world.order(port, f"shards/{shard}/check", tick=tick, cells=[cell], rows=True)
        assert (status, said["shard"], said["tick"], said["epoch"]) == (200, shard, tick, 1), said
        assert [found["cell"] for found in said["cells"]] == [cell]
        assert len(said["rows"]) == said["cells"][0]["entities"]
    wrong: list[tuple[str, dict[str, Any], int]] = [
        ("shards/0/check", {"tick": 1, "cells": [0]}, 409),
        ("shards/0/check", {"tick": tick + 100, "cells": []}, 400),
        ("shards/4/check", {"tick": 1, "cells": [0]}, 404),
    ]
    for path, body, code in wrong:
        status, said = await world.order(world.gateways[0].internal_port, path, **body)
        assert (path, status, list(said)) == (path, code, ["error"])


async def test_a_worker_is_drained_and_takes_shards_again(world: World) -> None:
    port = world.gateways[1].internal_port
    assert (await world.order(port, "workers/worker-a/drain"))[0] == 200
    await until(lambda: running(world.b) == ALL and not world.a._hosts, "it is empty")
    _, said = await world.ask(port, "workers")
    assert [w["emptied"] for w in said["workers"]] == [True, False]
    assert (await world.order(port, "shards/0/migrate", to="worker-a"))[0] == 409
    assert (await world.order(port, "workers/worker-a/drain", undo=True))[0] == 200
    assert (await world.order(port, "shards/0/migrate", to="worker-a"))[0] == 200


async def test_a_paused_world_keeps_its_players_and_lets_new_ones_wait(world: World) -> None:
    port = world.gateways[0].internal_port
    early = await world.player(0, "early")
    await early.welcomed()
    status, said = await world.order(port, "worlds/test/pause")
    assert (status, said["paused"]["by"]) == (200, "anna")
    await until(lambda: all(g.players.paused for g in world.gateways), "gateways know")
    await until(lambda: {s["phase"] for w in (world.a, world.b) for s in w.status()["shards"]} == {"paused"}, "stands")
    await early.until(lambda: pb.Notice.CODE_STALLED in notices(early), "it is told")
    late = await world.player(1, "late")
    await late.until(lambda: pb.Notice.CODE_SEARCHING in notices(late), "it waits")
    _, said = await world.ask(port, "worlds")
    assert said["worlds"][0]["paused"]["by"] == "anna"
    since_s = asyncio.get_running_loop().time()
    await until(lambda: asyncio.get_running_loop().time() > since_s + 2.0, "longer than a session waits for a worker")
    assert not early.ended
    assert not late.ended
    assert (await world.order(port, "worlds/test/resume"))[0] == 200
    await late.welcomed()
    await early.until(lambda: pb.Notice.CODE_RESUMED in notices(early), "it is told again")
    early.input(1, 1, 0)
    await early.until(lambda: early.acked == 1, "it plays on")


async def test_a_kicked_player_is_gone_and_cannot_take_the_session_up_again(world: World) -> None:
    anna, bert = await world.player(0, "anna"), await world.player(0, "bert")
    welcome = await anna.welcomed()
    await bert.welcomed()
    number = player_id(GUEST_ISSUER, "anna")
    status, said = await world.order(world.a.http_port, f"players/{number}/kick", reason="rude")
    assert (status, said["sockets"]) == (200, 1), said
    assert await anna.closed() == 4012
    assert anna.close_reason == "an operator ended the session: rude"
    again = await RawClient().open(world.gateways[1].port)
    world.clients.append(again)
    again.hello("", resume=welcome.resume)
    assert await again.closed() == 4008
    assert not bert.ended
    assert (await world.order(world.a.http_port, f"players/{number}/kick"))[0] == 404
    await (await world.player(1, "anna")).welcomed()


async def test_a_gateway_shows_who_sends_what_no_client_does_and_counts_it(world: World) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("overworld_gateway_suspicious_total", {"reason": "input_gap"}) or 0.0

    before = counted()
    for _ in range(2):
        bad = await world.player(0, "bad")
        await bad.welcomed()
        bad.input(9, 1, 0)
        assert await bad.closed() == 4007
    good = await world.player(0, "good")
    await good.welcomed()
    status, said = await world.ask(world.gateways[0].internal_port, "self/suspicious")
    bad_number = str(player_id(GUEST_ISSUER, "bad"))
    assert (status, said["suspicious"]) == (200, [{"player": bad_number, "closes": {"input_gap": 2}}])
    assert counted() == before + 2
    _, said = await world.ask(world.gateways[1].internal_port, "self/suspicious")
    assert said["suspicious"] == [], "each gateway has its own book"
    status, _ = await world.ask(world.gateways[0].internal_port, "self/suspicious", token="")
    assert status == 401


async def test_a_broadcast_reaches_everybody_who_plays(world: World) -> None:
    players = [await world.player(n % 2, f"p{n}") for n in range(4)]
    for player in players:
        await player.welcomed()
    status, said = await world.order(world.b.http_port, "broadcast", text="the server restarts at noon")
    assert (status, said["sockets"]) == (200, 4)
    for player in players:
        await player.until(partial(told, player, "the server restarts at noon"), "the text")


def notices(client: RawClient) -> list[int]:
    return [notice.code for frame in client.frames for notice in frame.notices]


def told(client: RawClient, text: str) -> bool:
    return any(notice.text == text for frame in client.frames for notice in frame.notices)


@pytest.mark.parametrize(
    ("host", "otherwise", "told"),
    [
        ("127.0.0.1", "10.0.0.1", "127.0.0.1:9"),
        ("0.0.0.0", "10.0.0.1", "10.0.0.1:9"),
        ("::", "", ""),
        ("::1", "", "[::1]:9"),
        ("::", "[fd00::1]", "[fd00::1]:9"),
    ],
)
async def test_what_others_are_told_can_be_reached(host: str, otherwise: str, told: str) -> None:
    assert told_address(host, 9, otherwise) == told
