"""Redis servers for single tests: primaries and replicas that may be killed, paused and started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from loadtest.processes import guard, release
from overworld.store.local_redis import HOST, LocalRedis
from tests.parts.ports import free_port


async def command(port: int, *words: str) -> bytes:
    """First line of the answer to one command; enough for what fixtures ask."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
            writer.write(f"*{len(words)}\r\n{''.join(parts)}".encode())
            return (await reader.readuntil(b"\r\n")).rstrip()
        finally:
            writer.close()
            await writer.wait_closed()


async def flush(port: int) -> None:
    """Empty the server of keys and of scripts."""
    assert await command(port, "FLUSHALL", "SYNC") == b"+OK"
    assert await command(port, "SCRIPT", "FLUSH", "SYNC") == b"+OK"


class RedisFactory:
    """Starts servers below one folder and ends them all; so does the reaper, should this process be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: list[LocalRedis] = []
        self._guarded: list[int] = []

    async def start(self, *, appendonly: bool = False, options: Sequence[str] = ()) -> LocalRedis:
        """A new primary with an empty folder."""
        return await self._start(appendonly, None, options)

    async def start_replica(self, primary: LocalRedis, *, options: Sequence[str] = ()) -> LocalRedis:
        """A new replica of `primary`; returns once the primary counts it in."""
        before = await _replicas(primary)
        replica = await self._start(False, primary.port, options)
        deadline = time.monotonic() + 30
        while await _replicas(primary) <= before:
            await asyncio.sleep(0.01)
            assert time.monotonic() < deadline, f"the replica has not caught up in 30 s; see {replica.log}"
        return replica

    async def restart(self, server: LocalRedis, *, appendonly: bool = False) -> None:
        """Start a server that was stopped or killed again: same port, same files."""
        await server.start(server.folder, server.port, appendonly=appendonly)
        self._guard(server)

    def kill_all(self) -> None:
        """End whatever runs."""
        for server in self.servers:
            server.kill()
        for pid in self._guarded:
            release(pid)
        self.servers.clear()
        self._guarded.clear()

    async def _start(self, appendonly: bool, replica_of: int | None, options: Sequence[str]) -> LocalRedis:
        server = LocalRedis()
        self.servers.append(server)
        folder = self.folder / f"redis-{len(self.servers)}"
        await server.start(folder, free_port(), appendonly=appendonly, replica_of=replica_of, options=options)
        self._guard(server)
        return server

    def _guard(self, server: LocalRedis) -> None:
        self._guarded.append(server.pid)
        guard(server.pid)


async def _replicas(primary: LocalRedis) -> int:
    """How many replicas have the primary's whole history up to now."""
    return int((await command(primary.port, "WAIT", "100", "1"))[1:])
