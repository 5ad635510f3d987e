"""`overworld dev`: a whole cluster on this machine, for playing and for writing titles.

Everything it keeps is in one folder: Redis' files, snapshots, logs, the cluster's key, and what the world is. Ctrl-C
stops bots, gateways (players are told), workers (which save), and Redis last; started again on the same folder, the
world goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from overworld.client.networks import network_of
from overworld.client.proxy import Proxy
from overworld.commands.children import Child, Family, Program
from overworld.commands.dev_folder import tell_admin_urls
from overworld.errors import SettingsError
from overworld.store.local_redis import LocalRedis

HOST = "127.0.0.1"
ADMIN_DATA = Path(".overworld")
"""Where `overworld admin` looks when it is told nothing."""
REDIS_PORT = 7379
READY_S = 60.0
BOTS_STOP_S, GATEWAYS_STOP_S, WORKERS_STOP_S = 15.0, 15.0, 40.0
LOOK_S = 0.2
PORT_TRIES = 50
COMMIT_LEVELS = (
    "level 0: released at once",
    "level 1: released once journaled",
    "level 2: released once journaled (no replica here)",
    "level 3: released once on disk (no replica here)",
)


@dataclass(frozen=True)
class DevOptions:
    """What to run."""

    data: Path
    title: str = "frontier"
    world: str = "main"
    shards: str = "1x1"
    seed: int = 0
    workers: int = 2
    gateways: int = 2
    bots: int = 50
    port: int = 8080
    network: str | None = None
    """A bad network between pages and gateways, by name; bots go straight, there are too many of them for one proxy."""
    commit_level: int = 1


class Dev:
    """One run of the whole."""

    def __init__(self, options: DevOptions, console: Console) -> None:
        self._options = options
        self._console = console
        self._redis = LocalRedis()
        self._family = Family(lambda line: console.print(f"[yellow]{_clock()}[/] {line}", highlight=False))
        self._workers: list[Child] = []
        self._gateways: list[Child] = []
        self._bots: list[Child] = []
        self._ports = _Ports()
        self._key = ""
        self._page_ports: list[int] = []
        self._pages: list[str] = []
        self._sockets: list[str] = []
        self._proxies: list[Proxy] = []

    async def run(self) -> int:
        """Start everything, wait for Ctrl-C, stop everything. Returns the exit code."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop.set)
        try:
            starting = asyncio.ensure_future(self._start())
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait([starting])
            else:
                starting.result()
                self._show()
                while not stop.is_set():
                    self._family.look(time.monotonic())
                    await asyncio.sleep(LOOK_S)
            stopping.cancel()
            return 0 if await self._stop() else 1
        finally:
            tell_admin_urls(self._options.data, [])
            self._family.kill()
            for proxy in self._proxies:
                await proxy.__aexit__(None, None, None)
            await self._redis.stop()

    # ------------------------------------------------------------ start

    async def _start(self) -> None:
        options = self._options
        options.data.mkdir(parents=True, exist_ok=True)
        remember_world(options)
        self._key = cluster_key(options.data)
        self._say("Redis")
        await self._redis.start(options.data / "redis", self._ports.near(REDIS_PORT), appendonly=True)
        self._say(f"{options.workers} workers")
        self._workers = [self._family.add(self._worker(i)) for i in range(options.workers)]
        self._say(f"{options.gateways} gateways")
        self._page_ports = [self._ports.near(options.port + i) for i in range(options.gateways)]
        self._gateways = [self._family.add(await self._gateway(i)) for i in range(options.gateways)]
        if trouble := await self._family.until_ready([*self._workers, *self._gateways], READY_S):
            raise SettingsError(f"{trouble}\nlogs are in {options.data / 'logs'}")
        asked = [*self._workers, *self._gateways]
        tell_admin_urls(options.data, [f"http://{HOST}:{child.program.ready_port}" for child in asked])
        if options.bots:
            self._say(f"{options.bots} bots")
            self._bots = [self._family.add(self._bot_process())]

    def _say(self, what: str) -> None:
        self._console.print(f"starting {what}", style="dim", highlight=False)

    def _environment(self) -> dict[str, str]:
        options = self._options
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OVERWORLD_")}
        # What somebody set on purpose for workers and gateways reaches them; what dev decides stands below.
        kept |= {n: v for n, v in os.environ.items() if n.startswith(("OVERWORLD_WORKER_", "OVERWORLD_GATEWAY_"))}
        return kept | {
            "OVERWORLD_CLUSTER_KEY": self._key,
            "OVERWORLD_WORLD": options.world,
            "OVERWORLD_TITLE": options.title,
            "OVERWORLD_SHARDS": options.shards,
            "OVERWORLD_SEED": str(options.seed),
            "OVERWORLD_COMMIT_LEVEL": str(options.commit_level),
            # Our Redis has no replica, and a title that asks for one must play here too.
            "OVERWORLD_COMMIT_REPLICAS": "0",
            "OVERWORLD_REDIS_URL": self._redis.url,
            "OVERWORLD_BLOB_URL": str((options.data / "blobs").resolve()),
            "OVERWORLD_ARCHIVE": "true",
            "OVERWORLD_LOG_FORMAT": "console",
            "PYTHONUNBUFFERED": "1",
        }

    def _program(self, name: str, arguments: list[str], own: dict[str, str], ready_port: int = 0) -> Program:
        argv = [sys.executable, "-m", "overworld", *arguments, "--follow-stdin"]
        log = self._options.data / "logs" / f"{name}.log"
        return Program(name, argv, self._environment() | own, log, ready_port)

    def _worker(self, index: int) -> Program:
        port, http_port = self._ports.any(), self._ports.any()
        own = {
            "OVERWORLD_WORKER_NAME": f"worker-{index}",
            "OVERWORLD_WORKER_PORT": str(port),
            "OVERWORLD_WORKER_HTTP_PORT": str(http_port),
        }
        return self._program(f"worker-{index}", ["worker"], own, http_port)

    async def _gateway(self, index: int) -> Program:
        page_port = self._page_ports[index]
        socket_port, internal_port = self._ports.any(), self._ports.any()
        self._pages.append(f"http://localhost:{page_port}/")
        self._sockets.append(f"ws://{HOST}:{socket_port}/play")
        own = {
            "OVERWORLD_GATEWAY_NAME": f"gateway-{index}",
            "OVERWORLD_GATEWAY_PORT": str(socket_port),
            "OVERWORLD_GATEWAY_HTTP_PORT": str(page_port),
            "OVERWORLD_GATEWAY_INTERNAL_PORT": str(internal_port),
            "OVERWORLD_GATEWAY_GUEST_LOGINS": "true",
            "OVERWORLD_GATEWAY_ORIGIN_ABSENT": "true",
            # A page goes on at another gateway when its own is lost. Who serves a page elsewhere names its origin.
            "OVERWORLD_GATEWAY_ORIGINS": origins(self._page_ports, os.environ.get("OVERWORLD_GATEWAY_ORIGINS", "")),
            "OVERWORLD_GATEWAY_DRAIN_S": "0.5",
            "OVERWORLD_GATEWAY_SOCKETS_PER_ADDRESS_MAX": "5000",
        }
        if self._options.network:
            proxy = await Proxy(HOST, socket_port, network_of(self._options.network), index).__aenter__()
            self._proxies.append(proxy)
            own["OVERWORLD_GATEWAY_SOCKET_URL"] = f"ws://{HOST}:{proxy.port}/play"
        return self._program(f"gateway-{index}", ["gateway"], own, internal_port)

    def _bot_process(self) -> Program:
        urls = [part for url in self._sockets for part in ("--url", url)]
        return self._program("bots", ["bots", "--players", str(self._options.bots), *urls], {})

    # ------------------------------------------------------------ stop

    async def _stop(self) -> bool:
        self._console.print("\nstopping bots, gateways, workers, Redis", style="dim")
        in_order = True
        for children, seconds in (
            (self._bots, BOTS_STOP_S),
            (self._gateways, GATEWAYS_STOP_S),
            (self._workers, WORKERS_STOP_S),
        ):
            in_order = await self._family.stop(children, seconds) and in_order
        await self._redis.stop()
        self._console.print(f"stopped. The world is kept in {self._options.data}; start again to go on.")
        return in_order

    # ------------------------------------------------------------ what people see

    def _show(self) -> None:
        options = self._options
        table = Table(box=None, padding=(0, 1), show_header=False, highlight=False)
        table.add_column(style="bold")
        table.add_row("play", f"[bold green]{self._pages[0]}[/]")
        for page, ws, child in zip(self._pages, self._sockets, self._gateways, strict=True):
            table.add_row(child.program.name, f"{page}  {ws}  pid {child.pid}")
        for child in self._workers:
            status = f"http://{HOST}:{child.program.ready_port}/status"
            table.add_row(child.program.name, f"{status}  pid {child.pid}")
        beside = "" if options.data == ADMIN_DATA else f" --data {options.data}"
        table.add_row("admin", f"overworld admin list workers{beside}")
        table.add_row("redis", f"{self._redis.url}  pid {self._redis.pid}")
        table.add_row("commit", COMMIT_LEVELS[options.commit_level])
        if self._bots:
            table.add_row("bots", f"{options.bots} players  pid {self._bots[0].pid}")
        if options.network:
            table.add_row("network", f"{options.network}, between pages and gateways")
        table.add_row("data", str(options.data))
        table.add_row("logs", str(options.data / "logs"))
        title = f"{options.title}: world {options.world}, {options.shards} shards"
        self._console.print(
            Panel(table, title=title, subtitle="Ctrl-C stops everything; the world is kept", expand=False)
        )


class _Ports:
    """Free ports of this machine, each given out once."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def near(self, wanted: int) -> int:
        """This port, or the next one above it that is free."""
        for port in range(wanted, min(wanted + PORT_TRIES, 65536)):
            if port not in self._given and _is_free(port):
                self._given.add(port)
                return port
        return self.any()

    def any(self) -> int:
        """Any free port."""
        for _ in range(PORT_TRIES):
            with socket.socket() as probe:
                probe.bind((HOST, 0))
                port = int(probe.getsockname()[1])
            if port not in self._given:
                self._given.add(port)
                return port
        raise SettingsError(f"no free port on {HOST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def origins(page_ports: Sequence[int], named: str) -> str:
    """Whose pages a gateway admits: those of all gateways here, and the comma-separated ones that were named."""
    own = [f"http://{host}:{port}" for port in page_ports for host in ("localhost", HOST)]
    return ",".join([*own, *filter(None, [named])])


def cluster_key(data: Path) -> str:
    """The folder's key, made once; only its owner may read it."""
    path = data / "cluster.key"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text(encoding="ascii").strip()


def remember_world(options: DevOptions) -> None:
    """Note what the folder's world is. Raises SettingsError where the options say otherwise: its state would not
    fit.
    """
    path = options.data / "world.json"
    now: dict[str, Any] = {name: asdict(options)[name] for name in ("title", "world", "shards", "seed")}
    if not path.exists():
        path.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
        return
    kept = json.loads(path.read_text(encoding="utf-8"))
    other = [f"{name} {kept.get(name)!r}, not {now[name]!r}" for name in now if kept.get(name) != now[name]]
    if other:
        raise SettingsError(f"{options.data} keeps a world with {'; '.join(other)}: use these, or another --data")


def _clock() -> str:
    return time.strftime("%H:%M:%S")
