"""The bot of docs/clients.md is taken from its page, over generated types, and plays on a real gateway and worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.cluster import Cluster, Shape
from overworld.client import typed
from overworld.commands.codegen.languages import write_code
from overworld.commands.title_loader import load_title
from overworld.errors import WireError
from overworld.game import Title
from overworld.titles.frontier import Frontier

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- file: bot\.py -->\n```python\n(.*?)```", re.DOTALL)

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]


class Older(Frontier):
    """Before there was a lance."""

    inputs = Frontier.inputs[:1]  # type: ignore[assignment]


def play(folder: Path, title: Title, page: str) -> subprocess.CompletedProcess[str]:
    """The page's bot, over the types of a title."""
    found = BLOCK.search((ROOT / "docs" / "clients.md").read_text(encoding="utf-8"))
    assert found is not None
    (folder / "bot.py").write_text(found[1])
    write_code(title, "python", folder)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "server")}
    argv = [sys.executable, "bot.py", page, "4"]
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


async def test_values_out_of_range_are_refused() -> None:
    assert typed.checked(1, -1, 1, "Steer.turn") == 1
    with pytest.raises(ValueError, match=re.escape("Steer.turn is 2, must lie within -1..1")):
        typed.checked(2, -1, 1, "Steer.turn")
