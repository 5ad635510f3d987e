"""Are two runs different, or is it noise? Windows are compared, not single numbers.

Neighbouring seconds are alike, so each run is cut into blocks of some seconds, whose medians are compared by the
Mann-Whitney U test (1947; normal approximation with correction for ties). A difference counts where it would come by
chance less than once in a hundred times *and* is large enough to matter (the Hodges-Lehmann shift, 1963).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

BLOCK_S = 5
BLOCKS_MIN = 4
P_MAX = 0.01
FIGURES = {
    # name: (more is better, smallest part and smallest amount that matter)
    "on_time": (True, 0.01, 0.01),
    "interval_p99_ms": (False, 0.1, 2.0),
    "jitter_ms": (False, 0.1, 0.5),
    "input_p50_ms": (False, 0.1, 2.0),
    "input_p99_ms": (False, 0.1, 5.0),
    "bytes_per_player_s": (False, 0.05, 20.0),
}


@dataclass(frozen=True)
class Row:
    """One figure of two runs. `shift`: from the first to the second, in the figure's own unit."""

    name: str
    before: float
    after: float
    shift: float
    p: float
    verdict: str
    """better, worse, same, or unknown where a run is too short to say."""


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    """Figure by figure; and the faults, which need no statistics."""
    rows = []
    for name, (more_is_better, part_min, amount_min) in FIGURES.items():
        a, b = blocks(before, name), blocks(after, name)
        if min(len(a), len(b)) < BLOCKS_MIN:
            rows.append(Row(name, _median(a), _median(b), 0.0, 1.0, "unknown"))
            continue
        shift, p = hodges_lehmann(a, b), mann_whitney(a, b)
        matters = abs(shift) >= max(amount_min, part_min * abs(_median(a)))
        verdict = "same"
        if p < P_MAX and matters:
            verdict = "better" if (shift > 0) == more_is_better else "worse"
        rows.append(Row(name, _median(a), _median(b), shift, p, verdict))
    for name in sorted(before["faults"].keys() | after["faults"].keys()):
        a, b = before["faults"].get(name, 0), after["faults"].get(name, 0)
        if a or b:
            rows.append(Row(name, a, b, b - a, 0.0, "worse" if b > a else "better" if b < a else "same"))
    return rows


def blocks(result: Mapping[str, Any], name: str) -> list[float]:
    """Medians of blocks of measured windows with players."""
    windows = [w for w in result["windows"] if w["t"] >= result["measured_from_s"] and w["playing"] > 0]
    chunks = [windows[i : i + BLOCK_S] for i in range(0, len(windows), BLOCK_S)]
    return [float(np.median([w[name] for w in chunk])) for chunk in chunks if len(chunk) == BLOCK_S]


def mann_whitney(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p: how likely ranks as uneven as these come by chance where both are alike."""
    both = np.concatenate((a, b))
    values, places, counts = np.unique(both, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[places]
    n, m = len(a), len(b)
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    ties = float((counts**3 - counts).sum()) / ((n + m) * (n + m - 1))
    variance = n * m / 12 * (n + m + 1 - ties)
    if variance <= 0 or len(values) == 1:
        return 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def hodges_lehmann(a: Sequence[float], b: Sequence[float]) -> float:
    """The median of all differences b - a."""
    return float(np.median(np.subtract.outer(np.array(b), np.array(a))))


def table(rows: Sequence[Row]) -> Table:
    """For people."""
    shown = Table("figure", "before", "after", "shift", "p", "verdict", box=None, pad_edge=False)
    for row in rows:
        colour = {"worse": "red", "better": "green"}.get(row.verdict, "")
        shown.add_row(
            row.name, f"{row.before:.4g}", f"{row.after:.4g}", f"{row.shift:+.3g}", f"{row.p:.2g}", row.verdict,
            style=colour,
        )  # fmt: skip
    return shown


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else 0.0
