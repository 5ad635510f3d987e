"""Angles in 256 whole steps, and their sines as whole numbers.

Sines of libm and of numpy differ between CPUs in the last bit, so they may not enter a simulation. This table is
computed with whole numbers only (Taylor series in 128-bit fixed point), hence the same on every machine; a test holds
its digest.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

ANGLE_STEPS = 256
ANGLE_SCALE = 16384
"""`cosines` and `sines` are multiplied by this."""

_BITS = 128
_PI = 0x3243F6A8885A308D313198A2E03707344A4093822299F31D008
"""pi in hexadecimal, 200 fractional bits."""


def _sine(step: int) -> int:
    pi = _PI >> (200 - _BITS)
    x = 2 * pi * step // ANGLE_STEPS
    term, total, n = x, x, 1
    while term:
        term = -(((term * x) >> _BITS) * x >> _BITS) // ((n + 1) * (n + 2))
        if term == -1:
            break
        total += term
        n += 2
    return (total * ANGLE_SCALE * 2 + (1 << _BITS)) >> (_BITS + 1)


@lru_cache(maxsize=1)
def _quarter_wave() -> tuple[int, ...]:
    return tuple(_sine(step) for step in range(ANGLE_STEPS // 4 + 1))


@lru_cache(maxsize=1)
def _table() -> Ints:
    quarter = _quarter_wave()
    half = [*quarter, *quarter[-2:0:-1]]
    table = np.array([*half, *(-v for v in half)], np.int64)
    table.setflags(write=False)
    return table


def sines(angle: Ints) -> Ints:
    """sin of angles in 256 steps a turn, times ANGLE_SCALE, int64 like `angle`."""
    result: Ints = _table()[angle & (ANGLE_STEPS - 1)]
    return result


def cosines(angle: Ints) -> Ints:
    """cos of angles in 256 steps a turn, times ANGLE_SCALE, int64 like `angle`."""
    result: Ints = _table()[(angle + ANGLE_STEPS // 4) & (ANGLE_STEPS - 1)]
    return result


def octant_angle(dx: Ints, dy: Ints) -> Ints:
    """The direction of (dx, dy) in 256 steps, int64, within 2 steps of the true one: a whole-number atan2 (per
    octant, a parabola).
    """
    ax, ay = np.abs(dx), np.abs(dy)
    large, small = np.maximum(ax, ay), np.minimum(ax, ay)
    ratio = small * 256 // np.maximum(large, 1)
    base = _octant(ratio)
    angle = np.where(ay > ax, 64 - base, base)
    angle = np.where(dx < 0, 128 - angle, angle)
    return np.where(dy < 0, -angle, angle) & (ANGLE_STEPS - 1)


def _octant(ratio: Ints) -> Ints:
    """Steps (0..32) of atan(ratio/256): the parabola r*(40.8 - 8.8*r), in 1/64 steps, rounded."""
    return (ratio * 2611 - ratio * ratio * 563 // 256 + 8192) >> 14
