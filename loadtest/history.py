"""What clients lived through, as a file that an offline checker reads: all they received and sent, in order.

    length u32 | event u8 | bot u16 | monotonic time u64, microseconds | body

All little-endian. FRAME holds a server's message as it came, SENT a client's message as it went; the others hold UTF-8
text.
"""

from __future__ import annotations

import enum
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_HEAD = struct.Struct("<IBHQ")
BUFFER_BYTES = 1 << 20


class Event(enum.IntEnum):
    """What happened to a bot."""

    CONNECT = 1
    """A socket is being opened; the body is the gateway's address."""
    FRAME = 2
    SENT = 3
    LOST = 4
    """The socket is gone without the bot's doing; the body is "code reason"."""
    CLOSED = 5
    """The bot is over: the server said so, or it gave up; the body is "code reason"."""
    LEFT = 6
    """The bot closed by itself at the end of the run."""
    FAILED = 7
    """The bot's own code failed, or a frame broke a rule of the protocol; the body says how."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. `time_us` is of the writer's monotonic clock, one for all bots of a machine."""

    event: Event
    bot: int
    time_us: int
    body: bytes


class HistoryWriter:
    """Appends to one file; one writer a process."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb", buffering=BUFFER_BYTES)

    def note(self, event: Event, bot: int, body: bytes = b"") -> None:
        """Something happens now."""
        self._file.write(_HEAD.pack(len(body), event, bot, time.monotonic_ns() // 1000))
        self._file.write(body)

    def close(self) -> None:
        """Write out what is left."""
        self._file.close()


def read(path: Path) -> Iterator[Entry]:
    """All whole entries of a file, in order. A writer that was killed leaves a torn last one, which is left out."""
    with path.open("rb", buffering=BUFFER_BYTES) as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, event, bot, time_us = _HEAD.unpack(head)
            body = file.read(length)
            if len(body) < length:
                return
            yield Entry(Event(event), bot, time_us, body)


@dataclass
class BotHistory:
    """One bot's whole life."""

    bot: int
    entries: list[Entry]

    def of(self, event: Event) -> list[Entry]:
        """Its entries of one event."""
        return [e for e in self.entries if e.event is event]


def by_bot(paths: list[Path]) -> list[BotHistory]:
    """Histories of all bots of some files, by number. Bots of different files have different numbers."""
    found: dict[int, BotHistory] = {}
    for path in paths:
        for entry in read(path):
            found.setdefault(entry.bot, BotHistory(entry.bot, [])).entries.append(entry)
    return [found[bot] for bot in sorted(found)]
