"""Where players live when nobody has carried them elsewhere."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from overworld.world.home import home_shard

PLAYERS = st.integers(0, 2**63 - 1)


@given(PLAYERS, st.integers(1, 1024))
def test_a_home_is_a_shard_of_the_world(player: int, shard_count: int) -> None:
    assert 0 <= home_shard(player, shard_count) < shard_count


def test_homes_are_spread_evenly() -> None:
    homes = Counter(home_shard(player, 6) for player in range(6000))
    assert set(homes.values()) == {1000}
