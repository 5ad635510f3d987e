"""The gateway's internal port: /livez, /readyz, /metrics, the admin API. Never exposed to players."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from overworld.admin.api import AdminApi


def internal_app(
    readiness: Callable[[], str], refresh: Callable[[], None], admin: AdminApi | None = None
) -> web.Application:
    """`readiness` returns "" or why not; `refresh` brings gauges up to date."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_: web.Request) -> web.Response:
        why_not = readiness()
        return web.Response(status=503 if why_not else 200, text=f"{why_not or 'ready'}\n")

    async def metrics(_: web.Request) -> web.Response:
        refresh()
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    if admin is not None:
        admin.mount(app)
    return app
