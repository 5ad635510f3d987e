"""From websocket frames to whole messages: the rules of RFC 6455 that the socket library leaves to the application.

Sans-I/O: frames and times come in, messages come out, a broken rule raises WireError with its close code. The library
below has already checked masking, opcodes, lengths and control frames.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from overworld.errors import WireError
from overworld.gateway.codes import CloseCode


class Opcode(enum.IntEnum):
    """Frame types of RFC 6455, section 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_CONTINUATION, _TEXT, _BINARY, _FIRST_CONTROL = 0, 1, 2, 8


@dataclass(frozen=True)
class MessageLimits:
    """Bounds of one message: bytes and fragments in all, and seconds from its first to its last fragment."""

    bytes_max: int = 1024
    fragments_max: int = 8
    assembly_s: float = 2.0


class MessageReader:
    """Puts a socket's messages together. Holds at most one unfinished message."""

    __slots__ = ("_bytes_max", "_fragments", "_limits", "_size", "deadline_s")

    def __init__(self, limits: MessageLimits) -> None:
        self._limits = limits
        self._bytes_max = limits.bytes_max
        self._fragments: list[bytes] | None = None
        self._size = 0
        self.deadline_s = math.inf
        """When the unfinished message must be whole; infinite where there is none."""

    def frame(self, opcode: int, fin: bool, reserved: bool, payload: bytes, now_s: float) -> bytes | None:
        """Take one frame. Returns a message where this frame completes one; None for control frames and parts.

        Raises WireError 1002 (broken rules), 1003 (text), 1008 (fragments), 1009 (size).
        """
        if opcode == _BINARY and fin and not reserved and self._fragments is None:
            if len(payload) > self._bytes_max:
                raise self._too_big()
            return payload
        if reserved:
            raise WireError(CloseCode.PROTOCOL_ERROR, "reserved bits are set, and no extension was agreed")
        if opcode >= _FIRST_CONTROL:
            return None
        return self._fragment(opcode, fin, payload, now_s)

    def check(self, now_s: float) -> None:
        """Raises WireError 1008 where an unfinished message is overdue."""
        if now_s > self.deadline_s:
            raise WireError(CloseCode.POLICY, f"a message took longer than {self._limits.assembly_s:g} s")

    def _fragment(self, opcode: int, fin: bool, payload: bytes, now_s: float) -> bytes | None:
        if opcode == _TEXT:
            raise WireError(CloseCode.NOT_BINARY, "only binary messages are spoken here")
        if opcode == _CONTINUATION and self._fragments is None:
            raise WireError(CloseCode.PROTOCOL_ERROR, "a continuation without a message to continue")
        if opcode == _BINARY:
            if self._fragments is not None:
                raise WireError(CloseCode.PROTOCOL_ERROR, "a new message inside an unfinished one")
            self._fragments, self._size = [], 0
            self.deadline_s = now_s + self._limits.assembly_s
        self.check(now_s)
        assert self._fragments is not None
        self._fragments.append(payload)
        self._size += len(payload)
        if self._size > self._limits.bytes_max:
            raise self._too_big()
        if len(self._fragments) > self._limits.fragments_max:
            raise WireError(CloseCode.POLICY, f"a message in more than {self._limits.fragments_max} fragments")
        if not fin:
            return None
        message = b"".join(self._fragments)
        self._fragments, self.deadline_s = None, math.inf
        return message

    def _too_big(self) -> WireError:
        return WireError(CloseCode.TOO_BIG, f"a message of more than {self._limits.bytes_max} bytes")
