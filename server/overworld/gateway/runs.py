"""A view's cells, also as runs of consecutive numbers: what lies within a run is one slice of a tick's bytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from overworld.world.grid import Grid

Ints = npt.NDArray[np.int64]


@lru_cache(maxsize=65_536)
def cells_from(grid: Grid, center: int) -> frozenset[int]:
    """The cells in view from a cell."""
    return frozenset(grid.view_of(center))


@lru_cache(maxsize=65_536)
def runs_from(grid: Grid, center: int) -> dict[int, Ints]:
    """The view's cells by shard, as runs of consecutive numbers. Read only: it is shared."""
    by_shard: defaultdict[int, list[int]] = defaultdict(list)
    for cell in grid.view_of(center):
        by_shard[grid.shard_of_cell(cell)].append(cell)
    runs: dict[int, Ints] = {}
    for shard, cells in by_shard.items():
        bounds = [cells[0]]
        for before, after in pairwise(cells):
            if after != before + 1:
                bounds += (before + 1, after)
        runs[shard] = np.array([*bounds, cells[-1] + 1], np.int64)
    return runs


def in_runs(runs: Ints) -> Iterable[int]:
    """The cells of runs (first, end, first, end, ...), int64."""
    for first, end in runs.reshape(-1, 2).tolist():
        yield from range(first, end)
