"""Who is near, by count: plots that may hold one of the nearest rows, of which only the numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.errors import LinkError
from overworld.gateway.outlook import SLACK_PLOTS, Census, outlook_from
from overworld.gateway.ticks import decode
from overworld.wire.v1.link_pb2 import TickOutput
from overworld.world.grid import Grid
from overworld.world.interest import ROWS_MAX, Interest, Places

SIDE, CELL = 4, 32
GRID = Grid(width=96, height=96, cell=CELL, view=64, tick_hz=20)
PLACES = Places(GRID, Interest(plots=SIDE))
MIDDLE = 4
ALL_CELLS = np.arange(9)
WIDE = 3 * SIDE
"""Plots across the world."""


def place_of(x: int, y: int) -> int:
    """Of the plot in this column and row of the world."""
    cell = y // SIDE * 3 + x // SIDE
    return cell * PLACES.of_cell + y % SIDE * SIDE + x % SIDE


def census_of(rows: dict[tuple[int, int], int]) -> Census:
    counts = np.zeros(PLACES.of_level, np.uint8)
    for (x, y), count in rows.items():
        counts[place_of(x, y)] = count
    census = Census(PLACES)
    assert census.take(0, ALL_CELLS, counts)
    return census


spots = st.tuples(st.integers(0, WIDE - 1), st.integers(0, WIDE - 1))


@settings(max_examples=100)
@given(st.dictionaries(spots, st.integers(1, 9), min_size=1), spots, st.integers(1, 40))
def test_whatever_is_nearer_than_the_last_that_counts_is_within_reach(
    rows: dict[tuple[int, int], int], focus: tuple[int, int], count: int
) -> None:
    outlook = outlook_from(GRID, SIDE, MIDDLE, place_of(*focus))
    far = sorted(np.hypot(x - focus[0], y - focus[1]) for (x, y), n in rows.items() for _ in range(n))
    reach = outlook.reach(census_of(rows), count)
    if count > len(far):
        assert reach == np.inf
        return
    assert reach == pytest.approx((far[count - 1] + SLACK_PLOTS) / SIDE)
    plots = outlook.by_shard[0]
    sure = set(plots.places[: plots.nearest.searchsorted(reach, side="right")].tolist())
    # Rows that stand in the middles of their plots are never left out, wherever in its plot the viewer looks from them.
    for x, y in rows:
        if np.hypot(x - focus[0], y - focus[1]) <= far[count - 1]:
            assert place_of(x, y) in sure


@settings(max_examples=50)
@given(spots, spots, st.floats(-0.125, 1.125), st.floats(-0.125, 1.125), st.floats(0, 1), st.floats(0, 1))
def test_no_row_of_a_plot_is_nearer_than_the_plot(
    focus: tuple[int, int], plot: tuple[int, int], ax: float, ay: float, bx: float, by: float
) -> None:
    plots = outlook_from(GRID, SIDE, MIDDLE, place_of(*focus)).by_shard[0]
    nearest = plots.nearest[plots.places.tolist().index(place_of(*plot))]
    apart = np.hypot(plot[0] + bx - focus[0] - ax, plot[1] + by - focus[1] - ay)
    assert nearest <= apart / SIDE + 1e-9


def test_where_nobody_has_counted_there_may_be_any_number() -> None:
    census = Census(PLACES)
    focus = place_of(5, 5)
    assert census.rows(np.arange(PLACES.of_level)).tolist() == [ROWS_MAX] * PLACES.of_level
    assert outlook_from(GRID, SIDE, MIDDLE, focus).reach(census, 31) == SLACK_PLOTS / SIDE


def test_cells_that_are_not_split_any_more_are_unknown_again() -> None:
    census = census_of({(0, 0): 3})
    assert census.take(0, np.array([4]), np.full(PLACES.of_cell, 2, np.uint8))
    assert census.rows(np.array([place_of(0, 0), place_of(5, 5)])).tolist() == [ROWS_MAX, 2]


def test_counts_that_do_not_fit_the_world_are_refused() -> None:
    census = Census(PLACES)
    assert not census.take(0, np.array([9]), np.zeros(PLACES.of_cell, np.uint8))
    assert not census.take(0, np.array([1]), np.zeros(PLACES.of_cell - 1, np.uint8))
    cells = np.array([1, 2], "<u4").tobytes()
    told = decode(TickOutput(plot_cells_u32=cells, plot_rows_u8=bytes(range(32))), GRID).populations
    assert told is not None
    assert told.cells.tolist() == [1, 2]
    assert told.rows.tolist() == list(range(32))
    for rows in (b"", bytes(31)):
        with pytest.raises(LinkError):
            decode(TickOutput(plot_cells_u32=cells, plot_rows_u8=rows), GRID)
    with pytest.raises(LinkError):
        decode(TickOutput(plot_rows_u8=bytes(32)), GRID)
