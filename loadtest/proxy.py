"""A bad network for one TCP service: every byte takes its time, in order, from a seed.

    async with Proxy("127.0.0.1", port, Network(delay_s=0.04, jitter_s=0.01), seed=1) as proxy:
        connect to proxy.port

Each direction of each connection has a chance of its own. What waits on the way is bounded: beyond it the proxy reads
no more, and the sender's TCP slows down.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass
from typing import Self

CHUNK_BYTES = 64 << 10
WAITING_MAX = 1024
"""Chunks on the way in one direction."""
CONNECT_S = 10.0


@dataclass(frozen=True)
class Network:
    """One way takes `delay_s`, and up to `jitter_s` more."""

    delay_s: float = 0.0
    jitter_s: float = 0.0


def round_trip(seconds: float, jitter_share: float = 0.25) -> Network:
    """A network whose round trip takes this on average, each way varying by `jitter_share` of the way."""
    way = seconds / 2
    return Network(way * (1 - jitter_share / 2), way * jitter_share)


class Proxy:
    """See the module. `port` is where it listens, on the loopback."""

    def __init__(self, host: str, port: int, network: Network, seed: int = 0) -> None:
        self.network = network
        self.port = 0
        self.connections = 0
        """Ever accepted."""
        self._target = (host, port)
        self._seed = seed
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Aborted transports close with the loop's next round.
        await asyncio.sleep(0)

    def reset_all(self) -> None:
        """Cut every connection, without a word."""
        for writer in list(self._writers):
            # Without lingering, closing says RST instead of FIN.
            end = writer.get_extra_info("socket")
            if end is not None and not writer.transport.is_closing():
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        number, self.connections = self.connections, self.connections + 1
        self._writers.add(writer)
        there: asyncio.StreamWriter | None = None
        ways: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(CONNECT_S):
                back, there = await asyncio.open_connection(*self._target)
            self._writers.add(there)
            for end, other, name in ((reader, there, "up"), (back, writer, "down")):
                ways.append(asyncio.create_task(self._way(end, other, f"{number}/{name}")))
            await asyncio.gather(*ways)
        except (OSError, TimeoutError, asyncio.CancelledError):
            # The task is the server's own, and nobody waits for it: whatever ends it ends both sockets.
            pass
        finally:
            for way in ways:
                way.cancel()
            for side in (writer, there):
                if side is not None:
                    side.transport.abort()
                    self._writers.discard(side)
            await asyncio.gather(*ways, return_exceptions=True)

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        """One direction, until it ends."""
        chance = random.Random(f"{self._seed}/{name}")
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_MAX)

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not data:
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        delivering = asyncio.create_task(deliver())
        last = 0.0
        try:
            while True:
                data = await reader.read(CHUNK_BYTES)
                last = max(last, loop.time() + self.network.delay_s + chance.random() * self.network.jitter_s)
                await waiting.put((last, data))
                if not data:
                    break
            await delivering
        finally:
            delivering.cancel()
