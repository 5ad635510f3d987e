"""Known holes that somebody has looked at and lets be for a while, where nothing of it ships. Asks nobody."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("accepted.toml")
SHIPPED = ("constraints.txt (runtime)", "constraints.txt (traces)", "clients/js/package-lock.json")
"""What players, operators or web developers run."""


@dataclass(frozen=True)
class Accepted:
    """One hole. `until`: from that day on it counts again."""

    package: str
    advisory: str
    lock: str
    until: dt.date
    why: str


def read(text: str) -> list[Accepted]:
    """The list. Raises ValueError for an entry that lacks something, or lets be what may not be."""
    found = [_entry(entry) for entry in tomllib.loads(text).get("accepted", [])]
    for entry in found:
        if entry.lock in SHIPPED:
            raise ValueError(f"{entry.advisory}: {entry.lock} ships, so nothing in it is let be")
    return found


def _entry(entry: dict[str, Any]) -> Accepted:
    texts = {name: entry.get(name) for name in ("package", "advisory", "lock", "why")}
    until = entry.get("until")
    if not all(isinstance(text, str) and text.strip() for text in texts.values()) or not isinstance(until, dt.date):
        raise ValueError(f"an entry needs package, advisory, lock, why and a day until: {entry}")
    return Accepted(until=until, **{name: str(text) for name, text in texts.items()})


def overdue(entries: Iterable[Accepted], today: dt.date) -> list[str]:
    """One line for each that somebody has to look at again."""
    return [
        f"{entry.lock}: {entry.package} {entry.advisory}: let be until {entry.until}, look again ({entry.why})"
        for entry in entries
        if entry.until <= today
    ]


def covers(entries: Iterable[Accepted], lock: str, package: str, names: Iterable[str], today: dt.date) -> bool:
    """Whether a hole, by any of its names, is let be in this lock file today."""
    known = set(names)
    return any(
        entry.lock == lock and entry.package == package and entry.advisory in known and today < entry.until
        for entry in entries
    )
