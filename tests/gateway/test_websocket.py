"""Clients that break the rules of websockets or of the protocol: the right close code, and nobody else disturbed.

The cases are modelled on the sections of Autobahn's fuzzing client: framing, pings, reserved bits, opcodes,
fragmentation, closes, limits.
"""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overworld.gateway.service import Gateway
from overworld.wire.v1 import client_pb2 as pb
from tests.gateway.arena import Arena, closes, until
from tests.gateway.raw_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawClient, frame_bytes, upgrade

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])]

SMALL_BUFFERS = {"backlog_bytes_max": 16_384, "backlog_bytes_low": 4096, "kernel_buffer_bytes": 8192}
PING_MESSAGE = pb.ClientMessage(ping=pb.Ping(nonce=7)).SerializeToString()


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
