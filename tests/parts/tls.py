"""Redis with TLS: an authority of the tests' own, and a cluster of three nodes whose certificate says `localhost`.

Servers out of a wheel have no TLS; Debian's has. Its package redis-tools holds the server's program under another name,
and unlike redis-server it starts no service of its own.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.asyncio import Redis

from overworld.store.local_redis import LocalRedis
from tests.parts.ports import free_port
from tests.parts.redis import RedisFactory, command

SLOTS = 16384
READY_S_MAX = 30
PROGRAM_OF_REDIS_TOOLS = Path("/usr/bin/redis-check-rdb")


@dataclass(frozen=True)
class Certificate:
    """Files of a server's certificate, its key, and the authority that signed it."""

    certificate: Path
    key: Path
    authority: Path

    @property
    def options(self) -> list[str]:
        """For a server."""
        files = ("--tls-cert-file", self.certificate, "--tls-key-file", self.key, "--tls-ca-cert-file", self.authority)
        return [*map(str, files), "--tls-auth-clients", "no"]


def certificate_for(host: str, folder: Path) -> Certificate:
    """A new authority, and a certificate for one host name."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("tests' authority", host)]
    now = dt.datetime.now(dt.UTC)
    found = Certificate(folder / "server.pem", folder / "server.key", folder / "authority.pem")
    for number, path in enumerate((found.authority, found.certificate)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[number])
            .issuer_name(names[0])
            .public_key(keys[number].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
        )
        if number:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        signed = builder.sign(keys[0], hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    found.key.write_bytes(keys[1].private_bytes(*form))
    return found


def folder_of_server(folder: Path) -> Path:
    """A folder for PATH with a redis-server that has TLS."""
    installed = shutil.which("redis-server") or PROGRAM_OF_REDIS_TOOLS
    assert Path(installed).exists(), "no Redis with TLS: install Debian's redis-tools (make setup, as root)"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "redis-server").symlink_to(installed)
    return folder


@dataclass(frozen=True)
class TlsServers:
    """Running servers; each listens without TLS (`server.port`, for tests to look) and with (`ports`)."""

    servers: list[LocalRedis]
    ports: list[int]
    certificate: Certificate

    def url(self, host: str = "localhost") -> str:
        """Of the first one."""
        return f"rediss://{host}:{self.ports[0]}/0"

    @property
    def ca_file(self) -> str:
        """The authority to trust."""
        return str(self.certificate.authority)


async def start_tls_servers(factory: RedisFactory, folder: Path, count: int) -> TlsServers:
    """One server, or a cluster of several, with TLS between the nodes too."""
    certificate = certificate_for("localhost", folder / "tls")
    servers, ports = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder_of_server(folder / 'bin')}{os.pathsep}{os.environ['PATH']}")
        for _ in range(count):
            ports.append(free_port())
            options = ["--tls-port", str(ports[-1]), *certificate.options]
            if count > 1:
                bus = ("--tls-cluster", "yes", "--cluster-port", str(free_port()))
                options += ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", *bus]
            servers.append(await factory.start(options=options))
    if count > 1:
        await join(servers)
    return TlsServers(servers, ports, certificate)


async def join(servers: list[LocalRedis]) -> None:
    """Make a cluster of empty servers that share the slots."""
    buses = [await _setting(server, "cluster-port") for server in servers]
    for number, server in enumerate(servers):
        first, last = SLOTS * number // len(servers), SLOTS * (number + 1) // len(servers) - 1
        assert await command(server.port, "CLUSTER", "ADDSLOTSRANGE", str(first), str(last)) == b"+OK"
        assert await command(server.port, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1)) == b"+OK"
    own = int((await _setting(servers[0], "tls-port")) or 0)
    for server, bus in zip(servers[1:], buses[1:], strict=True):
        port = (await _setting(server, "tls-port")) if own else str(server.port)
        met = await command(servers[0].port, "CLUSTER", "MEET", "127.0.0.1", port, *([bus] if int(bus) else []))
        assert met == b"+OK", met
    deadline = time.monotonic() + READY_S_MAX
    for server in servers:
        while not await _sees_all(server, len(servers)):
            assert time.monotonic() < deadline, f"no cluster after {READY_S_MAX} s; see {server.log}"
            await asyncio.sleep(0.05)


async def _sees_all(server: LocalRedis, count: int) -> bool:
    text = await _bulk(server, "CLUSTER", "INFO")
    return "cluster_state:ok" in text and f"cluster_known_nodes:{count}\r" in text


async def _setting(server: LocalRedis, name: str) -> str:
    async with Redis(port=server.port) as client:
        return str((await client.config_get(name)).get(name, "0"))


async def _bulk(server: LocalRedis, *words: str) -> str:
    async with Redis(port=server.port) as client:
        client.response_callbacks.clear()
        return bytes(await client.execute_command(*words)).decode()  # type: ignore[no-untyped-call]
