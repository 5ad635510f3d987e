"""The comparison as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADS = (
    "server", "part", "inputs", "CPU us/update", "bytes/client s", "p99 gap ms", "effect ms p50/p99", "largest N",
)  # fmt: skip


def lines(figures: Mapping[str, Any]) -> list[str]:
    """A line for each server, part and way of inputs that `figures` knows of."""
    rows = [HEADS, *(_row(figure) for _, figure in sorted(figures.items()) if "server" in figure)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(figure: Mapping[str, Any]) -> tuple[str, ...]:
    cost, limit = figure.get("cost"), figure.get("limit")
    dashes = ("-",) * 4
    shown = dashes
    if cost is not None:
        effect = f"{cost['effect_ms_p50']:.0f} / {cost['effect_ms_p99']:.0f}" if cost["effect_ms_p99"] >= 0 else "-"
        shown = (
            f"{cost['cpu_us_per_update']:.1f}",
            f"{cost['bytes_per_client_s']:.0f}",
            f"{cost['gap_ms_p99']:.0f}",
            effect,
        )
    most = "-"
    if limit is not None:
        most = f"{'over ' if limit['lower_bound'] else ''}{limit['largest']}"
    return figure["server"], figure["part"], figure["inputs"], *shown, most
