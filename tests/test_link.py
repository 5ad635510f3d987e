"""The link: both sides prove themselves, frames arrive whole and in order, and every bound closes it with a reason."""

from __future__ import annotations

import asyncio
import hmac
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.errors import LinkError
from overworld.link import LINK_PROTOCOL, Link, LinkCredentials, LinkLimits, LinkServer, connect, listen
from overworld.link.handshake import GatewayHandshake, HandshakeState, WorkerHandshake
from overworld.wire.v1 import link_pb2 as pb
from overworld.wire.v1.link_pb2 import LinkMessage

pytestmark = pytest.mark.asyncio

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
WORKER = LinkCredentials(KEY, "world-1", "worker-a")
GATEWAY = LinkCredentials(KEY, "world-1", "gateway-a")
FAST = LinkLimits(handshake_s=0.2, ping_s=0.05, silence_s=0.2)
WAIT_S = 10.0


@dataclass
class Peer:
    """Keeps what it is told."""

    messages: list[LinkMessage] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def on_message(self, link: Link, message: LinkMessage) -> None:
        self.messages.append(message)

    def on_lost(self, link: Link, reason: str) -> None:
        self.lost.append(reason)


@dataclass
class Pair:
    server: LinkServer
    worker: Peer
    gateway: Peer
    link: Link
    worker_link: Link


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.002)


async def pair(limits: LinkLimits = FAST) -> Pair:
    worker, gateway = Peer(), Peer()
    links: list[Link] = []

    def on_link(link: Link) -> Peer:
        links.append(link)
        return worker

    server = await listen("127.0.0.1", 0, WORKER, on_link, limits)
    link = await connect("127.0.0.1", server.port, GATEWAY, gateway, WAIT_S, limits)
    await until(lambda: bool(links))
    return Pair(server, worker, gateway, link, links[0])


def output(size: int, tick: int = 1) -> LinkMessage:
    return LinkMessage(output=pb.TickOutput(shard=1, tick=tick, updates=bytes(size)))


class TestHandshakeWithoutSockets:
    async def test_both_sides_prove_the_key(self) -> None:
        worker, gateway = WorkerHandshake(WORKER, b"w" * 32), GatewayHandshake(GATEWAY, b"g" * 32)
        (challenge,) = worker.start()
        (proof,) = gateway.receive(challenge).send
        step = worker.receive(proof)
        assert step.state is HandshakeState.READY
        assert worker.remote == "gateway-a"
        assert gateway.receive(step.send[0]).state is HandshakeState.READY
        assert gateway.remote == "worker-a"

    async def test_the_macs_are_those_of_the_specification(self) -> None:
        gateway = GatewayHandshake(GATEWAY, b"g" * 32)
        challenge = LinkMessage(challenge=pb.LinkChallenge(nonce=b"w" * 32, protocol=LINK_PROTOCOL))
        (proof,) = gateway.receive(challenge).send
        expected = hmac.new(KEY, b"gateway" + b"w" * 32 + b"g" * 32 + b"world-1", sha256).digest()
        assert proof.proof.mac == expected

    @pytest.mark.parametrize("fault", ["mac", "nonce", "short_nonce", "contract_swapped", "wrong_message"])
    async def test_a_worker_refuses_a_proof_that_is_not_right(self, fault: str) -> None:
        worker, gateway = WorkerHandshake(WORKER, b"w" * 32), GatewayHandshake(GATEWAY, b"g" * 32)
        (proof,) = gateway.receive(worker.start()[0]).send
        match fault:
            case "mac":
                proof.proof.mac = bytes(32)
            case "nonce":
                proof.proof.nonce = b"x" * 32
            case "short_nonce":
                proof.proof.nonce = b"g"
            case "contract_swapped":
                proof.proof.contract = "world-2"
            case _:
                proof = LinkMessage(ping=pb.LinkPing(nonce=1))
        step = worker.receive(proof)
        assert step.state is HandshakeState.REFUSED
        assert step.reason
        assert step.send[0].WhichOneof("message") == "refusal"

    async def test_a_gateway_refuses_a_worker_without_the_key(self) -> None:
        worker = WorkerHandshake(replace(WORKER, key=OTHER_KEY), b"w" * 32)
        gateway = GatewayHandshake(GATEWAY, b"g" * 32)
        gateway.receive(worker.start()[0])
        step = gateway.receive(LinkMessage(ready=pb.LinkReady(mac=bytes(32), worker="evil")))
        assert step.state is HandshakeState.REFUSED
        assert "key" in step.reason

    async def test_a_gateways_own_proof_cannot_be_played_back_to_it(self) -> None:
        gateway = GatewayHandshake(GATEWAY, b"g" * 32)
        challenge = LinkMessage(challenge=pb.LinkChallenge(nonce=b"g" * 32, protocol=LINK_PROTOCOL))
        (proof,) = gateway.receive(challenge).send
        echoed = LinkMessage(ready=pb.LinkReady(mac=proof.proof.mac, worker="mirror"))
        assert gateway.receive(echoed).state is HandshakeState.REFUSED

    async def test_another_link_protocol_is_refused(self) -> None:
        gateway = GatewayHandshake(GATEWAY, b"g" * 32)
        challenge = LinkMessage(challenge=pb.LinkChallenge(nonce=b"w" * 32, protocol=LINK_PROTOCOL + 1))
        assert "protocol" in gateway.receive(challenge).reason

    @given(st.lists(st.binary(max_size=60), max_size=6))
    async def test_no_bytes_make_a_handshake_ready(self, noise: list[bytes]) -> None:
        worker, gateway = WorkerHandshake(WORKER, b"w" * 32), GatewayHandshake(GATEWAY, b"g" * 32)
        worker.start()
        for data in noise:
            try:
                message = LinkMessage.FromString(data)
            except Exception:  # noqa: BLE001 - whatever the library says to noise
                continue
            assert worker.receive(message).state is not HandshakeState.READY
            assert gateway.receive(message).state is not HandshakeState.READY


class TestConnecting:
    async def test_a_link_knows_its_other_side(self) -> None:
        pair_ = await pair()
        assert (pair_.link.remote, pair_.worker_link.remote) == ("worker-a", "gateway-a")
        assert not pair_.link.closed
        await pair_.server.close()

    @pytest.mark.parametrize(
        ("credentials", "reason"),
        [(replace(GATEWAY, key=OTHER_KEY), "authenticated"), (replace(GATEWAY, contract="world-2"), "world-2")],
    )
    async def test_a_gateway_that_does_not_belong_is_told_why(self, credentials: LinkCredentials, reason: str) -> None:
        worker = Peer()
        server = await listen("127.0.0.1", 0, WORKER, lambda _: worker, FAST)
        with pytest.raises(LinkError, match=reason):
            await connect("127.0.0.1", server.port, credentials, Peer(), WAIT_S, FAST)
        assert not worker.messages
        assert not worker.lost
        await server.close()

    async def test_nobody_there(self, free_port: int) -> None:
        with pytest.raises(LinkError, match=str(free_port)):
            await connect("127.0.0.1", free_port, GATEWAY, Peer(), WAIT_S)

    async def test_a_server_that_says_nothing_is_given_up(self) -> None:
        ended = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _until_closed(reader)
            writer.close()
            ended.set()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(LinkError, match="no answer within"):
            await connect("127.0.0.1", port, GATEWAY, Peer(), 0.05)
        await asyncio.wait_for(ended.wait(), WAIT_S)
        server.close()

    async def test_a_caller_who_does_not_shake_hands_is_closed(self) -> None:
        server = await listen("127.0.0.1", 0, WORKER, lambda _: Peer(), FAST)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(WAIT_S):
            data = await _until_closed(reader)
        assert LinkMessage.FromString(data[4:]).WhichOneof("message") == "challenge"
        writer.close()
        await server.close()

    async def test_before_the_handshake_only_small_frames_are_read(self) -> None:
        server = await listen("127.0.0.1", 0, WORKER, lambda _: Peer(), LinkLimits())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(struct.pack("<I", 1 << 20))
        async with asyncio.timeout(WAIT_S):
            await _until_closed(reader)
        writer.close()
        await server.close()

    async def test_handshakes_at_once_are_bounded(self) -> None:
        server = await listen("127.0.0.1", 0, WORKER, lambda _: Peer(), LinkLimits(handshakes_max=2))
        waiting = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        for reader, _ in waiting:
            await reader.readexactly(4)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(WAIT_S):
            assert await _until_closed(reader) == b""
        for _, each in [*waiting, (reader, writer)]:
            each.close()
        await server.close()


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(-1)
    except ConnectionResetError:
        return b""


class TestMessages:
    async def test_messages_of_all_sizes_arrive_whole_and_in_order(self) -> None:
        pair_ = await pair(LinkLimits())
        sizes = [0, 1, 100, 70_000, 300_000, 3, 1_500_000, 0, 200_000, 17]
        for tick, size in enumerate(sizes, 1):
            pair_.worker_link.send(output(size, tick))
        pair_.link.send_serialized(output(5).SerializeToString())
        await until(lambda: len(pair_.gateway.messages) == len(sizes) and len(pair_.worker.messages) == 1)
        arrived = [(m.output.tick, len(m.output.updates)) for m in pair_.gateway.messages]
        assert arrived == list(enumerate(sizes, 1))
        await pair_.server.close()

    async def test_bytes_may_arrive_one_by_one(self) -> None:
        worker = Peer()
        server = await listen("127.0.0.1", 0, WORKER, lambda _: worker, LinkLimits())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        gateway = GatewayHandshake(GATEWAY, b"g" * 32)
        size = struct.unpack("<I", await reader.readexactly(4))[0]
        (proof,) = gateway.receive(LinkMessage.FromString(await reader.readexactly(size))).send
        for message in (proof, output(300), output(0)):
            body = message.SerializeToString()
            for byte in struct.pack("<I", len(body)) + body:
                writer.write(bytes((byte,)))
                await writer.drain()
        await until(lambda: len(worker.messages) == 2)
        writer.close()
        await server.close()

    async def test_pings_are_answered_and_not_passed_on(self) -> None:
        pair_ = await pair(replace(FAST, silence_s=0.5))
        # Longer than the silence allowed: only pings keep the link.
        await asyncio.sleep(0.8)
        assert not pair_.link.closed
        assert not pair_.worker_link.closed
        assert not pair_.gateway.messages
        assert not pair_.worker.messages
        await pair_.server.close()


class TestEndings:
    async def _ends(self, act: Callable[[Pair], Awaitable[None]], limits: LinkLimits = FAST) -> Pair:
        pair_ = await pair(limits)
        await act(pair_)
        await until(lambda: bool(pair_.gateway.lost and pair_.worker.lost))
        assert len(pair_.gateway.lost) == len(pair_.worker.lost) == 1
        await pair_.server.close()
        return pair_

    async def test_closing_tells_both_owners_once(self) -> None:
        async def close(pair_: Pair) -> None:
            pair_.link.send(output(10))
            pair_.link.close("enough")
            pair_.link.close("twice")
            assert pair_.link.closed
            assert not pair_.gateway.lost

        pair_ = await self._ends(close)
        assert pair_.gateway.lost == ["enough"]
        assert len(pair_.worker.messages) == 1

    async def test_sending_on_a_closed_link_is_harmless(self) -> None:
        async def close(pair_: Pair) -> None:
            pair_.link.close("enough")
            pair_.link.send(output(10))

        await self._ends(close)

    async def test_a_peer_that_does_not_read_overflows_and_is_closed(self) -> None:
        async def flood(pair_: Pair) -> None:
            while not pair_.worker_link.closed:
                pair_.worker_link.send(output(100_000))

        pair_ = await self._ends(flood, LinkLimits(write_bytes_max=1 << 20))
        assert "wait to be sent" in pair_.worker.lost[0]

    async def test_a_frame_over_the_limit_closes(self) -> None:
        async def send(pair_: Pair) -> None:
            pair_.link.send(output(50_000))

        pair_ = await self._ends(send, replace(FAST, frame_bytes_max=10_000))
        assert "at most 10000" in pair_.worker.lost[0]

    async def test_noise_closes(self) -> None:
        async def send(pair_: Pair) -> None:
            pair_.link.send_serialized(b"\xff\xff\xff\xff")

        pair_ = await self._ends(send)
        assert "not a LinkMessage" in pair_.worker.lost[0]

    async def test_a_silent_peer_is_closed(self) -> None:
        peer = Peer()
        server = await listen("127.0.0.1", 0, WORKER, lambda _: peer, FAST)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        gateway = GatewayHandshake(GATEWAY, b"g" * 32)
        size = struct.unpack("<I", await reader.readexactly(4))[0]
        (proof,) = gateway.receive(LinkMessage.FromString(await reader.readexactly(size))).send
        body = proof.SerializeToString()
        writer.write(struct.pack("<I", len(body)) + body)
        await until(lambda: bool(peer.lost))
        assert "no byte" in peer.lost[0]
        writer.close()
        await server.close()
