"""What one more shard costs: the slope over worlds with more and more of them."""

from __future__ import annotations

import pytest

from loadtest.shard_cost import WorkerCost, core_part, one_more_ms


def test_what_all_worlds_have_in_common_is_no_shards_cost() -> None:
    hz, seconds, fixed_ms, share = 20, 2.0, 0.25, 0.1

    def cost(shards: int) -> WorkerCost:
        ticks = int(hz * seconds * shards)
        return WorkerCost(shards, seconds, ticks, share + fixed_ms * hz * shards / 1000, 0.0, 0.2, hz, 0.0)

    found = one_more_ms([cost(1), cost(4), cost(16)], hz)
    assert found == {"cpu": pytest.approx(fixed_ms), "tick": pytest.approx(0.2)}


def test_one_world_alone_says_nothing() -> None:
    assert one_more_ms([], 20) == {}


def test_the_core_alone_is_measured_in_all_its_parts() -> None:
    part = core_part(2)
    assert min(part.step_us, part.encode_us, part.record_us, part.digest_us) > 0
    assert part.tick_us == part.step_us + part.encode_us + part.record_us
