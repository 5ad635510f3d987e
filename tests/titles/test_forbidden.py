"""What may not stand in a title or under it, read off the source: it could differ from one machine to another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import overworld

ROOT = Path(overworld.__file__).parent

_LAST_BITS = "last bits differ between CPUs: use the tables of whole numbers"
_WHOLE = "whole numbers only"
_REASONS = {
    "random": "chance: use shard.random",
    "empty empty_like": "uninitialised memory",
    "argpartition partition": "order of ties differs between CPUs",
    "sin cos tan sinh cosh tanh arcsin arccos arctan arctan2": _LAST_BITS,
    "exp exp2 expm1 log log2 log10 log1p power": _LAST_BITS,
    "dot matmul inner vdot tensordot linalg fft": "last bits differ between BLAS libraries",
    "float64 float32 float16 divide true_divide mean std var": _WHOLE,
}
FORBIDDEN = {name: reason for names, reason in _REASONS.items() for name in names.split()}


def rule_breaches(source: str, name: str) -> list[str]:
    """What in a module could differ from one machine to another."""
    found = []
    for node in ast.walk(ast.parse(source)):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
            if node.attr in FORBIDDEN:
                found.append(f"{where}: np.{node.attr}: {FORBIDDEN[node.attr]}")
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.MatMult):
            found.append(f"{where}: / and @ give floats: use //")
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div | ast.MatMult):
            found.append(f"{where}: /= and @= give floats: use //=")
        elif isinstance(node, ast.Constant) and isinstance(node.value, float):
            found.append(f"{where}: the float {node.value}")
        elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Set | ast.SetComp):
            found.append(f"{where}: order of a set")
        elif isinstance(node, ast.Call):
            found += [f"{where}: {words}" for words in _call_breaches(node)]
    return found


def _call_breaches(call: ast.Call) -> list[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    stable = any(k.arg == "kind" and getattr(k.value, "value", "") == "stable" for k in call.keywords)
    if name == "argsort" and not stable:
        return ['argsort without kind="stable": order of ties differs between CPUs']
    return [f"{name}()"] if name in ("hash", "id", "float", "set", "frozenset") else []


def modules(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("path", modules("titles"), ids=lambda path: str(path.relative_to(ROOT)))
def test_titles_use_nothing_that_differs_between_machines(path: Path) -> None:
    assert rule_breaches(path.read_text(), path.name) == []


@pytest.mark.parametrize("name", ["near", "random", "angles", "table", "grid"])
def test_neither_does_the_world_under_them(name: str) -> None:
    assert rule_breaches((ROOT / "world" / f"{name}.py").read_text(), name) == []


@pytest.mark.parametrize(
    "line",
    [
        "np.sin(x)",
        "np.random.default_rng()",
        "x / 2",
        "x /= 2",
        "a @ b",
        "x * 0.5",
        "x.argsort()",
        "np.argsort(x)",
        "hash(x)",
        "for x in {1, 2}: pass",
        "[x for x in {1, 2}]",
        "set(x)",
        "np.dot(a, b)",
    ],
)
def test_the_check_catches(line: str) -> None:
    assert len(rule_breaches(line, "x")) >= 1


def test_the_check_lets_the_good_pass() -> None:
    assert rule_breaches('np.argsort(x, kind="stable") // 2; np.lexsort((a, b)); np.zeros(3)', "x") == []
