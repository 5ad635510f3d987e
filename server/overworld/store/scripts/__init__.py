"""The Lua scripts, one file each. The head of each file says what its KEYS, ARGV and answers are.

Shebang lines need Redis 7.0 or newer: `allow-oom` lets a full Redis still beat, trim and hand over, while an append
(no flag) is refused whole before it starts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """source: as sent with EVAL. sha: its SHA-1 in hexadecimal, as sent with EVALSHA."""

    name: str
    source: bytes
    sha: bytes


def _load(name: str) -> Script:
    source = resources.files(__name__).joinpath(f"{name}.lua").read_bytes()
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


ACQUIRE = _load("acquire")
APPEND = _load("append")
BEAT = _load("beat")
RESTART = _load("restart")
TRIM = _load("trim")
ACK_OUTBOX = _load("ack_outbox")
TRIM_OUTBOX = _load("trim_outbox")
PUT_OUTBOX = _load("put_outbox")
READ_OUTBOX = _load("read_outbox")
FORGET = _load("forget")
LEAD = _load("lead")
RESIGN = _load("resign")

ALL = (
    *(ACQUIRE, APPEND, BEAT, RESTART, TRIM, ACK_OUTBOX, TRIM_OUTBOX, PUT_OUTBOX, READ_OUTBOX),
    *(FORGET, LEAD, RESIGN),
)
