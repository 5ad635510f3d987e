"""Spatial queries agree with trying every pair."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.world import near

Ints = npt.NDArray[np.int64]
Points = list[tuple[int, int]]
Movers = list[tuple[int, int, int, int]]

spans = st.sampled_from([1, 4, 100, 5_000, 2**20, 2**30])


@st.composite
def clouds(draw: st.DrawFn) -> tuple[Points, Points, int]:
    """Two sets of points with many coincidences, on a scale of their own each, and a radius on either scale."""
    scales = [draw(spans), draw(spans)]
    points = []
    for scale in scales:
        coordinate = st.integers(-scale, scale)
        points.append(draw(st.lists(st.tuples(coordinate, coordinate), max_size=30)))
    return points[0], points[1], draw(st.integers(0, draw(st.sampled_from(scales))))


def columns(points: Points) -> tuple[Ints, Ints]:
    array = np.array(points, np.int64).reshape(-1, 2)
    return array[:, 0].copy(), array[:, 1].copy()


def by_trying_every_pair(a: Points, b: Points, radius: int) -> list[tuple[int, int]]:
    def close(p: tuple[int, int], q: tuple[int, int]) -> bool:
        return (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 <= radius * radius

    return [(i, j) for i, p in enumerate(a) for j, q in enumerate(b) if close(p, q)]


@pytest.mark.parametrize("brute_max", [0, 4096], ids=["binned", "brute"])
def test_pairs_are_those_of_trying_every_pair_in_order(brute_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "_BRUTE_MAX", brute_max)

    @given(clouds())
    def check(cloud: tuple[Points, Points, int]) -> None:
        a, b, radius = cloud
        i, j = near.pairs(*columns(a), *columns(b), radius)
        assert i.dtype == j.dtype == np.int64
        assert list(zip(i.tolist(), j.tolist(), strict=True)) == by_trying_every_pair(a, b, radius)

    check()


@pytest.mark.parametrize("shape", ["square", "line", "clump", "two clumps"])
def test_big_crowds_agree_with_brute_force_whatever_their_shape(shape: str) -> None:
    rng = np.random.default_rng(20)
    a, b = rng.integers(0, 300_000, (2, 700)), rng.integers(0, 300_000, (2, 900))
    if shape == "line":
        a[1], b[1] = 5, 5
    elif shape == "clump":
        b //= 1000
    elif shape == "two clumps":
        b //= 1000
        b[:, ::2] += 10_000_000
    for radius in (0, 1, 900, 20_000):
        i, j = near.pairs(a[0], a[1], b[0], b[1], radius)
        distance2 = (a[0][:, None] - b[0]) ** 2 + (a[1][:, None] - b[1]) ** 2
        expected = np.nonzero(distance2 <= radius**2)
        assert np.array_equal(i, expected[0])
        assert np.array_equal(j, expected[1])


def test_a_negative_radius_is_refused_even_of_nothing() -> None:
    none = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="radius -1 is negative"):
        near.pairs(none, none, none, none, -1)


# ---------------------------------------------------------------- over a tick

places = st.integers(-3_000, 3_000)
speeds = st.integers(-2_000, 2_000) | st.just(0)
movers = st.lists(st.tuples(places, places, speeds, speeds), max_size=8)


def closest2(p: tuple[int, int, int, int], q: tuple[int, int, int, int]) -> Fraction:
    """Least squared distance over the tick that ends at p and q, exactly."""
    px, py, vx, vy = (m - n for m, n in zip(p, q, strict=True))
    speed2 = vx * vx + vy * vy
    t = min(max(Fraction(px * vx + py * vy, speed2), Fraction(0)), Fraction(1)) if speed2 else Fraction(0)
    return (px - vx * t) ** 2 + (py - vy * t) ** 2


def lines(movers: Movers) -> near.Line:
    x, y, vx, vy = np.array(movers, np.int64).reshape(-1, 4).T.copy()
    return x, y, vx, vy


@given(movers, movers, st.integers(0, 1_500))
def test_swept_pairs_are_those_that_came_within_the_radius_during_the_tick(a: Movers, b: Movers, radius: int) -> None:
    i, j = near.swept_pairs(lines(a), lines(b), radius)
    expected = [(m, n) for m, p in enumerate(a) for n, q in enumerate(b) if closest2(p, q) <= radius * radius]
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == expected


def test_a_fast_bolt_does_not_fly_through_a_thin_target() -> None:
    bolt = lines([(4_000, 0, 8_000, 0)])
    target = lines([(0, 50, 0, 0)])
    assert len(near.pairs(bolt[0], bolt[1], target[0], target[1], 60)[0]) == 0
    assert len(near.swept_pairs(bolt, target, 60)[0]) == 1
    assert len(near.swept_pairs(bolt, target, 40)[0]) == 0
