"""Passwords of Redis that expire, as Azure Managed Redis has them: an issuer, and a gate that cuts who is out of date.

The issuer is a `TokenSource`: each token is a new password of one ACL user, taken back when it expires. Redis itself
lets a connection live on whatever becomes of its password; the gate stands in front of a server, reads the AUTH that
passes, and resets every connection whose newest password has expired.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Self

from redis.asyncio import Redis

from overworld.store.credentials import RedisToken
from tests.parts.ports import free_port
from tests.parts.redis import RedisFactory
from tests.parts.tls import join

USER = "game"
LOOK_S = 0.05
_AUTH = re.compile(rb"\*3\r\n\$4\r\nAUTH\r\n\$\d+\r\n[^\r]*\r\n\$\d+\r\n([^\r]*)\r\n")
_AUTH_BYTES_MAX = 256


class Issuer:
    """Gives out passwords that are good for `life_s`, on all servers of `ports`. `fails`: gives none."""

    def __init__(self, ports: Sequence[int], life_s: float) -> None:
        self._admins = [Redis(port=port) for port in ports]
        self._life_s = life_s
        self._ends_s: dict[str, float] = {}
        self.fails = False
        self.issued = 0
        self.refused = 0

    async def fetch(self) -> RedisToken:
        """See TokenSource."""
        if self.fails:
            self.refused += 1
            raise OSError("the issuer is away")
        now_s = time.monotonic()
        password = secrets.token_urlsafe(24)
        old = [f"<{word}" for word, end_s in self._ends_s.items() if end_s <= now_s]
        for admin in self._admins:
            await admin.execute_command("ACL", "SETUSER", USER, "on", f">{password}", "~*", "&*", "+@all", *old)  # type: ignore[no-untyped-call]
        self._ends_s = {word: end_s for word, end_s in self._ends_s.items() if end_s > now_s}
        self._ends_s[password] = now_s + self._life_s
        self.issued += 1
        return RedisToken(USER, password, self._life_s)

    async def revoke(self) -> int:
        """Take every password back and close every connection that used one. Returns how many."""
        self._ends_s.clear()
        killed = 0
        for admin in self._admins:
            await admin.execute_command("ACL", "SETUSER", USER, "resetpass")  # type: ignore[no-untyped-call]
            killed += int(await admin.execute_command("CLIENT", "KILL", "USER", USER))  # type: ignore[no-untyped-call]
        return killed

    def is_good(self, password: str) -> bool:
        """Whether it has not expired."""
        return self._ends_s.get(password, 0.0) > time.monotonic()

    async def close(self) -> None:
        """See TokenSource."""
        for admin in self._admins:
            await admin.aclose()


class Gate:
    """Stands in front of a server and closes connections whose password has expired. `auths`: AUTHs that passed."""

    def __init__(self, target_port: int, issuer: Issuer, port: int = 0) -> None:
        self.port = port
        self.auths = 0
        self.cut = 0
        self.connections = 0
        self._target_port = target_port
        self._issuer = issuer
        self._shown: dict[asyncio.StreamWriter, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Of the gate."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._looking = self._keep(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, coroutine: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for writer, password in list(self._shown.items()):
                if not self._issuer.is_good(password):
                    self.cut += 1
                    self._shown.pop(writer, None)
                    writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        ends = [writer]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            back, there = await asyncio.open_connection("127.0.0.1", self._target_port)
            ends.append(there)
            answers = self._keep(_pass(back, writer))
            seen = b""
            try:
                while data := await reader.read(65536):
                    seen = seen[-_AUTH_BYTES_MAX:] + data
                    for match in _AUTH.finditer(seen):
                        self._shown[writer] = match[1].decode()
                        self.auths += 1
                        seen = seen[match.end() :]
                    there.write(data)
                    await there.drain()
            finally:
                answers.cancel()
        self._shown.pop(writer, None)
        for end in ends:
            end.transport.abort()


@contextlib.asynccontextmanager
async def gated_cluster(factory: RedisFactory, life_s: float) -> AsyncIterator[tuple[Issuer, list[Gate]]]:
    """A cluster of three nodes that announce their gates, so that every connection passes one."""
    async with contextlib.AsyncExitStack() as stack:
        servers, doors = [], [free_port() for _ in range(3)]
        for door in doors:
            bus = str(free_port())
            options = ("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-announce-port", str(door))
            servers.append(await factory.start(options=(*options, "--cluster-announce-bus-port", bus)))
        issuer = Issuer([server.port for server in servers], life_s)
        gates = [Gate(server.port, issuer, door) for server, door in zip(servers, doors, strict=True)]
        for gate in gates:
            await stack.enter_async_context(gate)
        await join(servers)
        yield issuer, gates


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
