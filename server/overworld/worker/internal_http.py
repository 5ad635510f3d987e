"""The worker's internal port: /livez, /readyz, /metrics, /status, the admin API, and /audit/state where it is switched
on. Never exposed to players.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from overworld.admin.api import AdminApi
from overworld.errors import SettingsError


@dataclass(frozen=True)
class Views:
    """What the port shows. `liveness` and `readiness` return "" or why not; `audit(shard, tick)` returns None where
    it is not kept, and tick 0 means the newest; `audit` itself is None where it is off. `refresh` brings gauges up to
    date.
    """

    liveness: Callable[[], str]
    readiness: Callable[[], str]
    refresh: Callable[[], None]
    status: Callable[[], dict[str, Any]]
    audit: Callable[[int, int], dict[str, Any] | None] | None = None


class InternalHttp:
    """A small HTTP server."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int, admin: AdminApi | None = None) -> None:
        """Listen. Raises SettingsError where the port cannot be had."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status", self._status)
        if self._views.audit is not None:
            app.router.add_get("/audit/state", self._audit)
        if admin is not None:
            admin.mount(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise SettingsError(f"the internal port {host}:{port} cannot be had: {error.strerror or error}") from error
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        dead = self._views.liveness()
        return web.Response(status=503 if dead else 200, text=f"{dead or 'alive'}\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        why_not = self._views.readiness()
        return web.Response(status=503 if why_not else 200, text=f"{why_not or 'ready'}\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        self._views.refresh()
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(self._views.status())

    async def _audit(self, request: web.Request) -> web.Response:
        assert self._views.audit is not None
        try:
            shard, tick = int(request.query["shard"]), int(request.query.get("tick", "0"))
        except (KeyError, ValueError):
            return web.Response(
                status=400, text="/audit/state?shard=N&tick=T, whole numbers; without tick the newest\n"
            )
        state = self._views.audit(shard, tick)
        if state is None:
            return web.Response(status=404, text=f"tick {tick} of shard {shard} is not kept here\n")
        return web.json_response(state)
