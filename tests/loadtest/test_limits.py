"""The proofs of limits and of growth, small: the pieces run, add up in one result, and say what was not reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtest import aims, arenas
from loadtest.growth import Curve, exponent, page
from loadtest.prove import growth, limits
from loadtest.prove.proof import Proof


def test_an_aim_is_reached_from_its_own_side() -> None:
    figures: dict[str, Any] = {
        "players_B_change": {"largest": 3499},
        "load_80": {"late_ms_p99": 4.9},
        "arenas": {"largest": 1000},
    }
    rows = aims.rows(figures)
    assert (rows["players_b_change"]["measured"], rows["players_b_change"]["reached"]) == (3499, False)
    assert rows["late"]["reached"] is True
    assert rows["arenas"]["reached"] is True
    assert rows["memory"]["reached"] is None
    told = dict(zip(rows, aims.lines(rows), strict=True))
    assert told["players_b_change"].endswith("NOT reached")
    assert told["memory"].endswith("not measured")


def test_arenas_are_full_played_and_come_out_of_the_journal_alike() -> None:
    cost = arenas.measure(3, 30)
    assert (cost.players, cost.playing) == (30, 30)
    assert cost.inputs == cost.acked > 30
    assert cost.same_again
    assert min(cost.step_ms, cost.encode_ms, cost.record_ms, cost.bytes_per_player_s) > 0


def test_arenas_hold_up_to_the_first_number_that_does_not() -> None:
    def cost(count: int, p99_ms: float) -> arenas.ArenaCost:
        return arenas.ArenaCost(count, 0, 0, 0, 0, True, 0.0, 0.0, 0.0, 0.0, p99_ms, 0.0)

    assert arenas.largest([cost(500, 60.0), cost(250, 20.0), cost(1000, 40.0), cost(125, 10.0)]) == 250
    assert arenas.largest([cost(125, 51.0)]) == 0


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_the_exponent_is_that_of_the_power_law(power: float) -> None:
    assert exponent([(n, 3.0 * n**power) for n in (1.0, 2.0, 8.0, 100.0)]) == pytest.approx(power)


def test_one_point_grows_in_no_way() -> None:
    assert exponent([(10, 1.0)]) is None
    assert exponent([(10, 1.0), (10, 2.0)]) is None


def test_a_page_draws_every_line_and_needs_nothing_else() -> None:
    drawn = page([Curve("Costs <of> it", "things", "ms", {"a": [(1, 1.0), (10, 9.0)], "b": [(1, 2.0)]})], "here & now")
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 3
    assert "Costs &lt;of&gt; it" in drawn
    assert "here &amp; now" in drawn
    assert "http" not in drawn


def test_what_a_worker_does_not_reach_is_a_figure_and_no_fault() -> None:
    proof = Proof("limits")
    small = limits.Options(parts="arenas", arenas="1,2", ticks=20)
    limits.run(proof, small)
    assert proof.broken == []
    assert proof.figures["aims"]["arenas"] == {
        "what": "arenas of ten at 20 Hz on one core", "unit": "arenas", "aim": 1000, "at_most": False,
        "measured": proof.figures["arenas"]["largest"], "reached": False,
    }  # fmt: skip


def test_load_without_a_number_of_players_has_proven_nothing() -> None:
    proof = Proof("no-such-result")
    limits.run(proof, limits.Options(parts="load"))
    assert len(proof.broken) == 1


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_limits_of_real_processes() -> None:
    proof = Proof("limits")
    small = limits.Options(
        parts="gateway,entities,load", clients=20, inputs="hz20", rounds=1, warm_s=0.5, window_s=2.5, entities="500",
        worker_entities="500", ticks=10, seconds=1, largest=40,
    )  # fmt: skip
    limits.run(proof, small)
    assert proof.broken == []
    found = proof.figures["gateway_hz20"]
    assert found["beside_floor"] > 0
    assert found["kib_per_player"] > 0
    assert 0 < found["bytes_per_client_s"] < 20_000
    assert [size["entities"] for size in proof.figures["entities"]["workers"]] == [500]
    assert (proof.figures["load_80"]["playing"], proof.figures["load_50"]["playing"]) == (32, 20)
    assert proof.figures["load_80"]["late_ms_p99"] >= 0
    assert proof.figures["load_50"]["effect_ms_p99"] > 0
    told = {name for name, row in proof.figures["aims"].items() if row["measured"] is not None}
    assert told == {"gateway", "bytes", "memory", "entities", "late", "effect"}


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_growth_is_measured_in_every_piece_and_drawn(tmp_path: Path) -> None:
    proof = Proof("growth")
    small = growth.Options(
        of="B", players="20,60", window_s=3, entities="300,600", ticks=10, sides="2", seconds=1, viewers="1,50",
        page=str(tmp_path / "growth.html"),
    )  # fmt: skip
    growth.run(proof, small)
    assert proof.broken == []
    drawn = (tmp_path / "growth.html").read_text()
    assert set(proof.figures) == {
        "players_B_cpu", "players_B_bytes", "entities_cpu", "entities_bytes", "shards_cpu", "shards_hz", "viewers_cpu",
    }  # fmt: skip
    for name, figure in proof.figures.items():
        assert name.replace("_", " ") in drawn
        for points in figure["points"].values():
            assert [n for n, _ in points] == sorted(n for n, _ in points)
    assert proof.figures["entities_bytes"]["exponent"]["bytes"] == pytest.approx(1, abs=0.3)
