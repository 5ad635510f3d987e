"""Who is within r of whom: a join by bins, in whole numbers, in a fixed order.

Bins of side r are numbered row by row; for each point the three bins left, here and right of it are one run of the sorted bin numbers, so
three binary searches find all candidates (cell lists, as in molecular dynamics: Hockney and Eastwood, 1981).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_NONE: Ints = np.zeros(0, np.int64)


def pairs(ax: Ints, ay: Ints, bx: Ints, by: Ints, radius: int) -> tuple[Ints, Ints]:
    """Index pairs (i, j) with |a_i - b_j| <= radius, positions and radius in position units.

    Returns int64[m] twice, sorted by i, then j. Takes O((a + b) log b + candidates).
    """
    if not len(ax) or not len(bx):
        return _NONE, _NONE
    if radius < 0:
        raise ValueError(f"radius {radius} is negative")
    side = max(radius, 1)
    west, south = min(int(bx.min()), int(ax.min())) - side, min(int(by.min()), int(ay.min())) - side
    wide = (max(int(bx.max()), int(ax.max())) - west) // side + 3
    bin_b = (by - south) // side * wide + (bx - west) // side
    order = np.argsort(bin_b, kind="stable")
    sorted_b = bin_b[order]
    bin_a = (ay - south) // side * wide + (ax - west) // side
    rows = bin_a + np.array([[-wide], [0], [wide]], np.int64)
    first = np.searchsorted(sorted_b, (rows - 1).ravel(), side="left")
    last = np.searchsorted(sorted_b, (rows + 1).ravel(), side="right")
    counts = last - first
    total = int(counts.sum())
    if not total:
        return _NONE, _NONE
    a = np.repeat(np.tile(np.arange(len(ax), dtype=np.int64), 3), counts)
    starts = np.cumsum(counts) - counts
    j = order[np.arange(total, dtype=np.int64) - np.repeat(starts - first, counts)]
    dx, dy = ax[a] - bx[j], ay[a] - by[j]
    close = dx * dx + dy * dy <= radius * radius
    a, j = a[close], j[close]
    canonical = np.lexsort((j, a))
    return a[canonical], j[canonical]
