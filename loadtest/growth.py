"""How a cost grows with a number: the exponent of the power law that fits best, and a page that draws it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from loadtest.swarm.charts import COLOURS, number

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 40
Points = Sequence[tuple[float, float]]

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>How cost grows</title><style>
body{{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;color:#0f172a;background:#fff}}
main{{display:grid;grid-template-columns:repeat(auto-fit,minmax(30rem,1fr));gap:1.5rem}}
figure{{margin:0;border:1px solid #e2e8f0;border-radius:8px;padding:1rem}}figcaption{{font-weight:600}}
svg{{width:100%}}svg .grid{{stroke:#e2e8f0}}svg polyline{{fill:none;stroke-width:2}}
svg text{{font-size:11px;fill:#475569}}svg .y{{text-anchor:end}}svg .x{{text-anchor:middle}}
i{{display:inline-block;width:.7em;height:.7em;margin:0 .3em 0 1em}}
</style><h1>How cost grows</h1><p>{about}</p><p>Both axes are logarithmic: a straight line is a power law, and its slope
is the exponent. 1: twice as many cost twice as much. 0: they cost nothing more.</p><main>{figures}</main></html>
"""


def exponent(points: Points) -> float | None:
    """b of the power law a * n^b closest to (n, cost), by least squares of the logarithms; None below two points."""
    logs = [(math.log(n), math.log(cost)) for n, cost in points if n > 0 and cost > 0]
    if len({x for x, _ in logs}) < 2:
        return None
    return statistics.linear_regression([x for x, _ in logs], [y for _, y in logs]).slope


@dataclass(frozen=True)
class Curve:
    """Costs by name over one number. `of`: what is counted; `unit`: of the costs."""

    title: str
    of: str
    unit: str
    lines: Mapping[str, Points]

    def exponents(self) -> dict[str, float | None]:
        """Of each line, over all of its points."""
        return {name: exponent(points) for name, points in self.lines.items()}

    def ends(self) -> dict[str, float | None]:
        """Of each line's last three points: what comes next, where fixed costs no longer hide it."""
        return {name: exponent(points[-3:]) for name, points in self.lines.items()}

    def plain(self) -> dict[str, Any]:
        """For results."""
        return {
            "of": self.of, "unit": self.unit, "points": {name: list(points) for name, points in self.lines.items()},
            "exponent": self.exponents(), "exponent_of_last_three": self.ends(),
        }  # fmt: skip


def page(curves: Sequence[Curve], about: str) -> str:
    """One HTML page that needs nothing else."""
    return PAGE.format(about=escape(about), figures="".join(_figure(curve) for curve in curves))


def _figure(curve: Curve) -> str:
    points = [(n, cost) for line in curve.lines.values() for n, cost in line if n > 0 and cost > 0]
    if not points:
        return ""
    x0, x1 = (math.log10(limit(n for n, _ in points)) for limit in (min, max))
    y0 = math.floor(math.log10(min(cost for _, cost in points)))
    y1 = max(y0 + 1, math.ceil(math.log10(max(cost for _, cost in points))))

    def x(n: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(n) - x0) / max(x1 - x0, 1e-9)

    def y(cost: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (math.log10(cost) - y0) / (y1 - y0))

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(curve.title)}">']
    for power in range(y0, y1 + 1):
        at = y(10.0**power)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="y" x="{LEFT - 6}" y="{at + 4:.1f}">{number(10.0**power)}</text>')
    numbers = sorted({n for n, _ in points})
    parts += [f'<text class="x" x="{x(n):.1f}" y="{HEIGHT - 22}">{number(n)}</text>' for n in numbers]
    parts.append(f'<text class="x" x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 4}">{escape(curve.of)}</text>')
    exponents, legend = curve.exponents(), []
    for i, (name, line) in enumerate(curve.lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        drawn = [(x(n), y(cost)) for n, cost in line if n > 0 and cost > 0]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in drawn)
        parts.append(f'<polyline points="{path}" stroke="{colour}"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in drawn]
        slope = exponents[name]
        told = "" if slope is None else f" n<sup>{slope:.2f}</sup>"
        legend.append(f'<i style="background:{colour}"></i>{escape(name)}{told}')
    caption = f"{escape(curve.title)}, {escape(curve.unit)}"
    return f"<figure><figcaption>{caption}</figcaption>{''.join(parts)}</svg><div>{''.join(legend)}</div></figure>"
