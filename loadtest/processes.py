"""Real processes that can be killed, paused and started again, and that never outlive whoever started them."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

POLL_S = 0.02


class StartFailed(Exception):
    """A process did not get ready. The message holds the end of its log."""


class Process:
    """One program in its own process group; what it prints goes to `log`, appended over restarts."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.env = dict(env)
        self.cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running (or last) child."""
        assert self._child is not None, f"{self.name} was never started"
        return self._child.pid

    @property
    def alive(self) -> bool:
        """True while the program runs (a paused one runs too)."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the program. It may not be running."""
        assert not self.alive, f"{self.name} is running"
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
            )
        _REAPER.tell("+", self._child.pid)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program alone, if it still runs."""
        if self.alive:
            assert self._child is not None
            self._child.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the whole group, and wait until it is gone."""
        if self._child is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait(timeout=30)
        _REAPER.tell("-", self._child.pid)

    def pause(self) -> None:
        """SIGSTOP."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    async def stop(self, timeout_s: float = 30.0, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Ask it to end, and wait. Returns its exit code; None where it had to be killed after `timeout_s`."""
        self.send(number)
        return await self.wait(timeout_s)

    async def wait(self, timeout_s: float) -> int | None:
        """Wait for the program to end by itself. Returns its exit code; None where it had to be killed."""
        deadline = time.monotonic() + timeout_s
        while self.alive and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
        code = self._child.returncode if self._child is not None and not self.alive else None
        # What it started itself goes with it.
        self.kill()
        return code

    def cpu_s(self) -> float:
        """CPU seconds used so far, user and system, of the program and the children it has waited for."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def rss_bytes(self) -> int:
        """Resident memory now."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def pin(self, cores: Sequence[int]) -> None:
        """Keep it on these cores, where the system can do that (Linux)."""
        if hasattr(os, "sched_setaffinity"):
            for thread in psutil.Process(self.pid).threads():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread.id, cores)

    def log_tail(self, lines: int = 30) -> str:
        """The end of what it printed."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def wait_until(self, ready: Callable[[], bool], timeout_s: float, what: str = "ready") -> None:
        """Poll `ready` while the program runs. Raises StartFailed with the end of its log."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.alive or time.monotonic() > deadline:
                why = "ended" if not self.alive else f"was not {what} within {timeout_s:.0f} s"
                raise StartFailed(f"{self.name} {why}; the end of {self.log.name}:\n{self.log_tail()}")
            await asyncio.sleep(POLL_S)


class _Reaper:
    """The process that cleans up after us, started with the first child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._input: IO[bytes] | None = None
        self._owner = 0

    def tell(self, sign: str, group: int) -> None:
        with self._lock:
            if self._input is None or self._owner != os.getpid():
                self._start()
            assert self._input is not None
            self._input.write(f"{sign}{group}\n".encode())
            self._input.flush()

    def close(self) -> None:
        """Let it go: it kills what is still listed. Runs by itself when this process ends."""
        if self._input is not None:
            self._input.close()
            self._input = None

    def _start(self) -> None:
        child = subprocess.Popen(
            [sys.executable, "-m", "loadtest.reaper"],
            stdin=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            start_new_session=True,
        )
        # It ends when our end of the pipe closes, whatever becomes of us; nobody waits for it.
        child.returncode = 0
        self._input, self._owner = child.stdin, os.getpid()


_REAPER = _Reaper()
atexit.register(_REAPER.close)


def guard(group: int) -> None:
    """Kill this process group too when we are gone: one that somebody else's code started for us."""
    _REAPER.tell("+", group)


def release(group: int) -> None:
    """A guarded group is gone."""
    _REAPER.tell("-", group)
