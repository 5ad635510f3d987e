"""What every proof does alike: say how far it is, collect figures and broken invariants, and leave both behind."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.figures import rounded
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
