"""Angles in whole steps: exact where promised, the same on every machine."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from overworld.world.angles import ANGLE_SCALE, ANGLE_STEPS, cosines, octant_angle, sines

# Journals were written with this table: another one would replay them differently.
GOLDEN = "ec2066903b2ca1424e0cbd66ede49bdd"

STEPS = np.arange(ANGLE_STEPS, dtype=np.int64)


def test_the_table_is_the_one_that_journals_were_written_with() -> None:
    table = np.concatenate((sines(STEPS), cosines(STEPS))).astype("<i8")
    assert hashlib.blake2b(table.tobytes(), digest_size=16).hexdigest() == GOLDEN


def test_every_entry_is_the_rounded_true_value() -> None:
    for step in range(ANGLE_STEPS):
        turn = 2 * math.pi * step / ANGLE_STEPS
        assert sines(STEPS)[step] == round(math.sin(turn) * ANGLE_SCALE)
        assert cosines(STEPS)[step] == round(math.cos(turn) * ANGLE_SCALE)


def test_axes_are_exact_and_angles_wrap_both_ways() -> None:
    quarter = np.array([0, 64, 128, 192])
    assert cosines(quarter).tolist() == [ANGLE_SCALE, 0, -ANGLE_SCALE, 0]
    assert sines(quarter).tolist() == [0, ANGLE_SCALE, 0, -ANGLE_SCALE]
    for turns in (-3, -1, 1, 1000):
        assert np.array_equal(sines(STEPS + turns * ANGLE_STEPS), sines(STEPS))


def test_the_shared_table_cannot_be_written_through_a_result() -> None:
    sines(STEPS)[:] = 7
    assert sines(STEPS)[64] == ANGLE_SCALE


def steps_apart(a: float, b: float) -> float:
    return abs((a - b + ANGLE_STEPS / 2) % ANGLE_STEPS - ANGLE_STEPS / 2)


coordinates = st.integers(-(2**30), 2**30) | st.integers(-300, 300)


@given(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=50))
def test_octant_angle_lies_within_two_steps_of_the_true_direction(vectors: list[tuple[int, int]]) -> None:
    dx, dy = np.array(vectors, np.int64).T
    found = octant_angle(dx, dy)
    assert found.min() >= 0
    assert found.max() < ANGLE_STEPS
    for (x, y), angle in zip(vectors, found.tolist(), strict=True):
        if (x, y) != (0, 0):
            assert steps_apart(angle, math.atan2(y, x) * ANGLE_STEPS / (2 * math.pi)) <= 2, (x, y)


def test_octant_angle_is_exact_on_axes_and_diagonals_and_0_of_nothing() -> None:
    x = np.array([5, 5, 0, -5, -5, -5, 0, 5, 0])
    y = np.array([0, 5, 5, 5, 0, -5, -5, -5, 0])
    assert octant_angle(x, y).tolist() == [0, 32, 64, 96, 128, 160, 192, 224, 0]


def test_octant_angle_gives_back_every_angle_of_the_table() -> None:
    found = octant_angle(cosines(STEPS), sines(STEPS))
    assert max(steps_apart(float(a), float(b)) for a, b in zip(found, STEPS, strict=True)) <= 1
