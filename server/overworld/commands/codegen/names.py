"""Names of a title's declarations, made fit for a language: reserved words and what else is taken get a `_` behind."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NOT_ASCII_NAME = re.compile(r"[^A-Za-z0-9_]")

_NOT_SPOKEN = re.compile(r"[^A-Za-z0-9_. -]")


class Scope:
    """Names that stand side by side: none twice, none of those `taken` beforehand."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def name(self, wanted: str) -> str:
        """An ASCII identifier like `wanted` that is free, and is taken from now on."""
        # Two in front mean something in Python.
        name = re.sub("^__+", "_", _NOT_ASCII_NAME.sub("_", wanted)) or "_"
        if name[0].isdigit():
            name = f"_{name}"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def spoken(name: str) -> str:
    """A name as it may stand in any language's comment."""
    return _NOT_SPOKEN.sub("?", name)


def pascal(name: str) -> str:
    """`fire_tick` -> `FireTick`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_")) or name


def camel(name: str) -> str:
    """`FireTick`, `fire_tick` -> `fireTick`."""
    whole = pascal(name)
    return whole[:1].lower() + whole[1:]
