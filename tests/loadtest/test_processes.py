"""Processes that never outlive their starter, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from loadtest.processes import Process, StartFailed

ROOT = Path(__file__).resolve().parents[2]
SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.asyncio
async def test_a_process_is_started_paused_killed_and_started_again(tmp_path: Path) -> None:
    process = Process("sleeper", SLEEPER, tmp_path / "log", dict(os.environ))
    process.start()
    await process.wait_until(lambda: "up" in process.log_tail(), 20)
    process.pause()
    assert process.alive
    process.kill()
    assert gone(process.pid)
    process.start()
    assert await process.stop(20) == -signal.SIGTERM


@pytest.mark.asyncio
async def test_a_process_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    process = Process(
        "broken", [sys.executable, "-c", "raise SystemExit('no luck')"], tmp_path / "log", dict(os.environ)
    )
    process.start()
    with pytest.raises(StartFailed, match="no luck"):
        await process.wait_until(lambda: False, 20)


def test_children_die_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, time; from loadtest.processes import Process; "
        f"p = Process('child', {SLEEPER!r}, pathlib.Path({str(tmp_path / 'log')!r}), dict(os.environ)); "
        "p.start(); print(p.pid, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    child = int(starter.stdout.readline())
    assert not gone(child)
    starter.kill()
    starter.wait(10)
    starter.stdout.close()
    deadline = time.monotonic() + 20
    while not gone(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(child)
