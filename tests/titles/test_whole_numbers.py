"""The titles we ship reckon in whole numbers, read off their source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import overworld.titles

ROOT = Path(overworld.titles.__file__).parent
FLOATS = {
    "float16",
    "float32",
    "float64",
    "divide",
    "true_divide",
    "mean",
    "average",
    "median",
    "std",
    "var",
    "sqrt",
    "hypot",
}


def floats_in(source: str) -> list[str]:
    """Where a module leaves whole numbers."""
    found = []
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            found.append(f"{line}: {node.value}")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append(f"{line}: / instead of //")
        elif isinstance(node, ast.Attribute) and node.attr in FLOATS:
            found.append(f"{line}: {node.attr}")
        elif isinstance(node, ast.Name) and node.id == "float":
            found.append(f"{line}: float")
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_titles_reckon_in_whole_numbers(path: Path) -> None:
    assert floats_in(path.read_text()) == []


@pytest.mark.parametrize("line", ["x * 0.5", "x / 2", "x /= 2", "x.mean()", "np.float64(x)", "float(x)", "np.sqrt(x)"])
def test_the_reader_finds_floats(line: str) -> None:
    assert floats_in(line) != []
