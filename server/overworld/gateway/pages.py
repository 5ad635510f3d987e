"""The public HTTP port: the game's page, guests' tokens, and what world this is.

| path | answer |
|---|---|
| `/`, `/*.js`, ... | the browser page |
| `/js/*` | the JavaScript client's modules |
| `POST /api/guest` | `{token, pass, player, url, urls, title}`; asked with `{"pass": ...}` it is the same guest again |
| `/api/world` | the world's shape, kinds and inputs |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from overworld import telemetry
from overworld.errors import SettingsError
from overworld.gateway.limits import BucketTable
from overworld.gateway.tokens import GUEST_ISSUER, GuestTokens, player_id
from overworld.gateway.welcome import PROTOCOL
from overworld.settings import GatewaySettings
from overworld.world.contract import WorldContract

BODY_BYTES_MAX = 2048
SHUTDOWN_S = 1.0

_WEB = Path(__file__).parent / "web"
_CLIENT_PLACES = (_WEB / "js", Path(__file__).parents[3] / "clients" / "js" / "src")
_HOST = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")
_HEADERS = {
    # Scripts, styles and sockets of this origin's own; `ws:` because sockets are on other ports, and on other gateways.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "manifest-src 'self'; media-src 'self'; connect-src 'self' ws: wss:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Revalidated each time (by ETag): files keep their names across versions.
    "Cache-Control": "no-cache",
}


class Pages:
    """The application and what it needs of the gateway.

    `now_s` is monotonic, `wall_s` since 1970. `socket_urls(host, secure)` gives the URL of this gateway's socket, for a
    page loaded from a host, then those of other gateways.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        contract: WorldContract,
        guests: GuestTokens,
        now_s: Callable[[], float],
        wall_s: Callable[[], float],
        socket_urls: Callable[[str, bool], list[str]],
    ) -> None:
        """Raises SettingsError where the JavaScript client's modules are not found."""
        self._settings = settings
        self._contract = contract
        self._guests = guests
        self._now_s = now_s
        self._wall_s = wall_s
        self._socket_urls = socket_urls
        per_minute = settings.guest_logins_per_minute_max
        self._buckets = BucketTable(per_minute / 60, per_minute)
        self.app = web.Application(client_max_size=BODY_BYTES_MAX)
        self.app.on_response_prepare.append(_add_headers)
        self.app.router.add_post("/api/guest", self._guest)
        self.app.router.add_get("/api/world", self._world)
        self.app.router.add_get("/", _index)
        self.app.router.add_static("/js", _client_dir(settings))
        self.app.router.add_static("/", _WEB)

    async def _guest(self, request: web.Request) -> web.Response:
        if not self._settings.guest_logins:
            return _refused("disabled", 403, "this server has no guest logins")
        if not self._buckets.take(request.remote or "?", self._now_s()):
            return _refused("rate", 429, "too many logins from this address: try again in a minute")
        host = request.headers.get("Host", "")
        if _HOST.fullmatch(host) is None:
            return _refused("host", 400, "a Host header is needed")
        subject = await _guest_of(self._guests, request)
        if subject is None:
            return _refused("body", 400, "the body must be empty, or JSON with this guest's pass")
        urls = self._socket_urls(host, request.secure)
        answer = {
            "token": self._guests.issue(subject, self._wall_s()),
            "pass": self._guests.guest_pass(subject),
            "player": str(player_id(GUEST_ISSUER, subject)),
            "title": self._contract.title,
            "url": urls[0],
            "urls": urls,
        }
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    async def _world(self, _: web.Request) -> web.Response:
        return web.json_response(world_summary(self._contract))


def _client_dir(settings: GatewaySettings) -> Path:
    places = (Path(settings.client_dir),) if settings.client_dir else _CLIENT_PLACES
    for place in places:
        if (place / "index.js").is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise SettingsError(f"the JavaScript client's modules were not found in {looked}: set OVERWORLD_GATEWAY_CLIENT_DIR")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


async def _index(_: web.Request) -> web.FileResponse:
    return web.FileResponse(_WEB / "index.html")


async def _guest_of(guests: GuestTokens, request: web.Request) -> str | None:
    """The guest that asks, a new one where none is named; None for a body that makes no sense."""
    try:
        body = json.loads(await request.read() or b"{}")
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    guest_pass = body.get("pass")
    if guest_pass is None:
        return guests.new_guest()
    if not isinstance(guest_pass, str):
        return None
    # A pass signed with another key is an old one: its holder is a new guest here.
    return guests.guest_of(guest_pass) or guests.new_guest()


def _refused(reason: str, status: int, text: str) -> web.Response:
    telemetry.gateway_guests_refused_total.labels(reason).inc()
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "60"} if status == 429 else {})
    return web.json_response({"error": text}, status=status, headers=headers)


def world_summary(contract: WorldContract) -> dict[str, Any]:
    """The contract in plain words, for people and tools."""
    grid = contract.grid
    return {
        "world": contract.world,
        "title": contract.title,
        "title_version": contract.title_version,
        "contract": contract.fingerprint,
        "definitions": contract.definitions,
        "protocol": PROTOCOL,
        "commit_level": contract.commit_level,
        "grid": {
            "width": grid.width,
            "height": grid.height,
            "cell": grid.cell,
            "shards": list(grid.shards),
            "view": grid.view,
            "tick_hz": grid.tick_hz,
            "units_per_one": grid.units_per_one,
        },
        "kinds": [
            {"name": kind.name, "columns": list(kind.replicated), "owner_columns": [c.name for c in kind.owner]}
            for kind in contract.kinds
        ],
        "inputs": [
            {
                "name": kind.name,
                "fields": [{"name": c.name, "min": c.field.minimum, "max": c.field.maximum} for c in kind.fields],
            }
            for kind in contract.inputs
        ],
    }
