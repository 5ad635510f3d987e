"""One program started for a test: its log kept, its readiness awaited by condition, its end certain."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_S = 0.02


class PartProcess:
    """Runs `command` with its output in `log`. Raises AssertionError where it ends before it is ready."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment} if environment else None,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], seconds_max: float) -> None:
        """Return once `ready()` is true; end the program and fail where that takes too long or it has ended."""
        deadline = time.monotonic() + seconds_max
        while self.process.poll() is None and time.monotonic() < deadline:
            if ready():
                return
            time.sleep(POLL_S)
        status = self.process.poll()
        self.end()
        state = f"not ready in {seconds_max} s" if status is None else f"ended with status {status}"
        raise AssertionError(f"{self.command[0]}: {state}; {self.log} ends: {self.tail()}")

    def end(self, seconds_max: float = 5.0) -> None:
        """SIGTERM, then SIGKILL; returns when the program is gone."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds_max)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)

    def tail(self, characters: int = 1500) -> str:
        """The end of what it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-characters:]
