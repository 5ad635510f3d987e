"""[image] The image is built here and run as its user on a file system that cannot be written: size, start, readiness.

No container engine runs on many machines, so its file system is mounted and entered directly, as a runtime would:
read-only, with a small /tmp in memory, as uid and gid 10001 and no other group. A worker and a gateway start from it
beside a real Redis, and both must answer /readyz. Needs root and Debian (buildah, mmdebstrap).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtest.machine import REPOSITORY
from loadtest.processes import Process, guard, release
from loadtest.prove.proof import Proof
from overworld.store.local_redis import LocalRedis
from tests.parts.ports import free_port

BUILD_S_MAX, COMMAND_S_MAX, READY_S = 1500, 60, 60.0
USER, SCRATCH = "10001", "/tmp"
INSIDE = """\
set -eu
mount --bind "$ROOT" "$ROOT"
mount -o remount,bind,ro "$ROOT"
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$ROOT/tmp"
mount -t proc proc "$ROOT/proc"
exec chroot --userspec=10001:10001 --groups= "$ROOT" /usr/bin/env -i PATH=/opt/overworld/bin:/usr/bin:/bin \\
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OPENBLAS_NUM_THREADS=1 $SETTINGS "$@"
"""


@dataclass(frozen=True)
class Options:
    """`build` false: the image is there already."""

    build: bool = True


def run(proof: Proof, options: Options) -> None:
    """Build, look at it, run it."""
    began_s = time.monotonic()
    image = "localhost/overworld:local"
    if options.build:
        done = told([str(REPOSITORY / "tools" / "image.sh"), image], BUILD_S_MAX)
        proof.figure("build_s", time.monotonic() - began_s)
        assert done.splitlines()[-1] == image
    about = json.loads(told(["buildah", "inspect", "--type", "image", image]))
    config = about["Docker"]["config"]
    proof.figure("user", config["User"])
    proof.figure("entrypoint", config["Entrypoint"])
    proof.figure("healthcheck", config.get("Healthcheck", {}).get("Test"))
    proof.figure("stop_signal", config.get("StopSignal"))
    proof.require(config["User"] == f"{USER}:{USER}", f"the image's user is {config['User']!r}")
    proof.require(bool(config.get("Healthcheck")), "the image has no HEALTHCHECK")
    with mounted(image) as root, tempfile.TemporaryDirectory(prefix="overworld-image-") as folder:
        own = told(["du", "-sm", str(root / "opt" / "overworld")]).split()[0]
        proof.figure("size_mib", int(told(["du", "-sm", str(root)]).split()[0]))
        proof.figure("size_of_ours_mib", int(own))
        asyncio.run(enter(proof, root, Path(folder)))


async def enter(proof: Proof, root: Path, folder: Path) -> None:
    """Everything that runs inside."""
    said = inside(
        root, ["sh", "-c", "id -u; id -g; id -G; touch /opt/x || echo refused; cd /tmp; touch x && echo written"]
    )
    proof.figure("inside", said.split())
    proof.require(said.split() == [USER, USER, USER, "refused", "written"], f"inside it says {said!r}")
    redis = LocalRedis()
    await redis.start(folder / "redis", free_port(), appendonly=False)
    guard(redis.pid)
    nodes: list[Process] = []
    try:
        settings = {
            "OVERWORLD_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "OVERWORLD_CLUSTER_KEY": secrets.token_hex(32),
            "OVERWORLD_TITLE": "frontier",
            "OVERWORLD_BLOB_URL": f"dir:{SCRATCH}/blobs",
        }
        for role, variable in (
            ("worker", "OVERWORLD_WORKER_HTTP_PORT"),
            ("gateway", "OVERWORLD_GATEWAY_INTERNAL_PORT"),
        ):
            port = free_port()
            node = started(root, role, {**settings, variable: str(port)}, folder / f"{role}.log")
            nodes.append(node)
            began_s = time.monotonic()
            await node.wait_until(partial(ready, port), READY_S)
            proof.figure(f"{role}_ready_s", time.monotonic() - began_s)
            proof.figure(f"{role}_memory_mib", node.rss_bytes() / 2**20)
        for node in nodes:
            proof.figure(f"{node.name}_ended_with", await node.stop())
    finally:
        for node in nodes:
            node.kill()
        release(redis.pid)
        redis.kill()
    endings = {node.name: proof.figures.get(f"{node.name}_ended_with") for node in nodes}
    proof.require(set(endings.values()) == {0}, f"SIGTERM did not end them in order: {endings}")


def command(settings: dict[str, str], root: Path, argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """What enters the image in namespaces of its own, and its environment."""
    told_inside = " ".join(f"{name}={value}" for name, value in settings.items())
    environment = {**os.environ, "ROOT": str(root), "SETTINGS": told_inside}
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "sh", *argv], environment


def inside(root: Path, argv: list[str]) -> str:
    """What a command prints in it."""
    full, environment = command({}, root, argv)
    done = subprocess.run(full, env=environment, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False)
    return done.stdout


def started(root: Path, role: str, settings: dict[str, str], log: Path) -> Process:
    """One role of the image, running. SIGTERM to the process reaches what runs inside."""
    full, environment = command(settings, root, ["overworld", role])
    # Without a pid namespace: its first process would not get the signal that is sent from outside.
    full = [part for part in full if part not in ("--pid", "--fork", "--kill-child")]
    node = Process(role, full, log, environment)
    node.start()
    return node


def ready(port: int) -> bool:
    """Whether /readyz says yes."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def told(argv: list[str], timeout_s: float = COMMAND_S_MAX) -> str:
    """What a command prints; what it says against it goes through. Raises CalledProcessError."""
    return subprocess.run(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, timeout=timeout_s, check=True).stdout


@contextlib.contextmanager
def mounted(image: str) -> Iterator[Path]:
    """The image's file system."""
    container = told(["buildah", "from", "--pull-never", image]).strip()
    try:
        yield Path(told(["buildah", "mount", container]).strip())
    finally:
        told(["buildah", "umount", container])
        told(["buildah", "rm", container])
