"""What a connection asks of whatever carries its messages: today a websocket (`gateway/socket`).

The wire is whole messages, each a serialised protobuf, in order and reliable; nothing above this line knows of frames,
masks or opcodes. Another edge (WebTransport, QUIC, UDP with its own order) is one module beside `socket`: a listener
that makes a `Connection` for each peer, gives it `on_transport`, `on_message`, `on_paused`, `on_resumed` and `on_lost`,
and implements this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from overworld.gateway.lane import LaneLine
from overworld.gateway.lane_library import Track


class Transport(Protocol):
    """One peer's way. Nothing here blocks; beyond the backlog's bound it calls `on_paused` and goes on taking bytes."""

    @property
    def address(self) -> str:
        """Where the peer comes from, for limits and logs."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait to be read by the client."""

    @property
    def send(self) -> Callable[[bytearray, int], None]:
        """Sends buffer[offset:] as one message. The HEADROOM_BYTES before it are the transport's own, for a header
        without a copy.
        """

    def send_pieces(self, data: bytes) -> None:
        """One message, as it is."""

    def ping(self) -> None:
        """Ask for a sign of life, where the transport has such a thing."""

    def pong(self, payload: bytes) -> None:
        """Answer the peer's ping."""

    @property
    def way(self) -> tuple[int, Track] | None:
        """How a lane can serve it: its descriptor, and where the client's bytes stand. None where it cannot."""

    def enter_lane(self, line: LaneLine) -> None:
        """The lane does so from now on."""

    def leave_lane(self, track: Track) -> None:
        """It does no longer. `track`: where the client's bytes stand."""

    def feed(self, data: bytes) -> bool:
        """Bytes of the client that the lane read and has no use for. False where a close is under way."""

    def write(self, data: bytes) -> None:
        """Bytes of frames of the lane that must wait for the client."""

    def close(self, code: int, reason: str) -> None:
        """End it, and tell the peer why: the codes of proto/README.md, whatever carries them."""
