"""The client on real sockets, against a little server that also misbehaves."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from http import HTTPStatus

import pytest
from picows import WSMsgType

from overworld.client.closes import BackOff
from overworld.client.connection import Client, ClientOptions
from overworld.client.protocol import SessionLimits
from overworld.errors import ClientStopped
from overworld.wire.v1 import client_pb2 as pb
from tests.client.play_server import Models, PlayServer, serving

WAIT_S = 20.0
QUICK = ClientOptions(
    wake_interval_s=0.02,
    connect_timeout_s=5.0,
    leave_timeout_s=0.5,
    limits=SessionLimits(back_off=BackOff(0.01, 0.05), give_up_s=10.0, ping_interval_s=0.05, welcome_timeout_s=2.0),
)


class Steer:
    """Stands for a title's input class: only its name counts."""


async def steer_and_wait(client: Client, *thrusts: int) -> None:
    for thrust in thrusts:
        assert client.send(Steer, thrust=thrust) is not None
    await client.until(lambda c: c.session.unacked == 0, WAIT_S)


async def resumed(client: Client, welcomes: int) -> None:
    await client.until(lambda c: c.statistics.welcomes > welcomes, WAIT_S)


@pytest.mark.asyncio
async def test_a_player_joins_steers_and_leaves() -> None:
    async with serving() as server:
        async with Client(server.url, "token-1", "demo", options=QUICK) as client:
            assert client.playing
            await steer_and_wait(client, 1, 0, -1)
            assert server.model.applied == [(1, 0), (0, 0), (-1, 0)]
            await client.until(lambda c: c.session.clock.offset_s is not None, WAIT_S)
            assert client.mirror.ticks.keys() == {0}
            with pytest.raises(ValueError, match="no field"):
                client.send(Steer, speed=1)
        assert server.byes == 1
        assert client.statistics.closes == {1000: 1}
        assert [h.token for h in server.hellos] == ["token-1"]
        with pytest.raises(ClientStopped, match="1000 bye"):
            await client.frame(WAIT_S)


@pytest.mark.asyncio
async def test_on_frame_is_called_with_every_frame() -> None:
    ticks: list[int] = []
    async with serving() as server, Client(server.url, "t", "demo", options=QUICK) as client:
        client.on_frame = lambda c: ticks.append(c.mirror.home_tick())
        await client.until(lambda _: len(set(ticks)) >= 5, WAIT_S)
    # Frames that carry a pong and no tick are told as well.
    assert sorted(set(ticks)) == list(range(ticks[0], ticks[-1] + 1))
    assert ticks == sorted(ticks)


@pytest.mark.asyncio
async def test_a_light_client_keeps_no_picture() -> None:
    light = replace(QUICK, light=True)
    async with serving() as server, Client(server.url, "t", "demo", options=light) as client:
        await steer_and_wait(client, 1)
        with pytest.raises(TypeError, match="no picture"):
            _ = client.mirror


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ["1012", "1006", "1008", "reset"])
async def test_a_lost_socket_is_taken_up_on_another_gateway_and_nothing_is_lost(end: str) -> None:
    models: Models = {}
    async with serving(models) as one, serving(models) as two:
        async with Client([one.url, two.url], "t", "demo", options=QUICK) as client:
            await steer_and_wait(client, 1)
            for server in (one, two, one):
                client.send(Steer, thrust=0)
                if end == "reset":
                    server.reset_all()
                else:
                    server.close_all(int(end), "restarting")
                client.send(Steer, thrust=-1)
                await resumed(client, client.statistics.welcomes)
                await steer_and_wait(client, 1)
            assert (client.statistics.resumes, client.statistics.broken) == (3, 0)
        assert [len(one.hellos), len(two.hellos)] == [2, 2]
    assert models["t"].applied == [(1, 0)] + [(0, 0), (-1, 0), (1, 0)] * 3
    assert models["t"].violations == []


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [4001, 4004, 4012, 4999])
async def test_a_decision_about_the_player_stops_the_client(code: int) -> None:
    async with serving() as server, Client(server.url, "t", "demo", options=QUICK) as client:
        server.close_all(code, "because")
        with pytest.raises(ClientStopped, match="because") as stopped:
            await client.until(lambda _: False, WAIT_S)
        assert stopped.value.code == code
        assert len(server.hellos) == 1


@pytest.mark.asyncio
async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}/play"
        options = replace(QUICK, limits=replace(QUICK.limits, give_up_s=0.2))
        with pytest.raises(ClientStopped, match=r"gave up after 0.2 s: .*Refused"):
            await Client(url, "t", "demo", options=options).__aenter__()


@pytest.mark.asyncio
async def test_a_refused_upgrade_stops_unless_the_server_is_busy() -> None:
    async with serving() as server:
        server.refuse = HTTPStatus.FORBIDDEN
        with pytest.raises(ClientStopped) as stopped:
            await Client(server.url, "t", "demo", options=QUICK).__aenter__()
        assert stopped.value.code == 403
        server.refuse = HTTPStatus.TOO_MANY_REQUESTS
        client = Client(server.url, "t", "demo", options=QUICK)
        await client.start()
        while client.statistics.connects_failed < 2:
            await asyncio.sleep(0.01)
        server.refuse = None
        await client.until(lambda c: c.playing, WAIT_S)
        await client.stop()


@pytest.mark.asyncio
async def test_a_refused_token_is_replaced_by_a_new_one() -> None:
    given = iter(["stale", "fresh"])

    async def source() -> str:
        return next(given)

    async with serving() as server:
        server.refuse_tokens = {"stale"}
        async with Client(server.url, source, "demo", options=QUICK) as client:
            assert client.playing
        assert [h.token for h in server.hellos] == ["stale", "fresh"]
        with pytest.raises(ClientStopped, match="not authorised") as stopped:
            await Client(server.url, "stale", "demo", options=QUICK).__aenter__()
        assert stopped.value.code == 4003


@pytest.mark.asyncio
async def test_a_token_source_that_fails_is_asked_again() -> None:
    asked = 0

    async def source() -> str:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise ConnectionRefusedError("not yet")
        return "t"

    async with serving() as server, Client(server.url, source, "demo", options=QUICK) as client:
        assert (asked, client.statistics.connects_failed) == (3, 2)


async def provoke(server: PlayServer, client: Client, kind: WSMsgType, data: bytes) -> int:
    """Send something wrong, and wait until the client is back. Returns the code it closed with."""
    server.send_all(kind, data)
    await client.until(lambda c: c.statistics.resumes == 1, WAIT_S)
    return server.closed_by_client[0]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        (WSMsgType.BINARY, b"\xff\xff", 1007),
        (WSMsgType.BINARY, pb.Frame(acks=[pb.Ack(seq=9)]).SerializeToString(), 1007),
        (WSMsgType.TEXT, b"hello", 1003),
        (WSMsgType.CONTINUATION, b"more", 1002),
    ],
)
async def test_a_server_that_breaks_the_protocol_is_left_and_met_again(kind: WSMsgType, data: bytes, code: int) -> None:
    async with serving() as server, Client(server.url, "t", "demo", options=QUICK) as client:
        assert await provoke(server, client, kind, data) == code
        await steer_and_wait(client, 1)
    assert server.model.applied == [(1, 0)]


@pytest.mark.asyncio
async def test_a_message_in_fragments_is_put_together() -> None:
    async with serving() as server, Client(server.url, "t", "demo", options=QUICK) as client:
        server.answering = False
        data = pb.Frame(notices=[pb.Notice(code=pb.Notice.CODE_BROADCAST, text="a" * 300)]).SerializeToString()
        server.send_all(WSMsgType.BINARY, data[:100], fin=False)
        server.send_all(WSMsgType.CONTINUATION, data[100:200], fin=False)
        server.send_all(WSMsgType.CONTINUATION, data[200:])
        await client.until(lambda c: bool(c.session.notices), WAIT_S)
        assert client.session.notices[0] == (pb.Notice.CODE_BROADCAST, "a" * 300)


@pytest.mark.asyncio
async def test_a_silent_server_is_left() -> None:
    options = replace(QUICK, limits=replace(QUICK.limits, silence_s=0.3))
    async with serving() as server, Client(server.url, "t", "demo", options=options) as client:
        server.answering = False
        while client.statistics.connects < 2:
            await asyncio.sleep(0.01)
        server.answering = True
        await client.until(lambda c: c.statistics.resumes == 1, WAIT_S)


@pytest.mark.asyncio
async def test_a_server_that_never_welcomes_is_left() -> None:
    options = replace(QUICK, limits=replace(QUICK.limits, welcome_timeout_s=0.1, give_up_s=0.5))
    async with serving() as server:
        server.answering = False
        with pytest.raises(ClientStopped, match="no Welcome"):
            await Client(server.url, "t", "demo", options=options).__aenter__()
