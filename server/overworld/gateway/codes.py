"""Why a socket is closed. The table in proto/README.md says what each code means to a client."""

from __future__ import annotations

import enum

REASON_BYTES_MAX = 123


class CloseCode(enum.IntEnum):
    """Close codes of the game socket."""

    BYE = 1000
    PROTOCOL_ERROR = 1002
    NOT_BINARY = 1003
    BAD_MESSAGE = 1007
    POLICY = 1008
    TOO_BIG = 1009
    RESTARTING = 1012
    TRY_LATER = 1013
    REPLACED = 4001
    HELLO_EXPECTED = 4002
    NOT_AUTHORISED = 4003
    UNKNOWN_TITLE = 4004
    PROTOCOL_VERSION = 4005
    BAD_INPUT = 4006
    INPUT_GAP = 4007
    SESSION_OVER = 4008
    WORLD_UNAVAILABLE = 4009
    SILENT = 4010
    TOO_SLOW = 4011
    KICKED = 4012


_WORKER_REASONS: dict[int, str] = {
    CloseCode.POLICY: "too many inputs wait to be applied",
    CloseCode.REPLACED: "the same player logged in elsewhere",
    CloseCode.BAD_INPUT: "an input was refused",
    CloseCode.INPUT_GAP: "an input number was skipped",
    CloseCode.SESSION_OVER: "the session is over",
    CloseCode.WORLD_UNAVAILABLE: "the player's part of the world is not available",
    CloseCode.KICKED: "the session was ended",
    CloseCode.TRY_LATER: "full: try again in 10 seconds",
}


def worker_reason(code: int) -> str:
    """The reason to give where a worker named only the code."""
    return _WORKER_REASONS.get(code, "the session was ended")


def reason_bytes(reason: str) -> bytes:
    """A close reason as it goes on the wire: UTF-8, at most 123 bytes, cut between characters."""
    return reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
