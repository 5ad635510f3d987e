"""Chance is a pure function of (seed, shard, tick, stream): the same everywhere, for ever."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.world.random import below, draw

# Journals were written with these numbers: others would replay them differently.
GOLDEN = "b3af8959ed800c28e06797c78d9d969a"

seeds = st.integers(0, 2**63 - 1)
small = st.integers(0, 2**20)
names = st.text(max_size=8)


def test_the_streams_are_those_that_journals_were_written_with() -> None:
    hasher = hashlib.blake2b(digest_size=16)
    for seed, shard, tick, stream in [(0, 0, 0, ""), (1, 2, 3, "loot"), (2**63 - 1, 4095, 2**32 - 1, "ä")]:
        numbers = draw(seed, shard, tick, stream, 5, 100)
        hasher.update(numbers.astype("<u8").tobytes())
        hasher.update(below(numbers, -10, 1000).astype("<i8").tobytes())
    assert hasher.hexdigest() == GOLDEN


@given(seeds, small, small, names, st.integers(0, 50), st.integers(0, 50))
def test_drawing_in_parts_is_drawing_at_once(seed: int, shard: int, tick: int, stream: str, m: int, n: int) -> None:
    whole = draw(seed, shard, tick, stream, 0, m + n)
    parts = [draw(seed, shard, tick, stream, 0, m), draw(seed, shard, tick, stream, m, n)]
    assert np.array_equal(whole, np.concatenate(parts))


@given(seeds, small, small, names)
def test_neighbouring_keys_have_streams_of_their_own(seed: int, shard: int, tick: int, stream: str) -> None:
    keys = [
        (seed, shard, tick, stream),
        (seed ^ 1, shard, tick, stream),
        (seed, shard + 1, tick, stream),
        (seed, shard, tick + 1, stream),
        (seed, shard + 1, tick + 1, stream),
        (seed, shard, tick, stream + "x"),
    ]
    drawn = np.concatenate([draw(*key, 0, 64) for key in keys])
    assert len(np.unique(drawn)) == len(drawn)


def test_bits_and_ranges_are_used_evenly() -> None:
    numbers = draw(7, 0, 1, "even", 0, 100_000)
    for bit in range(64):
        ones = int(((numbers >> np.uint64(bit)) & np.uint64(1)).sum())
        assert abs(ones - 50_000) < 800, f"bit {bit}"
    counts = np.bincount(below(numbers, 0, 10), minlength=10)
    assert counts.min() > 9_600
    assert counts.max() < 10_400
    first_of_ticks = np.array([draw(7, 0, tick, "even", 0, 1)[0] for tick in range(2_000)])
    assert abs(int((first_of_ticks >> np.uint64(63)).sum()) - 1_000) < 120


@given(seeds, st.integers(-(2**40), 2**40), st.integers(1, 2**32))
def test_numbers_stay_in_their_range(seed: int, low: int, span: int) -> None:
    numbers = below(draw(seed, 0, 0, "range", 0, 40), low, low + span)
    assert numbers.dtype == np.int64
    assert low <= numbers.min()
    assert numbers.max() < low + span


@pytest.mark.parametrize(("low", "high"), [(3, 3), (4, 3), (0, 2**32 + 1)])
def test_an_impossible_range_is_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="does not lie within"):
        below(draw(0, 0, 0, "", 0, 1), low, high)
