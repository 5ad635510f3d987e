"""Secrets are nowhere to be read: not in logs at their most talkative, in errors, in what ports answer, in help, nor in
what a crash leaves. Real processes with marked secrets; everything that comes out of them is searched.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import click
import pytest
from pydantic import SecretStr

from loadtest.cluster import Cluster, Shape
from overworld.__main__ import main
from overworld.client.connection import Client
from overworld.client.guest import Guest, ask_guest
from overworld.commands.wiring import SETTINGS
from tests.parts.ports import free_port

KEY = "marked-cluster-key-" + "k" * 32
ALSO = "marked-second-key-" + "a" * 32
TOKEN = "marked-admin-token-" + "t" * 32
PASSWORD = "marked-redis-password"
ACCOUNT_KEY = "bWFya2VkLWFjY291bnQta2V5"
MARKS = ("marked-", "kkkkkkkk", "aaaaaaaa", "tttttttt", ACCOUNT_KEY, "eyJ")
"""A JWT begins with the last one."""
ALL = {
    "OVERWORLD_CLUSTER_KEY": KEY,
    "OVERWORLD_CLUSTER_KEY_ALSO": ALSO,
    "OVERWORLD_ADMIN_TOKEN": TOKEN,
    "OVERWORLD_LOG_LEVEL": "debug",
}


def overworld(*argv: str, **env: str) -> str:
    """All that a command says which has to fail, or to end by itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OVERWORLD_")}
    command = [sys.executable, "-m", "overworld", *argv]
    done = subprocess.run(command, env=kept | env, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout + done.stderr, command
    return done.stdout + done.stderr


def marks_in(text: str) -> list[str]:
    return [mark for mark in MARKS if mark in text]


def commands(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    found = [path]
    for name, command in group.commands.items():
        found += commands(command, *path, name) if isinstance(command, click.Group) else [(*path, name)]
    return found


def test_every_setting_that_is_a_secret_is_marked_here() -> None:
    secret = {
        (kind.model_config.get("env_prefix", "") + name).upper()
        for kind in SETTINGS
        for name, field in kind.model_fields.items()
        if field.annotation is SecretStr
    }
    assert secret
    assert secret <= set(ALL)


def test_help_shows_no_settings() -> None:
    """In one process, as each would show it: defaults that are read from the environment are the danger."""
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom overworld.__main__ import main\n"
        "for line in sys.stdin.read().splitlines():\n"
        "    print(CliRunner().invoke(main, [*line.split(), '--help']).output)\n"
    )
    asked = "\n".join(" ".join(path) for path in commands(main))
    env = os.environ | ALL
    done = subprocess.run(
        [sys.executable, "-c", program], input=asked, env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.count("Usage:") == len(commands(main)) > 15
    assert marks_in(done.stdout + done.stderr) == []


def test_what_cannot_be_done_says_why_and_no_secret(tmp_path: Path) -> None:
    url = f"redis://user:{PASSWORD}@127.0.0.1:{free_port()}/0"
    blobs = f"azurite:DefaultEndpointsProtocol=http;AccountName=a;AccountKey={ACCOUNT_KEY};Container=c"
    silent = ALL | {"OVERWORLD_REDIS_URL": url, "OVERWORLD_BLOB_URL": str(tmp_path)}
    console = {"OVERWORLD_LOG_FORMAT": "console"}
    strange = ALL | {"OVERWORLD_REDIS_URL": url.replace("redis://", "nonsense://"), "OVERWORLD_BLOB_URL": blobs}
    short = dict.fromkeys(("OVERWORLD_CLUSTER_KEY", "OVERWORLD_CLUSTER_KEY_ALSO", "OVERWORLD_ADMIN_TOKEN"), "marked-")
    nobody = ("admin", "list", "workers", "--url", f"http://127.0.0.1:{free_port()}")
    cases: list[tuple[tuple[str, ...], dict[str, str], list[str]]] = [
        (("worker",), silent | console, ["OVERWORLD_REDIS_URL"]),
        (("gateway",), silent, ["OVERWORLD_REDIS_URL"]),
        (("worker",), strange, ["OVERWORLD_REDIS_URL"]),
        (("worker",), silent | short, list(short)),
        (("archive",), silent, ["OVERWORLD_REDIS_URL"]),
        (("restore", "--at", "1"), silent, ["OVERWORLD_REDIS_URL"]),
        (nobody, silent, ["127.0.0.1"]),
    ]
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda case: overworld(*case[0], **case[1]), cases))
    for (argv, _, named), text in zip(cases, said, strict=True):
        assert [name for name in named if name not in text] == [], (argv, text)
        assert marks_in(text) == [], argv


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_in_a_log_shows_no_values(form: str) -> None:
    program = (
        "import structlog\nfrom overworld.commands import logs\n"
        f"logs.set_up({form!r}, 'debug')\n"
        "def fail(secret):\n    raise ValueError('why')\n"
        f"try:\n    fail({KEY[:6]!r} + {KEY[6:]!r})\n"
        "except ValueError:\n    structlog.get_logger().exception('failed')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "ValueError" in done.stderr
    assert "in fail" in done.stderr
    assert marks_in(done.stderr.replace(f"{KEY[:6]!r}", "").replace(f"{KEY[6:]!r}", "")) == []


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_a_cluster_that_is_played_asked_and_killed_says_no_secret(tmp_path: Path) -> None:
    env = {**ALL, "OVERWORLD_LOG_FORMAT": "console"}
    shape = Shape(1, 1, shards="1x1", env=env, gateway_env={"OVERWORLD_GATEWAY_GUEST_LOGINS": "true"})
    said: list[str] = []
    async with Cluster(tmp_path / "cluster", shape) as cluster:
        [worker], [gateway] = cluster.workers, cluster.gateways
        guest: Guest = await ask_guest(gateway.page_url)
        async with Client(gateway.play_url, guest.token, "frontier") as client:
            await client.until(lambda it: it.mirror.avatar is not None, 30.0)
            async with aiohttp.ClientSession() as http:
                for node in (worker, gateway):
                    for path in ("metrics", "livez", "readyz", "status", "admin/v1/workers", "admin/v1/nothing"):
                        for bearer in (TOKEN, "marked-wrong-token"):
                            headers = {"Authorization": f"Bearer {bearer}"}
                            async with http.get(f"{node.internal_url}/{path}", headers=headers) as answer:
                                said.append(await answer.text())
                async with http.get(f"{gateway.page_url}api/world") as answer:
                    said.append(await answer.text())
            # One ends in order, the other crashes with whatever its signal has it say.
            gateway.process.send(signal.SIGTERM)
            worker.process.send(signal.SIGABRT)
            deadline_s = time.monotonic() + 30
            while gateway.process.alive or worker.process.alive:
                assert time.monotonic() < deadline_s
                await asyncio.sleep(0.05)
        said += [path.read_text(errors="replace") for path in (tmp_path / "cluster").glob("*.log")]
    secrets = (guest.token, guest.guest_pass)
    assert len(said) > 20
    assert sum(map(len, said)) > 10_000
    for text in said:
        assert marks_in(text) == []
        assert [secret for secret in secrets if secret in text] == []
