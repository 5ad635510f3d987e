"""Finds titles: by entry point (group `overworld.titles`), or by `package.module:Class` while one is being
written.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any

from overworld.errors import TitleError
from overworld.game import Title

GROUP = "overworld.titles"


def installed_titles() -> dict[str, metadata.EntryPoint]:
    """Entry points by title name, ascending."""
    return {point.name: point for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name)}


def load_title(name: str) -> Title:
    """An instance of a title. Raises TitleError, in one line, where there is none of that name or it cannot be
    used.
    """
    known = installed_titles()
    if name in known:
        where = known[name].value
    elif ":" in name:
        where = name
    else:
        raise TitleError(f"no title {name!r}: installed are {', '.join(known) or 'none'}")
    module_name, _, attribute = where.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # a title's module may fail in any way, and the operator needs the one line
        raise TitleError(f"title {name!r} ({where}) does not load: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Title)):
        raise TitleError(f"title {name!r} ({where}) is not a subclass of overworld.game.Title")
    try:
        return found()
    except TypeError as error:
        raise TitleError(f"title {name!r} ({where}) cannot be made without arguments: {error}") from error
