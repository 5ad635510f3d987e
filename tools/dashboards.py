"""Makes the Grafana dashboards in deploy/grafana: a table of panels each, laid out two abreast.

    python -m tools.dashboards            writes them
    python -m tools.dashboards --check    exit code 1 where one is not what would be written

The panels stand in tools/dashboard_panels.py. Each leads to the runbook's section that says what to do; `runbook` is
the variable with that page's address.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tools.dashboard_panels import FLEET, GATEWAY, PLAYERS, SHARD, WORKER, Panel

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "grafana"
WIDTH, HEIGHT, ABREAST = 12, 8, 2
RUNBOOK = "deploy/runbook.md"

DASHBOARDS: dict[str, tuple[str, str, tuple[Panel, ...]]] = {
    "fleet": ("Overworld: fleet", "", FLEET),
    "worker": ("Overworld: worker", "worker", WORKER),
    "gateway": ("Overworld: gateway", "gateway", GATEWAY),
    "shard": ("Overworld: shards that cost most", "worker", SHARD),
    "players": ("Overworld: player experience", "", PLAYERS),
}
"""Title, role that `instance` offers (none: both), panels."""


def anchor(section: str) -> str:
    """A heading of the runbook as a link names it."""
    return section.lower().replace(" ", "-")


def dashboard(name: str) -> dict[str, Any]:
    """One dashboard as Grafana imports it."""
    title, role, panels = DASHBOARDS[name]
    others = [{"title": DASHBOARDS[other][0], "type": "link", "url": f"/d/overworld-{other}", "keepTime": True,
               "includeVars": True} for other in DASHBOARDS if other != name]  # fmt: skip
    return {
        "uid": f"overworld-{name}",
        "title": title,
        "tags": ["overworld"],
        "schemaVersion": 39,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "links": others,
        "templating": {"list": variables(role)},
        "panels": [shown(panel, number) for number, panel in enumerate(panels)],
    }


def variables(role: str) -> list[dict[str, Any]]:
    """What stands at a dashboard's top."""
    source = {"type": "prometheus", "uid": "${source}"}
    wanted = 'namespace=~"$namespace"' + (f',role="{role}"' if role else "")
    asked = {"namespace": "label_values(overworld_process, namespace)",
             "instance": f"label_values(overworld_process{{{wanted}}}, instance)"}  # fmt: skip
    chosen = [
        {
            "name": name, "label": name.capitalize(), "type": "query", "datasource": source, "refresh": 2, "sort": 1,
            "query": {"query": query, "refId": name}, "definition": query, "multi": True, "includeAll": True,
            # A Prometheus outside Kubernetes has no namespaces: any, none included.
            **({"allValue": ".*"} if name == "namespace" else {}),
            "current": {"text": ["All"], "value": ["$__all"]},
        }
        for name, query in asked.items()
    ]  # fmt: skip
    return [
        {"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"},
        *chosen,
        {"name": "runbook", "type": "textbox", "label": "Runbook at", "query": RUNBOOK,
         "current": {"text": RUNBOOK, "value": RUNBOOK}},
    ]  # fmt: skip


def shown(panel: Panel, number: int) -> dict[str, Any]:
    """One panel as Grafana has it."""
    source = {"type": "prometheus", "uid": "${source}"}
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.top is not None:
        defaults["max"] = panel.top
    if panel.warn is not None:
        defaults |= {"thresholds": {"mode": "absolute", "steps": thresholds(panel)},
                     "custom": {"thresholdsStyle": {"mode": "dashed"}}}  # fmt: skip
    found = {
        "id": number + 1,
        "title": panel.title,
        "description": panel.about,
        "type": "timeseries",
        "datasource": source,
        "gridPos": {"x": number % ABREAST * WIDTH, "y": number // ABREAST * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [{"refId": "A", "datasource": source, "expr": panel.query, "legendFormat": panel.legend}],
    }
    if panel.section:
        link = {"title": f"Runbook: {panel.section}", "url": f"${{runbook}}#{anchor(panel.section)}"}
        found["links"] = [{**link, "targetBlank": True}]
    return found


def thresholds(panel: Panel) -> list[dict[str, Any]]:
    """Grafana's steps: each holds from its value upwards."""
    assert panel.warn is not None
    alarm = panel.alarm
    if alarm is not None and alarm < panel.warn:
        steps = [("red", None), ("orange", alarm), ("green", panel.warn)]
    else:
        steps = [("green", None), ("orange", panel.warn), *([("red", alarm)] if alarm is not None else [])]
    return [{"color": color, "value": value} for color, value in steps]


def text(name: str) -> str:
    """The file's content."""
    return json.dumps(dashboard(name), indent=1) + "\n"


def main(arguments: list[str]) -> int:
    """See the module."""
    if "--check" in arguments:
        return 0 if all((FOLDER / f"{name}.json").read_text() == text(name) for name in DASHBOARDS) else 1
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(text(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
