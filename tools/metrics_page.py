"""Makes docs/metrics.md from overworld/telemetry.py: every metric under the heading it has there.

python -m tools.metrics_page            writes the page
python -m tools.metrics_page --check    exit code 1 where it is not what would be written
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from overworld import telemetry

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "metrics.md"
_HEADING = re.compile(r"^# -{8,} (.+)$")
_KINDS = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}

_INTRODUCTION = """\
# Metrics

Made from `server/overworld/telemetry.py` by `python -m tools.metrics_page`; a test holds it to that.

Every worker and gateway serves them at `/metrics` of its internal port, with the usual ones of a process
(`process_cpu_seconds_total`, `process_resident_memory_bytes`, `python_gc_collections_total`, ...). Names end with their
unit; counters end with `_total`; a histogram has `_bucket`, `_sum` and `_count`. No label ever names a player, an
address or anything from outside. Shards are named by the `overworld_shard_*` gauges alone, and of these a process shows
the 16 shards that cost most: series are bounded by the number of shards, whatever players do.

A tick's budget is its interval: `overworld_tick_budget_used` counts parts of it, so that its bucket `le="1.0"` is the
budget of every title, and `overworld_tick_interval_seconds` says how long that is.
"""


@dataclass(frozen=True)
class Metric:
    """One metric as telemetry.py declares it. `name`: as Prometheus has it, with `_total`."""

    section: str
    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


def metrics() -> list[Metric]:
    """Every metric, in the order of telemetry.py."""
    source = Path(telemetry.__file__).read_text()
    headings = {n: m[1] for n, line in enumerate(source.splitlines(), 1) if (m := _HEADING.match(line))}
    found = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        metric = getattr(telemetry, node.targets[0].id)
        if isinstance(metric, MetricWrapperBase):
            section = headings[max(line for line in headings if line < node.lineno)]
            kind, name = _KINDS[type(metric)], str(metric._name)
            name += "_total" if kind == "counter" else ""
            found.append(Metric(section, name, kind, tuple(metric._labelnames), str(metric._documentation)))
    return found


def page() -> str:
    """The page's text."""
    parts, section = [_INTRODUCTION], ""
    for metric in metrics():
        if metric.section != section:
            section = metric.section
            parts.append(f"\n## {section[0].upper()}{section[1:]}\n\n| metric | kind | meaning |\n|---|---|---|\n")
        labels = "{" + ",".join(metric.labels) + "}" if metric.labels else ""
        parts.append(f"| `{metric.name}{labels}` | {metric.kind} | {metric.text} |\n")
    return "".join(parts)


def main(arguments: list[str]) -> int:
    """See the module."""
    if "--check" in arguments:
        return 0 if PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
