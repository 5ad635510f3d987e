"""Line charts over a run's seconds, as SVG text. Own, because two hundred lines of SVG need no library and no script:
the page must open from a mail attachment, years later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

WIDTH, HEIGHT = 640, 210
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 14, 26
COLOURS = ("#2563eb", "#e11d48", "#059669", "#d97706", "#7c3aed", "#0891b2", "#64748b", "#be185d")
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """One drawing. `lines`: by name, (second, value); `limit`: a threshold to draw; `unit` stands behind values."""

    title: str
    unit: str
    lines: Mapping[str, Points]
    limit: float | None = None
    low: float = 0.0
    high: float | None = None
    events: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    measured_from_s: float = 0.0
    end_s: float = 1.0


def svg(chart: Chart) -> str:
    """The chart with its legend, as HTML."""
    values = [value for points in chart.lines.values() for _, value in points if math.isfinite(value)]
    high = chart.high if chart.high is not None else _nice(max([*values, chart.limit or 0.0]) * 1.08 or 1.0)
    low = chart.low
    span = max(high - low, 1e-9)

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(second / max(chart.end_s, 1e-9), 0.0), 1.0)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max((value - low) / span, 0.0), 1.0))

    warm = x(chart.measured_from_s) - LEFT
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        f'<rect class="warm" x="{LEFT}" y="{TOP}" width="{warm:.1f}" height="{HEIGHT - TOP - BOTTOM}"/>',
        *_events(chart, x),
        *_grid(chart, low, high, x, y),
    ]
    if chart.limit is not None and low <= chart.limit <= high:
        at = y(chart.limit)
        parts.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
    for (_, points), colour in zip(chart.lines.items(), _colours(len(chart.lines)), strict=True):
        path = " ".join(f"{x(second):.1f},{y(value):.1f}" for second, value in points if math.isfinite(value))
        parts.append(f'<polyline points="{path}" stroke="{colour}"/>')
    parts.append("</svg>")
    return f"<figure><figcaption>{escape(chart.title)}{_legend(chart)}</figcaption>{''.join(parts)}</figure>"


def _grid(chart: Chart, low: float, high: float, x: Any, y: Any) -> list[str]:
    parts = []
    for i in range(5):
        value = low + (high - low) * i / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" class="y">{number(value)}{chart.unit}</text>')
    for i in range(7):
        second = chart.end_s * i / 6
        parts.append(f'<text x="{x(second):.1f}" y="{HEIGHT - 8}" class="x">{second:.0f} s</text>')
    return parts


def _events(chart: Chart, x: Any) -> list[str]:
    parts = []
    for i, event in enumerate(chart.events):
        begin, end = x(event["at_s"]), x(event["at_s"] + event["for_s"])
        row = TOP + 10 + 11 * (i % 3)
        what = f"{event['what']} at {event['at_s']:.0f} s for {event['for_s']:.1f} s"
        parts.append(
            f'<g><title>{escape(what)}</title><rect class="event" x="{begin:.1f}" y="{TOP}" '
            f'width="{max(1.5, end - begin):.1f}" height="{HEIGHT - TOP - BOTTOM}"/>'
            f'<text class="event" x="{begin + 3:.1f}" y="{row}">{escape(str(event["what"]))}</text></g>'
        )
    return parts


def _legend(chart: Chart) -> str:
    if len(chart.lines) < 2:
        return ""
    pairs = zip(chart.lines, _colours(len(chart.lines)), strict=True)
    return "".join(f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in pairs)


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def number(value: float) -> str:
    """Short: 1.2k, 0.05, 37."""
    for bound, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= bound:
            return f"{value / (1e3 if unit == 'k' else bound):.3g}{unit}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _nice(value: float) -> float:
    """The next round number that four grid lines divide well."""
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8) if step * power >= value), 10 * power)
