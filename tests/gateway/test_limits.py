"""Counting what clients and addresses may do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overworld.gateway.limits import AddressCounts, BucketTable, TokenBucket


class TestTokenBucket:
    def test_a_burst_then_a_rate(self) -> None:
        bucket = TokenBucket(10, 20, now_s=100.0)
        assert [bucket.take(100.0) for _ in range(21)] == [True] * 20 + [False]
        assert [bucket.take(100.5) for _ in range(6)] == [True] * 5 + [False]

    def test_rest_fills_it_up_to_the_burst(self) -> None:
        bucket = TokenBucket(10, 20, now_s=0.0)
        for _ in range(20):
            bucket.take(0.0)
        assert sum(bucket.take(1000.0) for _ in range(50)) == 20

    def test_a_clock_that_goes_back_gives_nothing(self) -> None:
        bucket = TokenBucket(10, 2, now_s=100.0)
        assert bucket.take(100.0)
        assert bucket.take(50.0)
        assert not bucket.take(50.0)

    @given(st.lists(st.floats(0, 1), max_size=200), st.integers(1, 50), st.integers(1, 100))
    def test_never_more_than_burst_and_rate_allow(self, pauses: list[float], rate: int, burst: int) -> None:
        bucket, now_s, taken = TokenBucket(rate, burst, now_s=0.0), 0.0, 0
        for pause in pauses:
            now_s += pause
            taken += bucket.take(now_s)
            assert taken <= burst + rate * now_s + 1e-6


class TestBucketTable:
    def test_keys_do_not_share(self) -> None:
        table = BucketTable(1, 1)
        assert table.take("a", 0.0)
        assert not table.take("a", 0.0)
        assert table.take("b", 0.0)

    def test_it_stays_bounded(self) -> None:
        table = BucketTable(1, 1, keys_max=3)
        for i in range(100):
            table.take(str(i), 0.0)
        assert len(table) == 3

    def test_the_longest_unseen_is_forgotten_first(self) -> None:
        table = BucketTable(1, 1, keys_max=2)
        table.take("a", 0.0)
        table.take("b", 0.0)
        table.take("a", 0.0)
        table.take("c", 0.0)
        assert not table.take("a", 0.0)


def test_addresses_are_counted() -> None:
    counts = AddressCounts()
    for address in ("a", "a", "b"):
        counts.add(address)
    assert (counts["a"], counts["b"], counts["c"], counts.total) == (2, 1, 0, 3)
    counts.remove("a")
    counts.remove("b")
    assert (counts["a"], counts["b"], counts.total) == (1, 0, 1)
