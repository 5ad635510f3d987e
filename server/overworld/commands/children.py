"""Child processes of `overworld dev`: started, watched, started again when they die, stopped in order.

Each child leads a session of its own, so that Ctrl-C at the terminal reaches us alone and we stop them in the right
order. Its standard input is a pipe that we hold: when we are killed it closes, and the child stops in order by
itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from overworld.commands import health

RESTARTS_MAX = 5
RESTART_PAUSE_S = 0.5
STEADY_S = 60.0
"""A child that has run this long is forgiven its earlier deaths."""
POLL_S = 0.05
TAIL_BYTES = 4096


@dataclass(frozen=True)
class Program:
    """What to run. `ready_port`: its internal port, asked for /readyz; 0 where it has none."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    ready_port: int = 0


@dataclass
class Restarts:
    """When a child that died may be started again. Pure: time is an argument, in seconds, monotonic."""

    most: int = RESTARTS_MAX
    deaths: list[float] = field(default_factory=list)

    def died(self, now_s: float, lived_s: float) -> float | None:
        """Seconds to wait before the next start; None where it has died too often."""
        if lived_s >= STEADY_S:
            self.deaths.clear()
        self.deaths.append(now_s)
        if len(self.deaths) > self.most:
            return None
        return RESTART_PAUSE_S * 2.0 ** (len(self.deaths) - 1)


class Child:
    """One program, over all its lives."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.restarts = Restarts()
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0

    @property
    def pid(self) -> int:
        """Process id of its last life; 0 before the first."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its last exit code; negative where a signal ended it."""
        return self._process.poll() if self._process else None

    @property
    def lived_s(self) -> float:
        """Seconds since it was last started."""
        return time.monotonic() - self._started_s

    def start(self) -> None:
        """Start it, its output appended to its log."""
        self._close_input()
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.program.argv),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(self.program.env),
                start_new_session=True,
            )
        self._started_s = time.monotonic()

    def ready(self) -> bool:
        """Whether it says that it is ready. Blocks for up to half a second."""
        if not self.alive:
            return False
        return not self.program.ready_port or health.ask(self.program.ready_port, timeout_s=0.5)[0]

    async def stop(self, timeout_s: float) -> bool:
        """SIGTERM, and SIGKILL after `timeout_s`. True where it ended by itself with exit code 0."""
        process = self._process
        if process is None:
            return True
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        deadline_s = time.monotonic() + timeout_s
        while process.poll() is None and time.monotonic() < deadline_s:
            await asyncio.sleep(POLL_S)
        # One that had not got as far as handling signals had nothing to put in order.
        in_order = process.poll() in (0, -signal.SIGTERM)
        self.kill()
        return in_order

    def kill(self) -> None:
        """SIGKILL to it and whatever it started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)
        self._close_input()

    def _close_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def last_words(self) -> str:
        """The last line of its log that says something."""
        if not self.program.log.exists():
            return "it printed nothing"
        with self.program.log.open("rb") as log:
            log.seek(max(0, self.program.log.stat().st_size - TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


class Family:
    """Children that are watched together. `tell` is given one line for people about every death."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._children: list[Child] = []
        self._due: dict[int, float] = {}
        self._given_up: set[int] = set()
        self._stopped: set[int] = set()

    def add(self, program: Program) -> Child:
        """Start one more."""
        child = Child(program)
        self._children.append(child)
        child.start()
        return child

    async def until_ready(self, children: Sequence[Child], timeout_s: float) -> str:
        """Wait until all of them are ready. Returns "" or, in one line, what is wrong."""
        deadline_s = time.monotonic() + timeout_s
        for child in children:
            while not await asyncio.to_thread(child.ready):
                if not child.alive:
                    return f"{child.program.name} ended with code {child.code}: {child.last_words()}"
                if time.monotonic() > deadline_s:
                    return f"{child.program.name} is not ready after {timeout_s:g} s: {child.last_words()}"
                await asyncio.sleep(POLL_S)
        return ""

    def look(self, now_s: float) -> None:
        """Notice deaths, and start again what is due."""
        for child in self._children:
            key = id(child)
            if child.alive or key in self._given_up or key in self._stopped:
                continue
            if key not in self._due:
                wait_s = child.restarts.died(now_s, child.lived_s)
                said = f"{child.program.name} ended with code {child.code}: {child.last_words()[:200]}"
                if wait_s is None:
                    self._given_up.add(key)
                    self._tell(f"{said} -- given up after {RESTARTS_MAX} restarts")
                else:
                    self._due[key] = now_s + wait_s
                    self._tell(f"{said} -- starting it again in {wait_s:g} s")
            elif now_s >= self._due[key]:
                del self._due[key]
                child.start()
                self._tell(f"{child.program.name} runs again (process {child.pid})")

    async def stop(self, children: Sequence[Child], timeout_s: float) -> bool:
        """Stop these, all at once, for good. True where all ended in order; the others are told."""
        self._stopped.update(id(child) for child in children)
        ended = await asyncio.gather(*(child.stop(timeout_s) for child in children))
        for child, in_order in zip(children, ended, strict=True):
            if not in_order:
                said = child.last_words()[:200]
                self._tell(f"{child.program.name} did not stop in order (code {child.code}): {said}")
        return all(ended)

    def kill(self) -> None:
        """End whatever runs."""
        for child in self._children:
            child.kill()
