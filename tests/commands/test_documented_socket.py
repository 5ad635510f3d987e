"""The socket of docs/unity.md is taken from its page and compiled, together with what codegen writes."""

from __future__ import annotations

import re
from pathlib import Path

from overworld.commands.codegen.languages import write_code
from overworld.commands.title_loader import load_title
from tests.parts.csharp import compile_csharp

PAGE = Path(__file__).resolve().parents[2] / "docs" / "unity.md"
BLOCK = re.compile(r"<!-- file: GameSocket\.cs -->\n```csharp\n(.*?)```", re.DOTALL)


def test_the_documented_socket_compiles_beside_generated_definitions(tmp_path: Path) -> None:
    found = BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    (tmp_path / "GameSocket.cs").write_text(found[1])
    write_code(load_title("frontier"), "csharp", tmp_path)
    sources = sorted(tmp_path.glob("*.cs"))
    assert len(sources) == 2
    compile_csharp(tmp_path / "game.dll", sources)
