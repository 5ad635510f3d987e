"""How old a client's rows are: what judges a crowd must not believe in a ship that was never told."""

from __future__ import annotations

import numpy as np

from loadtest.pictures import Ints, note


def rows(*values: int) -> tuple[Ints, Ints]:
    """Ids 0, 1, ... and their only column."""
    return np.arange(len(values)), np.array([values])


def test_a_row_is_as_old_as_its_last_exact_tick() -> None:
    exact_at: dict[int, int] = {}
    assert note(exact_at, rows(1, 2), rows(1, 2), 10).tolist() == [True, True]
    assert note(exact_at, rows(1, 2), rows(1, 3), 11).tolist() == [True, False]
    assert exact_at == {0: 11, 1: 10}


def test_a_row_that_was_never_exact_ages_from_its_first_tick_on() -> None:
    exact_at: dict[int, int] = {}
    for tick in range(10, 40):
        note(exact_at, rows(tick, 7), rows(tick, 8), tick)
    assert 39 - exact_at[1] == 29
    assert exact_at[0] == 39


def test_rows_of_another_picture_are_not_exact() -> None:
    exact_at: dict[int, int] = {}
    assert not note(exact_at, rows(1, 2), rows(1), 10).any()
    assert exact_at == {0: 10, 1: 10}
