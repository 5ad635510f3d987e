"""Bicep files as data: what each declares, with everything that is written out as plain values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_bicep


@dataclass(frozen=True)
class Expression:
    """In the place of a value that only Azure can compute: how it is written."""

    text: str


_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))


@dataclass
class Declared:
    """One `resource` or `module`. `what`: the type with its version, or the module's file. `line`: from 1."""

    kind: str
    name: str
    what: str
    line: int
    body: dict[str, Any]
    uses: set[str] = field(default_factory=set)
    """Every name that stands in it."""
    existing: bool = False
    loop: tuple[str, str] | None = None
    """Its variable and what it goes through, of `[for VARIABLE in LIST: ...]`."""


@dataclass
class File:
    """One file. `params`: names that have no default are required of whoever calls it."""

    path: Path
    declared: list[Declared] = field(default_factory=list)
    params: dict[str, bool] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    errors: list[int] = field(default_factory=list)
    """Lines that are no Bicep."""


def read(path: Path) -> File:
    """Parse a file."""
    source = path.read_bytes()
    root = _PARSER.parse(source).root_node
    found = File(path)
    found.errors = [node.start_point[0] + 1 for node in _walk(root) if node.is_error or node.is_missing]
    for node in root.children:
        if node.type == "parameter_declaration":
            found.params[_text(_first(node, "identifier"))] = b"=" in source[node.start_byte : node.end_byte]
        elif node.type == "output_declaration":
            found.outputs[_text(_first(node, "identifier"))] = _value(node.named_children[-1])
        elif node.type == "variable_declaration":
            found.variables[_text(_first(node, "identifier"))] = _value(node.named_children[-1])
        elif node.type in ("resource_declaration", "module_declaration"):
            found.declared.append(_declared(node))
    return found


def _declared(node: tree_sitter.Node) -> Declared:
    body = next((inner for inner in _walk(node) if inner.type == "object"), None)
    loop = re.search(r"=\s*\[\s*for\s+(\w+)\s+in\s+(\w+)\s*:", _text(node))
    return Declared(
        loop=(loop[1], loop[2]) if loop else None,
        kind=node.type.partition("_")[0],
        name=_text(_first(node, "identifier")),
        what=_text(_first(node, "string")).strip("'"),
        line=node.start_point[0] + 1,
        body=_value(body) if body is not None else {},
        uses={_text(inner) for inner in _walk(node) if inner.type in ("identifier", "property_identifier")},
        existing=any(child.type == "existing" or _text(child) == "existing" for child in node.children),
    )


def _value(node: tree_sitter.Node) -> Any:
    if node.type == "object":
        pairs = {}
        for child in node.named_children:
            if child.type == "object_property" and len(child.named_children) == 2:
                key, value = child.named_children
                name = _text(key).strip("'")
                pairs[name] = _value(value)
        return pairs
    if node.type == "array":
        return [_value(child) for child in node.named_children if child.type != "comment"]
    if node.type == "boolean":
        return _text(node) == "true"
    if node.type == "number":
        return int(_text(node))
    if node.type == "string" and not any(child.type == "interpolation" for child in node.named_children):
        return _text(node).strip("'")
    if node.type == "ternary_expression":
        chosen = [_value(part) for name in ("consequence", "alternative") if (part := node.child_by_field_name(name))]
        return Either(tuple(chosen))
    return Expression(_text(node))


@dataclass(frozen=True)
class Either:
    """One of two values, by an expression."""

    values: tuple[Any, ...]


def _walk(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _first(node: tree_sitter.Node, kind: str) -> tree_sitter.Node:
    return next(child for child in node.named_children if child.type == kind)


def _text(node: tree_sitter.Node) -> str:
    return (node.text or b"").decode()
