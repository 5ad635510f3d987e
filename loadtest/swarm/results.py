"""A run as plain data: what is written as JSON, judged, compared with another, and drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest.machine import describe
from loadtest.swarm import measures, thresholds
from loadtest.swarm.findings import FAULTS, INPUT_DOUBLED, INPUT_LOST, Findings
from loadtest.swarm.gathered import Gathered, Window
from loadtest.swarm.scenario import Scenario
from overworld.client.statistics import Statistics

FORMAT = 1
GENERATOR_LATE_MS_MAX = 25.0
"""Above this p99 the load generator's own lateness is in the figures, and the report says so."""


@dataclass
class Ledger:
    """Inputs by the server's own count, of all its workers. Known only where nobody else plays and no worker died."""

    known: bool
    applied: float = 0.0
    why_not: str = ""


@dataclass
class Run:
    """Everything a run left behind."""

    scenario: Scenario
    gathered: Gathered
    target: Mapping[str, Any]
    tick_s: float
    seconds: float
    server_series: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    ledger: Ledger = field(default_factory=lambda: Ledger(False, why_not="not counted"))


def judge_ledger(ledger: Ledger, statistics: Statistics, findings: Findings) -> None:
    """Inputs that the server counts as applied lie between those acknowledged and those sent."""
    if not ledger.known:
        return
    if ledger.applied < statistics.inputs_acked:
        missing = statistics.inputs_acked - ledger.applied
        text = f"{statistics.inputs_acked} inputs were acknowledged, and workers applied {ledger.applied:.0f}"
        findings.fault(INPUT_LOST, f"{text}: {missing:.0f} are lost")
    if ledger.applied > statistics.inputs:
        text = f"{statistics.inputs} inputs were made, and workers applied {ledger.applied:.0f}"
        findings.fault(INPUT_DOUBLED, text)


def result_of(run: Run) -> dict[str, Any]:
    """The run as JSON has it. `ok` and `broken` say what its thresholds made of it."""
    gathered, scenario = run.gathered, run.scenario
    findings, statistics = gathered.findings, gathered.statistics
    judge_ledger(run.ledger, statistics, findings)
    if statistics.acks_rolled_back:
        findings.fault("acknowledged input forgotten", f"{statistics.acks_rolled_back} of them, after a resume")
    if statistics.dropped:
        findings.fault("frame out of order", f"{statistics.dropped} frames were not above one seen before")
    # What comes after the duration is the end: no inputs, then goodbyes.
    played = {second: gathered.windows[second] for second in sorted(gathered.windows) if second < scenario.duration_s}
    measured = [window for second, window in played.items() if second >= scenario.measured_from_s]
    result: dict[str, Any] = {
        "format": FORMAT,
        "scenario": scenario.model_dump(mode="json"),
        "target": dict(run.target),
        "machine": describe(),
        "machine_load": os.getloadavg()[0],
        "seconds": run.seconds,
        "tick_ms": run.tick_s * 1000,
        "measured_from_s": scenario.measured_from_s,
        "bots": gathered.bots,
        "played": gathered.played,
        "playing": gathered.playing,
        "stopped": dict(gathered.stopped),
        "faults": {name: findings.faults.get(name, 0) for name in [*FAULTS, *findings.faults]},
        "examples": findings.examples,
        "errors": dict(findings.errors),
        "checks": {
            name: getattr(findings, name)
            for name in ("asked", "compared", "skipped", "cells", "entities", "scans", "effects", "effects_unclear")
        },
        "ledger": vars(run.ledger),
        "inputs": {
            name: getattr(statistics, f"inputs{name and '_'}{name}")
            for name in ("", "sent", "acked", "refused", "abandoned")
        },
        "figures": figures(measured, scenario, run.tick_s),
        "windows": [{"t": second, **shown(window, scenario, run.tick_s)} for second, window in played.items()],
        "processes": {name: {"bots": rows} for name, rows in gathered.series.items()}
        | {name: {"server": rows} for name, rows in run.server_series.items()},
        "events": list(run.events),
    }
    result["warnings"] = warnings(result)
    result["broken"] = thresholds.broken(scenario.thresholds, result)
    result["ok"] = not result["broken"]
    return result


def figures(windows: Sequence[Window], scenario: Scenario, tick_s: float) -> dict[str, Any]:
    """What was measured, of these windows together."""
    total = Window()
    for window in windows:
        total.add(window)
    times, played = total.times, max(total.playing, 1e-9)
    between_us = 1e6 * _input_interval_s(scenario)
    return {
        "player_seconds": total.playing,
        "on_time": measures.on_time(times["gap"], total.playing, tick_s),
        "interval_ms": measures.summary(measures.hdr(times["gap"])),
        "jitter_ms": measures.jitter_ms(times["gap"], tick_s),
        "input_ms": measures.summary(measures.hdr(times["ack"], between_us)),
        "input_uncorrected_ms": measures.summary(measures.hdr(times["ack"])),
        "effect_ms": measures.summary(measures.hdr(times["effect"], between_us)),
        "connect_ms": measures.summary(measures.hdr(times["connect"])),
        "round_trip_ms": measures.summary(measures.hdr(times["round_trip"])),
        "generator_late_ms": measures.summary(measures.hdr(times["late"])),
        "bytes_per_player_s": total.frame_bytes / played,
        "frames_per_player_s": total.frames / played,
        "inputs_per_player_s": total.inputs / played,
    }


def shown(window: Window, scenario: Scenario, tick_s: float) -> dict[str, float]:
    """A window as one row of figures."""
    found = figures([window], scenario, tick_s)
    return {
        "playing": window.playing,
        "on_time": found["on_time"],
        "interval_p50_ms": found["interval_ms"]["p50"],
        "interval_p99_ms": found["interval_ms"]["p99"],
        "jitter_ms": found["jitter_ms"],
        "input_p50_ms": found["input_ms"]["p50"],
        "input_p99_ms": found["input_ms"]["p99"],
        "connect_p99_ms": found["connect_ms"]["p99"],
        "late_p99_ms": found["generator_late_ms"]["p99"],
        "bytes_per_player_s": found["bytes_per_player_s"],
        "bytes_per_s": float(window.frame_bytes),
        "errors": float(window.errors),
        "faults": float(window.faults),
    }


def warnings(result: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing the figures."""
    told = []
    load, cores = result["machine_load"], result["machine"]["cores"]
    if load > 1.5 * cores:
        told.append(f"this machine's load average was {load:.1f} on {cores} cores: times are other programs' too")
    late_ms = result["figures"]["generator_late_ms"]["p99"]
    if late_ms > GENERATOR_LATE_MS_MAX:
        told.append(
            f"the load generator ran its own timers {late_ms:.0f} ms late (p99): times are too long by up to that; "
            "take fewer bots a machine, or more cores"
        )
    checks = result["checks"]
    if checks["asked"] and checks["compared"] < checks["asked"] / 2:
        told.append(f"only {checks['compared']} of {checks['asked']} checks could be compared: {checks['skipped']}")
    if not checks["asked"]:
        told.append("pictures were not compared with the server's: no admin API was given, or no bot is sampled")
    if not result["ledger"]["known"]:
        told.append(f"inputs were not compared with the workers' own count: {result['ledger']['why_not']}")
    return told


def _input_interval_s(scenario: Scenario) -> float:
    return sum(group.input_interval_s * group.count for group in scenario.bots) / scenario.count
