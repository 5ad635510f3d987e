"""Makes the alert rules in deploy/alerts, and their tests for promtool: a table of what wakes whom, and when not.

    python -m tools.alerts            writes them
    python -m tools.alerts --check    exit code 1 where one is not what would be written

Every alert names the section of deploy/runbook.md that says what to do. Rules go on Azure's managed Prometheus as on
any other. Each is tested twice: with series that must raise it, and with ones that must not.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "alerts"
MINUTES = 40
"""How long the tests' series last; alerts are looked for at three quarters of it."""
ONE = 'instance="a"'
EXPIRES = "overworld_redis_token_expires_seconds"


@dataclass(frozen=True)
class Alert:
    """One rule. `bad`, `good`: by series, promtool's values that raise it and that do not; `labels`: what else than the
    severity it then carries.
    """

    name: str
    query: str
    for_minutes: int
    severity: str
    section: str
    summary: str
    bad: dict[str, str]
    good: dict[str, str]
    labels: tuple[str, ...] = ("instance",)


def one(metric: str, values: str, labels: str = "") -> dict[str, str]:
    """A single series of process "a"."""
    return {f"{metric}{{{ONE}{labels}}}": values}


def buckets(metric: str, bound: str, within: str) -> dict[str, str]:
    """A histogram whose observations, 60 a minute, are within a bound or not."""
    part = {"all": "0+60x40", "half": "0+30x40"}[within]
    return {f'{metric}_bucket{{{ONE},le="{bound}"}}': part, f'{metric}_bucket{{{ONE},le="+Inf"}}': "0+60x40"}


def grows(metric: str, minutes: int = 10) -> str:
    """A counter that went up at all."""
    return f"sum by (instance) (increase({metric}[{minutes}m])) > 0"


def speed(metric: str) -> str:
    """A counter's increase a second."""
    return f"sum by (instance) (rate({metric}[5m]))"


def within(metric: str, bound: str) -> str:
    """The part of a histogram's observations of the last minutes that is within a bound."""
    rates = [f"sum by (instance) (rate({metric}_bucket{{le={le}}}[5m]))" for le in (f'"{bound}"', '"+Inf"')]
    return f"{rates[0]} / {rates[1]}"


def counted(name: str, metric: str, severity: str, section: str, summary: str, minutes: int = 10) -> Alert:
    """A counter that is to stand still."""
    return Alert(
        name, grows(metric, minutes), 0, severity, section, summary, one(metric, "0+1x40"), one(metric, "7x40")
    )


ALERTS = (
    Alert(
        "ProcessDown",
        'up{job=~".*overworld.*"} == 0',
        1,
        "critical",
        "Scale",
        "A worker or gateway does not answer its metrics port.",
        {'up{job="overworld",instance="a"}': "0x40"},
        {'up{job="overworld",instance="a"}': "1x40"},
        ("instance", "job"),
    ),
    Alert(
        "ShardsStandStill",
        'sum by (instance) (overworld_shards_owned{phase="stalled"}) > 0',
        1,
        "critical",
        "Redis failover",
        "Shards stand still: their ticks cannot be made durable. Players are told.",
        one("overworld_shards_owned", "2x40", ',phase="stalled"'),
        one("overworld_shards_owned", "2x40", ',phase="running"'),
    ),
    counted(
        "JournalsLost",
        "overworld_journals_lost_total",
        "critical",
        "Redis failover",
        "Redis lost a shard's journal; it went on from what its owner or a snapshot had.",
    ),
    counted(
        "MailLost",
        "overworld_mail_lost_total",
        "critical",
        "Redis failover",
        "Messages between shards are gone that the store had promised to keep.",
        60,
    ),
    counted(
        "ReplayDiverged",
        "overworld_divergence_total",
        "critical",
        "Restore to a time",
        "A replay disagreed with the journal: two versions of one step, or a broken machine.",
        60,
    ),
    counted(
        "SnapshotCorrupt",
        "overworld_snapshot_corrupt_total",
        "warning",
        "Blob outage",
        "A snapshot or manifest was found corrupt; the one before it was used.",
        60,
    ),
    counted(
        "WritesFenced",
        "overworld_journal_fenced_total",
        "warning",
        "Redis failover",
        "A worker wrote to a shard that another one owns: it had stood still, or was cut off.",
    ),
    Alert(
        "WorkersTakenOver",
        'sum(increase(overworld_takeovers_total{why=~"silent|suspect"}[10m])) > 3',
        0,
        "warning",
        "Redis failover",
        "Several shards were taken over from workers that fell silent.",
        one("overworld_takeovers_total", "0+1x40", ',why="silent"'),
        one("overworld_takeovers_total", "0+1x40", ',why="new"'),
        (),
    ),
    Alert(
        "AppendsSlow",
        f"{within('overworld_journal_append_seconds', '0.05')} < 0.99",
        10,
        "warning",
        "Redis failover",
        "More than one append in a hundred takes longer than 50 ms.",
        buckets("overworld_journal_append_seconds", "0.05", "half"),
        buckets("overworld_journal_append_seconds", "0.05", "all"),
    ),
    Alert(
        "RedisTokenExpires",
        f"({EXPIRES} - time() < 300) and {EXPIRES} > 0",
        0,
        "critical",
        "Redis failover",
        "The token for Redis was not renewed: connections end with it.",
        one("overworld_redis_token_expires_seconds", "600x40"),
        one("overworld_redis_token_expires_seconds", "9000x40"),
    ),
    Alert(
        "SnapshotsOld",
        "overworld_snapshot_age_seconds > 300",
        5,
        "critical",
        "Blob outage",
        "A shard has no new snapshot for five minutes: the journal in Redis grows.",
        one("overworld_snapshot_age_seconds", "400x40"),
        one("overworld_snapshot_age_seconds", "20x40"),
    ),
    Alert(
        "ArchiveLags",
        "overworld_archive_lag_ticks * overworld_tick_interval_seconds > 300",
        5,
        "warning",
        "Blob outage",
        "The archive is five minutes behind: the journal in Redis grows.",
        {**one("overworld_archive_lag_ticks", "9000x40"), **one("overworld_tick_interval_seconds", "0.05x40")},
        {**one("overworld_archive_lag_ticks", "5000x40"), **one("overworld_tick_interval_seconds", "0.05x40")},
    ),
    Alert(
        "BlobFails",
        "sum by (instance) (rate(overworld_blob_failures_total[5m])) > 0.1",
        5,
        "warning",
        "Blob outage",
        "Blob storage fails again and again.",
        one("overworld_blob_failures_total", "0+60x40"),
        one("overworld_blob_failures_total", "0+1x40"),
    ),
    Alert(
        "TicksOverBudget",
        f"{speed('overworld_tick_over_budget_total')} / {speed('overworld_ticks_total')} > 0.01",
        5,
        "warning",
        "Hot shard",
        "More than one tick in a hundred takes longer than a tick may.",
        {**one("overworld_tick_over_budget_total", "0+60x40"), **one("overworld_ticks_total", "0+1200x40")},
        {**one("overworld_tick_over_budget_total", "0+1x40"), **one("overworld_ticks_total", "0+1200x40")},
    ),
    Alert(
        "TimeDilates",
        "overworld_dilation > 1",
        5,
        "warning",
        "Hot shard",
        "A worker or its gateways do not keep up: its part of the world runs slower.",
        one("overworld_dilation", "1.5x40"),
        one("overworld_dilation", "1x40"),
    ),
    Alert(
        "QueueFills",
        "max by (instance, queue) (overworld_queue_fill) > 0.8",
        5,
        "warning",
        "Hot shard",
        "A bounded queue is nearly full; past it, what comes is refused.",
        one("overworld_queue_fill", "0.9x40", ',queue="inbox_inputs"'),
        one("overworld_queue_fill", "0.2x40", ',queue="inbox_inputs"'),
        ("instance", "queue"),
    ),
    counted(
        "ProcessStoodStill",
        "overworld_loop_gaps_total",
        "warning",
        "Hot shard",
        "A worker's process stood still for half a lease or longer.",
    ),
    Alert(
        "GatewayLate",
        f"{within('overworld_gateway_loop_late_seconds', '0.05')} < 0.99",
        10,
        "warning",
        "Scale",
        "A gateway's event loop is late: it has too many players.",
        buckets("overworld_gateway_loop_late_seconds", "0.05", "half"),
        buckets("overworld_gateway_loop_late_seconds", "0.05", "all"),
    ),
    Alert(
        "PlayersQueue",
        "overworld_gateway_queue_length > 0",
        5,
        "warning",
        "Scale",
        "New players wait for room in the world.",
        one("overworld_gateway_queue_length", "4x40"),
        one("overworld_gateway_queue_length", "0x40"),
    ),
    Alert(
        "PlayersBehind",
        "overworld_gateway_behind / (overworld_gateway_sockets > 20) > 0.1",
        5,
        "warning",
        "Scale",
        "One player in ten does not read as fast as updates come.",
        {**one("overworld_gateway_behind", "30x40"), **one("overworld_gateway_sockets", "100x40")},
        {**one("overworld_gateway_behind", "3x40"), **one("overworld_gateway_sockets", "100x40")},
    ),
    Alert(
        "SocketsRefused",
        "sum by (instance) (rate(overworld_gateway_refusals_total[5m])) > 10",
        5,
        "warning",
        "Attack on the gateways",
        "A gateway turns away more than ten sockets a second.",
        one("overworld_gateway_refusals_total", "0+900x40"),
        one("overworld_gateway_refusals_total", "0+60x40"),
    ),
    Alert(
        "SuspiciousStreams",
        "sum by (instance) (rate(overworld_gateway_suspicious_total[5m])) > 1",
        5,
        "warning",
        "Attack on the gateways",
        "Clients send what no client of ours sends.",
        one("overworld_gateway_suspicious_total", "0+90x40"),
        one("overworld_gateway_suspicious_total", "0+1x40"),
    ),
)


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
    values = {"instance": "a", "job": "overworld", "queue": "inbox_inputs"}
    for alert in ALERTS:
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
