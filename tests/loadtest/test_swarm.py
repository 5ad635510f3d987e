"""The swarm's parts that need no cluster: scenarios, ramps, sums, times, verdicts, the page, the search."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.swarm import limit, measures, thresholds
from loadtest.swarm.crew import bots_of
from loadtest.swarm.difference import differences, hodges_lehmann, mann_whitney
from loadtest.swarm.findings import INPUT_DOUBLED, INPUT_LOST, PICTURE_WRONG, Findings
from loadtest.swarm.gathered import Collector, Gathered, Window, gathered
from loadtest.swarm.pictures import Note, judge
from loadtest.swarm.report import page
from loadtest.swarm.results import Ledger, Run, judge_ledger, result_of
from loadtest.swarm.scenario import Ramp, Scenario, ScenarioError, read
from overworld.client.contract import ClientContract
from overworld.client.statistics import Histogram, Statistics
from overworld.shard.digest import cell_digest

SCENARIOS = Path(__file__).parents[2] / "loadtest" / "scenarios"


def scenario(**more: Any) -> Scenario:
    bots = [{"behaviour": "wander", "count": 90, "sampled": 0.1}, {"behaviour": "idle", "count": 10, "sampled": 0.5}]
    return Scenario.model_validate({"name": "test", "duration_s": 20, "warm_up_s": 2, "bots": bots, **more})


# ---------------------------------------------------------------- scenarios


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_scenario_that_comes_along_can_be_read(path: Path) -> None:
    found = read(path)
    assert found.name == path.stem
    assert found.about
    assert found.measured_from_s < found.duration_s


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('name = "x"\nbots = []', "bots"),
        ('name = "x"\nbots = [{behaviour = "fly", count = 1}]', "behaviour 'fly'; there are any, battle"),
        ('name = "x"\nbots = [{behaviour = "idle", count = 1, network = "pigeon"}]', "network 'pigeon'"),
        ('name = "x"\nbots = [{behaviour = "idle", count = 0}]', "bots.0.count"),
        ('name = "x"\nspeed = 1\nbots = [{behaviour = "idle", count = 1}]', "speed"),
        ('name = "x"\nbots = [{behaviour = "idle", count = 1}]\nchaos = [{at_s = 1, do = "kill"}]', "needs a target"),
        ("name = ", "Invalid value"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=re.escape(told)):
        read(path)


def test_ramps_bring_bots_when_they_say() -> None:
    linear, steps, spike = Ramp(seconds=10), Ramp(kind="steps", seconds=8, steps=4), Ramp(kind="spike", start_s=3)
    assert [linear.due_s(n, 5) for n in range(5)] == [0, 2, 4, 6, 8]
    assert [steps.due_s(n, 8) for n in range(8)] == [0, 0, 2, 2, 4, 4, 6, 6]
    assert {spike.due_s(n, 100) for n in range(100)} == {3}


def test_machines_share_the_bots_without_gap_or_overlap_and_a_seed_gives_the_same_bots() -> None:
    chosen = scenario()
    whole = bots_of(chosen)
    parts = [bots_of(chosen, machine, 3) for machine in range(3)]
    assert sorted(bot.part.number for part in parts for bot in part) == list(range(100))
    assert {bot.part.number: bot for part in parts for bot in part} == {bot.part.number: bot for bot in whole}
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    sampled = [bot.part.behaviour for bot in whole if bot.part.sampled]
    assert (sampled.count("wander"), sampled.count("idle")) == (9, 5)
    assert chosen.scaled(40).count == 40


# ---------------------------------------------------------------- times


def times_of(*seconds: float) -> Histogram:
    made = Histogram()
    for value in seconds:
        made.record(value)
    return made


def test_quantiles_are_right_to_within_a_bucket() -> None:
    chance = np.random.default_rng(5)
    values = chance.exponential(0.05, 20_000)
    found = measures.summary(measures.hdr(times_of(*values)))
    for name, share in (("p50", 50), ("p99", 99)):
        assert found[name] == pytest.approx(1000 * np.percentile(values, share), rel=0.03)


def test_a_stall_counts_for_all_who_would_have_asked_meanwhile() -> None:
    once = times_of(*[0.01] * 99, 0.95)
    raw = measures.hdr(once)
    corrected = measures.hdr(once, expected_us=100_000)
    assert raw.get_total_count() == 100
    assert corrected.get_total_count() == 108, "asked ten times a second, one would have waited 0.95, 0.85, ... 0.15"
    assert corrected.get_value_at_percentile(95) > 400_000 > raw.get_value_at_percentile(95)


def test_frames_on_time_counts_those_that_did_not_come() -> None:
    assert measures.on_time(times_of(*[0.05] * 100), 5.0, 0.05) == 1.0
    assert measures.on_time(times_of(*[0.05] * 90, 0.5), 5.0, 0.05) == 0.9
    assert measures.on_time(times_of(*[0.1] * 50), 5.0, 0.05) == 0.0
    assert measures.on_time(Histogram(), 0.0, 0.05) == 0.0


# ---------------------------------------------------------------- sums


def line(at_s: float, frames: int, playing: int = 10, **findings: Any) -> dict[str, Any]:
    statistics = Statistics(frames=frames, frame_bytes=frames * 100, inputs=frames // 10, inputs_acked=frames // 10)
    for _ in range(frames):
        statistics.gap.record(0.05)
    found = Findings(asked=frames, compared=frames, **findings)
    return {
        "at_s": at_s, "bots": 10, "playing": playing, "played": 10, "stopped": {}, "unacked": 0, "cpu_s": at_s / 2,
        "rss_bytes": 1000, "statistics": statistics.to_plain(), "findings": found.to_plain(),
    }  # fmt: skip


def run_of(chosen: Scenario, seconds: int = 20, gap_frames: int = 200) -> Gathered:
    windows: dict[int, Window] = {}
    collector = Collector("bots-0", windows)
    for second in range(1, seconds + 1):
        collector.take(line(second, gap_frames * second))
    return gathered({"bots-0": collector}, windows)


def test_lines_become_windows_and_machines_add_up() -> None:
    mine = run_of(scenario())
    assert [mine.windows[t].frames for t in range(1, 21)] == [200] * 20
    assert mine.windows[5].playing == pytest.approx(10)
    assert len(mine.windows[5].times["gap"]) == 200
    again = Gathered.from_plain(mine.to_plain())
    again.series = {"machine-1-bots-0": again.series["bots-0"]}
    mine.add(again)
    assert mine.windows[5].frames == 400
    assert (mine.bots, mine.played, mine.statistics.frames) == (20, 20, 8000)
    assert sorted(mine.series) == ["bots-0", "machine-1-bots-0"]


# ---------------------------------------------------------------- verdicts


def result(chosen: Scenario | None = None, told: Gathered | None = None, **more: Any) -> dict[str, Any]:
    chosen = chosen or scenario(bots=[{"behaviour": "wander", "count": 10}])
    target = {"title": "roam", "local": True, "gateways": [], "processes": []}
    return result_of(Run(chosen, told or run_of(chosen), target, 0.05, 20.0, **more))


def test_a_fast_run_that_is_wrong_fails_and_says_what() -> None:
    assert result()["ok"]
    told = run_of(scenario())
    told.findings.fault(PICTURE_WRONG, "bot 3, cell 7")
    wrong = result(told=told)
    assert not wrong["ok"]
    assert "bot 3, cell 7" in wrong["broken"][0]


def test_a_run_that_looked_at_nothing_fails() -> None:
    told = run_of(scenario())
    told.findings.compared = 0
    assert any("pictures checked" in text for text in result(told=told)["broken"])


def test_inputs_are_compared_with_the_workers_own_count() -> None:
    statistics = Statistics(inputs=105, inputs_acked=100)
    for applied, fault in ((100, None), (105, None), (99, INPUT_LOST), (106, INPUT_DOUBLED)):
        findings = Findings()
        judge_ledger(Ledger(True, applied), statistics, findings)
        assert list(findings.faults) == ([fault] if fault else [])
    findings = Findings()
    judge_ledger(Ledger(False, 0), statistics, findings)
    assert not findings.faults


def test_thresholds_of_speed_hold_only_where_they_are_given() -> None:
    slow = run_of(scenario(), gap_frames=50)
    assert result(told=slow)["ok"]
    limits = {"on_time_min": 0.9, "interval_p99_ms_max": 10}
    chosen = scenario(bots=[{"behaviour": "wander", "count": 10}], thresholds=limits)
    assert len(thresholds.broken(chosen.thresholds, result(chosen, slow))) == 2


def contract() -> Any:
    class Kind:
        columns = ("x", "y", "vx", "vy")

    class Contract:
        kinds = (Kind(), Kind())

    return Contract()


def said(rows: list[list[int]], tolerance: int = 0, cells: tuple[int, ...] = (7,)) -> dict[str, Any]:
    found = []
    for cell in cells:
        mine = [row for row in rows if row[2] == cell]
        columns = np.array([row[3:] for row in mine], np.int64).T
        parts = [(0, np.array([row[1] for row in mine]), columns[4:] if tolerance else columns)] if mine else []
        found.append({"cell": cell, "entities": len(mine), "digest": cell_digest(parts)})
    return {"epoch": 1, "tick": 9, "tolerances": [tolerance, 0], "cells": found, "rows": rows}


def picture(rows: list[list[int]]) -> dict[int, Any]:
    if not rows:
        return {}
    return {0: (np.array([row[1] for row in rows]), np.array([row[3:] for row in rows], np.int64).T)}


@pytest.mark.parametrize(
    ("seen", "tolerance", "told"),
    [
        ([[0, 1, 7, 10, 20, 1, 0], [0, 4, 7, 11, 21, 0, 0]], 0, ""),
        ([[0, 1, 7, 10, 21, 1, 0], [0, 4, 7, 11, 21, 0, 0]], 0, "entity 1: y 21 != 20"),
        ([[0, 1, 7, 10, 21, 1, 0], [0, 4, 7, 11, 21, 0, 0]], 2, ""),
        ([[0, 1, 7, 10, 23, 1, 0], [0, 4, 7, 11, 21, 0, 0]], 2, "entity 1: y 23 != 20"),
        ([[0, 1, 7, 10, 20, 1, 0]], 0, "entity 4: only the server has it"),
        ([[0, 1, 7, 10, 20, 1, 0], [0, 4, 7, 11, 21, 0, 0], [0, 5, 7, 1, 1, 0, 0]], 2, "entity 5: only the client"),
        ([], 0, "only the server has it"),
    ],
)
def test_a_picture_is_judged_to_the_last_bit_or_its_tolerance(seen: Any, tolerance: int, told: str) -> None:
    truth = [[0, 1, 7, 10, 20, 1, 0], [0, 4, 7, 11, 21, 0, 0]]
    findings = Findings()
    note = Note(0, 9, (7,), {7: picture(seen)}, epoch=1)
    judge("bot 1", note, said(truth, tolerance), contract(), findings)
    assert (findings.compared, findings.cells, findings.entities) == (1, 1, 2)
    assert findings.faults.total() == bool(told)
    if told:
        assert told in findings.examples[PICTURE_WRONG][0]


def test_what_could_not_be_compared_is_counted_and_is_no_fault() -> None:
    findings = Findings()
    world: ClientContract = contract()
    judge("bot", Note(0, 9, (7,)), "refused with 409", world, findings)
    judge("bot", Note(0, 9, (7,)), said([]), world, findings)
    judge("bot", Note(0, 9, (7,), {7: {}}, epoch=2), said([]), world, findings)
    judge("bot", Note(0, 9, (7,), {}, epoch=1), said([]), world, findings)
    assert (findings.compared, findings.skipped.total(), findings.faults.total()) == (0, 4, 0)


# ---------------------------------------------------------------- two runs


def test_ranks_are_tested_as_the_textbook_does() -> None:
    # Checked by hand: U = 0 of 25, variance 22.92 without ties.
    assert mann_whitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(0.0122, abs=0.0005)
    assert mann_whitney([1, 1, 1], [1, 1, 1]) == 1.0
    assert hodges_lehmann([1, 2, 3], [11, 12, 13]) == 10


def noisy(seed: int, factor: float = 1.0, seconds: int = 120) -> dict[str, Any]:
    chance = np.random.default_rng(seed)
    rows = [
        {
            "t": t, "playing": 100.0, "on_time": 1.0, "jitter_ms": 3 * float(chance.lognormal(0, 0.2)),
            "interval_p99_ms": 70 * factor * float(chance.lognormal(0, 0.2)), "input_p50_ms": 40.0,
            "input_p99_ms": 90 * float(chance.lognormal(0, 0.2)), "bytes_per_player_s": 1000.0,
        }
        for t in range(seconds)
    ]  # fmt: skip
    return {"windows": rows, "measured_from_s": 10.0, "faults": {}}


def test_noise_is_no_difference_and_a_difference_is_no_noise() -> None:
    wrong = sum(row.verdict != "same" for seed in range(20) for row in differences(noisy(seed), noisy(100 + seed)))
    assert wrong == 0, "of 120 figures that are alike"
    for seed in range(5):
        verdicts = {row.name: row.verdict for row in differences(noisy(seed), noisy(100 + seed, factor=1.4))}
        assert verdicts.pop("interval_p99_ms") == "worse"
        assert set(verdicts.values()) == {"same"}
        back = {row.name: row.verdict for row in differences(noisy(seed, factor=1.4), noisy(100 + seed))}
        assert back["interval_p99_ms"] == "better"
    assert {row.verdict for row in differences(noisy(1, seconds=20), noisy(2))} == {"unknown"}


def test_a_new_fault_is_worse_whatever_the_figures() -> None:
    after = noisy(1) | {"faults": {"input lost": 1}}
    assert [row.verdict for row in differences(noisy(1), after) if row.name == "input lost"] == ["worse"]


# ---------------------------------------------------------------- the page


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    told = run_of(scenario())
    told.findings.fault(PICTURE_WRONG, "<script>alert(1)</script>")
    events = [{"at_s": 8.0, "for_s": 2.0, "what": "pause worker-0"}]
    series = {"worker-0": [(t, t * 0.9, 1e8, t * 20, t * 0.1, 0.004) for t in range(20)]}
    text = page(result(told=told, events=events, server_series=series))
    assert "<script" not in text
    assert not re.search(r"(src|href|url\()\s*=?\s*[\"'(]?(https?:)?//", text)
    assert "pause worker-0 at 8 s for 2.0 s" in text
    assert "FAILED" in text
    assert text.count("<svg") == text.count("</svg>") == 10
    assert "nan" not in text.lower().replace("finance", "")


# ---------------------------------------------------------------- the limit


def tried(bots: int, holds: bool) -> dict[str, Any]:
    return {
        "broken": [], "errors": {}, "tick_ms": 50, "measured_from_s": 0, "machine": {"cores": 2},
        "target": {"local": True}, "processes": {"gateway-0": {"server": [(0, 0, 0), (10, 9.8, 0)]}},
        "figures": {
            "on_time": 0.99 if holds else 0.6, "interval_ms": {"p99": 80.0 if holds else 180.0},
            "generator_late_ms": {"p99": 2.0},
        },
    }  # fmt: skip


def test_the_search_finds_the_limit_and_names_what_is_full() -> None:
    asked: list[int] = []
    chance = random.Random(1)

    async def one(bots: int) -> dict[str, Any]:
        asked.append(bots)
        # A neighbour's noise spoils one try in ten.
        return tried(bots, bots <= 730 and chance.random() > 0.1)

    found = asyncio.run(limit.find(one, 50, 10_000, 0.05))
    assert found["holds"] <= 730 < found["does_not"]
    assert found["does_not"] - found["holds"] <= 0.05 * found["holds"]
    assert "gateway-0 used 98% of a core" in found["why"]
    assert len(asked) < 25


def test_a_search_that_meets_no_limit_says_so() -> None:
    async def one(bots: int) -> dict[str, Any]:
        return tried(bots, holds=True)

    found = asyncio.run(limit.find(one, 50, 300, 0.1))
    assert (found["holds"], found["does_not"]) == (200, 0)
    assert "more than 300 were not tried" in found["why"]
