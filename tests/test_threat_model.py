"""The threat model promises nothing that nothing holds: each control names tests and settings, and they are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from overworld.commands.wiring import SETTINGS
from overworld.settings import SECRETS_DIR

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "threat-model.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SETTING = re.compile(r"`(OVERWORLD_\w+)`")
HEAD = "| control | held by |"


@cache
def names_in(path: Path) -> frozenset[str]:
    """Names of the tests in a file, those in classes too."""
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    functions = (node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


def missing(text: str) -> list[str]:
    """What a page names and nothing has."""
    wrong = [
        f"{file}::{name}"
        for file, name in TEST.findall(text)
        if not (ROOT / file).is_file() or name not in names_in(ROOT / file)
    ]
    known = {
        (kind.model_config.get("env_prefix", "") + name).upper() for kind in SETTINGS for name in kind.model_fields
    }
    return wrong + [name for name in SETTING.findall(text) if name not in known | {SECRETS_DIR}]


def controls(text: str) -> list[tuple[str, str]]:
    """The rows of the page's second table: (control, held by)."""
    rows = text.partition(HEAD)[2].strip().splitlines()[1:]
    cells = [row.strip("|").split("|") for row in rows if row.startswith("|")]
    return [(control.strip(), held.strip()) for control, held in cells]


def test_every_test_and_setting_that_is_named_exists() -> None:
    assert missing(PAGE.read_text(encoding="utf-8")) == []


def test_every_control_names_a_test() -> None:
    found = controls(PAGE.read_text(encoding="utf-8"))
    assert len(found) >= 15
    assert [control for control, held in found if not TEST.search(held)] == []


def test_what_does_not_exist_is_found() -> None:
    planted = "`tests/test_tidy.py::test_no_such` `tests/none.py::test_x` `OVERWORLD_NONE` `OVERWORLD_SECRETS_DIR`"
    assert missing(planted) == ["tests/test_tidy.py::test_no_such", "tests/none.py::test_x", "OVERWORLD_NONE"]
    assert controls(f"{HEAD}\n|---|---|\n| one | nothing |\n") == [("one", "nothing")]
