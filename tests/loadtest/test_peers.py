"""The comparison with other servers, small: the workload is the same, and every server really plays it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from loadtest.peers import table
from loadtest.peers.run import Inputs, Outcome
from loadtest.peers.search import largest
from loadtest.peers.worlds import Workload, in_view, side_for
from loadtest.prove import compare
from loadtest.prove.proof import Proof
from overworld.commands.title_loader import load_title


def outcome(clients: int, *, holds: bool = True, generator_cpu: float = 0.5, inputs: Inputs = "hz20") -> Outcome:
    rate, gap_ms = (20.0, 60.0) if holds else (15.0, 200.0)
    return Outcome(
        clients=clients,
        inputs=inputs,
        playing=clients,
        closes={},
        updates_per_client_s=rate,
        fewest_per_client_s=rate,
        gap_ms_p50=50.0,
        gap_ms_p99=gap_ms,
        bytes_per_client_s=1.0,
        inputs_per_client_s=1.0,
        cpu_us_per_update=1.0,
        cpu_share={},
        effect_ms_p50=30.0,
        effect_ms_p99=60.0,
        generator_cpu=generator_cpu,
    )


@pytest.mark.parametrize("players", [40, 125, 500, 3500])
def test_a_view_holds_about_forty_however_many_play(players: int) -> None:
    assert 33 < in_view(players, side_for(players)) < 47


def test_worlds_are_made_for_the_number_that_is_asked_for() -> None:
    work = Workload("B", 500, wanderers=100)
    title = load_title(work.title)
    assert type(title).world.width == 64 * work.side == 64 * side_for(600)
    everybody = type(load_title(Workload("A", 7).title)).world
    assert {len(everybody.view_of(cell)) for cell in range(4)} == {4}


@pytest.mark.parametrize(("limit", "guess"), [(700, 500), (300, 500), (90, 500), (1200, 100)])
def test_a_search_ends_close_below_the_limit(limit: int, guess: int) -> None:
    async def measure(clients: int) -> Outcome:
        return outcome(clients, holds=clients <= limit)

    search = asyncio.run(largest(measure, guess, 5000, probes_max=30))
    assert search.largest <= limit < search.broke
    assert search.broke <= search.largest * 1.07 + 20


def test_a_search_does_not_blame_a_server_for_the_generator() -> None:
    async def measure(clients: int) -> Outcome:
        return outcome(clients, holds=clients <= 500, generator_cpu=1.0 if clients > 500 else 0.5)

    search = asyncio.run(largest(measure, 500, 5000))
    assert (search.largest, search.broke, search.generator_was_the_wall) == (500, 0, True)


def test_a_search_goes_no_further_than_it_may() -> None:
    async def measure(clients: int) -> Outcome:
        return outcome(clients)

    search = asyncio.run(largest(measure, 900, 1000, probes_max=30))
    assert (search.largest, search.broke) == (1000, 0)


def test_who_was_closed_is_not_held() -> None:
    fine = outcome(10)
    assert fine.holds
    assert not Outcome(**{**vars(fine), "closes": {"1008": 1}}).holds
    assert not Outcome(**{**vars(fine), "playing": 9}).holds


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_every_server_plays_the_workload() -> None:
    proof = Proof("compare")
    compare.run(proof, compare.Options(small=True))
    assert proof.broken == []
    costs: dict[str, Any] = {figure["server"]: figure["cost"] for figure in proof.figures.values() if "cost" in figure}
    assert set(costs) == {"overworld", "colyseus", "websocket", "floor"}
    for server, cost in costs.items():
        assert cost["playing"] == 40
        assert cost["inputs_per_client_s"] > 5
        assert cost["bytes_per_client_s"] > 100
        if server != "floor":
            assert cost["effect_ms_p99"] >= cost["effect_ms_p50"] > 0
    assert costs["overworld"]["more"]["observed_in_view"] > 1
    assert len(table.lines(proof.figures)) == 5
