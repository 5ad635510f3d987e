"""What every proof does alike: say how far it is, collect figures and broken invariants, and leave both behind."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest.machine import REPOSITORY, describe

RESULTS = REPOSITORY / "loadtest" / "results"
BROKEN_SHOWN_MAX = 20


class Proof:
    """One run of one claim. A broken invariant is noted and the run goes on, so that one run shows all of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.figures: dict[str, Any] = {}
        self.broken: list[str] = []
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"[{self.name} {time.monotonic() - self._started:6.1f} s] {text}", flush=True)

    def figure(self, name: str, value: Any) -> None:
        """Note a figure and say it."""
        self.figures[name] = rounded(value)
        self.say(f"{name} = {json.dumps(self.figures[name])}")

    def require(self, holds: bool, what: str) -> bool:
        """Note what does not hold. Never for being slow: figures tell that. Returns `holds`."""
        if not holds:
            self.broken.append(what)
            self.say(f"BROKEN: {what}")
        return holds

    def summary(self) -> dict[str, Any]:
        """Everything about the run, as plain data."""
        return {
            "name": self.name,
            "ok": not self.broken,
            "broken": self.broken[:BROKEN_SHOWN_MAX],
            "broken_count": len(self.broken),
            "seconds": round(time.monotonic() - self._started, 1),
            "figures": self.figures,
            "machine": describe(),
        }

    def finish(self, options: Mapping[str, Any], results: Path | None = RESULTS) -> int:
        """Write the figures to `results`, print them as the last line, and return the exit code."""
        summary = {**self.summary(), "options": dict(options)}
        if results is not None:
            results.mkdir(parents=True, exist_ok=True)
            path = results / f"{self.name}.json"
            path.write_text(json.dumps(summary, indent=2) + "\n")
        print(json.dumps(summary), flush=True)
        sys.stdout.flush()
        return 1 if self.broken else 0


def rounded(value: Any) -> Any:
    """Floats to four significant digits, throughout: more would pretend."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [rounded(v) for v in value]
    return rounded(value.item())


def percentiles(values: Sequence[float], *wanted: float) -> dict[str, float]:
    """{"p50": ..., "p99": ..., "max": ...} by the nearest-rank method; empty without values."""
    if len(values) == 0:
        return {}
    ordered = sorted(values)
    found = {f"p{share:g}": ordered[max(1, math.ceil(share / 100 * len(ordered))) - 1] for share in wanted}
    return {**found, "max": ordered[-1]}
