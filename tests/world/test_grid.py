"""The world's geometry: every cell in exactly one shard, views symmetric and of the stated reach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.world.grid import EXTENT_MAX, Grid


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    cell = draw(st.integers(1, 100))
    across, down = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return Grid(
        width=cell * across * draw(st.integers(1, 6)),
        height=cell * down * draw(st.integers(1, 6)),
        cell=cell,
        shards=(across, down),
        view=draw(st.integers(1, 3 * cell)),
        units_per_one=draw(st.sampled_from([1, 7, 256])),
    )


@given(grids())
def test_shards_tile_the_world(grid: Grid) -> None:
    owned = [0] * grid.shard_count
    for cell in range(grid.cells_x * grid.cells_y):
        owned[grid.shard_of_cell(cell)] += 1
    assert owned == [grid.shard_cells_x * grid.shard_cells_y] * grid.shard_count
    corners = [grid.bounds(shard) for shard in range(grid.shard_count)]
    assert sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in corners) == grid.width * grid.height * grid.units_per_one**2


@given(grids(), st.data())
def test_a_position_in_a_shards_bounds_is_in_a_cell_of_that_shard(grid: Grid, data: st.DataObject) -> None:
    shard = data.draw(st.integers(0, grid.shard_count - 1))
    x0, y0, x1, y1 = grid.bounds(shard)
    x = np.array([x0, x1 - 1, x0, x1 - 1, data.draw(st.integers(x0, x1 - 1))], np.int64)
    y = np.array([y0, y0, y1 - 1, y1 - 1, data.draw(st.integers(y0, y1 - 1))], np.int64)
    for cell, px, py in zip(grid.cells_of(x, y).tolist(), x.tolist(), y.tolist(), strict=True):
        assert grid.shard_of_cell(cell) == shard
        cy, cx = divmod(cell, grid.cells_x)
        assert cx * grid.cell_size <= px < (cx + 1) * grid.cell_size
        assert cy * grid.cell_size <= py < (cy + 1) * grid.cell_size


def test_positions_outside_the_world_count_to_the_nearest_cell() -> None:
    grid = Grid(width=64, height=64, cell=32)
    far = 10**7
    x, y = np.array([-far, far, -far, far, -1]), np.array([-far, -far, far, far, 5])
    assert grid.cells_of(x, y).tolist() == [0, 1, 2, 3, 0]


@given(grids(), st.data())
def test_a_view_holds_exactly_the_cells_within_its_reach(grid: Grid, data: st.DataObject) -> None:
    cell = data.draw(st.integers(0, grid.cells_x * grid.cells_y - 1))
    cy, cx = divmod(cell, grid.cells_x)
    expected = []
    for other in range(grid.cells_x * grid.cells_y):
        oy, ox = divmod(other, grid.cells_x)
        gap_x, gap_y = max(0, abs(ox - cx) - 1) * grid.cell, max(0, abs(oy - cy) - 1) * grid.cell
        if gap_x**2 + gap_y**2 < grid.view**2:
            expected.append(other)
    assert list(grid.view_of(cell)) == expected
    assert cell in expected


@pytest.mark.parametrize(
    ("cell", "view", "seen"), [(32, 32, 9), (32, 33, 21), (32, 64, 25), (64, 64, 9), (64, 1, 9), (1, 5, 109)]
)
def test_a_view_ends_where_the_next_cell_begins(cell: int, view: int, seen: int) -> None:
    grid = Grid(width=cell * 15, height=cell * 15, cell=cell, view=view)
    assert len(grid.view_of(7 * 15 + 7)) == seen


@given(grids(), st.data())
def test_who_sees_is_seen(grid: Grid, data: st.DataObject) -> None:
    cell = data.draw(st.integers(0, grid.cells_x * grid.cells_y - 1))
    assert all(cell in grid.view_of(other) for other in grid.view_of(cell))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 100}, "does not divide"),
        ({"shards": (3, 1)}, "does not divide"),
        ({"width": 0}, "width 0 is less than 1"),
        ({"cell": 0}, "cell 0 is less than 1"),
        ({"view": 0}, "view 0 is less than 1"),
        ({"units_per_one": 0}, "units_per_one 0 is less than 1"),
        ({"shards": (0, 1)}, "less than 1 across"),
        ({"shards": (1, -1)}, "less than 1 across"),
        ({"tick_hz": 0}, "tick_hz 0"),
        ({"tick_hz": 129}, "tick_hz 129"),
        ({"width": 32 * 65_536}, "131072 cells in a shard"),
        ({"width": EXTENT_MAX, "cell": 2**20, "height": 2**20}, "is longer than"),
    ],
)
def test_a_grid_that_cannot_work_is_refused(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Grid(**{"width": 64, "height": 64, "cell": 32, **wrong})  # type: ignore[arg-type]
