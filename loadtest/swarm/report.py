"""A result as one HTML page that needs nothing else: no script, no other address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from loadtest.swarm import limit, measures
from loadtest.swarm.charts import Chart, Points, number, svg

Result = Mapping[str, Any]
STYLE = """
:root{--ink:#0f172a;--dim:#64748b;--line:#e2e8f0;--soft:#f8fafc;--good:#047857;--bad:#be123c;--warn:#b45309}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;color:var(--ink);margin:0;background:#fff}
main{max-width:1360px;margin:0 auto;padding:28px 32px 60px}
header{display:flex;align-items:flex-start;gap:20px;border-bottom:1px solid var(--line);padding-bottom:18px}
h1{font-size:26px;margin:0}h2{font-size:17px;margin:34px 0 10px}
p{margin:2px 0;color:var(--dim)}
.badge{margin-left:auto;font-weight:700;font-size:17px;padding:8px 20px;border-radius:8px;color:#fff;white-space:nowrap}
.badge.ok{background:var(--good)}.badge.no{background:var(--bad)}
.cards{display:grid;grid-template-columns:repeat(3,1fr);gap:16px;margin-top:20px}
.card{border:1px solid var(--line);border-radius:10px;padding:14px 18px;background:var(--soft)}
.card b{display:block;font-size:20px;margin:2px 0 4px}.card small{color:var(--dim);font-size:13px}
.card.ok b{color:var(--good)}.card.no b{color:var(--bad)}
ul.broken{background:#fff1f2;border:1px solid #fecdd3;border-radius:8px;padding:12px 12px 12px 30px;color:#881337}
ul.notes{background:#fffbeb;border:1px solid #fde68a;border-radius:8px;padding:12px 12px 12px 30px;color:#78350f}
ul{overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(2,1fr);gap:18px}
figure{margin:0;border:1px solid var(--line);border-radius:10px;padding:12px 12px 4px}
figcaption{font-weight:600;font-size:14px}
figcaption span{font-weight:400;color:var(--dim);font-size:12px;margin-left:12px;white-space:nowrap}
figcaption i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:4px}
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#64748b}
svg text.y{text-anchor:end}svg text.x{text-anchor:middle}
svg .grid{stroke:#e2e8f0}svg polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}
svg .limit{stroke:#be123c;stroke-dasharray:5 4}svg .warm{fill:#f1f5f9}
svg rect.event{fill:#f59e0b;opacity:.25}svg text.event{fill:#92400e;font-size:10px}
.tables{display:grid;grid-template-columns:repeat(2,1fr);gap:28px}
table{border-collapse:collapse;width:100%;font-size:14px}
td,th{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--dim);font-weight:500}td.n,th.n,table.n th:not(:first-child)
{text-align:right;font-variant-numeric:tabular-nums}
tr.bad td{color:var(--bad);font-weight:600}code{font-size:13px}
@media(max-width:900px){.charts,.tables,.cards{grid-template-columns:1fr}}
@media print{figure,.card{break-inside:avoid}}
"""


def page(result: Result) -> str:
    """The whole page."""
    scenario, ok = result["scenario"], result["ok"]
    badge = f'<div class="badge {"ok" if ok else "no"}">{"PASSED" if ok else "FAILED"}</div>'
    machine = result["machine"]
    about = f"{escape(scenario['about'])}" if scenario["about"] else f"{result['bots']} bots, {result['seconds']:.0f} s"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(scenario["name"])}: Overworld load test</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>
<header><div><h1>{escape(scenario["name"])}</h1><p>{about}</p>
<p>{escape(machine["date"])} · commit {escape(machine["commit"])} · {escape(machine["cpu"])}, {machine["cores"]} cores ·
title {escape(result["target"]["title"])} · seed {scenario["seed"]}</p></div>{badge}</header>
{_cards(result)}
{_list("What was not kept", "broken", result["broken"])}
{_list("Before you believe the figures", "notes", result["warnings"])}
<h2>Over the run</h2>
<p>Grey: bots come, speed counts for nothing yet. Orange: what went wrong on purpose. Dashed: the threshold.</p>
<div class="charts">{"".join(svg(chart) for chart in charts(result))}</div>
<div class="tables"><section><h2>Figures</h2>{_figures(result)}</section>
<section><h2>Correctness</h2>{_correctness(result)}</section>
<section><h2>Errors</h2>{_errors(result)}</section>
<section><h2>Processes</h2>{_processes(result)}</section>
<section><h2>Bots</h2>{_bots(result)}</section>
<section><h2>Chaos</h2>{_chaos(result)}</section></div>
</main></body></html>
"""


def _cards(result: Result) -> str:
    reasons = [reason for reason in limit.why_not(result) if not reason.startswith("the game was not")]
    faults = sum(result["faults"].values())
    checks = result["checks"]
    good = "95 % of frames on time, interval p99 under two ticks, no errors"
    held = f"{result['playing']} of {result['bots']}"
    return f"""<div class="cards">
<div class="card {"no" if reasons else "ok"}"><small>Do the players hold?</small>
<b>{f"{held} played well" if not reasons else f"{held} played, not well"}</b>
<small>{escape("; ".join(reasons)[:240]) or good}</small></div>
<div class="card"><small>What breaks first?</small><b>{escape(_busiest(result))}</b>
<small>{escape(limit.saturated(result))}</small></div>
<div class="card {"no" if faults else "ok"}"><small>Is the game still correct?</small>
<b>{f"{faults} faults" if faults else "Correct"}</b><small>{checks["compared"]} pictures with {checks["entities"]}
entities compared with the server's, {checks["effects"]} inputs seen to take effect</small></div></div>"""


def _busiest(result: Result) -> str:
    found = limit.saturated(result)
    return "Nothing yet" if found.startswith("nothing") else found.removeprefix("saturated: ").split(" used ")[0]


def _list(title: str, kind: str, texts: Sequence[str]) -> str:
    if not texts:
        return ""
    return f'<h2>{title}</h2><ul class="{kind}">' + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


# ---------------------------------------------------------------- charts


def charts(result: Result) -> list[Chart]:
    """All of a run's."""
    limits = result["scenario"]["thresholds"]
    windows = result["windows"]
    common: dict[str, Any] = {
        "events": result["events"],
        "measured_from_s": result["measured_from_s"],
        "end_s": max([w["t"] for w in windows] or [1.0]),
    }

    def over(*names: str) -> dict[str, Points]:
        return {name: [(w["t"], w[name]) for w in windows] for name in names}

    def named(**names: str) -> dict[str, Points]:
        return {shown: points for shown, name in names.items() for points in over(name).values()}

    server = {name: kinds["server"] for name, kinds in result["processes"].items() if "server" in kinds}
    bots = {name: kinds["bots"] for name, kinds in result["processes"].items() if "bots" in kinds}
    ticking = {name: rows for name, rows in server.items() if any(row[3] for row in rows)}
    tick_ms = result["tick_ms"]
    return [
        Chart("Players", "", over("playing"), **common),
        Chart("Frames on time", "", over("on_time"), limit=limits["on_time_min"] or 0.95, high=1.0, **common),
        Chart("Frame interval", " ms", named(p50="interval_p50_ms", p99="interval_p99_ms"),
              limit=limits["interval_p99_ms_max"] or 2 * tick_ms, **common),
        Chart("Input to acknowledgement", " ms", named(p50="input_p50_ms", p99="input_p99_ms"),
              limit=limits["input_p99_ms_max"], **common),
        Chart("CPU, cores", "", {name: _rate(rows) for name, rows in (server | bots).items()}, limit=1.0, **common),
        Chart("Tick time p99", " ms", {name: [(r[0], 1000 * r[5]) for r in rows] for name, rows in ticking.items()},
              limit=tick_ms, **common),
        Chart("Bytes to all players, a second", "B", over("bytes_per_s"), **common),
        Chart("Memory", "B", {name: [(row[0], row[2]) for row in rows] for name, rows in server.items()}, **common),
        Chart("Errors and faults a second", "", over("errors", "faults"), **common),
        Chart("Load generator's own lateness p99", " ms", over("late_p99_ms"), **common),
    ]  # fmt: skip


def _rate(rows: Sequence[Sequence[float]]) -> Points:
    """Cores used, between rows of (second, CPU seconds so far, ...)."""
    pairs = pairwise(rows)
    return [(b[0], max(0.0, (b[1] - a[1]) / (b[0] - a[0]))) for a, b in pairs if b[0] > a[0]]


# ---------------------------------------------------------------- tables


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], bad: Sequence[bool] = ()) -> str:
    if not rows:
        return "<p>none</p>"

    def cell(kind: str, i: int, value: Any) -> str:
        is_number = i > 0 and kind == "td" and isinstance(value, int | float)
        shown = number(value) if isinstance(value, float) else str(value)
        return f"<{kind}{' class=n' if is_number else ''}>{escape(shown)}</{kind}>"

    marks = list(bad) or [False] * len(rows)
    body = "".join(
        f"<tr{' class=bad' if mark else ''}>{''.join(cell('td', i, value) for i, value in enumerate(row))}</tr>"
        for row, mark in zip(rows, marks, strict=True)
    )
    numbers = " class=n" if all(isinstance(value, int | float) for row in rows for value in row[1:]) else ""
    return f"<table{numbers}><tr>{''.join(cell('th', i, name) for i, name in enumerate(head))}</tr>{body}</table>"


def _figures(result: Result) -> str:
    figures = result["figures"]
    times = {
        "frame interval, ms": "interval_ms",
        "input to ack, ms": "input_ms",
        "the same, uncorrected": "input_uncorrected_ms",
        "input to visible effect, ms": "effect_ms",
        "connect, ms": "connect_ms",
        "round trip, ms": "round_trip_ms",
        "generator late, ms": "generator_late_ms",
    }
    rows = [
        [name, *(float(figures[key][share]) for share in ("p50", "p90", "p99", "p999", "max")), figures[key]["count"]]
        for name, key in times.items()
    ]
    plain = [
        ["frames on time", f"{figures['on_time']:.2%}"],
        ["jitter (mean distance from a tick), ms", figures["jitter_ms"]],
        ["bytes a player and second", figures["bytes_per_player_s"]],
        ["frames a player and second", figures["frames_per_player_s"]],
        ["inputs a player and second", figures["inputs_per_player_s"]],
    ]
    head = ("", "p50", "p90", "p99", "p99.9", "max", "count")
    return _table(head, rows) + "<br>" + _table(("", ""), plain)


def _correctness(result: Result) -> str:
    checks, ledger, inputs = result["checks"], result["ledger"], result["inputs"]
    rows = [[name, count] for name, count in result["faults"].items()]
    counted = f"{ledger['applied']:.0f}" if ledger["known"] else f"not known: {ledger['why_not']}"
    looked = [
        ["pictures asked for", checks["asked"]],
        ["pictures compared", checks["compared"]],
        *[[f"not compared: {why}", count] for why, count in checks["skipped"].items()],
        ["cells compared", checks["cells"]],
        ["entities compared", checks["entities"]],
        ["looks for entities seen twice", checks["scans"]],
        ["inputs seen to take effect", checks["effects"]],
        ["inputs made", inputs[""]],
        ["inputs acknowledged", inputs["acked"]],
        ["inputs applied, as workers count", counted],
    ]
    told = [f"{name}: {text}" for name, texts in result["examples"].items() for text in texts]
    shown = _table(("fault", "count"), rows, [bool(count) for _, count in rows])
    shown += "<br>" + _table(("looked at", ""), looked)
    return shown + _list("The first of each", "broken", told)


def _errors(result: Result) -> str:
    rows = [[what, count] for what, count in sorted(result["errors"].items(), key=lambda pair: -pair[1])]
    rows += [[f"gave up: {what}", count] for what, count in result["stopped"].items()]
    return _table(("what", "count"), rows)


def _processes(result: Result) -> str:
    rows = []
    for name, kinds in sorted(result["processes"].items()):
        for series in kinds.values():
            measured = [row for row in series if row[0] >= result["measured_from_s"]]
            if len(measured) < 2 or measured[-1][0] <= measured[0][0]:
                continue
            cores = measures.cores_used(measured)
            ticks = measured[-1][3] - measured[0][3] if len(measured[0]) > 3 else 0
            spent = measured[-1][4] - measured[0][4] if ticks > 0 else 0.0
            mean = f"{1000 * spent / ticks:.2f} ms" if ticks > 0 else ""
            rows.append([name, f"{cores:.2f}", f"{measured[-1][2] / 1048576:.0f} MiB", mean])
    return _table(("process", "cores", "memory", "mean tick"), rows)


def _bots(result: Result) -> str:
    rows = [
        [group["behaviour"], group["count"], _ramp(group["ramp"]),
         group["network"], f"{group['sampled']:.0%}"]
        for group in result["scenario"]["bots"]
    ]  # fmt: skip
    return _table(("behaviour", "count", "ramp", "network", "sampled"), rows)


def _ramp(ramp: Mapping[str, Any]) -> str:
    start = f" at {ramp['start_s']:g} s" if ramp["start_s"] else ""
    return f"{ramp['kind']}{start}" if ramp["kind"] == "spike" else f"{ramp['kind']}{start}, {ramp['seconds']:g} s"


def _chaos(result: Result) -> str:
    rows = [[event["what"], f"{event['at_s']:.1f} s", f"{event['for_s']:.1f} s"] for event in result["events"]]
    return _table(("what", "at", "for"), rows)
