"""docs/python-client.md: what it shows is put into an empty folder, and played on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from loadtest.cluster import Cluster, Shape
from overworld.client.connection import ClientOptions
from overworld.client.protocol import SessionLimits

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "python-client.md"
FILE = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
RUN = re.compile(r"<!-- run -->\n```\n(.*?)\n```", re.DOTALL)
RUN_S = 120.0
ADDRESSES = {"socket": "ws://127.0.0.1:8001/play", "page": "http://127.0.0.1:8080"}
"""Of `overworld dev`, as the guide writes them."""

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """One worker behind one gateway."""
    async with Cluster(tmp_path_factory.mktemp("cluster"), Shape(workers=1, gateways=1, shards="1x1")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guide's files, and the title's types by its own command."""
    made, text = tmp_path_factory.mktemp("guide"), PAGE.read_text(encoding="utf-8")
    for name, code in FILE.findall(text):
        (made / name).write_text(code)
    assert text.count("```python") == len(FILE.findall(text)), "code that no test could run"
    await run(made, *command("codegen"))
    return made


def command(name: str, **instead: str) -> list[str]:
    """A command line of the guide, with other addresses."""
    (line,) = [found for found in RUN.findall(PAGE.read_text(encoding="utf-8")) if f"overworld {name} " in found]
    for address, other in instead.items():
        assert ADDRESSES[address] in line
        line = line.replace(ADDRESSES[address], other)
    return [sys.executable, "-m", *shlex.split(line)]


async def run(folder: Path, *argv: str) -> str:
    """What a program prints. Raises AssertionError with what it complained of."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "PYTHONWARNINGS": "error"}
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), RUN_S)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def test_all_of_it_plays_behind_a_bad_network_and_resumes(folder: Path, cluster: Cluster) -> None:
    told = json.loads(await run(folder, sys.executable, "fly.py", cluster.gateways[0].page_url))
    assert told["said"] == [
        "playing", "frontier version 1", "lost (1006), resume", "playing", "frontier version 1",
    ]  # fmt: skip
    assert told["same"]
    assert told["lanced"] >= 1
    assert told["drawn"] >= 1
    assert told["told"] >= 1, "what is still there after a resume is told whole"
    assert told["named"] > told["drawn"]
    assert told["confirmed"] > 5
    speed, server_s = told["pace"]
    assert 0 < speed <= 1
    assert server_s > 0
    assert told["state"] == "playing"
    assert 50 < told["delay_ms"] <= 400
    assert told["lead_ms"] >= 12, "what a server takes, though the new socket's way was measured only once"
    statistics = told["statistics"]
    assert (statistics["resumes"], statistics["broken"], statistics["lost"]["count"]) == (1, 0, 1)
    assert statistics["inputs_acked"] >= told["lanced"]


async def test_the_documented_bots_play(folder: Path, cluster: Cluster) -> None:
    gateway = cluster.gateways[0]
    page = gateway.page_url.rstrip("/")
    told = json.loads(await run(folder, *command("bots", socket=f"ws://127.0.0.1:{gateway.port}/play", page=page)))
    assert (told["bots"], told["playing"], told["broken"]) == (5, 5, 0)
    assert told["inputs_acked"] >= 1


async def test_what_the_page_says_of_limits_is_so() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"more than {SessionLimits().inputs_unacked_max} unacknowledged inputs" in text
    assert f"frames above {ClientOptions().frame_bytes_max >> 20} MiB" in text
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (PAGE.parent / target).exists(), target
