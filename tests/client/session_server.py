"""A model of the server's side of one session: applies inputs in order, acknowledges, and hands out resume tokens."""

from __future__ import annotations

from overworld.wire.v1 import client_pb2 as pb
from tests.client.worlds import welcome


class SessionServer:
    """Keeps the session over sockets; a hello without a resume token begins the player's next one, whose numbers go on.

    `applied` holds the values of every input applied, in order.
    """

    def __init__(self) -> None:
        self.applied: list[tuple[int, ...]] = []
        self.acked = 0
        self.session = 0
        self.issued: list[bytes] = []
        self.tick = 0
        self.violations: list[str] = []

    def take(self, data: bytes) -> list[bytes]:
        """A message from the client; what the server answers."""
        message = pb.ClientMessage.FromString(data)
        which = message.WhichOneof("message")
        if which == "hello":
            return [self._greet(message.hello)]
        if which == "input":
            self._apply(message.input)
        if which == "ping":
            return [pb.Frame(pongs=[pb.Pong(nonce=message.ping.nonce, server_time_us=5)]).SerializeToString()]
        return []

    def next_frame(self) -> bytes:
        """The frame of the next tick, with an ack where something was applied since the last one."""
        self.tick += 1
        frame = pb.Frame(heads=[pb.TickHead(shard=0, epoch=1, tick=self.tick)])
        if self.acked < len(self.applied):
            self.acked = len(self.applied)
            frame.acks.add(seq=self.acked, shard=0, tick=self.tick)
        return frame.SerializeToString()

    def _greet(self, hello: pb.Hello) -> bytes:
        # A Welcome may get lost, so every token of the session is good, not only the newest.
        if hello.resume and hello.resume not in self.issued:
            self.violations.append(f"resumed with {hello.resume!r}, but the session gave {self.issued}")
        if not hello.resume:
            self.session += 1
            self.issued.clear()
        self.issued.append(f"resume-{self.session}-{len(self.issued)}".encode())
        told = welcome(last_seq=len(self.applied))
        told.session, told.resume = self.session, self.issued[-1]
        self.acked = len(self.applied)
        return pb.Frame(welcomes=[told]).SerializeToString()

    def _apply(self, message: pb.Input) -> None:
        if message.seq <= len(self.applied):
            return
        if message.seq > len(self.applied) + 1:
            self.violations.append(f"input {message.seq} after {len(self.applied)}")
            return
        self.applied.append(tuple(message.values))
