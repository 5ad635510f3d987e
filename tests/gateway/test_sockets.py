"""Floods, silence, upgrades, connection limits, slow readers and a gateway that stops, against a running gateway."""

from __future__ import annotations

import asyncio

import pytest

from overworld.gateway.service import Gateway
from overworld.wire.v1 import client_pb2 as pb
from tests.gateway.arena import Arena, closes, refusals, until
from tests.gateway.raw_client import BINARY, PING, PONG, RawClient, frame_bytes, upgrade

pytestmark = pytest.mark.asyncio

SMALL_BUFFERS = {"backlog_bytes_max": 16_384, "backlog_bytes_low": 4096, "kernel_buffer_bytes": 8192}
PING_MESSAGE = pb.ClientMessage(ping=pb.Ping(nonce=7)).SerializeToString()


class TestRates:
    async def test_a_flood_of_messages(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        ping = frame_bytes(BINARY, PING_MESSAGE)
        client.raw(ping * 10_000)
        assert await client.closed() == 1008
        assert "60 messages" in client.close_reason

    @pytest.mark.parametrize("opcode", [PING, PONG])
    async def test_a_flood_of_control_frames(self, arena: Arena, gateway: Gateway, opcode: int) -> None:
        client = await arena.player(gateway)
        client.raw(frame_bytes(opcode, b"") * 10_000)
        assert await client.closed() == 1008

    async def test_a_burst_is_no_flood(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        for i in range(100):
            client.frame(PING, bytes((i,)))
        await client.until(lambda: len(client.pongs) == 100, "pongs")
        assert client.close_code is None


class TestSilence:
    async def test_a_client_that_answers_pings_stays(self, arena: Arena) -> None:
        await arena.worker()
        client = await arena.player(await arena.gateway(idle_s=1))
        await client.until(lambda: len(client.pings) >= 3, "pings")
        assert client.close_code is None

    async def test_one_that_does_not_is_closed(self, arena: Arena) -> None:
        await arena.worker()
        client = await arena.player(await arena.gateway(idle_s=1))
        client.answering = False
        assert await client.closed() == 4010


class TestUpgrade:
    async def ask(self, arena: Arena, gateway: Gateway, request: bytes) -> int:
        client = await RawClient().connect(gateway.port)
        arena.clients.append(client)
        return await client.request(request)

    async def test_as_firefox_asks(self, arena: Arena, gateway: Gateway) -> None:
        request = upgrade(gateway.port, headers=["Connection: keep-alive, Upgrade"], drop=("Connection",))
        assert await self.ask(arena, gateway, request) == 101

    @pytest.mark.parametrize(
        ("lines", "drop", "status"),
        [
            ([], ("Host",), 400),
            (["Host: evil.example"], (), 400),
            (["Origin: https://evil.example"], (), 403),
            (["Origin: null"], (), 403),
            (["Content-Length: 5"], (), 400),
            (["Transfer-Encoding: chunked"], (), 400),
            (["Content-Length: 5", "Transfer-Encoding: chunked"], (), 400),
            (["Content-Length: 0", "Content-Length: 0"], (), 400),
            ([" folded: yes"], (), 400),
            (["Bad\x00: yes"], (), 400),
            (["X: a\x00b"], (), 400),
            (["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="], (), 400),
            ([], ("Sec-WebSocket-Key",), 400),
            ([], ("Upgrade",), 400),
            ([], ("Connection",), 400),
            (["Sec-WebSocket-Version: 8"], ("Sec-WebSocket-Version",), 426),
            ([f"X-{i}: y" for i in range(200)], (), 400),
            (["X: " + "y" * 100_000], (), 0),
        ],
    )
    async def test_requests_that_are_refused(
        self, arena: Arena, gateway: Gateway, lines: list[str], drop: tuple[str, ...], status: int
    ) -> None:
        assert await self.ask(arena, gateway, upgrade(gateway.port, headers=lines, drop=drop)) == status

    @pytest.mark.parametrize(
        ("first_line", "status"),
        [
            (b"POST /play HTTP/1.1", 400),
            (b"GET /play HTTP/1.0", 400),
            (b"GET /play", 400),
            (b"GET / HTTP/1.1", 404),
            (b"GET /play?token=secret HTTP/1.1", 404),
            (b"GET  /play HTTP/1.1", 400),
        ],
    )
    async def test_first_lines(self, arena: Arena, gateway: Gateway, first_line: bytes, status: int) -> None:
        request = upgrade(gateway.port).replace(b"GET /play HTTP/1.1", first_line)
        assert await self.ask(arena, gateway, request) == status

    async def test_bare_line_feeds(self, arena: Arena) -> None:
        gateway = await arena.gateway(hello_s=0.2)
        assert await self.ask(arena, gateway, upgrade(gateway.port).replace(b"\r\n", b"\n")) == 0

    async def test_the_gateways_own_page_may_connect(self, arena: Arena, gateway: Gateway) -> None:
        for host in ("localhost", "127.0.0.1"):
            own = [f"Origin: http://{host}:{gateway.http_port}"]
            assert await self.ask(arena, gateway, upgrade(gateway.port, headers=own)) == 101

    async def test_no_origin_where_only_pages_may(self, arena: Arena) -> None:
        gateway = await arena.gateway(origin_absent=False, origins="https://play.example, https://b.example:444")
        for line, status in (
            ([], 403),
            (["Origin: https://play.example"], 101),
            (["Origin: https://b.example:444"], 101),
            (["Origin: https://b.example"], 403),
        ):
            assert await self.ask(arena, gateway, upgrade(gateway.port, headers=line)) == status

    async def test_a_frame_right_behind_the_request(self, arena: Arena, gateway: Gateway) -> None:
        client = await RawClient().connect(gateway.port)
        arena.clients.append(client)
        assert await client.request(upgrade(gateway.port) + frame_bytes(PING, b"early")) == 101
        client.read()
        await client.until(lambda: client.pongs == [b"early"], "a pong")


class TestConnectionLimits:
    async def test_sockets_from_one_address(self, arena: Arena) -> None:
        gateway = await arena.gateway(sockets_per_address_max=3)
        for _ in range(3):
            await arena.socket(gateway)
        client = await RawClient().connect(gateway.port)
        arena.clients.append(client)
        before = refusals("address")
        assert await client.request(upgrade(gateway.port)) == 429
        assert b"retry-after" in client.response.lower()
        assert refusals("address") == before + 1
        arena.clients[0].abort()
        await until(lambda: len(list(gateway.players.connections)) == 2, "room")
        await arena.socket(gateway)

    async def test_sockets_in_all(self, arena: Arena) -> None:
        gateway = await arena.gateway(sockets_max=2)
        for _ in range(2):
            await arena.socket(gateway)
        client = await RawClient().connect(gateway.port)
        arena.clients.append(client)
        assert await client.request(upgrade(gateway.port)) == 503

    async def test_half_open_upgrades(self, arena: Arena) -> None:
        await arena.worker()
        gateway = await arena.gateway(handshakes_max=50, hello_s=0.5)
        witness = await arena.player(gateway, "witness")
        crowd = [await RawClient().connect(gateway.port) for _ in range(100)]
        arena.clients += crowd
        for client in crowd:
            client.raw(b"GET /play HTTP/1.1\r\nHost:")
        late = await RawClient().connect(gateway.port)
        arena.clients.append(late)
        assert await late.request(upgrade(gateway.port)) == 503
        assert b"retry-after" in late.response.lower()
        # The slow ones are given up, and there is room again.
        answers = await asyncio.gather(*(client.request(b"") for client in crowd))
        assert set(answers) == {0, 503}
        assert answers.count(0) == 25
        await arena.socket(gateway)
        assert witness.close_code is None

    async def test_vanished_sockets_are_counted_out(self, arena: Arena, gateway: Gateway) -> None:
        clients = [await arena.socket(gateway) for _ in range(20)]
        for client in clients[:10]:
            client.abort()
        for client in clients[10:]:
            await client.end()
        await until(lambda: len(list(gateway.players.connections)) == 1, "only the witness")


class TestSlowReaders:
    async def test_who_does_not_read_is_closed_and_others_play_on(self, arena: Arena) -> None:
        worker = await arena.worker()
        gateway = await arena.gateway(behind_s=0.5, **SMALL_BUFFERS)
        witness = await arena.player(gateway, "witness")
        slow = await arena.socket(gateway, receive_buffer_bytes=4096, reading=False)
        slow.hello(arena.token("slow"))
        await until(lambda: len(worker.sessions) == 2, "the slow one")
        await until(lambda: len(worker.sessions) == 1, "its end")
        assert closes(4011) >= 1
        frames = len(witness.frames)
        await witness.until(lambda: len(witness.frames) > frames + 10, "frames")
        assert witness.close_code is None

    async def test_its_backlog_stays_bounded(self, arena: Arena) -> None:
        await arena.worker()
        gateway = await arena.gateway(behind_s=60, **SMALL_BUFFERS)
        witness = await arena.player(gateway, "witness")
        slow = await arena.socket(gateway, receive_buffer_bytes=4096, reading=False)
        slow.hello(arena.token("slow"))
        connection = next(c for c in gateway.players.connections if c.session.state.value == "greeting")
        await until(lambda: connection.viewer is not None and connection.viewer.behind, "a slow reader")
        assert connection.socket is not None
        backlog = connection.socket.backlog_bytes
        frames = len(witness.frames)
        await witness.until(lambda: len(witness.frames) > frames + 100, "100 frames")
        assert connection.socket.backlog_bytes <= backlog
        assert backlog < 64_000

    async def test_who_reads_again_gets_keyframes_acks_and_owners_values(self, arena: Arena) -> None:
        worker = await arena.worker()
        gateway = await arena.gateway(behind_s=60, **SMALL_BUFFERS)
        slow = await arena.socket(gateway, receive_buffer_bytes=4096, reading=False)
        slow.hello(arena.token("slow"))
        connection = next(iter(gateway.players.connections))
        await until(lambda: connection.viewer is not None and connection.viewer.behind, "a slow reader")
        session = connection.session.session
        for seq in (1, 2, 3):
            slow.input(seq, 1, 0)
        worker.model(session).owns.append((session, 4242))
        worker.move(session, arena.world.centers[session] + 1)
        await until(lambda: arena.world.last_seq.get(session) == 3, "inputs")
        slow.read()
        await slow.welcomed()
        await arena.sees_all(slow)
        await slow.until(lambda: slow.acked == 3, "acks")
        assert slow.model is not None
        await slow.until(lambda: slow.model is not None and slow.model.own == 4242, "the owner's values")
        assert slow.close_code is None


class TestDrain:
    async def test_everybody_is_told_and_closed(self, arena: Arena) -> None:
        await arena.worker()
        gateway, other = await arena.gateway(drain_s=0.2), await arena.gateway()
        clients = [await arena.player(gateway, f"player-{i}") for i in range(5)]
        greeting = await arena.socket(gateway)
        stopped = asyncio.ensure_future(gateway.stop())
        for client in [*clients, greeting]:
            assert await client.closed() == 1012
            assert client.notices == [pb.Notice.CODE_DRAINING]
        assert await stopped is True
        port = gateway.port
        with pytest.raises(OSError, match=r"Connect call failed|refused"):
            await RawClient().connect(port)
        for client in clients:
            again = await arena.player(other, resume=client.welcomes[0].resume)
            assert arena.session(again) == arena.session(client)

    async def test_who_does_not_answer_is_torn_down(self, arena: Arena) -> None:
        await arena.worker()
        gateway = await arena.gateway()
        client = await arena.socket(gateway, reading=False)
        client.hello(arena.token())
        await until(lambda: bool(arena.workers[0].sessions), "a session")
        half_open = await RawClient().connect(gateway.port)
        arena.clients.append(half_open)
        await asyncio.wait_for(gateway.stop(), 10)
