"""[loadtest-azure] The Locust file for Azure Load Testing, run as its engines would: two of Locust's LocalRunners in
folders of their own, with nothing but the files the test's YAML names, against a cluster here. One makes its players'
tokens with the cluster's key, the next gets them from the guest login, by turns.
"""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from loadtest.machine import REPOSITORY
from loadtest.prove.proof import Proof
from loadtest.swarm.scenario import ClusterPart
from loadtest.swarm.target import Target, local

AZURE = REPOSITORY / "loadtest" / "azure"
FILES = (AZURE / "locustfile.py", REPOSITORY / "server" / "overworld" / "wire" / "v1" / "client_pb2.py")
INSTALL_S, END_S = 400.0, 60.0
NAMES = ("connect", "input to ack", "frame interval")


@dataclass(frozen=True)
class Options:
    """`users`: of each engine."""

    engines: int = 2
    users: int = 20
    seconds: int = 15


def run(proof: Proof, options: Options) -> None:
    """Install, start, count."""
    with tempfile.TemporaryDirectory(prefix="overworld-azure-") as folder:
        asyncio.run(play(proof, options, Path(folder)))


async def play(proof: Proof, options: Options, folder: Path) -> None:
    """One cluster, some engines."""
    locust = await _install(proof, folder)
    async with await local(ClusterPart(title="roam", shards="2x2"), folder) as target:
        engines = [
            asyncio.create_task(_engine(locust, folder, number, target, options)) for number in range(options.engines)
        ]
        players = await _players(target, engines)
        codes = await asyncio.gather(*engines)
    wanted = options.engines * options.users
    proof.figure("players_at_once", len(players))
    proof.require(len(players) == wanted, f"{len(players)} different players were there, of {wanted} users")
    for number, code in enumerate(codes):
        rows = _rows(folder / f"engine-{number}")
        proof.figure(f"engine_{number}", rows)
        proof.require(code == 0, f"engine {number} ended with {code}")
        for name in NAMES:
            row = rows.get(name, {"requests": 0, "failures": 0})
            proof.require(row["requests"] > 0, f"engine {number} counted no {name}")
        failures = {name: row["failures"] for name, row in rows.items() if row["failures"]}
        proof.require(not failures, f"engine {number} counted failures: {failures}")


async def _install(proof: Proof, folder: Path) -> Path:
    """A Python with what the hashed requirements say. Returns Locust."""
    proof.say("installing Locust")
    for argv in (
        [sys.executable, "-m", "venv", str(folder / "venv")],
        [str(folder / "venv/bin/python"), "-m", "pip", "install", "-q", "--require-hashes", "-r",
         str(AZURE / "requirements-local.txt")],
    ):  # fmt: skip
        process = await asyncio.create_subprocess_exec(*argv)
        async with asyncio.timeout(INSTALL_S):
            if await process.wait() != 0:
                raise OSError(f"{argv[0]} failed")
    return folder / "venv/bin/locust"


async def _engine(locust: Path, folder: Path, number: int, target: Target, options: Options) -> int:
    here = folder / f"engine-{number}"
    here.mkdir()
    for file in FILES:
        shutil.copy(file, here)
    assert target.cluster is not None
    gateway = target.cluster.gateways[number % len(target.cluster.gateways)]
    env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    env |= {
        "LOCUST_HOST": gateway.page_url,
        "LOCUST_USERS": str(options.users),
        "LOCUST_SPAWN_RATE": "10",
        "LOCUST_RUN_TIME": f"{options.seconds}s",
    }
    if number % 2 == 0:
        env |= {
            "OVERWORLD_CLUSTER_KEY": target.tickets.key,
            "OVERWORLD_TITLE": target.title,
            "OVERWORLD_GATEWAY": gateway.play_url,
        }
    with (here / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(locust), "--headless", "--csv", "found", "--only-summary",
            cwd=here, env=env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        async with asyncio.timeout(options.seconds + END_S):
            return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


async def _players(target: Target, engines: list[asyncio.Task[int]]) -> set[str]:
    """Everybody who played at the moment when most did, by the admin API."""
    most: set[str] = set()
    headers = {"Authorization": f"Bearer {target.admin_token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=5)) as http:
        while not all(engine.done() for engine in engines):
            async with http.get(f"{target.admin_urls[0]}/admin/v1/players") as answer:
                rows = (await answer.json())["players"]
            now = {row["player"] for row in rows if row["state"] == "playing"}
            if len(now) > len(most):
                most = now
            await asyncio.sleep(0.5)
    return most


def _rows(folder: Path) -> dict[str, Any]:
    """What Locust counted, by name."""
    path = folder / "found_stats.csv"
    if not path.exists():
        raise OSError(f"Locust wrote nothing: {(folder / 'log').read_text(errors='replace')[-2000:]}")
    with path.open() as file:
        return {
            row["Name"]: {
                "requests": int(row["Request Count"]),
                "failures": int(row["Failure Count"]),
                "p50_ms": float(row["50%"] if row["50%"] != "N/A" else 0),
                "p99_ms": float(row["99%"] if row["99%"] != "N/A" else 0),
            }
            for row in csv.DictReader(file)
            if row["Name"] != "Aggregated"
        }
