"""Finds what would make two machines disagree about a tick, by reading the code that must replay exactly.

What differs between CPUs, library builds, thread counts and hash seeds was measured: numpy's and libm's
transcendental functions, everything that goes through BLAS, sorting with ties by an unstable method, memory nobody
wrote, and the order of sets. Those are refused here; the exact float operations (+ - * / sqrt floor and their like)
and integers are allowed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

TRANSCENDENTAL = frozenset(
    {
        *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "arcsin", "arccos", "arctan", "arctan2"),
        *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "arcsinh", "arccosh", "arctanh"),
        *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "power", "float_power"),
    }
)
BLAS = frozenset(
    {"dot", "inner", "outer", "vdot", "matmul", "matvec", "vecmat", "vecdot", "tensordot", "linalg", "fft"}
)
UNWRITTEN = frozenset({"empty", "empty_like"})
UNSTABLE = frozenset({"argpartition", "partition"})
OTHER_CHANCE = frozenset({"random"})
PROCESS_DEPENDENT = frozenset({"hash", "id"})
ORDER_KEEPERS = frozenset({"list", "tuple", "enumerate", "iter", "next", "array", "asarray", "fromiter", "join"})
SET_MAKERS = frozenset({"set", "frozenset"})


@dataclass(frozen=True)
class Finding:
    """One place, and what is wrong with it."""

    line: int
    what: str


def findings(source: str) -> list[Finding]:
    """Everything in one module's source that may differ between machines, in order of lines."""
    tree = ast.parse(source)
    sets = _names_of_sets(tree)
    keys = _look_up_keys(tree)
    found = [finding for node in ast.walk(tree) if node not in keys for finding in _look_at(node, sets)]
    return sorted(found, key=lambda finding: (finding.line, finding.what))


def _look_at(node: ast.AST, sets: frozenset[str]) -> Iterator[Finding]:
    match node:
        case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr=name):
            yield from _numpy_name(node.lineno, name)
        case ast.Attribute(value=ast.Name(id="math" | "cmath"), attr=name) if name in TRANSCENDENTAL:
            yield Finding(node.lineno, f"math.{name} differs between libm builds; use a table of integers")
        case ast.ImportFrom(module="math" | "cmath", names=names):
            for name in TRANSCENDENTAL.intersection(alias.name for alias in names):
                yield Finding(node.lineno, f"math.{name} differs between libm builds; use a table of integers")
        case ast.ImportFrom(module="numpy"):
            yield Finding(node.lineno, "import numpy as np, so that what is used of it can be seen")
        case ast.BinOp(op=ast.MatMult()) | ast.AugAssign(op=ast.MatMult()):
            yield Finding(node.lineno, "@ goes through BLAS, whose sums differ between CPUs and thread counts")
        case ast.Call(func=ast.Name(id=name)) if name in PROCESS_DEPENDENT:
            yield Finding(node.lineno, f"{name}() differs between processes")
        case ast.Call(func=ast.Attribute(attr="argsort")) if not _is_stable(node):
            yield Finding(node.lineno, "argsort without kind='stable' orders ties differently between CPUs")
        case ast.Call(func=ast.Attribute(attr="dot")):
            yield Finding(node.lineno, "dot goes through BLAS, whose sums differ between CPUs and thread counts")
        case _:
            pass
    for iterated in _iterated_by(node):
        if _is_set(iterated, sets):
            yield Finding(iterated.lineno, "the order of a set differs between processes; sort it")


def _numpy_name(line: int, name: str) -> Iterator[Finding]:
    if name in TRANSCENDENTAL:
        yield Finding(line, f"np.{name} differs between CPUs; use a table of integers")
    elif name in BLAS:
        yield Finding(line, f"np.{name} goes through BLAS or its like, whose sums differ between CPUs")
    elif name in UNWRITTEN:
        yield Finding(line, f"np.{name} gives memory nobody wrote; use np.zeros or np.full")
    elif name in UNSTABLE:
        yield Finding(line, f"np.{name} orders ties differently between CPUs")
    elif name in OTHER_CHANCE:
        yield Finding(line, "chance comes from overworld.world.random, keyed by world, shard and tick")


def _is_stable(call: ast.Call) -> bool:
    return any(
        keyword.arg == "kind" and isinstance(keyword.value, ast.Constant) and keyword.value.value == "stable"
        for keyword in call.keywords
    )


def _iterated_by(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions whose order this node depends on."""
    match node:
        case ast.For(iter=iterated) | ast.Starred(value=iterated) | ast.YieldFrom(value=iterated):
            yield iterated
        case ast.ListComp(generators=loops) | ast.GeneratorExp(generators=loops) | ast.DictComp(generators=loops):
            yield from (loop.iter for loop in loops)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[first, *_]) if name in ORDER_KEEPERS:
            yield first
        case ast.Call(func=ast.Attribute(value=owner, attr="pop"), args=[]):
            yield owner
        case _:
            pass


def _is_set(node: ast.expr, sets: frozenset[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in SET_MAKERS
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in sets
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
            return _is_set(left, sets) or _is_set(right, sets)
        case _:
            return False


def _names_of_sets(tree: ast.Module) -> frozenset[str]:
    """Names and attributes the module annotates as, or assigns, a set; by name alone, so a clash asks for another."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=target, annotation=annotation) if _annotates_set(annotation):
                names.update(_name_of(target))
            case ast.arg(arg=name, annotation=annotation) if annotation is not None and _annotates_set(annotation):
                names.add(name)
            case ast.Assign(targets=targets, value=value) if _is_set(value, frozenset()):
                names.update(name for target in targets for name in _name_of(target))
            case _:
                pass
    return frozenset(names)


def _look_up_keys(tree: ast.Module) -> set[ast.AST]:
    """Calls whose result only finds an entry of a dict: the number itself is never seen."""
    keys: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(slice=ast.Call(func=ast.Name(id="id")) as call):
                keys.add(call)
            case ast.DictComp(key=ast.Call(func=ast.Name(id="id")) as call):
                keys.add(call)
            case _:
                pass
    return keys


def _annotates_set(annotation: ast.expr) -> bool:
    match annotation:
        case ast.Subscript(value=ast.Name(id=name)) | ast.Name(id=name):
            return name in {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}
        case _:
            return False


def _name_of(target: ast.expr) -> list[str]:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return [name]
        case _:
            return []
