"""Makes the Grafana dashboards in deploy/grafana: a table of panels each, laid out two abreast.

    python -m tools.dashboards            writes them
    python -m tools.dashboards --check    exit code 1 where one is not what would be written

Queries must go on any Prometheus that scrapes workers and gateways, whatever its job names: they tell roles apart by
metrics that only one role has. Rates are over `RATE`, which covers four scrapes of 15 s.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "grafana"
RATE = "1m"
WIDTH, HEIGHT, ABREAST = 12, 8, 2


@dataclass(frozen=True)
class Panel:
    """One graph. `query`: PromQL; `legend`: as Grafana has it; `unit`: a unit of Grafana's."""

    title: str
    query: str
    legend: str = "{{instance}}"
    unit: str = "short"


def rate(metric: str, by: str = "instance", where: str = "") -> str:
    """A counter's increase a second."""
    return f"sum by ({by}) (rate({metric}{where}[{RATE}]))"


def quantile(share: float, metric: str, by: str = "instance") -> str:
    """A share of a histogram's observations lies below."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket[{RATE}])))"


def share_within(metric: str, bound: str) -> str:
    """The part of a histogram's observations that is at most a bound."""
    within = rate(f"{metric}_bucket", where=f'{{le="{bound}"}}')
    return f"{within} / {rate(f'{metric}_count')}"


DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "fleet": ("Overworld: fleet", (
        Panel("Processes", "sum by (role, version, title, title_version) (overworld_process)",
              "{{role}} {{version}} {{title}} {{title_version}}"),
        Panel("Players", "sum(overworld_players_online)", "players"),
        Panel("Shards by phase", "sum by (phase) (overworld_shards_owned)", "{{phase}}"),
        Panel("Takeovers", rate("overworld_takeovers_total", "why"), "{{why}}", "ops"),
        Panel("Migrations", rate("overworld_migrations_total", "result"), "{{result}}", "ops"),
        Panel("Balance: highest load above the mean", "max(overworld_balance_unbalanced)", "part", "percentunit"),
        Panel("Journal append p99", quantile(0.99, "overworld_journal_append_seconds", "level"), "{{level}}", "s"),
        Panel("Writes fenced", rate("overworld_journal_fenced_total"), unit="ops"),
        Panel("Oldest snapshot", "max(overworld_snapshot_age_seconds)", "age", "s"),
        Panel("Blob calls failed", rate("overworld_blob_failures_total", "operation, error"),
              "{{operation}} {{error}}", "ops"),
        Panel("CPU", "rate(process_cpu_seconds_total[1m])", unit="percentunit"),
        Panel("Memory", "process_resident_memory_bytes", unit="bytes"),
    )),
    "worker": ("Overworld: worker", (
        Panel("Tick p50", quantile(0.5, "overworld_tick_seconds"), unit="s"),
        Panel("Tick p99", quantile(0.99, "overworld_tick_seconds"), unit="s"),
        Panel("Budget used p99", quantile(0.99, "overworld_tick_budget_used"), unit="percentunit"),
        Panel("Ticks within their budget", share_within("overworld_tick_budget_used", "1.0"), unit="percentunit"),
        Panel("Ticks late p99", quantile(0.99, "overworld_tick_late_seconds"), unit="s"),
        Panel("Event loop late p99", quantile(0.99, "overworld_worker_loop_late_seconds"), unit="s"),
        Panel("Dilation", "overworld_dilation"),
        Panel("Queues", "max by (queue) (overworld_queue_fill)", "{{queue}}", "percentunit"),
        Panel("Entities", "overworld_entities"),
        Panel("Cells watched", "overworld_cells_watched"),
        Panel("Results held back", "overworld_ticks_held", unit="short"),
        Panel("Bytes to gateways", rate("overworld_output_bytes_total"), unit="Bps"),
        Panel("Inputs refused", rate("overworld_inputs_refused_total", "reason"), "{{reason}}", "ops"),
        Panel("Mail dropped (a sweep brings it)", rate("overworld_mail_dropped_total", "reason"), "{{reason}}", "ops"),
    )),
    "gateway": ("Overworld: gateway", (
        Panel("Sockets", "overworld_gateway_sockets"),
        Panel("Sessions by state", "sum by (state) (overworld_gateway_sessions)", "{{state}}"),
        Panel("Sockets closed", rate("overworld_gateway_closes_total", "code"), "{{code}}", "ops"),
        Panel("Sockets refused", rate("overworld_gateway_refusals_total", "reason"), "{{reason}}", "ops"),
        Panel("Fan-out p99", quantile(0.99, "overworld_gateway_fanout_seconds"), unit="s"),
        Panel("Event loop late p99", quantile(0.99, "overworld_gateway_loop_late_seconds"), unit="s"),
        Panel("Frame bytes", rate("overworld_gateway_frame_bytes_total"), unit="Bps"),
        Panel("Bytes not read by clients", "overworld_gateway_backlog_bytes", unit="bytes"),
        Panel("Dropped", rate("overworld_gateway_dropped_total", "reason"), "{{reason}}", "ops"),
        Panel("Queues", "max by (queue) (overworld_queue_fill)", "{{queue}}", "percentunit"),
        Panel("Cells in view", "overworld_gateway_cells"),
        Panel("Guests refused", rate("overworld_gateway_guests_refused_total", "reason"), "{{reason}}", "ops"),
    )),
    "shard": ("Overworld: shards that cost most", (
        Panel("CPU of one shard", "topk(16, max by (shard) (overworld_shard_load))", "{{shard}}", "percentunit"),
        Panel("Players of one shard", "topk(16, max by (shard) (overworld_shard_players))", "{{shard}}"),
        Panel("Entities of one shard", "topk(16, max by (shard) (overworld_shard_entities))", "{{shard}}"),
        Panel("Snapshot age of one shard", "topk(16, min by (shard) (overworld_shard_snapshot_age_seconds))",
              "{{shard}}", "s"),
        Panel("Migration pause p99", quantile(0.99, "overworld_migration_seconds", "step"), "{{step}}", "s"),
        Panel("Takeover p99", quantile(0.99, "overworld_takeover_seconds"), unit="s"),
        Panel("Snapshots saved", rate("overworld_snapshot_saved_total"), unit="ops"),
        Panel("Snapshot size", "overworld_snapshot_bytes", unit="bytes"),
        Panel("Stalls", rate("overworld_stalls_total"), unit="ops"),
        Panel("Mail between shards", rate("overworld_mail_received_total"), unit="ops"),
    )),
    "players": ("Overworld: player experience", (
        Panel("Frames a second and player",
              f"sum(rate(overworld_gateway_frames_total[{RATE}])) / sum(overworld_gateway_sockets)", "frames"),
        Panel("Bytes a second and player",
              f"sum(rate(overworld_gateway_frame_bytes_total[{RATE}])) / sum(overworld_gateway_sockets)", "bytes",
              "Bps"),
        Panel("From a tick's end to its release p99", quantile(0.99, "overworld_release_seconds"), unit="s"),
        Panel("Players without a shard now",
              'sum(overworld_gateway_sessions{state!="playing"})', "waiting"),
        Panel("Players who do not keep up", "sum(overworld_gateway_behind)", "behind"),
        Panel("From shard to shard p99", quantile(0.99, "overworld_gateway_move_seconds"), unit="s"),
        Panel("Sockets lost or closed", rate("overworld_gateway_closes_total", "code"), "{{code}}", "ops"),
        Panel("Inputs applied late", rate("overworld_inputs_late_total"), unit="ops"),
    )),
}  # fmt: skip


def dashboard(name: str) -> dict[str, Any]:
    """One dashboard as Grafana imports it."""
    title, panels = DASHBOARDS[name]
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "uid": f"overworld-{name}",
        "title": title,
        "tags": ["overworld"],
        "schemaVersion": 39,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"}]},
        "panels": [
            {
                "id": number + 1,
                "title": panel.title,
                "type": "timeseries",
                "datasource": source,
                "gridPos": {
                    "x": number % ABREAST * WIDTH, "y": number // ABREAST * HEIGHT, "w": WIDTH, "h": HEIGHT,
                },
                "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
                "targets": [
                    {"refId": "A", "datasource": source, "expr": panel.query, "legendFormat": panel.legend}
                ],
            }
            for number, panel in enumerate(panels)
        ],
    }  # fmt: skip


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
