"""The JavaScript client as its users get it: packed, and installed into a folder without a network."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JS = ROOT / "clients" / "js"
ESBUILD = JS / "node_modules" / ".bin" / "esbuild"
PATH = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
BLOCK = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
FENCE = re.compile(r"^```(?:js|ts|html)$", re.MULTILINE)


async def run(folder: Path, *argv: str | Path) -> str:
    """Standard output of a program that must succeed."""
    child = await asyncio.create_subprocess_exec(
        *map(str, argv), cwd=folder, env={**os.environ, "PATH": PATH},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, error = await asyncio.wait_for(child.communicate(), 180)
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode == 0, (out + error).decode()[-4000:]
    return out.decode()


def pack(folder: Path) -> Path:
    """The archive that `npm pack` makes."""
    argv = ["npm", "pack", "--json", "--silent", "--pack-destination", str(folder)]
    env = {**os.environ, "PATH": PATH}
    told = subprocess.run(argv, cwd=JS, env=env, capture_output=True, text=True, timeout=110, check=True).stdout
    return folder / str(json.loads(told)[0]["filename"])


async def install(archive: Path, folder: Path) -> None:
    """Installs the packed client, offline, into a folder that has nothing."""
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    await run(folder, "npm", "install", "--offline", "--no-audit", "--no-fund", archive)


def install_beside(folder: Path, *names: str) -> None:
    """Packages that our own tests have, as if the user had installed them."""
    for name in names:
        shutil.copytree(JS / "node_modules" / name, folder / "node_modules" / name, dirs_exist_ok=True)


def write_blocks(guide: Path, folder: Path) -> set[str]:
    """Writes every file that a guide shows into a folder; the names. Raises AssertionError for code that is no file."""
    text = guide.read_text(encoding="utf-8")
    blocks = dict(BLOCK.findall(text))
    assert len(blocks) == len(FENCE.findall(text)), f"{guide.name} shows code that no test could run"
    for name, code in blocks.items():
        (folder / name).write_text(code)
    return set(blocks)
