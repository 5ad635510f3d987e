"""The order of a lane, against a server that answers what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hiredis
import pytest
from redis.asyncio.connection import Connection

from overworld.store.lane import Command, Lane, LaneLimits
from overworld.store.scripts import APPEND

pytestmark = pytest.mark.asyncio


class ToldServer:
    """Notes the last argument of each command and answers the next of `answers`, or 1 where there is none left."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers
        self.asked: list[bytes] = []
        self.scripts: list[bytes] = []
        self.tasks: list[asyncio.Task[None] | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (words := parser.gets()) is not False:
                assert isinstance(words, list)
                if words[0] not in (b"EVALSHA", b"EVAL"):
                    writer.write(b"+OK\r\n")
                    continue
                self.scripts.append(words[0])
                self.asked.append(words[-1])
                writer.write(self.answers.pop(0) if self.answers else b"*1\r\n:1\r\n")
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def lane_to(server: ToldServer, limits: LaneLimits | None = None) -> AsyncIterator[Lane]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]

        async def stay(_lane: Lane, _moved: bool) -> None:
            return

        lane = Lane("told", lambda: Connection(port=port, protocol=2), None, limits or LaneLimits(), stay)
        yield lane
        await lane.close()
        await asyncio.gather(*(task for task in server.tasks if task is not None))


def ask(lane: Lane, key: bytes, number: int) -> asyncio.Future[object]:
    loop = asyncio.get_running_loop()
    command = Command(APPEND, [key], [b"%b %d" % (key, number)], loop.create_future(), loop.time() + 10)
    lane.submit(command)
    return command.future


@pytest.mark.parametrize("refusal", [b"-TRYAGAIN later\r\n", b"-NOSCRIPT what?\r\n", b"-READONLY replica\r\n"])
async def test_a_later_command_of_a_key_never_overtakes_one_that_is_tried_again(refusal: bytes) -> None:
    server = ToldServer([refusal])
    async with lane_to(server) as lane:
        assert await asyncio.gather(*(ask(lane, b"s", number) for number in (1, 2, 3))) == [[1]] * 3
    assert server.asked == [b"s 1", b"s 1", b"s 2", b"s 3"]


async def test_commands_of_different_keys_travel_together() -> None:
    server = ToldServer([])
    async with lane_to(server) as lane:
        keys = [b"a", b"b", b"c"]
        await asyncio.gather(*(ask(lane, key, number) for number in (1, 2) for key in keys))
    assert server.asked == [b"a 1", b"b 1", b"c 1", b"a 2", b"b 2", b"c 2"]


async def test_only_the_command_that_was_refused_is_sent_again() -> None:
    server = ToldServer([b"*1\r\n:1\r\n", b"-NOSCRIPT what?\r\n", b"*1\r\n:1\r\n"])
    async with lane_to(server) as lane:
        await asyncio.gather(*(ask(lane, key, 1) for key in (b"a", b"b", b"c")))
    assert list(zip(server.scripts, server.asked, strict=True)) == [
        (b"EVALSHA", b"a 1"),
        (b"EVALSHA", b"b 1"),
        (b"EVALSHA", b"c 1"),
        (b"EVAL", b"b 1"),
    ]


async def test_a_command_nobody_waits_for_any_more_is_not_sent() -> None:
    server = ToldServer([])
    async with lane_to(server, LaneLimits(batch_commands_max=1)) as lane:
        first, second, third = (ask(lane, key, 1) for key in (b"a", b"b", b"c"))
        second.cancel()
        assert list(await asyncio.gather(first, third)) == [[1], [1]]
    assert server.asked == [b"a 1", b"c 1"]


async def test_a_batch_is_bounded_in_bytes() -> None:
    server = ToldServer([])
    async with lane_to(server, LaneLimits(batch_bytes_max=1)) as lane:
        await asyncio.gather(*(ask(lane, key, 1) for key in (b"a", b"b")))
    assert server.asked == [b"a 1", b"b 1"]
