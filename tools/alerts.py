"""Makes the alert rules in deploy/alerts, and their tests for promtool: a table of what wakes whom, and when not.

    python -m tools.alerts            writes them
    python -m tools.alerts --check    exit code 1 where one is not what would be written

The table is tools/alert_rules.py.

Every alert names the section of deploy/runbook.md that says what to do. Rules go on Azure's managed Prometheus as on
any other. Each is tested twice: with series that must raise it, and with ones that must not.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from tools.alert_rules import ALERTS, Alert

LABEL = re.compile(r'(\w+)="([^"]*)"')
MINUTES = 40
"""How long the tests' series last; alerts are looked for at three quarters of it."""
FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "alerts"


def anchor(section: str) -> str:
    """Where a heading of the runbook is linked."""
    return f"deploy/runbook.md#{section.lower().replace(' ', '-')}"


def rules() -> dict[str, Any]:
    """The rule file."""
    told = []
    for alert in ALERTS:
        rule: dict[str, Any] = {"alert": f"Overworld{alert.name}", "expr": alert.query}
        if alert.for_minutes:
            rule["for"] = f"{alert.for_minutes}m"
        rule["labels"] = {"severity": alert.severity}
        rule["annotations"] = told_with(alert)
        told.append(rule)
    return {"groups": [{"name": "overworld", "interval": "1m", "rules": told}]}


def told_with(alert: Alert) -> dict[str, str]:
    """What whoever is woken reads."""
    return {"summary": alert.summary, "runbook": anchor(alert.section)}


def tests() -> dict[str, Any]:
    """The tests, as `promtool test rules` reads them."""
    at, told = f"{MINUTES * 3 // 4}m", []
    for alert in ALERTS:
        values = dict(LABEL.findall(next(iter(alert.bad))))
        raised = {"exp_labels": {"severity": alert.severity, **{name: values[name] for name in alert.labels}},
                  "exp_annotations": told_with(alert)}  # fmt: skip
        for what, series, expected in (("raised", alert.bad, [raised]), ("not raised", alert.good, [])):
            told.append(
                {
                    "name": f"{alert.name} is {what}",
                    "interval": "1m",
                    "input_series": [{"series": name, "values": given} for name, given in series.items()],
                    "alert_rule_test": [
                        {"eval_time": at, "alertname": f"Overworld{alert.name}", "exp_alerts": expected}
                    ],
                }
            )
    return {"rule_files": ["overworld.yaml"], "evaluation_interval": "1m", "tests": told}


def written() -> dict[str, str]:
    """Every file as it is to be, by name. YAML reads JSON."""
    head = "# Made by python -m tools.alerts; not written by hand.\n"
    return {
        "overworld.yaml": head + json.dumps(rules(), indent=2) + "\n",
        "overworld_test.yaml": head + json.dumps(tests(), indent=2) + "\n",
    }


def main() -> int:
    """Write them, or say which are stale."""
    stale = 0
    for name, text in written().items():
        path = FOLDER / name
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                print(f"{path.name} is stale: python -m tools.alerts")
                stale += 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
