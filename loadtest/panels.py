"""The dashboards' panels, as queries that a Prometheus answers: what they show before, during and after something."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.machine import REPOSITORY
from tests.parts.prometheus import Prometheus, QueryFailed, Series

DASHBOARDS = REPOSITORY / "deploy" / "grafana"
WINDOW = "15s"
"""What stands for Grafana's own variables of time: many scrapes, and short beside what is watched."""
QUIET = frozenset(
    ("Blob calls failed", "Sockets closed", "Sockets lost or closed", "Steps of a move p99", "Takeover p99",
     "From shard to shard p99")
)  # fmt: skip
"""Titles of panels that show nothing while nothing happens: their series begin with the first event, or are quantiles
of none.
"""
ROLE = re.compile(r'role="(\w+)"')
VARIABLE = re.compile(r"\$\{?\w+(?::\w+)?\}?")


@dataclass(frozen=True)
class Panel:
    """One query of a panel."""

    name: str
    """Dashboard / panel."""
    expr: str


@dataclass
class Shown:
    """What a panel showed: the highest series' value each time it was asked; None where it had no data."""

    panel: Panel
    values: dict[str, list[float | None]] = field(default_factory=dict)
    """By the time of the run: before, during, after."""
    series: int = 0
    """The most it had at once."""
    failed: list[str] = field(default_factory=list)

    def note(self, when: str, found: Sequence[Series]) -> None:
        """What was answered once."""
        self.series = max(self.series, len(found))
        self.values.setdefault(when, []).append(max((one.value for one in found), default=None))

    def span(self, when: str) -> list[float] | None:
        """Lowest and highest value of that time; None without data."""
        there = [value for value in self.values.get(when, []) if value is not None]
        return [min(there), max(there)] if there else None

    @property
    def has_data(self) -> bool:
        """Whether it ever showed anything."""
        return any(self.span(when) is not None for when in self.values)


def panels(folder: Path = DASHBOARDS) -> list[Panel]:
    """Every query of the dashboards of a folder, with variables filled in: any value, `WINDOW`."""
    found = []
    for path in sorted(folder.glob("*.json")):
        board = json.loads(path.read_text())
        role = ROLE.search(json.dumps(board.get("templating", {})).replace('\\"', '"'))
        instances = f"{role[1]}-.*" if role else ".*"
        for panel in _flat(board["panels"]):
            targets = [t["expr"] for t in panel.get("targets", [])]
            found += [Panel(f"{path.stem} / {panel['title']}", filled(expr, instances)) for expr in targets]
    return found


def filled(expr: str, instances: str = ".*") -> str:
    """A query with Grafana's variables replaced; `instances`: what a dashboard's own offers, as clusters here name
    processes (`worker-0`).
    """

    def value(found: re.Match[str]) -> str:
        if "interval" in found[0] or "range" in found[0]:
            return WINDOW
        return instances if "instance" in found[0] else ".*"

    return VARIABLE.sub(value, expr)


def quiet(panel: Panel) -> bool:
    """Whether it may be empty."""
    return panel.name.split(" / ", 1)[1] in QUIET


def _flat(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in found:
        yield panel
        yield from panel.get("panels", [])


class Watch:
    """Asks all panels of one Prometheus, once or again and again."""

    def __init__(self, prometheus: Prometheus, asked: Sequence[Panel]) -> None:
        self.prometheus = prometheus
        self.shown = [Shown(panel) for panel in asked]
        self.rounds = 0

    async def look(self, when: str) -> None:
        """Ask each panel once."""
        await asyncio.to_thread(self._ask, when)

    async def go_on(self, when: str, pause_s: float) -> None:
        """Ask until cancelled."""
        while True:
            await self.look(when)
            await asyncio.sleep(pause_s)

    def _ask(self, when: str) -> None:
        self.rounds += 1
        for shown in self.shown:
            try:
                shown.note(when, self.prometheus.query(shown.panel.expr))
            except (QueryFailed, OSError) as error:
                shown.failed.append(str(error))
