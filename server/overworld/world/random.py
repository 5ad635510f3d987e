"""Chance as a pure function: a counter-based integer stream keyed by (seed, shard, tick, stream name).

The mixer is SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014) over key + counter: no state to carry, the same
numbers on every machine, and any tick's chance can be drawn again without drawing those before it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_U64 = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


@lru_cache(maxsize=4096)
def _stream_key(stream: str) -> int:
    return int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=8).digest(), "little")


def _mix_int(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _mix(z: _U64) -> _U64:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def draw(seed: int, shard: int, tick: int, stream: str, first: int, count: int) -> _U64:
    """Numbers first .. first+count-1 of a stream: uint64[count], uniform."""
    key = _mix_int((seed ^ _stream_key(stream)) & _MASK)
    key = _mix_int((key + shard * 0xD1342543DE82EF95 + 1) & _MASK)
    key = _mix_int((key + tick * 0x2545F4914F6CDD1D + 1) & _MASK)
    counter = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    return _mix(np.uint64(key) + counter * _GAMMA)


def below(numbers: _U64, low: int, high: int) -> Ints:
    """Map uniform uint64 to whole numbers low <= v < high, int64. The span must be at most 2**32; bias below 2**-32."""
    span = high - low
    if not 0 < span <= 2**32:
        raise ValueError(f"a span of {span} does not lie within 1..2**32")
    return ((numbers >> np.uint64(32)) * np.uint64(span) >> np.uint64(32)).astype(np.int64) + low
