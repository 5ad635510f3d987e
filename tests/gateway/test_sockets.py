"""Hostile and broken clients against a running gateway: the right close code, and nobody else disturbed.

The websocket cases are modelled on the sections of Autobahn's fuzzing client: framing, pings, reserved bits, opcodes,
fragmentation, closes, limits.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overworld.gateway.service import Gateway
from overworld.wire.v1 import client_pb2 as pb
from tests.gateway.arena import Arena, closes, refusals, until
from tests.gateway.raw_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawClient, frame_bytes, upgrade

pytestmark = pytest.mark.asyncio

SMALL_BUFFERS = {"backlog_bytes_max": 16_384, "backlog_bytes_low": 4096, "kernel_buffer_bytes": 8192}
PING_MESSAGE = pb.ClientMessage(ping=pb.Ping(nonce=7)).SerializeToString()


@pytest_asyncio.fixture
async def gateway(arena: Arena) -> AsyncIterator[Gateway]:
    """A gateway with a world behind it and a witness in it, who must notice nothing of what others do."""
    await arena.worker()
    made = await arena.gateway()
    witness = await arena.player(made, "witness")
    yield made
    assert witness.close_code is None
    assert witness.error is None
    frames = len(witness.frames)
    await witness.until(lambda: len(witness.frames) > frames, "frames as ever")


async def still_good(client: RawClient) -> None:
    """The connection answers."""
    client.send(pb.ClientMessage(ping=pb.Ping(nonce=99)))
    await client.until(lambda: any(pong.nonce == 99 for frame in client.frames for pong in frame.pongs), "a pong")


class TestPings:
    @pytest.mark.parametrize("size", [0, 1, 125])
    async def test_are_answered_with_their_payload(self, arena: Arena, gateway: Gateway, size: int) -> None:
        client = await arena.player(gateway)
        client.frame(PING, bytes(size))
        await client.until(lambda: client.pongs == [bytes(size)], "a pong")

    async def test_in_one_write_and_byte_by_byte(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.raw(b"".join(frame_bytes(PING, bytes((i,))) for i in range(10)))
        await client.until(lambda: client.pongs == [bytes((i,)) for i in range(10)], "pongs")
        for byte in frame_bytes(PING, b"slow"):
            client.raw(bytes((byte,)))
            await asyncio.sleep(0)
        await client.until(lambda: client.pongs[-1] == b"slow", "a pong")

    async def test_too_large(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(PING, bytes(126))
        assert await client.closed() == 1002

    async def test_pongs_nobody_asked_for(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(PONG, b"hello")
        await still_good(client)

    async def test_between_fragments(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(BINARY, PING_MESSAGE[:1], fin=False)
        client.frame(PING, b"between")
        client.frame(CONTINUATION, PING_MESSAGE[1:])
        await client.until(lambda: client.pongs == [b"between"], "a pong")
        await client.until(lambda: any(frame.pongs for frame in client.frames), "the message's answer")


class TestFraming:
    @pytest.mark.parametrize("rsv", [1, 2, 3, 4, 5, 6, 7])
    @pytest.mark.parametrize("opcode", [BINARY, PING, PONG])
    async def test_reserved_bits(self, arena: Arena, gateway: Gateway, rsv: int, opcode: int) -> None:
        client = await arena.player(gateway)
        client.frame(opcode, b"", rsv=rsv)
        assert await client.closed() == 1002

    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
    async def test_unknown_opcodes(self, arena: Arena, gateway: Gateway, opcode: int) -> None:
        client = await arena.player(gateway)
        client.frame(opcode, b"x")
        assert await client.closed() == 1002

    async def test_unmasked(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(BINARY, PING_MESSAGE, masked=False)
        assert await client.closed() == 1002

    @pytest.mark.parametrize("payload", [b"hello", "Käse".encode(), b"\xff\xfe", b""])
    async def test_text(self, arena: Arena, gateway: Gateway, payload: bytes) -> None:
        client = await arena.player(gateway)
        client.frame(TEXT, payload)
        assert await client.closed() == 1003

    async def test_lengths_that_are_not_the_shortest(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.raw(bytes((0x82, 0x80 | 126)) + struct.pack(">H", 5) + bytes(4 + 5))
        assert await client.closed() == 1002

    @pytest.mark.parametrize("size", [1 << 17, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
    async def test_lengths_beyond_all_limits(self, arena: Arena, gateway: Gateway, size: int) -> None:
        client = await arena.player(gateway)
        client.raw(bytes((0x82, 0x80 | 127)) + struct.pack(">Q", size) + bytes(64))
        assert await client.closed() in (1009, 1002)

    async def test_compression_is_not_agreed_to(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.socket(gateway, reading=False)
        other = await RawClient().connect(gateway.port)
        arena.clients.append(other)
        offer = ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]
        assert await other.request(upgrade(gateway.port, headers=offer)) == 101
        assert b"permessage-deflate" not in other.response.lower()
        other.read()
        other.frame(BINARY, b"\xaa\xbb", rsv=4)
        assert await other.closed() == 1002
        client.abort()


class TestFragments:
    async def test_a_message_in_pieces(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(BINARY, PING_MESSAGE[:2], fin=False)
        client.frame(CONTINUATION, b"", fin=False)
        client.frame(CONTINUATION, PING_MESSAGE[2:])
        await client.until(lambda: any(frame.pongs for frame in client.frames), "a pong")

    async def test_a_continuation_first(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(CONTINUATION, b"x")
        assert await client.closed() == 1002

    async def test_a_message_in_a_message(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(BINARY, b"x", fin=False)
        client.frame(BINARY, b"y")
        assert await client.closed() == 1002

    @pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
    async def test_control_frames_are_whole(self, arena: Arena, gateway: Gateway, opcode: int) -> None:
        client = await arena.player(gateway)
        client.frame(opcode, b"", fin=False)
        assert await client.closed() == 1002

    async def test_endless(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(BINARY, b"x", fin=False)
        for _ in range(3000):
            client.frame(CONTINUATION, b"x", fin=False)
        assert await client.closed() == 1008
        assert "8 fragments" in client.close_reason

    async def test_never_finished(self, arena: Arena) -> None:
        await arena.worker()
        client = await arena.player(await arena.gateway(assembly_s=0.2))
        client.frame(BINARY, b"x", fin=False)
        assert await client.closed() == 1008
        assert "0.2 s" in client.close_reason

    async def test_too_big_together(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(BINARY, bytes(1000), fin=False)
        client.frame(CONTINUATION, bytes(25))
        assert await client.closed() == 1009

    async def test_too_big_at_once(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(BINARY, bytes(1025))
        assert await client.closed() == 1009


class TestCloses:
    @pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 3000, 3999, 4000, 4999])
    async def test_are_answered(self, arena: Arena, gateway: Gateway, code: int) -> None:
        client = await arena.player(gateway)
        client.frame(CLOSE, struct.pack(">H", code) + b"so long")
        assert await client.closed() == code

    async def test_without_a_code(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.frame(CLOSE)
        assert await client.closed() in (0, 1000)

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1016, 2999])
    async def test_with_codes_that_do_not_exist(self, arena: Arena, gateway: Gateway, code: int) -> None:
        client = await arena.player(gateway)
        client.frame(CLOSE, struct.pack(">H", code))
        assert await client.closed() in (1002, code)

    @pytest.mark.parametrize(("payload", "code"), [(b"\x03", 1002), (struct.pack(">H", 1000) + b"\xff\xfe", 1007)])
    async def test_malformed(self, arena: Arena, gateway: Gateway, payload: bytes, code: int) -> None:
        client = await arena.player(gateway)
        client.frame(CLOSE, payload)
        assert await client.closed() == code

    async def test_nothing_counts_after_a_close(self, arena: Arena, gateway: Gateway) -> None:
        worker = arena.workers[0]
        client = await arena.player(gateway)
        inputs = len(worker.inputs)
        item = pb.ClientMessage(input=pb.Input(seq=1, kind=0, values=[1, 0])).SerializeToString()
        client.raw(frame_bytes(CLOSE, struct.pack(">H", 1000)) + frame_bytes(BINARY, item))
        await client.closed()
        await until(lambda: any(d.session == arena.session(client) for d in worker.detaches), "a detach")
        assert len(worker.inputs) == inputs


class TestMessages:
    @pytest.mark.parametrize(
        "data",
        [
            b"\xff",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x07",
            b"\x0a\x05ab",
            b"\x0a\x04\x12\x02\xff\xfe",
            b"\x80" * 11,
            b"\x0b" * 200,
            b"",
            b"\x7a\x01x",
        ],
    )
    async def test_what_is_no_client_message(self, arena: Arena, gateway: Gateway, data: bytes) -> None:
        client = await arena.player(gateway)
        before = closes(1007)
        client.frame(BINARY, data)
        assert await client.closed() == 1007
        assert closes(1007) == before + 1

    async def test_a_second_hello(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        client.hello(arena.token())
        assert await client.closed() == 4002

    async def test_numbers_cut_to_32_bits_are_checked_all_the_same(self, arena: Arena, gateway: Gateway) -> None:
        client = await arena.player(gateway)
        # seq = 2**32 + 1, which the library reads as 1; kind 0; values 1, 2**32.
        item = b"\x08\x81\x80\x80\x80\x10" + b"\x1a\x06\x02" + b"\x80\x80\x80\x80\x10"
        client.frame(BINARY, b"\x12" + bytes((len(item),)) + item)
        client.send(pb.ClientMessage(ping=pb.Ping(nonce=99)))
        await client.until(lambda: client.ended or client.acked == 1, "an ack or a close")
        assert client.close_code in (None, 4006)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.binary(max_size=300))
    async def test_noise(self, arena: Arena, gateway: Gateway, data: bytes) -> None:
        client = await arena.socket(gateway)
        client.frame(BINARY, data)
        code = await client.closed()
        assert code in (1007, 4002, 4003, 4004, 4005, 1008)
        await client.end()
        arena.clients.remove(client)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.binary(min_size=1, max_size=400))
    async def test_noise_instead_of_websocket_frames(self, arena: Arena, gateway: Gateway, data: bytes) -> None:
        client = await arena.socket(gateway)
        client.raw(data)
        client.frame(CLOSE, struct.pack(">H", 1000))
        client._writer.write_eof()
        await client.closed()
        await client.end()
        arena.clients.remove(client)


class TestHello:
    @pytest.mark.parametrize(
        ("how", "code"),
        [
            ({"token": "x.y.z"}, 4003),
            ({"token": ""}, 4003),
            ({"title": "chess"}, 4004),
            ({"protocol": 2}, 4005),
            ({"resume": b"nonsense"}, 4008),
        ],
    )
    async def test_faults(self, arena: Arena, gateway: Gateway, how: dict[str, object], code: int) -> None:
        client = await arena.socket(gateway)
        client.hello(**{"token": arena.token(), **how})  # type: ignore[arg-type]
        assert await client.closed() == code
        assert 0 < len(client.close_reason.encode()) <= 123

    async def test_a_token_is_good_for_one_login_on_any_gateway(self, arena: Arena, gateway: Gateway) -> None:
        token = arena.token()
        first = await arena.socket(gateway)
        first.hello(token)
        await first.welcomed()
        for each in (gateway, await arena.gateway()):
            again = await arena.socket(each)
            again.hello(token)
            assert await again.closed() == 4003
        assert first.close_code is None

    async def test_late(self, arena: Arena) -> None:
        client = await arena.socket(await arena.gateway(hello_s=0.2))
        assert await client.closed() == 4002

    async def test_no_hello_but_pings(self, arena: Arena) -> None:
        client = await arena.socket(await arena.gateway(hello_s=0.2))
        while not client.ended:
            client.frame(PING, b"x")
            await asyncio.sleep(0.01)
        assert client.close_code == 4002


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
