"""An HTTP proxy that stands before a server and answers for it when told to: an error status, or never."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

HOST = "127.0.0.1"
BODY_BYTES_MAX = 64 << 20
FORWARD_S = 30.0
_OWN_HEADERS = frozenset(("connection", "content-length", "transfer-encoding", "keep-alive"))


class HttpProxy:
    """Passes requests on to a port of this machine. The switches may be set at any time.

    status: answer with this status instead; 0 passes on.
    hang: take requests and do not answer, until it is False again.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.status = 0
        self.hang = False
        self.refused = 0
        """Requests that were not passed on."""
        self._runner: web.AppRunner | None = None
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._client = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=FORWARD_S))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        assert self._client is not None
        self.hang = False
        await self._runner.cleanup()
        await self._client.close()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.status or self.hang:
            self.refused += 1
        while self.hang:
            await asyncio.sleep(0.05)
        if self.status:
            return web.Response(status=self.status)
        assert self._client is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS}
        # As it came: nothing may be encoded anew, and a signature covers headers that would be added.
        url = URL(f"http://{HOST}:{self.target_port}{request.raw_path}", encoded=True)
        async with self._client.request(
            request.method, url, data=body or None, headers=headers, skip_auto_headers=("Content-Type",)
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN_HEADERS}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)
