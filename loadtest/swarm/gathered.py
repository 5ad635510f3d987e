"""What processes of bots told, added up: by second, and in all. The same for one machine's processes and for several
machines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtest.swarm.findings import Findings
from loadtest.swarm.measures import since
from overworld.client.statistics import Histogram, Statistics

TIMES = ("gap", "ack", "connect", "effect", "late", "round_trip")


@dataclass
class Window:
    """One second of a run."""

    playing: float = 0.0
    """Bots that played, on average: as many player-seconds."""
    frames: int = 0
    frame_bytes: int = 0
    inputs: int = 0
    errors: int = 0
    faults: int = 0
    times: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in TIMES})

    def add(self, other: Window) -> None:
        """Take in another's."""
        for name in ("playing", "frames", "frame_bytes", "inputs", "errors", "faults"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, times in self.times.items():
            times.add(other.times[name])

    def to_plain(self) -> dict[str, Any]:
        """Plain data for JSON; `from_plain` reads it."""
        return {**vars(self), "times": {name: times.to_plain() for name, times in self.times.items()}}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Window:
        """What `to_plain` wrote."""
        times = {name: Histogram.from_plain(found) for name, found in plain["times"].items()}
        return cls(**{**plain, "times": times})


@dataclass
class _Told:
    at_s: float
    playing: int
    statistics: Statistics
    findings: Findings

    def times(self) -> dict[str, Histogram]:
        found = {name: getattr(self.statistics, name) for name in ("gap", "ack", "round_trip")}
        return found | {name: getattr(self.findings, name) for name in ("connect", "effect", "late")}


@dataclass
class Gathered:
    """Everything bots told. `series`: by process, (second, CPU seconds so far, resident bytes)."""

    windows: dict[int, Window] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=Statistics)
    findings: Findings = field(default_factory=Findings)
    bots: int = 0
    played: int = 0
    playing: int = 0
    unacked: int = 0
    stopped: Counter[str] = field(default_factory=Counter)
    series: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)

    def add(self, other: Gathered) -> None:
        """Take in another machine's."""
        for second, window in other.windows.items():
            self.windows.setdefault(second, Window()).add(window)
        self.statistics.add(other.statistics)
        self.findings.add(other.findings)
        for name in ("bots", "played", "playing", "unacked"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.stopped.update(other.stopped)
        self.series |= other.series

    def to_plain(self) -> dict[str, Any]:
        """Plain data for JSON; `from_plain` reads it."""
        return {
            **vars(self),
            "windows": {str(second): window.to_plain() for second, window in self.windows.items()},
            "statistics": self.statistics.to_plain(),
            "findings": self.findings.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Gathered:
        """What `to_plain` wrote."""
        return cls(
            **{
                **plain,
                "windows": {int(second): Window.from_plain(window) for second, window in plain["windows"].items()},
                "statistics": Statistics.from_plain(plain["statistics"]),
                "findings": Findings.from_plain(plain["findings"]),
                "stopped": Counter(plain["stopped"]),
                "series": {name: [(a, b, c) for a, b, c in rows] for name, rows in plain["series"].items()},
            }
        )


class Collector:
    """The lines of one process, as windows."""

    def __init__(self, name: str, into: dict[int, Window]) -> None:
        self.name = name
        self.last: dict[str, Any] = {}
        self.series: list[tuple[float, float, float]] = []
        self._into = into
        self._before: _Told | None = None

    def take(self, line: Mapping[str, Any]) -> None:
        """One line more."""
        self.last = dict(line)
        now = _Told(
            line["at_s"], line["playing"],
            Statistics.from_plain(line["statistics"]), Findings.from_plain(line["findings"]),
        )  # fmt: skip
        self.series.append((line["at_s"], line["cpu_s"], line["rss_bytes"]))
        before, self._before = self._before, now
        if line.get("over"):
            return
        if before is None:
            before = _Told(min(0.0, now.at_s), 0, Statistics(), Findings())
        seconds = max(now.at_s - before.at_s, 1e-6)
        window = Window(
            playing=(now.playing + before.playing) / 2 * seconds,
            frames=now.statistics.frames - before.statistics.frames,
            frame_bytes=now.statistics.frame_bytes - before.statistics.frame_bytes,
            inputs=now.statistics.inputs - before.statistics.inputs,
            errors=now.findings.errors.total() - before.findings.errors.total(),
            faults=now.findings.faults.total() - before.findings.faults.total(),
            times={name: since(times, before.times()[name]) for name, times in now.times().items()},
        )
        self._into.setdefault(max(0, round(now.at_s)), Window()).add(window)


def gathered(collectors: Mapping[str, Collector], windows: dict[int, Window]) -> Gathered:
    """Everything that processes told until now. Raises KeyError where one has told nothing."""
    found = Gathered(windows=windows)
    for name, collector in collectors.items():
        last = collector.last
        found.statistics.add(Statistics.from_plain(last["statistics"]))
        found.findings.add(Findings.from_plain(last["findings"]))
        found.bots += last["bots"]
        found.played += last["played"]
        found.playing += last["playing"]
        found.unacked += last["unacked"]
        found.stopped.update(last["stopped"])
        found.series[name] = collector.series
    return found
