"""Answers of other HTTP servers, read whole and never larger than expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_PIECE_BYTES = 16 << 10


async def read_whole(answer: ClientResponse, bytes_max: int) -> bytes:
    """The body, decompressed. (`content.read(n)` gives what has come so far, which may be a part of it.)

    Raises ValueError where it has more than `bytes_max` bytes; aiohttp.ClientError where it ends too early.
    """
    body = bytearray()
    async for piece in answer.content.iter_chunked(_PIECE_BYTES):
        body += piece
        if len(body) > bytes_max:
            raise ValueError(f"{answer.url} answers with more than {bytes_max} bytes")
    return bytes(body)
