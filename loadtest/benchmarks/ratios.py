"""Two runs of `make bench` side by side: `python -m loadtest.benchmarks.ratios BEFORE.json AFTER.json`.

Medians, and their ratio: above 1 the later run is slower. Paired runs on one quiet machine only; below a tenth it is
noise as a rule.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def ratios(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Seconds before, seconds after, and how many times as long, of each benchmark that both runs have."""
    first, second = (
        {found["name"]: float(found["stats"]["median"]) for found in run["benchmarks"]} for run in (before, after)
    )
    return {name: (first[name], second[name], second[name] / first[name]) for name in first if name in second}


def _of(run: Mapping[str, Any]) -> str:
    commit = run.get("commit_info", {})
    return f"{commit.get('id', 'unknown')[:12]}{'+changes' if commit.get('dirty') else ''}"


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    if len(arguments) != 2:
        print(__doc__)
        return 2
    before, after = (json.loads(Path(path).read_text()) for path in arguments)
    print(f"{'':<40} {_of(before):>20} {_of(after):>20}  times")
    for name, (first, second, times) in ratios(before, after).items():
        print(f"{name:<40} {1e6 * first:>17.1f} us {1e6 * second:>17.1f} us  {times:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
