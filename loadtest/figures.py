"""Figures, shaped for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


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
