"""Protobuf varints for whole arrays at once.

(Varints and zigzag: the protobuf encoding reference; the vectorised form writes the k-th byte of every number in one
pass.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def zigzag(values: Ints) -> Ints:
    """Signed to unsigned as protobuf's sint: 0, -1, 1, -2 -> 0, 1, 2, 3. int64[n]; magnitudes below 2**62."""
    return (values << 1) ^ (values >> 63)


def sizes(values: Ints) -> Ints:
    """Bytes that each value takes as a varint, int64[n]. Values are at least 0."""
    result = np.ones(len(values), np.int64)
    if not len(values):
        return result
    limit, top = 128, int(values.max())
    while limit <= top:
        result += values >= limit
        limit <<= 7
    return result


def encode(values: Ints, value_sizes: Ints | None = None) -> Bytes:
    """The varints of all values one after another, uint8[sum of sizes]. Values are at least 0."""
    if value_sizes is None:
        value_sizes = sizes(values)
    if not len(values):
        return np.zeros(0, np.uint8)
    longest = int(value_sizes.max())
    if longest == 1:
        return values.astype(np.uint8)
    ends = np.cumsum(value_sizes)
    out = np.zeros(int(ends[-1]), np.uint8)
    at, rest = ends - value_sizes, values
    for _ in range(longest - 1):
        more = rest >= 128
        out[at] = (rest & 127) | (more << 7)
        at, rest = at[more] + 1, rest[more] >> 7
    out[at] = rest
    return out
