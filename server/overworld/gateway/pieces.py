"""Small ready pieces of a `Frame`: concatenated pieces are a frame again.

What goes to one player in many ticks (acks) is put together by hand; the rest is rare enough for the protobuf library.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from overworld.wire.v1 import client_pb2 as pb

_VARINTS_KEPT = 65_536
_ACK_TAG, _SEQ_TAG, _SHARD_TAG, _TICK_TAG = b"\x2a", b"\x08", b"\x10", b"\x18"


@lru_cache(maxsize=_VARINTS_KEPT)
def varint(number: int) -> bytes:
    """A number of at least 0 as a protobuf varint."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class AckPieces:
    """Acks of one tick of one shard: they differ in the input number alone."""

    __slots__ = ("_heads", "tail")

    def __init__(self, shard: int, tick: int) -> None:
        self.tail = _SHARD_TAG + varint(shard) + _TICK_TAG + varint(tick)
        """What all of them end with."""
        sizes = (1 + seq_bytes + len(self.tail) for seq_bytes in range(6))
        self._heads = [_ACK_TAG + varint(size) + _SEQ_TAG for size in sizes]

    def piece(self, seq: int) -> bytes:
        """The ack of the inputs up to `seq`."""
        number = varint(seq)
        return self._heads[len(number)] + number + self.tail


def head(shard: int, epoch: int, tick: int, tick_interval_us: int) -> bytes:
    """One tick of a shard is complete. `tick_interval_us` is 0 where it is the usual one."""
    message = pb.TickHead(shard=shard, epoch=epoch, tick=tick, tick_interval_us=tick_interval_us)
    return pb.Frame(heads=[message]).SerializeToString()


@lru_cache(maxsize=65_536)
def entered(cell: int) -> bytes:
    """A cell enters the view; its keyframe goes into the same frame."""
    return pb.Frame(views=[pb.View(entered=[cell])]).SerializeToString()


def left(cells: Iterable[int]) -> bytes:
    """Cells leave the view."""
    return pb.Frame(views=[pb.View(left=cells)]).SerializeToString()


def pong(nonce: int, server_time_us: int) -> bytes:
    """The answer to a client's ping."""
    return pb.Frame(pongs=[pb.Pong(nonce=nonce, server_time_us=server_time_us)]).SerializeToString()


def notice(code: pb.Notice.Code.ValueType, text: str = "") -> bytes:
    """Something all of a client's user interface should know."""
    return pb.Frame(notices=[pb.Notice(code=code, text=text)]).SerializeToString()
