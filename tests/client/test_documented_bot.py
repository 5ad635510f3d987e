"""The programs of docs/clients.md are taken from there, over generated types, and run on a real gateway and worker."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.cluster import Cluster, Shape
from overworld.client import typed
from overworld.client.connection import Client, ClientOptions
from overworld.client.guest import ask_guest
from overworld.client.mirror import Seen
from overworld.client.presence import Reason
from overworld.commands.codegen.languages import write_code
from overworld.commands.title_loader import load_title
from overworld.errors import WireError
from overworld.game import Title
from overworld.titles.frontier import Frontier

ROOT = Path(__file__).resolve().parents[2]
BLOCK = r"<!-- file: {} -->\n```python\n(.*?)```"

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]


class Older(Frontier):
    """Before there was a lance."""

    inputs = Frontier.inputs[:1]  # type: ignore[assignment]


def play(folder: Path, title: Title, page: str, file: str = "bot.py") -> subprocess.CompletedProcess[str]:
    """A program of the page, over the types of a title."""
    text = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    found = re.search(BLOCK.format(re.escape(file)), text, re.DOTALL)
    assert found is not None
    (folder / file).write_text(found[1])
    write_code(title, "python", folder)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "server")}
    argv = [sys.executable, file, page, "4"]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=90, check=False)


async def test_the_documented_bot_plays_and_one_for_another_version_refuses(tmp_path: Path) -> None:
    async with Cluster(tmp_path / "cluster", Shape(workers=1, gateways=1, shards="1x1")) as cluster:
        page = cluster.gateways[0].page_url
        done = play(tmp_path, load_title("frontier"), page)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout.removeprefix("inputs applied:")) >= 1
        refused = play(tmp_path, Older(), page)
        assert refused.returncode != 0
        assert WireError.__name__ in refused.stderr
        assert "run overworld codegen again" in refused.stderr


class Roll:
    """Who is there, by what is told alone; compared with the picture after every frame."""

    def __init__(self, client: Client) -> None:
        self.presence = client.presence
        self.known = {seen.entity for seen in self.presence.every()}
        self.frames = self.came = 0
        self.presence.on_add(self._add)
        self.presence.on_remove(self._remove)
        self.wrong: list[set[int]] = []
        """Told to come while there or to go while not, or other than in the picture: a listener must not raise."""
        client.on_frame = self._compare

    def _add(self, seen: Seen) -> None:
        self.wrong += [{seen.entity}] * (seen.entity in self.known)
        self.known.add(seen.entity)
        self.came += 1

    def _remove(self, seen: Seen, _: Reason) -> None:
        self.wrong += [{seen.entity}] * (seen.entity not in self.known)
        self.known.discard(seen.entity)

    def _compare(self, client: Client) -> None:
        self.frames += 1
        stand = {row[1] for row in client.mirror.picture()}
        apart = (stand ^ self.known) - {entity for entity in self.known if not self.presence.stands(entity)}
        if apart:
            self.wrong.append(apart)


async def test_the_documented_lookout_and_a_roll_agree_with_the_server(tmp_path: Path) -> None:
    async with Cluster(tmp_path / "cluster", Shape(workers=1, gateways=1, shards="2x1")) as cluster:
        page = cluster.gateways[0].page_url
        guest = await ask_guest(page)
        async with Client(guest.urls, guest.token, guest.title) as client:
            roll = Roll(client)
            done = await asyncio.to_thread(play, tmp_path, load_title("frontier"), page, "lookout.py")
            before = client.statistics.resumes
            client.cut()
            await client.until(lambda c: c.statistics.resumes > before and len(c.presence) > 0, timeout_s=15)
        assert done.returncode == 0, done.stderr
        told = re.fullmatch(r"ships that came: (\d+) went: (.*)\n", done.stdout)
        assert told is not None
        assert int(told[1]) >= 1
        assert roll.frames > 20
        assert roll.came > 0
        assert roll.wrong == []


async def test_a_light_client_has_no_presence() -> None:
    client = Client("ws://127.0.0.1:1/play", "token", "frontier", options=ClientOptions(light=True))
    with pytest.raises(TypeError, match="no picture"):
        _ = client.presence


async def test_values_out_of_range_are_refused() -> None:
    assert typed.checked(1, -1, 1, "Steer.turn") == 1
    with pytest.raises(ValueError, match=re.escape("Steer.turn is 2, must lie within -1..1")):
        typed.checked(2, -1, 1, "Steer.turn")
