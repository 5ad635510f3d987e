"""The proofs, small: the same code as `make prove-world-e2e` and `make prove-restart`, fewer bots and seconds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loadtest.prove import restart, world_e2e
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
