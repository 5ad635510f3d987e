"""What somebody can do who holds the network between a gateway and a worker, but not the cluster key."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from overworld.errors import LinkError
from overworld.link import Link, LinkCredentials, LinkLimits, LinkServer, OwnCertificate, connect, listen
from overworld.link.handshake import GatewayHandshake, HandshakeState, WorkerHandshake
from overworld.link.tls import connecting
from overworld.wire.v1 import link_pb2 as pb
from overworld.wire.v1.link_pb2 import LinkMessage
from tests.link.network import WAIT_S, Middle, framed, read_message, until

pytestmark = pytest.mark.asyncio

KEY = b"k" * 32
WORKER = LinkCredentials(KEY, "world-1", "worker-a")
GATEWAY = LinkCredentials(KEY, "world-1", "gateway-a")
SECRET = b"what players say to each other"


@dataclass
class Peer:
    """Keeps what it is told."""

    ticks: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def on_message(self, link: Link, message: LinkMessage) -> None:
        self.ticks.append(message.output.tick)

    def on_lost(self, link: Link, reason: str) -> None:
        self.lost.append(reason)

    def on_link(self, link: Link) -> Peer:
        self.links.append(link)
        return self


@dataclass
class Scene:
    """A worker, somebody in the middle, and the port at which gateways meet them."""

    server: LinkServer
    worker: Peer
    middle: Middle
    port: int

    async def link(self, gateway: Peer) -> Link:
        """A gateway's link to the worker, through the middle."""
        link = await connect("127.0.0.1", self.port, GATEWAY, gateway, WAIT_S)
        await until(lambda: bool(self.worker.links))
        return link

    async def close(self) -> None:
        await self.server.close()
        await self.middle.close()


@pytest_asyncio.fixture(params=["plain", "tls"])
async def scene(request: pytest.FixtureRequest) -> Scene:
    """With and without encryption. Closed by the test, within its loop."""
    return await set_scene(OwnCertificate.make() if request.param == "tls" else None)


async def set_scene(certificate: OwnCertificate | None) -> Scene:
    worker = Peer()
    server = await listen("127.0.0.1", 0, WORKER, worker.on_link, LinkLimits(handshake_s=2.0), certificate)
    middle = Middle(server.port)
    return Scene(server, worker, middle, await middle.start())


def output(tick: int) -> LinkMessage:
    return LinkMessage(output=pb.TickOutput(shard=1, tick=tick, updates=SECRET))


async def closed_without_a_link(reader: asyncio.StreamReader, worker: Peer) -> None:
    """The worker ends the connection, and no link has come of it."""
    before = len(worker.links)
    async with asyncio.timeout(WAIT_S):
        with contextlib.suppress(ConnectionResetError):
            await reader.read(-1)
    assert len(worker.links) == before


class TestReplay:
    async def test_a_whole_recorded_handshake_opens_nothing_a_second_time(self, scene: Scene) -> None:
        link = await scene.link(Peer())
        link.send(output(1))
        await until(lambda: scene.worker.ticks == [1])
        recorded = b"".join(scene.middle.sent_up)
        link.close("done")
        await until(lambda: bool(scene.worker.lost))
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.server.port)
        await read_message(reader)
        writer.write(recorded)
        await closed_without_a_link(reader, scene.worker)
        assert scene.worker.ticks == [1]
        writer.close()
        await scene.close()

    async def test_a_recorded_worker_convinces_no_gateway(self, scene: Scene) -> None:
        link = await scene.link(Peer())
        scene.worker.links[0].send(output(1))
        await until(lambda: len(b"".join(scene.middle.sent_down)) > len(SECRET))
        recorded = b"".join(scene.middle.sent_down)
        link.close("done")

        async def play_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(recorded)
            await reader.read(-1)
            writer.close()

        player = await asyncio.start_server(play_back, "127.0.0.1", 0)
        gateway = Peer()
        with pytest.raises(LinkError):
            await connect("127.0.0.1", player.sockets[0].getsockname()[1], GATEWAY, gateway, 2.0)
        assert gateway.ticks == []
        player.close()
        await scene.close()


class TestReflection:
    async def test_a_worker_is_not_convinced_by_what_another_worker_says(self) -> None:
        """Both accept, so the one in the middle would have to turn one's proof into the other's role."""
        one, other = WorkerHandshake(WORKER, b"1" * 32), WorkerHandshake(WORKER, b"2" * 32)
        one.start()
        (challenge,) = other.start()
        gateway = GatewayHandshake(GATEWAY, b"3" * 32)
        (proof,) = gateway.receive(challenge).send
        (ready,) = other.receive(proof).send
        forged = LinkMessage(proof=pb.LinkProof(nonce=b"2" * 32, mac=ready.ready.mac, contract="world-1"))
        assert one.receive(forged).state is HandshakeState.REFUSED
        assert one.receive(ready).state is HandshakeState.REFUSED

    async def test_a_gateways_proof_for_one_worker_is_none_for_another(self) -> None:
        """Relayed as it is, to a worker that has said another nonce."""
        one, other = WorkerHandshake(WORKER, b"1" * 32), WorkerHandshake(WORKER, b"2" * 32)
        gateway = GatewayHandshake(GATEWAY, b"3" * 32)
        other.start()
        (proof,) = gateway.receive(one.start()[0]).send
        assert other.receive(proof).state is HandshakeState.REFUSED

    async def test_two_gateways_cannot_be_joined_to_each_other(self) -> None:
        """The one in the middle says the challenge, and hands each one's proof to the other as a worker's."""
        one, other = GatewayHandshake(GATEWAY, b"1" * 32), GatewayHandshake(GATEWAY, b"2" * 32)
        (proof,) = one.receive(LinkMessage(challenge=pb.LinkChallenge(nonce=b"2" * 32, protocol=1))).send
        other.receive(LinkMessage(challenge=pb.LinkChallenge(nonce=b"1" * 32, protocol=1)))
        swapped = LinkMessage(ready=pb.LinkReady(mac=proof.proof.mac, worker="w"))
        assert other.receive(swapped).state is HandshakeState.REFUSED

    async def test_a_worker_that_is_shown_itself_refuses(self, scene: Scene) -> None:
        """Everything it says is sent back to it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.server.port)
        challenge = await read_message(reader)
        writer.write(framed(challenge))
        await closed_without_a_link(reader, scene.worker)
        writer.close()
        await scene.close()


class TestEncryption:
    async def test_what_is_said_cannot_be_read(self) -> None:
        for certificate, read in ((None, True), (OwnCertificate.make(), False)):
            scene = await set_scene(certificate)
            gateway = Peer()
            link = await scene.link(gateway)
            scene.worker.links[0].send(output(1))
            link.send(output(2))
            await until(lambda: gateway.ticks == [1] and scene.worker.ticks == [2])  # noqa: B023 - awaited here
            assert link.encrypted is scene.worker.links[0].encrypted is not read
            for seen in (b"".join(scene.middle.sent_up), b"".join(scene.middle.sent_down)):
                assert (SECRET in seen) is read
            assert (b"gateway-a" in b"".join(scene.middle.sent_up)) is read
            await scene.close()

    @pytest.mark.parametrize("attack", ["repeat", "insert", "change", "leave_out"])
    async def test_who_touches_an_encrypted_link_ends_it(self, attack: str) -> None:
        scene = await set_scene(OwnCertificate.make())
        gateway = Peer()
        await scene.link(gateway)
        scene.worker.links[0].send(output(1))
        await until(lambda: gateway.ticks == [1])
        before = len(scene.middle.sent_down)
        match attack:
            case "repeat":
                scene.middle.down = lambda data: data + data
            case "insert":
                scene.middle.down = lambda data: framed(output(7)) + data
            case "change":
                scene.middle.down = lambda data: data[:-1] + bytes((data[-1] ^ 1,))
            case _:
                # One message is kept back, the next passes.
                scene.middle.down = lambda data: b"" if len(scene.middle.sent_down) == before + 1 else data
        scene.worker.links[0].send(output(2))
        await until(lambda: len(scene.middle.sent_down) > before)
        scene.worker.links[0].send(output(3))
        await until(lambda: bool(gateway.lost))
        assert gateway.ticks in ([1], [1, 2]), "nothing twice, nothing left out, nothing forged"
        await scene.close()

    async def test_a_link_that_is_not_encrypted_can_be_added_to(self) -> None:
        """The price of a plain link, held here so that nobody writes otherwise."""
        scene = await set_scene(None)
        gateway = Peer()
        await scene.link(gateway)
        scene.middle.writers[1].write(framed(output(7)))
        await until(lambda: gateway.ticks == [7])
        await scene.close()

    async def test_who_ends_tls_in_the_middle_is_refused(self) -> None:
        """With a certificate of their own towards the gateway; what is said inside is relayed as it is."""
        scene = await set_scene(OwnCertificate.make())
        theirs = OwnCertificate.make()
        relayed: list[bytes] = []

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", scene.server.port)
            writer.write(framed(await read_message(there)))
            await asyncio.gather(writer.start_tls(theirs.context), back.start_tls(connecting()))
            proof = await read_message(reader)
            assert proof.proof.gateway == "gateway-a"
            back.write(framed(proof))
            answer = await read_message(there)
            relayed.append(answer.SerializeToString())
            writer.write(framed(answer))
            await writer.drain()
            writer.close()
            back.close()

        middle = await asyncio.start_server(relay, "127.0.0.1", 0)
        with pytest.raises(LinkError, match="refused: not authenticated"):
            await connect("127.0.0.1", middle.sockets[0].getsockname()[1], GATEWAY, Peer(), WAIT_S)
        assert LinkMessage.FromString(relayed[0]).refusal.reason == "not authenticated"
        assert scene.worker.links == []
        middle.close()
        await scene.close()

    async def test_the_offer_of_tls_cannot_be_taken_out(self) -> None:
        """The gateway is made to believe that the worker does not encrypt: what it proves then is worth nothing."""
        scene = await set_scene(OwnCertificate.make())

        def without_the_offer(data: bytes) -> bytes:
            size = struct.unpack("<I", data[:4])[0]
            challenge = LinkMessage.FromString(data[4 : 4 + size])
            assert challenge.challenge.tls
            challenge.challenge.tls = False
            return framed(challenge)

        scene.middle.down = without_the_offer
        with pytest.raises(LinkError):
            await connect("127.0.0.1", scene.port, GATEWAY, Peer(), 2.0)
        assert scene.worker.links == []
        await scene.close()
        # Not even where the middle speaks TLS with the worker itself, and hands the plain proof on inside it.
        worker = WorkerHandshake(WORKER, b"w" * 32, OwnCertificate.make().binding)
        gateway = GatewayHandshake(GATEWAY, b"g" * 32)
        (challenge,) = worker.start()
        challenge.challenge.tls = False
        (proof,) = gateway.receive(challenge).send
        assert worker.receive(proof).state is HandshakeState.REFUSED

    async def test_nothing_said_before_tls_counts(self) -> None:
        """Bytes slipped in behind the challenge would otherwise be read as if the worker had said them inside."""
        scene = await set_scene(OwnCertificate.make())
        scene.middle.down = lambda data: data + framed(output(7)) if len(scene.middle.sent_down) == 1 else data
        gateway = Peer()
        with pytest.raises(LinkError, match="between the challenge and TLS"):
            await connect("127.0.0.1", scene.port, GATEWAY, gateway, WAIT_S)
        assert gateway.ticks == []
        await scene.close()

    async def test_who_never_says_hello_to_tls_is_closed(self) -> None:
        scene = await set_scene(OwnCertificate.make())
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.server.port)
        await read_message(reader)
        await closed_without_a_link(reader, scene.worker)
        await until(lambda: not scene.server.links)
        writer.close()
        await scene.close()

    async def test_messages_of_all_sizes_arrive_whole_and_in_order(self) -> None:
        scene = await set_scene(OwnCertificate.make())
        gateway = Peer()
        await scene.link(gateway)
        sizes = [0, 1, 100, 70_000, 300_000, 3, 1_500_000, 0, 200_000, 17]
        for tick, size in enumerate(sizes, 1):
            scene.worker.links[0].send(LinkMessage(output=pb.TickOutput(shard=1, tick=tick, updates=bytes(size))))
        await until(lambda: len(gateway.ticks) == len(sizes))
        assert gateway.ticks == list(range(1, len(sizes) + 1))
        await scene.close()

    async def test_a_peer_that_does_not_read_overflows_and_is_closed(self) -> None:
        worker = Peer()
        limits = LinkLimits(write_bytes_max=1 << 20)
        server = await listen("127.0.0.1", 0, WORKER, worker.on_link, limits, OwnCertificate.make())
        link = await connect("127.0.0.1", server.port, GATEWAY, Peer(), WAIT_S)
        await until(lambda: bool(worker.links))
        here = worker.links[0]
        big = LinkMessage(output=pb.TickOutput(shard=1, tick=1, updates=bytes(100_000))).SerializeToString()
        sent = 0
        while not here.closed:
            here.send_serialized(big)
            sent += len(big)
            assert sent < 64 << 20
        await until(lambda: bool(worker.lost))
        assert "wait to be sent" in worker.lost[0]
        link.close("done")
        await server.close()


async def test_a_certificate_is_new_in_every_process_and_its_key_is_nowhere_to_be_seen() -> None:
    one, other = OwnCertificate.make(), OwnCertificate.make()
    assert one.binding != other.binding
    assert "PRIVATE" not in repr(one)
