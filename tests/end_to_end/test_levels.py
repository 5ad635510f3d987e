"""A commit level that is set is the one in force, told by metrics and to clients, and measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.level_cost import LevelCost, measure

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(120)]


@pytest.mark.parametrize("level", [0, 2])
async def test_the_level_that_is_set_is_told_and_measured(tmp_path: Path, level: int) -> None:
    cost = LevelCost(level)
    await measure(cost, tmp_path, bots=8, seconds=2, shards="2x1", seed=8)
    assert cost.levels_told == {level}
    assert cost.ticks > 0
    assert len(cost.acks) > 0
    figures = cost.figures()
    assert figures["added_latency_ms"]["p50"] > 0
