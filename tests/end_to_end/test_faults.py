"""Processes die or freeze under players: the proofs of that, small."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loadtest.prove import kill_gateway, kill_worker, zombie
from loadtest.prove.proof import Proof

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_a_killed_worker_costs_a_pause_and_nothing_else(tmp_path: Path) -> None:
    proof = Proof("kill-worker")
    options = kill_worker.Options(bots=20, kills=2, rest_s=2)
    kill_worker.check(proof, options, *asyncio.run(kill_worker.play(proof, options, tmp_path)))
    assert proof.broken == []


def test_a_worker_that_was_frozen_reaches_nobody(tmp_path: Path) -> None:
    proof = Proof("zombie")
    asyncio.run(zombie.play(proof, zombie.Options(bots=20, zombies=1, frozen_s=6), tmp_path))
    assert proof.broken == []


def test_players_of_a_killed_gateway_go_on_at_the_other(tmp_path: Path) -> None:
    proof = Proof("kill-gateway")
    asyncio.run(kill_gateway.play(proof, kill_gateway.Options(bots=20, kills=1, rest_s=3), tmp_path))
    assert proof.broken == []
