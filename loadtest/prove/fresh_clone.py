"""[fresh-clone] From an empty directory to a playable page, and every test passes there.

The clone is of HEAD, in a folder of its own, with an environment of PATH and HOME alone. `make play` must serve the
page and let a guest in; after Ctrl-C and a second start the world goes on. Then `make test`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from loadtest.guest import Visit, visit
from loadtest.machine import REPOSITORY
from loadtest.processes import Process
from loadtest.prove.proof import Proof

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+\S*|http://localhost:\d+\S*")
SETUP_S = 1800.0
TESTS_S = 3600.0


@dataclass(frozen=True)
class Options:
    """`tests`: run `make test` in the clone too (not where this runs inside `make test`)."""

    tests: bool = True


def run(proof: Proof, options: Options) -> None:
    """Clone, play, play again, test."""
    with tempfile.TemporaryDirectory(prefix="overworld-clone-") as name:
        folder = Path(name) / "overworld"
        subprocess.run(["git", "clone", "--quiet", "--no-local", str(REPOSITORY), str(folder)], check=True)
        asyncio.run(_play_twice(proof, folder))
        if options.tests:
            _test(proof, folder)


async def _play_twice(proof: Proof, folder: Path) -> None:
    first = await _play(proof, folder, "play_first_s")
    second = await _play(proof, folder, "play_again_s")
    proof.figure("tick_when_stopped", first.tick)
    proof.figure("tick_when_started_again", second.tick)
    proof.require(second.world == first.world, f"the world changed its name: {first.world}, {second.world}")
    proof.require(second.tick >= first.tick > 0, f"the world did not go on: tick {first.tick}, then {second.tick}")


async def _play(proof: Proof, folder: Path, figure: str) -> Visit:
    """`make play` until a guest is in the world, then Ctrl-C."""
    log = folder.parent / f"{figure}.log"
    process = Process("make play", ["make", "play"], log, _environment(), cwd=folder)
    began = time.monotonic()
    process.start()
    try:
        await process.wait_until(lambda: _page(process.log_tail(200)) is not None, SETUP_S, "serving a page")
        address = _page(process.log_tail(200))
        assert address is not None
        proof.figure(figure, time.monotonic() - began)
        guest = await visit(address)
        proof.say(f"a guest is in world {guest.world} at tick {guest.tick}, {guest.frames} frames seen")
        proof.require(guest.frames > 0 and guest.has_avatar, "the guest got no frames, or no avatar")
        os.killpg(process.pid, signal.SIGINT)
        code = await process.wait(120)
        proof.require(code in (0, 130, -signal.SIGINT, 2), f"Ctrl-C ended make play with {code}: {process.log_tail(5)}")
        return guest
    finally:
        process.kill()


def _page(log: str) -> str | None:
    """The address that the log names and that serves a page now."""
    for found in ADDRESS.findall(log):
        address = found.rstrip(".,;)│| ")
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                if answer.status == 200 and b"<canvas" in answer.read():
                    return str(address)
        except OSError:
            continue
    return None


def _test(proof: Proof, folder: Path) -> None:
    """`make test`, its output passed on when it fails."""
    began = time.monotonic()
    done = subprocess.run(
        ["make", "test"], cwd=folder, env=_environment(), capture_output=True, text=True, timeout=TESTS_S, check=False
    )
    proof.figure("make_test_s", time.monotonic() - began)
    lines = done.stdout.splitlines()
    summary = next((line for line in reversed(lines) if re.search(r"\d+ passed", line)), "")
    proof.figure("make_test_says", summary.strip("= "))
    if not proof.require(done.returncode == 0 and bool(summary), f"make test ended with {done.returncode}"):
        print("\n".join([*lines[-80:], *done.stderr.splitlines()[-20:]]))


def _environment() -> dict[str, str]:
    """PATH without our own virtual environment, and HOME."""
    own = str(Path(sys.prefix) / "bin")
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if p != own)
    assert shutil.which("make", path=path), "no make on PATH"
    return {"PATH": path, "HOME": os.environ.get("HOME", "/")}
