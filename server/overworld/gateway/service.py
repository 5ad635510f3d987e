"""One gateway process: wires the parts, opens the ports, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Coroutine
from typing import Any

import structlog
from aiohttp import web

from overworld import __version__, telemetry
from overworld.admin.api import AdminApi
from overworld.admin.cluster import PAUSED, Cluster
from overworld.admin.node import told_address
from overworld.admin.oidc import Oidc
from overworld.admin.tokens import AdminTokens
from overworld.errors import SettingsError, StoreError
from overworld.gateway.admin import gateway_node
from overworld.gateway.codes import CloseCode
from overworld.gateway.connection import Connection
from overworld.gateway.handshake import UpgradePolicy
from overworld.gateway.internal_http import internal_app
from overworld.gateway.limits import SocketLimits
from overworld.gateway.pages import SHUTDOWN_S, Pages
from overworld.gateway.players import Players
from overworld.gateway.session import Tell
from overworld.gateway.socket import LINGER_S, SocketServer
from overworld.gateway.tls import PlayersTls
from overworld.link.keys import Key
from overworld.settings import GatewaySettings
from overworld.store.ports import Directory, Role
from overworld.wire.v1 import client_pb2
from overworld.world.contract import WorldContract

log = structlog.get_logger(__name__)

SWEEP_S = 0.25
ANNOUNCE_S = 1.0
ANNOUNCE_TIMEOUT_S = 2.0
CERTIFICATE_S = 2.0
"""How often the files of players' TLS are looked at."""
SILENT_S_MAX = 5.0
"""A gateway that has not announced itself for this long is not offered to clients."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Gateway:
    """Holds players' sockets. `start`, then wait for a signal, then `stop` (or `kill` where there is no time)."""

    def __init__(
        self,
        settings: GatewaySettings,
        contract: WorldContract,
        directory: Directory,
        cluster_key: Key,
        admin_token: str = "",
        oidc: Oidc | None = None,
    ) -> None:
        """`directory` is closed by whoever made it. `admin_token`: good for the admin API besides signed ones; empty:
        none is.
        """
        self._settings = settings
        self._contract = contract
        self._directory = directory
        self._key = cluster_key
        self._admin_tokens = AdminTokens(cluster_key, admin_token, oidc)
        self.name = settings.name or f"{socket.gethostname()}-{os.getpid()}"[:64]
        self._runners: list[web.AppRunner] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._others: list[str] = []
        self._ready = False
        self._players: Players | None = None
        self._sockets: SocketServer | None = None
        self._tls: PlayersTls | None = None
        self.http_port = self.internal_port = 0

    @property
    def port(self) -> int:
        """Port of the game socket."""
        assert self._sockets is not None
        return self._sockets.port

    @property
    def players(self) -> Players:
        """Everybody who is connected. Once started."""
        assert self._players is not None
        return self._players

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Open all ports. Raises SettingsError where one cannot be had."""
        settings = self._settings
        if settings.tls_certificate:
            self._tls = PlayersTls(settings.tls_certificate, settings.tls_key)
        self._players = players = Players(settings, self._contract, self._directory, self._key, self.name)
        pages = Pages(settings, self._contract, players.guests, players.now_s, players.wall_s, self._socket_urls)
        self.http_port = await self._serve(pages.app, settings.http_host, settings.http_port, "page", self._tls)
        internal = internal_app(self._readiness, self._measure, self._admin(players))
        self.internal_port = await self._serve(internal, settings.internal_host, settings.internal_port, "internal")
        follow = players.lane.follow if players.lane is not None else None
        self._sockets = SocketServer(
            self._policy(), _socket_limits(settings), lambda: Connection(players), follow, self._tls
        )
        await self._sockets.start(settings.host, settings.port)
        self._run(players.routing.run())
        self._run(self._sweep())
        self._run(self._announce())
        if self._tls is not None:
            self._run(self._watch(self._tls))
        self._ready = True
        contract = self._contract
        telemetry.process.labels("gateway", __version__, contract.title, str(contract.title_version)).set(1)
        log.info("gateway_started", name=self.name, port=self.port, http_port=self.http_port, lane=follow is not None)

    async def stop(self) -> bool:
        """Accept nobody, tell everybody, close sockets spread over `drain_s`, and end. False where sockets were left
        that had to be torn down.
        """
        self._ready = False
        if self._sockets is not None:
            self._sockets.stop_accepting()
        if self._players is not None:
            await self._drain(self._players)
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(ANNOUNCE_TIMEOUT_S):
                await self._directory.withdraw(Role.GATEWAY, self.name)
        return await self._end()

    async def kill(self) -> None:
        """End at once; clients take their sessions up elsewhere."""
        self._ready = False
        if self._players is not None:
            # First, so that workers see a lost gateway, and wait for its players.
            await self._players.close()
        if self._sockets is not None:
            self._sockets.stop_accepting()
            self._sockets.abort_all()
        await self._end()

    async def _drain(self, players: Players) -> None:
        connections = list(players.connections)
        for connection in connections:
            connection.do((Tell(client_pb2.Notice.CODE_DRAINING),))
        random.shuffle(connections)
        pause_s = self._settings.drain_s / max(1, len(connections))
        due_s = players.now_s()
        for connection in connections:
            due_s += pause_s
            await asyncio.sleep(max(0.0, due_s - players.now_s()))
            connection.close(CloseCode.RESTARTING, "this gateway stops: take the session up elsewhere")
        for connection in players.connections:
            connection.close(CloseCode.RESTARTING, "this gateway stops: take the session up elsewhere")

    async def _end(self) -> bool:
        left = await self._sockets.close(2 * LINGER_S) if self._sockets is not None else 0
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._players is not None:
            await self._players.close()
        for runner in self._runners:
            await runner.cleanup()
        return not left

    # ------------------------------------------------------------ loops

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + SWEEP_S
            await asyncio.sleep(SWEEP_S)
            telemetry.gateway_loop_late_seconds.observe(max(0.0, loop.time() - due_s))
            self.players.sweep()

    async def _watch(self, tls: PlayersTls) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_S)
            tls.refresh()

    async def _announce(self) -> None:
        failing = False
        while True:
            try:
                async with asyncio.timeout(ANNOUNCE_TIMEOUT_S):
                    load = {"sockets": float(self._sockets.open if self._sockets is not None else 0)}
                    await self._directory.announce(
                        Role.GATEWAY, self.name, self._announced_url(), load, self._internal_address()
                    )
                    self.players.paused = PAUSED in await self._directory.flags(self._contract.world)
                    members = await self._directory.gateways(asyncio.get_running_loop().time())
                alive = [m for m in members if m.silent_s <= SILENT_S_MAX and m.address and m.name != self.name]
                self._others = sorted(member.address for member in alive)
                failing = False
            except (StoreError, TimeoutError) as error:
                telemetry.gateway_directory_failures_total.inc()
                if not failing:
                    log.warning("cannot_announce", reason=str(error) or "timeout")
                failing = True
            await asyncio.sleep(ANNOUNCE_S)

    # ------------------------------------------------------------ wiring

    async def _serve(self, app: web.Application, host: str, port: int, what: str, tls: PlayersTls | None = None) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._runners.append(runner)
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls.context if tls is not None else None).start()
        except OSError as error:
            raise SettingsError(f"the {what} port {host}:{port} cannot be had: {error.strerror or error}") from error
        return int(runner.addresses[0][1])

    def _run(self, loop: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(loop)
        task.add_done_callback(self._loop_ended)
        self._tasks.append(task)

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._ready = False
            log.error("gateway_loop_failed", exc_info=error)

    def _readiness(self) -> str:
        return "" if self._ready else "not serving"

    def _measure(self) -> None:
        """Bring the gauges up to date."""
        self.players.measure()
        for queue, fill in (self._sockets.fill if self._sockets is not None else {}).items():
            telemetry.queue_fill.labels(queue).set(fill)

    def _policy(self) -> UpgradePolicy:
        settings = self._settings
        own = frozenset[str]()
        if settings.http_host in _LOOPBACK:
            scheme = "http" if self._tls is None else "https"
            own = frozenset(f"{scheme}://{host}:{self.http_port}" for host in ("localhost", "127.0.0.1", "[::1]"))
        return UpgradePolicy(
            settings.origins_allowed | own,
            settings.origin_absent,
            settings.sockets_max,
            settings.sockets_per_address_max,
        )

    def _admin(self, players: Players) -> AdminApi:
        node = gateway_node(self.name, self._contract, players, lambda: self._ready)
        shards, tokens = self._contract.grid.shard_count, self._admin_tokens
        return AdminApi(node, Cluster(node, shards, self._directory, tokens, players.now_s), tokens)

    def _internal_address(self) -> str:
        """Where other processes reach the internal port; empty where that is not known."""
        settings = self._settings
        return settings.internal_address or told_address(settings.internal_host, self.internal_port, "")

    def _announced_url(self) -> str:
        scheme = "ws" if self._tls is None else "wss"
        return self._settings.socket_url or f"{scheme}://{self._settings.host}:{self.port}/play"

    def _socket_urls(self, page_host: str, secure: bool) -> list[str]:
        """For a page loaded from this host and port: this gateway's socket first, then the others'."""
        own = self._settings.socket_url
        if not own:
            name = page_host.rsplit(":", 1)[0] if not page_host.endswith("]") else page_host
            own = f"{'wss' if secure else 'ws'}://{name}:{self.port}/play"
        return [own, *(url for url in self._others if url != own)]


def _socket_limits(settings: GatewaySettings) -> SocketLimits:
    return SocketLimits(
        frame_bytes_max=settings.message_bytes_max,
        upgrade_s=settings.hello_s,
        handshakes_max=settings.handshakes_max,
        backlog_bytes_max=settings.backlog_bytes_max,
        backlog_bytes_low=settings.backlog_bytes_low,
        kernel_buffer_bytes=settings.kernel_buffer_bytes,
    )
