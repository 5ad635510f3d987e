"""What one process of bots found, as plain data that adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from overworld.client.statistics import Histogram

EXAMPLES_MAX = 5
INPUT_LOST, INPUT_DROPPED, INPUT_DOUBLED = "input lost", "input acknowledged without effect", "input doubled"
ACK_WRONG, RULE_BROKEN, OUT_OF_ORDER = "wrong acknowledgement", "protocol broken", "frame out of order"
SEEN_TWICE, PICTURE_WRONG = "entity seen twice", "picture differs from the server's"
FAULTS = (
    INPUT_LOST, INPUT_DROPPED, INPUT_DOUBLED, ACK_WRONG, RULE_BROKEN, OUT_OF_ORDER, SEEN_TWICE, PICTURE_WRONG,
)  # fmt: skip


@dataclass
class Findings:
    """Faults (what makes a run wrong), and how much was looked at."""

    faults: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """What went wrong without being untrue: closed sockets, refused connections, tokens that were not to be had."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The first of each fault, in words."""
    asked: int = 0
    """Questions put to the server about cells."""
    compared: int = 0
    """Of those, answered and compared with at least one cell."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Why the others were not."""
    cells: int = 0
    entities: int = 0
    scans: int = 0
    """Looks for entities that are seen twice."""
    effects: int = 0
    """Inputs whose effect was seen."""
    effects_unclear: int = 0
    """Inputs that were superseded, or whose avatar went out of sight, before their effect could be told."""
    effect: Histogram = field(default_factory=Histogram)
    """From when an input was due to the frame that shows its effect."""
    connect: Histogram = field(default_factory=Histogram)
    """From the decision to connect to the Welcome."""
    late: Histogram = field(default_factory=Histogram)
    """How late the load generator itself ran its timers."""

    def fault(self, what: str, text: str) -> None:
        """Count one, and keep the first few in words."""
        self.faults[what] += 1
        told = self.examples.setdefault(what, [])
        if len(told) < EXAMPLES_MAX:
            told.append(text[:400])

    def add(self, other: Findings) -> None:
        """Take in another's."""
        for part in fields(self):
            mine, theirs = getattr(self, part.name), getattr(other, part.name)
            if isinstance(mine, int):
                setattr(self, part.name, mine + theirs)
            elif isinstance(mine, Counter):
                mine.update(theirs)
            elif isinstance(mine, Histogram):
                mine.add(theirs)
            else:
                for what, texts in theirs.items():
                    told = mine.setdefault(what, [])
                    told += texts[: EXAMPLES_MAX - len(told)]

    def to_plain(self) -> dict[str, Any]:
        """Plain data for JSON; `from_plain` reads it."""
        return {
            part.name: value.to_plain() if isinstance(value, Histogram) else value
            for part in fields(self)
            for value in [getattr(self, part.name)]
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Findings:
        """What `to_plain` wrote."""
        new = cls()
        for part in fields(new):
            mine, value = getattr(new, part.name), plain[part.name]
            if isinstance(mine, Histogram):
                setattr(new, part.name, Histogram.from_plain(value))
            elif isinstance(mine, Counter):
                setattr(new, part.name, Counter(value))
            else:
                setattr(new, part.name, value)
        return new
