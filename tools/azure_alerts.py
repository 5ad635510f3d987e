"""Makes deploy/azure/modules/alerts.bicep from the rules of `tools.alerts`: Prometheus rule groups of Azure Monitor.

    python -m tools.azure_alerts            writes it
    python -m tools.azure_alerts --check    exit code 1 where it is not what would be written

A group of Azure's has 20 rules at most, so there are as many as it takes; severities go from 0 (critical) to 4.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tools import alerts

TARGET = Path(__file__).resolve().parent.parent / "deploy" / "azure" / "modules" / "alerts.bicep"
RULES_MAX = 20
SEVERITIES = {"critical": 1, "warning": 3}
HEAD = """\
// Made by python -m tools.azure_alerts from deploy/alerts; not written by hand. Who is told: an action group.
param location string
param tags object
param metricsId string

@description('Action group that is told; empty: alerts are only shown.')
param actionGroupId string = ''

var actions = empty(actionGroupId) ? [] : [{ actionGroupId: actionGroupId }]
"""


def quoted(text: str) -> str:
    """A string of Bicep."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${").replace("\n", "\\n")
    return f"'{escaped}'"


def duration(prometheus: str) -> str:
    """ISO 8601 of what Prometheus writes as 90s, 5m or 1h. Raises ValueError for any other unit."""
    number, unit = int(prometheus[:-1]), prometheus[-1]
    if unit not in "smh":
        raise ValueError(f"{prometheus!r} is no duration in seconds, minutes or hours")
    return f"PT{number}{unit.upper()}"


def texts(name: str, values: dict[str, str]) -> str:
    """A property that is an object of texts."""
    return f"        {name}: {{ {', '.join(f'{key}: {quoted(value)}' for key, value in values.items())} }}\n"


def rule(told: dict[str, Any]) -> str:
    """One rule."""
    lasting = f"        for: {quoted(duration(told['for']))}\n" if "for" in told else ""
    return (
        "      {\n"
        f"        alert: {quoted(told['alert'])}\n"
        f"        expression: {quoted(told['expr'])}\n"
        f"{lasting}"
        f"        severity: {SEVERITIES[told['labels']['severity']]}\n"
        f"{texts('labels', told['labels'])}{texts('annotations', told['annotations'])}"
        "        resolveConfiguration: { autoResolved: true, timeToResolve: 'PT5M' }\n"
        "        actions: actions\n"
        "      }\n"
    )


def groups() -> list[tuple[str, str, list[dict[str, Any]]]]:
    """(name, interval, rules) of each group, none with more than `RULES_MAX`."""
    return [
        (f"{group['name']}-{at // RULES_MAX + 1}", group["interval"], group["rules"][at : at + RULES_MAX])
        for group in alerts.rules()["groups"]
        for at in range(0, len(group["rules"]), RULES_MAX)
    ]


def text() -> str:
    """The file as it is to be."""
    parts = [HEAD]
    for name, interval, told in groups():
        parts.append(
            f"\nresource {name.replace('-', '')} 'Microsoft.AlertsManagement/prometheusRuleGroups@2023-03-01' = {{\n"
            f"  name: {quoted(name)}\n  location: location\n  tags: tags\n  properties: {{\n"
            f"    interval: {quoted(duration(interval))}\n    scopes: [metricsId]\n    rules: [\n"
            f"{''.join(map(rule, told))}    ]\n  }}\n}}\n"
        )
    return "".join(parts)


def main(arguments: list[str]) -> int:
    """See the module."""
    if "--check" in arguments:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text():
            return 0
        print(f"{TARGET.name} is stale: python -m tools.azure_alerts")
        return 1
    TARGET.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
