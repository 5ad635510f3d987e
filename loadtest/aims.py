"""What was aimed at, beside what was measured. Nothing here asserts: a slow machine is no fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Aim:
    """A figure to reach: `path` names it within a proof's figures. `most`: it is to be at most `wanted`, else at
    least.
    """

    name: str
    what: str
    unit: str
    wanted: float
    path: tuple[str, ...]
    most: bool = False

    def row(self, figures: Figures) -> dict[str, Any]:
        """The aim, what was measured (None: not yet), and whether that reaches it."""
        value: Any = figures
        for step in self.path:
            value = value.get(step) if isinstance(value, Mapping) else None
        reached = None if value is None else (value <= self.wanted if self.most else value >= self.wanted)
        return {
            "what": self.what, "unit": self.unit, "aim": self.wanted, "at_most": self.most, "measured": value,
            "reached": reached,
        }  # fmt: skip


AIMS = (
    Aim("players_b_change", "one core, 40 in view, inputs on change", "players", 3500, ("players_B_change", "largest")),
    Aim("players_b_hz20", "one core, 40 in view, 20 inputs a second", "players", 2800, ("players_B_hz20", "largest")),
    Aim(
        "players_a_change", "one core, all see all, inputs on change", "players", 2600, ("players_A_change", "largest")
    ),
    Aim("players_a_hz20", "one core, all see all, 20 inputs a second", "players", 2600, ("players_A_hz20", "largest")),
    Aim("gateway", "gateway's CPU beside the C floor's", "times", 1.5, ("gateway_hz20", "beside_floor"), most=True),
    Aim("bytes", "bytes a client and second, 40 in view", "bytes", 1500, ("gateway_hz20", "bytes_per_client_s"), True),
    Aim("memory", "gateway's memory a player", "KiB", 20, ("gateway_hz20", "kib_per_player"), most=True),
    Aim("entities", "moving entities of one worker at 20 Hz", "entities", 100_000, ("entities", "largest")),
    Aim("arenas", "arenas of ten at 20 Hz on one core", "arenas", 1000, ("arenas", "largest")),
    Aim("late", "tick lateness p99 at 80 % load", "ms", 5, ("load_80", "late_ms_p99"), most=True),
    Aim("effect", "input to visible effect p99 at half load", "ms", 60, ("load_50", "effect_ms_p99"), most=True),
)


def rows(figures: Figures) -> dict[str, dict[str, Any]]:
    """All aims, by name."""
    return {aim.name: aim.row(figures) for aim in AIMS}


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """For people."""
    told = {True: "reached", False: "NOT reached", None: "not measured"}
    return [
        f"{row['what']:<48} {'at most' if row['at_most'] else 'at least'} {row['aim']:>8g} {row['unit']:<8}"
        f" {'-' if row['measured'] is None else format(row['measured'], 'g'):>10}  {told[row['reached']]}"
        for row in found.values()
    ]
