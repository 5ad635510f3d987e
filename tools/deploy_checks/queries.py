"""Every PromQL query below deploy/ against the code: metrics that exist, and labels that those metrics have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import prometheus_client
import yaml
from prometheus_client.metrics import MetricWrapperBase

import overworld.telemetry
from tools.deploy_checks.facts import METRIC, metrics
from tools.deploy_checks.finding import Finding

SCRAPED = frozenset({"instance", "job", "namespace", "pod", "role"})
"""Labels that whoever scrapes adds (deploy/k8s/azure/scraping.yaml)."""
_BY = re.compile(r"\bby \(([^)]*)\)\s*\(")
_CHOSEN = re.compile(r"\b(overworld_\w+)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!=|!~|=)")
_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@cache
def labels() -> dict[str, frozenset[str]]:
    """By every name a query may use: its labels, with those that are scraped."""
    found: dict[str, frozenset[str]] = {}
    for collector in vars(overworld.telemetry).values():
        if isinstance(collector, MetricWrapperBase):
            own = frozenset(collector._labelnames) | SCRAPED
            for family in collector.describe():
                if isinstance(collector, prometheus_client.Histogram):
                    found[f"{family.name}_bucket"] = own | {"le"}
                    found |= {f"{family.name}_{end}": own for end in ("sum", "count")}
                else:
                    found[f"{family.name}_total" if family.type == "counter" else family.name] = own
    return found


def faults(root: Path) -> Iterator[Finding]:
    """What is wrong with the queries of dashboards and alert rules."""
    boards = sorted((root / "deploy" / "grafana").glob("*.json"))
    if not boards:
        yield Finding("queries", "deploy/grafana", "there are no dashboards")
    for path in boards:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", []):
                where = f"{path.relative_to(root)} {panel['title']!r}"
                yield from wrong(where, target["expr"], target.get("legendFormat", ""))
    rules = root / "deploy" / "alerts" / "overworld.yaml"
    for group in yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield from wrong(f"{rules.relative_to(root)} {rule['alert']}", rule["expr"], "")


def wrong(where: str, query: str, legend: str) -> Iterator[Finding]:
    """What one query asks for that nobody has. `legend`: Grafana's, with {{label}}."""
    for name in sorted(set(METRIC.findall(query)) - metrics()):
        yield Finding("metrics", where, f"{name} is no metric of telemetry.py")
    for name, chosen in _CHOSEN.findall(query):
        for label in sorted(set(_LABEL.findall(re.sub(r'"[^"]*"', "", chosen))) - labels().get(name, SCRAPED)):
            yield Finding("labels", where, f"{name} has no label {label}")
    kept: set[str] = set()
    for found in _BY.finditer(query):
        names = {name.strip() for name in found[1].split(",")}
        kept |= names
        for metric in sorted(set(METRIC.findall(_inside(query, found.end() - 1))) & labels().keys()):
            for label in sorted(names - labels()[metric]):
                yield Finding("labels", where, f"by ({found[1]}): {metric} has no label {label}")
    if not kept:
        kept = {label for name in METRIC.findall(query) for label in labels().get(name, ())} | SCRAPED
    for label in sorted(set(_LEGEND.findall(legend)) - kept):
        yield Finding("labels", where, f"the legend names {label}, which the query does not keep")


def _inside(query: str, begin: int) -> str:
    """The text in the parentheses that open at `begin`."""
    depth = 0
    for at in range(begin, len(query)):
        depth += {"(": 1, ")": -1}.get(query[at], 0)
        if depth == 0:
            return query[begin : at + 1]
    return query[begin:]
