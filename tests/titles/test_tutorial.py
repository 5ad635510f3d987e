"""The tutorial's title is taken from its page and run, with the tests that stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import overworld.game
from overworld.game import Shard, Table, Title
from overworld.titles.frontier import Frontier

SERVER = Path(overworld.__file__).parent.parent
PAGE = SERVER.parent / "docs" / "titles.md"
BLOCK = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)


def files_of_the_page() -> dict[str, str]:
    """The page's files: blocks of the same name, one after another."""
    files: dict[str, str] = {}
    for name, text in BLOCK.findall(PAGE.read_text()):
        files[name] = files.get(name, "") + text
    return files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's files in it."""
    for name, text in files_of_the_page().items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(SERVER)])}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False
    )


def test_the_pages_title_passes_the_pages_tests(folder: Path) -> None:
    files = ("test_pond.py", "test_pond2.py")
    ran = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error", *files)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "5 passed" in ran.stdout


def test_the_pages_title_keeps_the_rules_it_states(folder: Path) -> None:
    from tests.titles.test_whole_numbers import floats_in
    from tools.determinism import findings

    for name in ("pond.py", "pond2.py"):
        source = (folder / name).read_text()
        assert findings(source) == []
        assert floats_in(source) == []


def test_the_pages_title_is_typed(folder: Path) -> None:
    ran = run(folder, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir", os.devnull, "pond.py", "pond2.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def words_in_backticks() -> str:
    without_blocks = re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL)
    return " ".join(re.findall(r"`([^`]+)`", without_blocks))


def test_the_reference_names_everything_that_titles_may_use() -> None:
    text = words_in_backticks()
    for_the_server = {"kind", "next_id", "public", "private", "columns", "load", "admit", "shadow"}
    of_the_tick = {"begin_tick", "keep_past", "offer", "state_tables"}
    public = {
        *overworld.game.__all__,
        *(name for name in vars(Title) if not name.startswith("_")),
        *(name for name in vars(Shard) if not name.startswith("_") and name not in of_the_tick),
        *(name for name in vars(Table) if not name.startswith("_") and name not in for_the_server),
    }
    missing = sorted(name for name in public if not re.search(rf"\b{name}\b", text))
    assert missing == []


def test_what_the_reference_names_exists() -> None:
    shard = Shard(overworld.game.contract_of(Frontier(), "w"), 0, Frontier.entities)
    for name in re.findall(r"`shard\.(\w+)", PAGE.read_text()):
        assert hasattr(shard, name), f"shard.{name}"
    for name in re.findall(r"`table\.(\w+)\(", PAGE.read_text()):
        assert hasattr(Table, name) or name == "at", f"table.{name}"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target
