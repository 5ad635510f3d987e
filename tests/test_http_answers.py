"""Answers are read whole, in however many pieces they come, and never larger than expected."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from overworld.admin.cluster import Cluster
from overworld.admin.node import Node
from overworld.admin.rank import Caller, Rank
from overworld.admin.tokens import AdminTokens
from overworld.client.guest import ask_guest
from overworld.http_answers import read_whole
from overworld.store.memory import MemoryDirectory, MemoryRedis
from overworld.store.ports import Role

pytestmark = pytest.mark.asyncio

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PAUSE_S = 0.02


@asynccontextmanager
async def saying(pieces: Sequence[bytes], headers: str, forever: bool = False) -> AsyncIterator[str]:
    """A server whose answers come in these pieces, each by itself; host:port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(headers.encode())
            for piece in pieces:
                await writer.drain()
                await asyncio.sleep(PAUSE_S)
                writer.write(piece)
            while forever:
                writer.write(b" " * 65536)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def in_pieces(document: object, count: int = 5) -> tuple[list[bytes], str]:
    body = json.dumps(document).encode()
    size = -(-len(body) // count)
    return [body[i : i + size] for i in range(0, len(body), size)], f"{HEAD}Content-Length: {len(body)}\r\n\r\n"


async def read(address: str, bytes_max: int) -> bytes:
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}/") as answer:
        return await read_whole(answer, bytes_max)


async def test_a_body_in_pieces_is_read_whole() -> None:
    pieces, headers = in_pieces(list(range(100)))
    async with saying(pieces, headers) as address:
        assert json.loads(await read(address, sum(map(len, pieces)))) == list(range(100))


@pytest.mark.parametrize("forever", [False, True])
async def test_one_byte_too_many_is_an_error(forever: bool) -> None:
    pieces = [b"x" * 600, b"x" * 401]
    async with asyncio.timeout(10), saying(pieces, f"{HEAD}Connection: close\r\n\r\n", forever) as address:
        with pytest.raises(ValueError, match="more than 1000 bytes"):
            await read(address, 1000)


async def test_what_counts_is_the_size_once_unpacked() -> None:
    packed = gzip.compress(bytes(1 << 20))
    headers = f"{HEAD}Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    async with saying([packed], headers) as address:
        with pytest.raises(ValueError, match="more than 65536 bytes"):
            await read(address, 65536)


async def test_a_body_that_ends_early_is_an_error() -> None:
    async with saying([b"half"], f"{HEAD}Content-Length: 8\r\n\r\n") as address:
        with pytest.raises(aiohttp.ClientPayloadError):
            await read(address, 100)


async def test_a_guests_answer_in_pieces() -> None:
    pieces, headers = in_pieces({"token": "t", "pass": "p", "title": "demo", "urls": ["ws://a/play"]})
    async with saying(pieces, headers) as address:
        assert (await ask_guest(f"http://{address}")).token == "t"


class TestBetweenProcesses:
    """What one process of a cluster asks another for."""

    async def _asked(self, address: str) -> list[dict[str, Any]]:
        directory = MemoryDirectory(MemoryRedis())
        await directory.announce(Role.GATEWAY, "gateway-1", "ws://127.0.0.1:9/play", {}, address)
        node = Node(Role.WORKER, "worker-a", "w", {})
        cluster = Cluster(node, 1, directory, AdminTokens(b"k" * 32), asyncio.get_running_loop().time)
        try:
            return await cluster.gateways(Caller("anna", Rank.READER))
        finally:
            await cluster.close()

    async def test_an_answer_in_pieces(self) -> None:
        pieces, headers = in_pieces({"sockets": 3, "players": []})
        async with saying(pieces, headers) as address:
            [row] = await self._asked(address)
        assert (row["error"], row["sockets"]) == ("", 3)

    async def test_an_answer_without_an_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("overworld.admin.cluster.ANSWER_BYTES_MAX", 100_000)
        async with asyncio.timeout(10), saying([], f"{HEAD}Connection: close\r\n\r\n", True) as address:
            [row] = await self._asked(address)
        assert "more than 100000 bytes" in str(row["error"])
