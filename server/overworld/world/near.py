"""Who is within r of whom: a join by bins, in whole numbers, in a fixed order.

Space is cut into about four square bins a point, of side r or more, numbered row by row; a counting sort puts the
points of a bin beside each other, and the three bins left, here and right of a point are one run of them (cell lists,
as in molecular dynamics: Hockney and Eastwood, 1981). Coordinates must lie within +-2**30, so that squares of
distances fit (`Grid` sees to it).
"""

from __future__ import annotations

from math import isqrt

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Line = tuple[Ints, Ints, Ints, Ints]
"""x, y, vx, vy of points at the end of a tick."""

_NONE: Ints = np.zeros(0, np.int64)
_BRUTE_MAX = 4096
"""Up to so many combinations are tried one by one: that costs less than sorting."""
_BINS_ACROSS_MAX = 60_000
"""Bin rows and columns are sorted as 16-bit keys, which numpy does by radix in linear time."""


def pairs(ax: Ints, ay: Ints, bx: Ints, by: Ints, radius: int) -> tuple[Ints, Ints]:
    """Index pairs (i, j) with |a_i - b_j| <= radius, positions and radius in position units.

    Returns int64[m] twice, sorted by i, then j. Takes O(a + b + candidates). Raises ValueError for a negative radius.
    """
    if radius < 0:
        raise ValueError(f"radius {radius} is negative")
    if not len(ax) or not len(bx):
        return _NONE, _NONE
    if len(ax) * len(bx) <= _BRUTE_MAX:
        dx, dy = ax[:, None] - bx, ay[:, None] - by
        every = np.nonzero(dx * dx + dy * dy <= radius * radius)
        return every[0], every[1]
    i, j = _candidates(ax, ay, bx, by, radius)
    dx, dy = ax[i] - bx[j], ay[i] - by[j]
    close = dx * dx + dy * dy <= radius * radius
    return _canonical(i[close], j[close], len(bx))


def swept_pairs(a: Line, b: Line, radius: int) -> tuple[Ints, Ints]:
    """Index pairs (i, j) that came within `radius` of each other at any moment of the tick that ends at these
    positions.

    Both are taken to have moved straight at their velocities. Returns int64[m] twice, sorted by i, then j. Speeds up
    to 2**14 position units a tick are exact. Without this, whatever moves further in a tick than its target is wide
    flies through it.
    """
    (ax, ay, avx, avy), (bx, by, bvx, bvy) = a, b
    if not len(ax) or not len(bx):
        return _NONE, _NONE
    # Halfway through the tick two things are at most half their relative way farther apart than at their closest.
    reach = sum(int(np.abs(v).max()) for v in (avx, avy, bvx, bvy)) // 2 + 1
    i, j = pairs(ax - avx // 2, ay - avy // 2, bx - bvx // 2, by - bvy // 2, radius + reach + 2)
    px, py = ax[i] - bx[j], ay[i] - by[j]
    vx, vy = avx[i] - bvx[j], avy[i] - bvy[j]
    # Squared distance at the time t before the end is |p - v t|**2: least at t = p.v / v.v, clamped into the tick.
    along, speed2 = px * vx + py * vy, vx * vx + vy * vy
    across = px * vy - py * vx
    sx, sy = px - vx, py - vy
    within = across * across <= radius * radius * speed2
    within &= (along > 0) & (along < speed2)
    within |= px * px + py * py <= radius * radius
    within |= sx * sx + sy * sy <= radius * radius
    return i[within], j[within]


def _candidates(ax: Ints, ay: Ints, bx: Ints, by: Ints, radius: int) -> tuple[Ints, Ints]:
    """Index pairs among which all within the radius are, int64[c] twice, in no order worth naming."""
    count = len(bx)
    west, south = int(bx.min()), int(by.min())
    span_x, span_y = int(bx.max()) - west, int(by.max()) - south
    across_max = min(count + 64, _BINS_ACROSS_MAX)
    side = max(radius, isqrt(span_x * span_y // (4 * count)) + 1, max(span_x, span_y) // across_max + 1)
    # Three empty bins all around: two for points of `a` that are far off, and one more for their neighbours.
    wide, high = span_x // side + 7, span_y // side + 7
    col_b, row_b = (bx - west) // side + 3, (by - south) // side + 3
    order = np.argsort(col_b.astype(np.uint16), kind="stable")
    order = order[np.argsort(row_b[order].astype(np.uint16), kind="stable")]
    starts = np.zeros(wide * high + 1, np.int64)
    np.cumsum(np.bincount(row_b * wide + col_b, minlength=wide * high), out=starts[1:])
    col_a = np.clip((ax - west) // side + 3, 1, wide - 2)
    row_a = np.clip((ay - south) // side + 3, 1, high - 2)
    runs = (row_a * wide + col_a + np.array([[-wide - 1], [-1], [wide - 1]], np.int64)).ravel()
    first = starts[runs]
    counts = starts[runs + 3] - first
    busy = np.flatnonzero(counts)
    counts = counts[busy]
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    i = np.repeat(busy % len(ax), counts)
    j = order[np.arange(total, dtype=np.int64) + np.repeat(first[busy] - (ends - counts), counts)]
    return i, j


def _canonical(i: Ints, j: Ints, count: int) -> tuple[Ints, Ints]:
    """The same pairs, sorted by i, then j."""
    keys = i * count + j
    keys.sort()
    first = keys // count
    return first, keys - first * count
