"""Members of the directory: their stored form, and how long they have been silent; limits of everything there.

Silence is judged by the reader's own monotonic clock. A member's count moves with each announcement; nobody's clock is
compared with anybody else's: what counts is for how long *this* reader has seen no change. A count that went back
(Redis failed over) is a change too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import structlog

from overworld.errors import TooBig

log = structlog.get_logger(__name__)

NAME_CHARS_MAX = 128
ADDRESS_CHARS_MAX = 256
LOAD_VALUES_MAX = 1088
"""A few of the process, and one for each of its busiest shards."""
OWNERS_PER_CALL_MAX = 1000
TOKEN_CHARS_MAX = 128
FLAG_CHARS_MAX = 1024


class SilenceWatch:
    """Pure: time comes in as an argument."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def look(self, counts: Iterable[tuple[str, int]], now_s: float) -> dict[str, float]:
        """Seconds of silence by member name. 0 for one seen for the first time; who is gone is forgotten."""
        seen: dict[str, tuple[int, float]] = {}
        for name, count in counts:
            before = self._seen.get(name)
            seen[name] = before if before is not None and before[0] == count else (count, now_s)
        self._seen = seen
        return {name: now_s - since_s for name, (_, since_s) in seen.items()}


def encode_member(name: str, address: str, load: Mapping[str, float], http: str = "") -> str:
    """The stored form. Raises TooBig beyond the limits above."""
    if len(name) > NAME_CHARS_MAX or max(len(address), len(http)) > ADDRESS_CHARS_MAX or len(load) > LOAD_VALUES_MAX:
        raise TooBig(f"announcement of {name[:NAME_CHARS_MAX]!r}: name, address or load over the limit")
    # Compact, and the keys as they come: a worker of many shards says this twice a second.
    return json.dumps({"address": address, "load": dict(load), "http": http}, separators=(",", ":"))


def decode_member(value: bytes | str) -> tuple[str, dict[str, float], str]:
    """(address, load, http); an entry that cannot be read (another version wrote it) has nothing of it."""
    try:
        decoded = json.loads(value)
        load = {str(key): float(number) for key, number in decoded["load"].items()}
        return str(decoded["address"]), load, str(decoded.get("http", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        log.warning("directory_entry_unreadable", value=bytes(value[:100]) if isinstance(value, bytes) else value[:100])
        return "", {}, ""


def check_shards(shards: Iterable[int]) -> list[int]:
    """As a list. Raises TooBig."""
    asked = list(shards)
    if len(asked) > OWNERS_PER_CALL_MAX:
        raise TooBig(f"{len(asked)} shards asked for at once, at most {OWNERS_PER_CALL_MAX}")
    return asked


def check_flag(flag: str, value: str) -> None:
    """Raises TooBig."""
    if not 0 < len(flag) <= NAME_CHARS_MAX or len(value) > FLAG_CHARS_MAX:
        raise TooBig(f"flag {flag[:NAME_CHARS_MAX]!r}: name or value over the limit")


def check_token(token_id: str, ttl_s: int) -> None:
    """Raises TooBig."""
    assert ttl_s > 0, "a token that was never valid cannot be used"
    if not 0 < len(token_id) <= TOKEN_CHARS_MAX:
        raise TooBig(f"token id of {len(token_id)} characters, 1 to {TOKEN_CHARS_MAX} are allowed")
