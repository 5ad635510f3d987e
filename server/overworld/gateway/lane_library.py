"""The compiled half of the lane (`lane.c`), as ctypes sees it. Optional: where it was not built, `load` says None.

`pip install` builds it where there is a C compiler and Linux's epoll. It uses nothing of Python, so that one file does
for any version, and is called a few times a tick.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_double, c_int, c_int32, c_int64, c_uint8, c_uint32, c_uint64, c_void_p
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

EVENTS_MAX, CHUNK_BYTES, INPUTS_MAX, VALUES_MAX = 256, 4096, 4096, 65536
"""As in lane.c."""

_HERE = Path(__file__).parent
_U32, _I32, _I64, _F64 = POINTER(c_uint32), POINTER(c_int32), POINTER(c_int64), POINTER(c_double)


class Track(Structure):
    """Where a client's byte stream stands. New: between two messages."""

    _fields_ = (("left", c_uint64), ("head", c_uint8 * 14), ("head_bytes", c_uint8), ("fragmented", c_uint8))

    @property
    def between_messages(self) -> bool:
        """No message has begun and not ended."""
        return not (self.left or self.head_bytes or self.fragmented)


class Found(Structure):
    """The head of `struct lane`: what a read found and what a send left over."""

    _fields_ = (
        ("sessions", c_int64 * INPUTS_MAX),
        ("shards", c_int32 * INPUTS_MAX),
        ("seqs", c_uint32 * INPUTS_MAX),
        ("kinds", c_uint32 * INPUTS_MAX),
        ("seen_ticks", c_uint32 * INPUTS_MAX),
        ("counts", c_uint32 * INPUTS_MAX),
        ("due_ticks", c_uint32 * INPUTS_MAX),
        ("values", c_int32 * VALUES_MAX),
        ("raw_slots", c_int32 * EVENTS_MAX),
        ("raw_bytes", c_int32 * EVENTS_MAX),
        ("raw", c_uint8 * (EVENTS_MAX * CHUNK_BYTES)),
        ("inputs", c_int64),
        ("values_count", c_int64),
        ("raws", c_int64),
        ("events", c_int64),
        ("left_slots", _I32),
        ("left_ends", _I64),
        ("left", POINTER(c_uint8)),
        ("lefts", c_int64),
    )


_FUNCTIONS: dict[str, tuple[object, tuple[object, ...]]] = {
    "lane_new": (c_void_p, (c_uint32, c_void_p, c_void_p, c_void_p, c_uint32, c_int64, c_double, c_double)),
    "lane_epoll": (c_int, (c_void_p,)),
    "lane_free": (None, (c_void_p,)),
    "lane_follow": (None, (POINTER(Track), ctypes.c_char_p, c_int64)),
    "lane_enter": (
        c_int32,
        (c_void_p, c_int, c_int64, POINTER(Track), c_uint32, c_uint32, c_double, c_double, c_double),
    ),
    "lane_leave": (None, (c_void_p, c_int32, POINTER(Track))),
    "lane_serve": (None, (c_void_p, c_int32, c_int32)),
    "lane_block": (None, (c_void_p, c_int32, c_int)),
    "lane_look": (None, (c_void_p, c_int32, _U32, _F64)),
    "lane_push": (None, (c_void_p, c_int32, c_uint32, c_uint32, c_uint32, c_uint32, _I32)),
    "lane_kept": (None, (c_void_p, c_int32, c_uint32, _U32, _I32)),
    "lane_take": (c_int, (c_void_p, c_int32, c_double)),
    "lane_waiting_most": (c_uint32, (c_void_p,)),
    "lane_applied": (None, (c_void_p, c_int32, c_uint32)),
    "lane_read": (c_int64, (c_void_p, c_double)),
    "lane_acks": (None, (c_void_p, c_int64, c_void_p, c_void_p)),
    "lane_extras": (None, (c_void_p, c_int64, c_void_p, ctypes.c_char_p, c_void_p)),
    "lane_send": (
        c_int64,
        (c_void_p, c_int64, ctypes.c_char_p, c_void_p, c_void_p, c_void_p, ctypes.c_char_p, c_int64),
    ),
    "lane_send_runs": (
        c_int64,
        (
            *(c_void_p, c_int64, ctypes.c_char_p, c_int64, ctypes.c_char_p),
            *(c_void_p, c_void_p, c_void_p, c_void_p, ctypes.c_char_p, c_int64, c_void_p),
        ),
    ),
}


def path() -> Path | None:
    """Where it was built; None where it was not."""
    candidates = (_HERE / f"_lane{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((candidate for candidate in candidates if candidate.exists()), None)


def load(at: Path | None = None) -> ctypes.CDLL | None:
    """The library, with its functions declared. None where it was not built, or cannot be loaded here."""
    at = at or path()
    if at is None:
        return None
    try:
        library = ctypes.CDLL(str(at))
        for name, (returns, takes) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = returns, takes
    except (OSError, AttributeError):
        return None
    return library
