"""`roam` with any number of wanderers, as a title that processes load by name: `loadtest.wanderers:Roam100000`.

40 of them are in a view; players come on top. The classes are made when they are asked for.
"""

from __future__ import annotations

import re

from loadtest.titles import crowded_grid
from overworld.game import Title
from overworld.titles.roam import Roam

_NAME = re.compile(r"Roam(\d+)")


def __getattr__(name: str) -> type[Title]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise AttributeError(name)
    count = int(match[1])

    def made(self: Roam) -> None:
        Roam.__init__(self, wanderers=count)

    declared = {"name": name.lower(), "world": crowded_grid(count), "__init__": made, "__module__": __name__}
    return type(name, (Roam,), declared)
