"""Somebody who holds the network between two sides of a link: sees every byte, and may change what passes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from overworld.wire.v1.link_pb2 import LinkMessage

WAIT_S = 10.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, at most WAIT_S seconds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.002)


def framed(message: LinkMessage) -> bytes:
    """As it stands on a link that is not encrypted."""
    body = message.SerializeToString()
    return struct.pack("<I", len(body)) + body


async def read_message(reader: asyncio.StreamReader) -> LinkMessage:
    """The next message of a link that is not encrypted."""
    size = struct.unpack("<I", await reader.readexactly(4))[0]
    return LinkMessage.FromString(await reader.readexactly(size))


def _unchanged(data: bytes) -> bytes:
    return data


@dataclass
class Middle:
    """A relay to `port`. `up`, `down` may change what goes to the worker, and what comes from it, chunk by chunk."""

    port: int
    up: Callable[[bytes], bytes] = _unchanged
    down: Callable[[bytes], bytes] = _unchanged
    sent_up: list[bytes] = field(default_factory=list)
    sent_down: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    """Of each connection, the one to the worker, then the one to who connected."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop, and close what is open."""
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers += [back, writer]
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._pump(reader, back, self.sent_up, "up")))
        self._tasks.append(loop.create_task(self._pump(there, writer, self.sent_down, "down")))

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        seen: list[bytes],
        way: str,
    ) -> None:
        try:
            while data := await reader.read(65536):
                seen.append(data)
                writer.write(self.up(data) if way == "up" else self.down(data))
        except ConnectionError:
            return
        finally:
            writer.close()
