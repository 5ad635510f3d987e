"""The proofs, small: the same code as `make prove-NAME`, fewer bots and seconds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loadtest.prove import crowd, motion, partition, restart, rolling_restart, seamless, world_e2e
from loadtest.prove.proof import Proof

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_what_every_bot_sees_is_what_the_workers_hold(tmp_path: Path) -> None:
    proof = Proof("world-e2e")
    options = world_e2e.Options(bots=40, seconds=8)
    world_e2e.check(proof, asyncio.run(world_e2e.play(proof, options, tmp_path)), fights=False)
    assert proof.broken == []


@pytest.mark.parametrize("how", list(restart.Stop))
def test_a_stopped_world_goes_on(how: restart.Stop, tmp_path: Path) -> None:
    proof = Proof("restart")
    asyncio.run(restart.restart(proof, restart.Options(bots=20, seconds=4), tmp_path, how))
    assert proof.broken == []


def test_who_crosses_borders_is_nowhere_lost_or_doubled_while_workers_die_drain_and_come(tmp_path: Path) -> None:
    proof = Proof("seamless")
    options = seamless.Options(bots=30, seconds=12, workers=3, shards="4x2")
    trial, events = asyncio.run(seamless.play(proof, options, tmp_path))
    seamless.check(proof, options, trial, events, hops_min=10)
    assert len(events.spans) == 5
    assert proof.broken == []


def test_all_workers_and_gateways_are_replaced_under_players_who_lose_nothing(tmp_path: Path) -> None:
    proof = Proof("rolling-restart")
    options = rolling_restart.Options(bots=20, workers=2, rest_s=0.5, shards="2x2")
    trial, times = asyncio.run(rolling_restart.play(proof, options, tmp_path))
    rolling_restart.check(proof, options, trial, times)
    assert proof.broken == []


def test_others_are_drawn_where_the_server_had_them(tmp_path: Path) -> None:
    proof = Proof("motion")
    options = motion.Options(seconds=3, warm_s=3)
    asyncio.run(motion.play(proof, options, "rtt_80_ms", motion.ROADS["rtt_80_ms"], tmp_path))
    assert proof.broken == []
    # Not of the clock: whatever came late, half of the frames lie between two states.
    for kind in ("straight", "turning", "accelerating"):
        assert proof.figures[f"rtt_80_ms_python_{kind}_error_units"]["p50"] < 0.01


def test_a_crowd_is_told_within_its_budget_and_every_picture_is_true() -> None:
    proof = Proof("crowd")
    options = crowd.Options(title="loadtest.throng:SmallThrong", bots=10, seconds=4, budget=3500, checked=3, nearest=4)
    crowd.run(proof, options)
    assert proof.broken == []
    assert proof.figures["held_back_bytes_per_bot_second"] > 0


def test_broken_networks_between_hosts_heal_and_nothing_shown_is_lost(tmp_path: Path) -> None:
    proof = Proof("partition")
    options = partition.Options(bots=16, rounds=1, long_s=4)
    found, parts = asyncio.run(partition.play(proof, options, tmp_path))
    partition.check(proof, found, parts)
    assert len(parts) == 2
    assert proof.broken == []
