"""Inputs as titles see them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.game import Input, InputColumns, Inputs, Int8


class Steer(Input):
    turn = Int8(-1, 1)


def steer(entries: list[tuple[int, int, int]]) -> InputColumns:
    """(player, row, turn) each."""
    player, row, turn = np.array(entries, np.int64).reshape(-1, 3).T
    return InputColumns(player, row, player * 100, {"turn": turn})


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 1)), max_size=12))
def test_last_keeps_each_players_last_input(entries: list[tuple[int, int]]) -> None:
    ordered = sorted(entries, key=lambda entry: entry[0])
    last = steer([(player, player + 10, turn) for player, turn in ordered]).last()
    expected = dict(ordered)
    assert last.player.tolist() == list(expected)
    assert last.turn.tolist() == list(expected.values())
    assert last.row.tolist() == [player + 10 for player in expected]
    assert last.seen_tick.tolist() == [player * 100 for player in expected]


def test_inputs_of_players_without_an_avatar_are_told_apart() -> None:
    inputs = Inputs({Steer: steer([(0, 7, 1), (1, -1, -1), (2, 4, 0)])})
    assert inputs[Steer].row.tolist() == [7, 4]
    assert inputs[Steer].turn.tolist() == [1, 0]
    assert len(inputs.all(Steer)) == 3


def test_a_field_that_an_input_has_not_is_named() -> None:
    with pytest.raises(AttributeError, match="this input has no field 'turm'"):
        _ = steer([]).turm
