"""The admin API's HTTP: paths, tokens, errors, one log line a call. Mounted at /admin/v1 of the internal port.

| path | |
|---|---|
| GET worlds, shards, workers, gateways, players, balance | the whole cluster |
| POST workers/NAME/drain | {"undo": false} |
| POST shards/N/migrate | {"to": worker's name or address} |
| POST shards/N/check | {"tick": to come, "cells": [...], "rows": false}: digests of cells, for load tests |
| POST worlds/NAME/pause, worlds/NAME/resume | |
| POST players/ID/kick | {"reason": text} |
| POST broadcast | {"text": text} |
| GET self, self/VIEW; POST self/ACTION | this process alone: what the others are made of |

Looking takes the role reader, worlds/NAME/... administrator, any other POST operator. Errors are {"error": text} with
400 (what was sent), 401 (no good token), 403 (a role is missing), 404, 409 (not possible now), 413, 502 (the process
that should do it does not answer), 503 (Redis does not, or the issuer of tokens, or nobody is there).
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web

from overworld import telemetry, tracing
from overworld.admin.cluster import Cluster
from overworld.admin.node import PATH, Node, text_of
from overworld.admin.rank import Caller, Rank
from overworld.admin.tokens import AdminTokens
from overworld.errors import AdminError, StoreError

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 16 << 10
NAME_CHARS_MAX = 256
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminApi:
    """The API of one process."""

    def __init__(self, node: Node, cluster: Cluster, tokens: AdminTokens) -> None:
        self._node = node
        self._cluster = cluster
        self._tokens = tokens

    def mount(self, app: web.Application) -> None:
        """Serve it below `PATH` of this application; it is closed with it."""
        cluster = self._cluster
        admin = web.Application(middlewares=[self._guard])
        for name, view in {
            "worlds": cluster.worlds,
            "shards": cluster.shards,
            "workers": cluster.workers,
            "gateways": cluster.gateways,
            "players": cluster.players,
            "balance": cluster.balance,
        }.items():
            admin.router.add_get(f"/{name}", _shown(name, view))
        admin.router.add_get("/self", self._self)
        admin.router.add_get("/self/{view}", self._self)
        admin.router.add_post("/self/{action}", self._act)
        admin.router.add_post("/workers/{name}/drain", self._drain)
        admin.router.add_post(r"/shards/{shard:\d{1,9}}/migrate", self._migrate)
        admin.router.add_post(r"/shards/{shard:\d{1,9}}/check", self._check)
        admin.router.add_post("/worlds/{name}/{order:pause|resume}", self._pause)
        admin.router.add_post(r"/players/{player:\d{1,19}}/kick", self._kick)
        admin.router.add_post("/broadcast", self._broadcast)
        admin.on_cleanup.append(self._closed)
        app.add_subapp(PATH, admin)

    async def _closed(self, _: web.Application) -> None:
        await self._cluster.close()

    # ------------------------------------------------------------ who, and what went wrong

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        began_s = time.monotonic()
        caller, why, refused = await self._admitted(request)
        if caller is not None:
            request[CALLER] = caller
        response = refused or await _answered(request, handler)
        telemetry.admin_calls_total.labels(str(response.status)).inc()
        looks = caller is not None and request.method == "GET" and response.status == 200
        if not looks:
            about: dict[str, tracing.Value] = {
                "method": request.method,
                "path": request.path[:NAME_CHARS_MAX],
                "status": response.status,
            }
            tracing.spans.tell("admin.call", "", time.monotonic() - began_s, about)
        say = log.debug if looks and "/self" in request.path else log.info
        say(
            "admin_call",
            who=caller.who if caller else "",
            role=caller.rank.name.lower() if caller else "",
            why=why,
            method=request.method,
            path=request.path[:NAME_CHARS_MAX],
            status=response.status,
            remote=request.remote,
            ms=round((time.monotonic() - began_s) * 1000),
        )
        return response

    async def _admitted(self, request: web.Request) -> tuple[Caller | None, str, web.Response | None]:
        """Who calls, why that is not known, and the answer to whoever may not do this."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        least = self._least_rank(request)
        try:
            caller = await self._caller(token.strip() if kind.lower() == "bearer" else "")
        except AdminError as error:
            text = "a bearer token is required: see `overworld admin token`" if error.status == 401 else str(error)
            refused = _error(error.status, f"{text}; this needs the role {least.name.lower()}")
            if error.status == 401:
                refused.headers["WWW-Authenticate"] = 'Bearer realm="overworld-admin"'
            return None, str(error), refused
        if caller.rank >= least:
            return caller, "", None
        has = caller.rank.name.lower() if caller.rank else "none"
        return caller, "", _error(403, f"this needs the role {least.name.lower()}; this token has {has}")

    async def _caller(self, token: str) -> Caller:
        """Raises AdminError 401, and 503 where the issuer of tokens does not answer."""
        caller = self._tokens.check(token, time.time())
        if caller is not None:
            return caller
        if self._tokens.oidc is None:
            raise AdminError(401, "no good token")
        return await self._tokens.oidc.check(token, time.time())

    def _least_rank(self, request: web.Request) -> Rank:
        if request.method in ("GET", "HEAD"):
            return Rank.READER
        return Rank.ADMINISTRATOR if request.match_info.handler == self._pause else Rank.OPERATOR

    # ------------------------------------------------------------ this process

    async def _self(self, request: web.Request) -> web.Response:
        view = self._node.views.get(request.match_info.get("view", ""))
        if view is None:
            raise AdminError(404, f"a {self._node.role.value} shows {', '.join(filter(None, self._node.views))}")
        return web.json_response(view())

    async def _act(self, request: web.Request) -> web.Response:
        action = self._node.actions.get(request.match_info["action"])
        if action is None:
            raise AdminError(404, f"a {self._node.role.value} can {', '.join(self._node.actions)}")
        return web.json_response(await action(await _body(request)))

    # ------------------------------------------------------------ the cluster

    async def _drain(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response(await self._cluster.drain(request[CALLER], name, await _body(request)))

    async def _migrate(self, request: web.Request) -> web.Response:
        target = text_of(await _body(request), "to", NAME_CHARS_MAX)
        shard = int(request.match_info["shard"])
        return web.json_response(await self._cluster.migrate(request[CALLER], shard, target))

    async def _check(self, request: web.Request) -> web.Response:
        shard = int(request.match_info["shard"])
        return web.json_response(await self._cluster.check(request[CALLER], shard, await _body(request)))

    async def _pause(self, request: web.Request) -> web.Response:
        name, paused = request.match_info["name"], request.match_info["order"] == "pause"
        return web.json_response(await self._cluster.pause(request[CALLER], name, paused))

    async def _kick(self, request: web.Request) -> web.Response:
        player = int(request.match_info["player"])
        return web.json_response(await self._cluster.kick(request[CALLER], player, await _body(request)))

    async def _broadcast(self, request: web.Request) -> web.Response:
        return web.json_response(await self._cluster.broadcast(request[CALLER], await _body(request)))


def _shown(name: str, view: Callable[[Caller], Awaitable[Any]]) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({name: await view(request[CALLER])})

    return handler


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except AdminError as error:
        return _error(error.status, str(error))
    except StoreError as error:
        return _error(503, f"the store does not answer: {error}")
    except web.HTTPException as error:
        return _error(error.status, error.reason)


async def _body(request: web.Request) -> dict[str, Any]:
    """What was posted; {} where nothing was. Raises AdminError 400, 413."""
    # Without a length, the application's own limit (1 MiB) holds.
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise AdminError(413, f"more than {BODY_BYTES_MAX} bytes")
    text = await request.text()
    try:
        body = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise AdminError(400, "the body is not a JSON object")
    return body


def _error(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)
