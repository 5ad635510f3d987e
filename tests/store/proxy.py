"""A TCP proxy that stands between a client and a server and misbehaves when told to."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self


class FaultProxy:
    """Passes bytes both ways; the switches below may be set at any time.

    black_hole: takes bytes from either side and passes none on.
    lose_answers: passes requests on, then cuts the connection when the answer comes: the server has acted, the client
    does not know. Counts down once for each connection it cuts.
    lose_every: cut like that at every so many answers; 0 for never.
    cut_after_bytes: like lose_answers, but lets that many bytes of the answer through first.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.black_hole = False
        self.lose_answers = 0
        self.lose_every = 0
        self.answers = 0
        self.cut_after_bytes = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut_all(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def _lose_this_one(self) -> bool:
        self.answers += 1
        if self.lose_answers:
            self.lose_answers -= 1
            return True
        return self.lose_every > 0 and self.answers % self.lose_every == 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(to_writer)
        pair = (writer, to_writer)
        for coroutine in (self._pass(reader, to_writer, pair, False), self._pass(to_reader, writer, pair, True)):
            task = asyncio.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        answers: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.black_hole:
                    continue
                if answers and self._lose_this_one():
                    writer.write(data[: self.cut_after_bytes])
                    await writer.drain()
                    break
                writer.write(data)
                await writer.drain()
        for either in pair:
            self._writers.discard(either)
            either.transport.abort()
