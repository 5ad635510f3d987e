"""Players' TLS at the gateway itself: the same game inside it, bounded handshakes, and certificates that change."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from overworld import telemetry
from overworld.errors import SettingsError
from overworld.gateway.service import Gateway
from overworld.gateway.tls import PlayersTls
from overworld.settings import GatewaySettings, load
from tests.gateway.arena import Arena, refusals, until
from tests.gateway.raw_client import RawClient, upgrade
from tests.gateway.test_sockets import SMALL_BUFFERS
from tests.parts.tls import Certificate, certificate_for

pytestmark = pytest.mark.asyncio

HOST = "localhost"


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return certificate_for(HOST, tmp_path / "first")


def settings_of(certificate: Certificate) -> dict[str, Any]:
    return {"tls_certificate": str(certificate.certificate), "tls_key": str(certificate.key)}


def trusting(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.authority))


async def shown(port: int, certificate: Certificate) -> str:
    """The name that a new connection is shown; raises ssl.SSLError where it is not to be trusted."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(certificate), server_hostname=HOST)
    subject: Any = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return str(subject)


async def secure(arena: Arena, gateway: Gateway, certificate: Certificate, **how: Any) -> RawClient:
    """An open socket inside TLS."""
    client = RawClient(arena.contract.grid)
    arena.clients.append(client)
    return await client.open(gateway.port, tls=trusting(certificate), **how)


class Line:
    """A line to a gateway on which, while it is not `open`, nothing comes back: TLS at its end would read ahead."""

    def __init__(self, port: int) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self._port = port
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        short = socket.socket()
        short.setblocking(False)
        short.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(short, ("127.0.0.1", self._port))
        there, back = await asyncio.open_connection(sock=short, limit=4096)
        loop = asyncio.get_running_loop()
        self._tasks += [
            loop.create_task(self._pump(reader, back)),
            loop.create_task(self._pump(there, writer, self.open)),
        ]

    @staticmethod
    async def _pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event | None = None
    ) -> None:
        try:
            while data := await reader.read(4096):
                if gate is not None:
                    await gate.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.transport.abort()


class TestPlaying:
    async def test_players_are_told_the_way_over_https(self, arena: Arena, certificate: Certificate) -> None:
        gateway = await arena.gateway(**settings_of(certificate))
        page = f"https://{HOST}:{gateway.http_port}"
        async with aiohttp.ClientSession() as http, http.post(f"{page}/api/guest", ssl=trusting(certificate)) as answer:
            told = await answer.json()
        assert told["url"] == f"wss://{HOST}:{gateway.port}/play"

    async def test_who_trusts_another_authority_does_not_come_in(
        self, arena: Arena, certificate: Certificate, tmp_path: Path
    ) -> None:
        await arena.worker()
        gateway = await arena.gateway(**settings_of(certificate))
        with pytest.raises(ssl.SSLError, match="certificate verify failed"):
            await shown(gateway.port, certificate_for(HOST, tmp_path / "other"))
        assert await shown(gateway.port, certificate)

    async def test_a_plain_client_is_refused_and_counted(self, arena: Arena, certificate: Certificate) -> None:
        gateway = await arena.gateway(**settings_of(certificate))
        before = refusals("tls")
        client = await RawClient().connect(gateway.port)
        arena.clients.append(client)
        assert await client.request(upgrade(gateway.port)) == 0
        await until(lambda: refusals("tls") == before + 1, "counted")
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientError):
                await http.get(f"http://127.0.0.1:{gateway.http_port}/api/world")

    async def test_a_page_of_its_own_may_connect_and_others_may_not(
        self, arena: Arena, certificate: Certificate
    ) -> None:
        gateway = await arena.gateway(**settings_of(certificate))
        for origin, status in ((f"https://{HOST}:{gateway.http_port}", 101), ("https://evil.example", 403)):
            client = await RawClient().connect(gateway.port, tls=trusting(certificate))
            arena.clients.append(client)
            assert await client.request(upgrade(gateway.port, headers=[f"Origin: {origin}"])) == status

    async def test_a_slow_reader_is_behind_and_catches_up(self, arena: Arena, certificate: Certificate) -> None:
        """What waits inside TLS counts as backlog, as it does without."""
        await arena.worker()
        gateway = await arena.gateway(**SMALL_BUFFERS, **settings_of(certificate))
        line = Line(gateway.port)
        slow = RawClient(arena.contract.grid)
        arena.clients.append(slow)
        await slow.open(await line.start(), tls=trusting(certificate))
        line.open.clear()
        slow.hello(arena.token("slow"))
        connection = next(iter(gateway.players.connections))
        await until(lambda: connection.viewer is not None and connection.viewer.behind, "a slow reader")
        assert connection.socket is not None
        assert 0 < connection.socket.backlog_bytes < 64_000
        line.open.set()
        await slow.welcomed()
        await arena.sees_all(slow)
        frames = len(slow.frames)
        await slow.until(lambda: len(slow.frames) > frames + 10, "it is up to date again")
        assert slow.close_code is None
        await line.close()


class TestBounds:
    async def test_handshakes_that_do_not_end_are_bounded_and_others_play_on(
        self, arena: Arena, certificate: Certificate
    ) -> None:
        await arena.worker()
        gateway = await arena.gateway(**settings_of(certificate), handshakes_max=8, hello_s=1.0)
        witness = await secure(arena, gateway, certificate)
        witness.hello(arena.token("witness"))
        await witness.welcomed()
        half_open = [await RawClient().connect(gateway.port) for _ in range(4)]
        arena.clients += half_open
        await until(lambda: gateway._sockets is not None and gateway._sockets.open == 5, "all are counted")
        busy, late = refusals("busy"), refusals("tls")
        # One address may have half of the room, as without TLS.
        fifth = await RawClient().connect(gateway.port)
        arena.clients.append(fifth)
        await until(lambda: refusals("busy") == busy + 1, "the fifth is turned away")
        frames = len(witness.frames)
        await until(lambda: refusals("tls") == late + 4, "their time is over")
        await until(lambda: len(witness.frames) > frames + 5, "the witness plays on")
        await until(lambda: gateway._sockets is not None and gateway._sockets.open == 1, "nothing is left of them")
        again = await secure(arena, gateway, certificate)
        assert again.status == 101

    async def test_a_gateway_stops_while_somebody_shakes_hands(self, arena: Arena, certificate: Certificate) -> None:
        gateway = await arena.gateway(**settings_of(certificate))
        arena.clients.append(await RawClient().connect(gateway.port))
        await until(lambda: gateway._sockets is not None and gateway._sockets.open == 1, "it is counted")
        async with asyncio.timeout(10):
            assert await gateway.stop()


class TestCertificates:
    async def test_a_new_certificate_is_shown_to_newcomers_and_drops_nobody(
        self, arena: Arena, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("overworld.gateway.service.CERTIFICATE_S", 0.02)
        await arena.worker()
        gateway = await arena.gateway(**settings_of(certificate))
        player = await secure(arena, gateway, certificate)
        player.hello(arena.token("anna"))
        await player.welcomed()
        first = await shown(gateway.port, certificate)
        new = certificate_for(HOST, tmp_path / "second")
        reads = telemetry.gateway_certificate_reads_total
        failed, changed = reads.labels("failed"), reads.labels("new")
        before = (failed._value.get(), changed._value.get())
        # Half way through, the files do not belong together: newcomers are shown the old certificate.
        shutil.copy(new.certificate, certificate.certificate)
        await until(lambda: failed._value.get() > before[0], "the pair is refused")
        assert await shown(gateway.port, certificate) == first
        shutil.copy(new.key, certificate.key)
        await until(lambda: changed._value.get() == before[1] + 1, "the new pair is read")
        assert await shown(gateway.port, new) != first
        async with aiohttp.ClientSession() as http:
            url = f"https://{HOST}:{gateway.http_port}/api/world"
            async with http.get(url, ssl=trusting(new)) as answer:
                assert answer.status == 200
        frames = len(player.frames)
        await until(lambda: len(player.frames) > frames + 3, "who was there plays on")
        assert telemetry.gateway_certificate_expires_seconds._value.get() > 0

    async def test_what_cannot_be_used_stops_a_gateway_from_starting(
        self, certificate: Certificate, tmp_path: Path
    ) -> None:
        other = certificate_for(HOST, tmp_path / "other")
        noise = tmp_path / "noise.pem"
        noise.write_text("certificate")
        for files, why in (
            ((certificate.certificate, other.key), "no certificate and its key"),
            ((noise, certificate.key), "no certificate and its key"),
            ((certificate.certificate, tmp_path / "missing"), "No such file"),
        ):
            with pytest.raises(SettingsError, match=why):
                PlayersTls(*map(str, files))

    async def test_one_file_without_the_other_is_a_mistake(self) -> None:
        with pytest.raises(SettingsError, match="both or neither"):
            load(GatewaySettings, tls_certificate="x.pem")
