"""A bad network for one TCP service: every byte takes its time, in order, from a seed.

    async with Proxy("127.0.0.1", port, Network(delay_s=0.04, jitter_s=0.01), seed=1) as proxy:
        connect to proxy.port

What networks there are, and when bytes arrive, is in `overworld.client.networks`. Used by `overworld dev --network`,
`overworld bots --network`, proofs and tests. Each direction of each connection has a chance of its own. What waits on
the way is bounded: beyond it the proxy reads no more, and the sender's TCP slows down.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
import struct
from collections.abc import Sequence
from functools import partial
from typing import Self
from urllib.parse import urlsplit

from overworld.client.networks import Network, Way, after

CHUNK_BYTES = 64 << 10
WAITING_MAX = 1024
"""Chunks on the way in one direction."""
CONNECT_S = 10.0


class Proxy:
    """See the module. `port` is where it listens, on the loopback."""

    def __init__(self, host: str, port: int, network: Network, seed: int = 0) -> None:
        self.network = network
        """Of connections to come."""
        self.port = 0
        self.connections = 0
        """Ever accepted."""
        self.resets = 0
        """Connections that were cut, by the network or by `reset_all`."""
        self.half_open = 0
        """Connections that went silent for good."""
        self.target = (host, port)
        """Where connections to come lead: (host, port)."""
        self._seed = seed
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._ways: set[Way] = set()

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

    def become(self, network: Network) -> None:
        """Another network from now on, for open connections too: all but the resets and silences they have drawn."""
        self.network = network
        for way in self._ways:
            way.network = network

    def reset_all(self) -> None:
        """Cut every connection, without a word."""
        for writer in list(self._writers):
            self.resets += not writer.transport.is_closing()
            _reset(writer)

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
                back, there = await asyncio.open_connection(*self.target)
            self._writers.add(there)
            network, silent = self.network, asyncio.Event()
            for end, other, name in ((reader, there, "up"), (back, writer, "down")):
                chance = random.Random(f"{self._seed}/{number}/{name}")
                way = Way(network, chance, asyncio.get_running_loop().time())
                self._ways.add(way)
                ways.append(asyncio.create_task(_carry(end, other, way, silent)))
                ways[-1].add_done_callback(partial(self._way_ended, way))
            fate = asyncio.create_task(self._fate(network, f"{self._seed}/{number}", silent, (writer, there)))
            try:
                await asyncio.gather(*ways)
            finally:
                fate.cancel()
        except (OSError, TimeoutError, asyncio.CancelledError):
            # The task is the server's own, and nobody waits for it: whatever ends it ends both sockets.
            pass
        finally:
            for carrying in ways:
                carrying.cancel()
            for side in (writer, there):
                if side is not None:
                    side.transport.abort()
                    self._writers.discard(side)
            await asyncio.gather(*ways, return_exceptions=True)

    def _way_ended(self, way: Way, _: object) -> None:
        self._ways.discard(way)

    async def _fate(
        self, network: Network, seed: str, silent: asyncio.Event, ends: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        """What the network does to a connection as a whole: once each, if ever."""
        loop, chance = asyncio.get_running_loop(), random.Random(seed)
        reset = after(network.reset_every_s, chance, loop.time())
        half_open = after(network.half_open_every_s, chance, loop.time())
        if half_open < reset:
            await asyncio.sleep(half_open - loop.time())
            self.half_open += 1
            silent.set()
        if reset < math.inf:
            await asyncio.sleep(reset - loop.time())
            self.resets += 1
            for end in ends:
                _reset(end)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way, silent: asyncio.Event) -> None:
    """One direction, until it ends. While `silent`, what is read is lost, and an end is told to nobody."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_MAX)

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if silent.is_set():
                continue
            if not data:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    delivering = asyncio.create_task(deliver())
    try:
        while True:
            data = await reader.read(CHUNK_BYTES)
            await waiting.put((way.arrival(len(data), loop.time()), data))
            if not data:
                break
        await delivering
    finally:
        delivering.cancel()


def _reset(writer: asyncio.StreamWriter) -> None:
    # Without lingering, closing says RST instead of FIN.
    end = writer.get_extra_info("socket")
    if end is not None and not writer.transport.is_closing():
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Road:
    """The same bad network before several sockets: `async with` gives the addresses to connect to instead."""

    def __init__(self, urls: Sequence[str], network: Network, seed: int = 0) -> None:
        """Raises ValueError for an address that is not ws://host:port/...: a proxy cannot stand in for a TLS name."""
        self._urls = [urlsplit(url) for url in urls]
        for url, parts in zip(urls, self._urls, strict=True):
            if parts.scheme != "ws" or not parts.hostname or not parts.port:
                raise ValueError(f"a bad network is put before ws://host:port only, not {url!r}")
        self.proxies = [Proxy(url.hostname or "", url.port or 0, network, seed + i) for i, url in enumerate(self._urls)]

    async def __aenter__(self) -> tuple[str, ...]:
        pairs = zip(self._urls, self.proxies, strict=True)
        return tuple([f"ws://127.0.0.1:{(await proxy.__aenter__()).port}{url.path}" for url, proxy in pairs])

    async def __aexit__(self, *_: object) -> None:
        for proxy in self.proxies:
            await proxy.__aexit__(None, None, None)
