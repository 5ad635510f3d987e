"""A connection needs no websocket: messages may come by whatever carries them whole and in order."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import overworld
from overworld.gateway.codes import CloseCode
from overworld.gateway.connection import Connection
from overworld.gateway.desk import Desk
from overworld.gateway.inputs import Forward
from overworld.gateway.lane import LaneLine
from overworld.gateway.lane_library import Track
from overworld.gateway.message import MessageLimits
from overworld.gateway.transport import Transport
from overworld.settings import GatewaySettings
from overworld.wire.v1 import client_pb2 as pb
from tests.gateway.test_session import FRESH, RULES, WALL, command, hello

WEBSOCKET = {"gateway/socket.py", "client/connection.py", "client/socket.py"}


@dataclass
class Pipe:
    """A transport that is no socket at all."""

    address: str = "elsewhere"
    sent: list[bytes] = field(default_factory=list)
    closed: tuple[int, str] | None = None
    backlog_bytes: int = 0

    @property
    def send(self) -> Callable[[bytearray, int], None]:
        return lambda buffer, offset: self.sent.append(bytes(buffer[offset:]))

    def send_pieces(self, data: bytes) -> None:
        self.sent.append(data)

    def ping(self) -> None:
        """There is no such thing here."""

    def pong(self, payload: bytes) -> None:
        """There is no such thing here."""

    @property
    def way(self) -> None:
        return None

    def enter_lane(self, line: LaneLine) -> None:
        raise AssertionError("it has no way")

    def leave_lane(self, track: Track) -> None:
        raise AssertionError("it has no way")

    def feed(self, data: bytes) -> bool:
        raise AssertionError("it has no way")

    def write(self, data: bytes) -> None:
        raise AssertionError("it has no way")

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class Told:
    """A desk that notes what it is told."""

    settings = GatewaySettings.model_validate({})
    rules = RULES
    message_limits = MessageLimits(1024, 8, 2.0)

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def now_s(self) -> float:
        return 10.0

    def wall_s(self) -> float:
        return WALL

    def fresh_session(self) -> int:
        return FRESH

    def has_room(self, connection: Connection) -> bool:
        return True

    def welcome(self, *_: object) -> bytes:
        return b"welcome"

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *given: self.calls.append((name, given))

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def test_a_session_plays_over_another_transport() -> None:
    pipe, desk = Pipe(), Told()
    transport: Transport = pipe
    connection = Connection(cast("Desk", desk))
    connection.on_transport(transport)
    connection.on_message(hello().SerializeToString(), 10.0)
    assert desk.names() == ["opened", "use_token"]
    connection.answer_token(True)
    connection.do(connection.session.attach())
    connection.do(connection.session.joined(0))
    assert pipe.sent == [b"welcome"]
    connection.on_message(command(1).SerializeToString(), 10.0)
    assert any(isinstance(item, Forward) for name, given in desk.calls if name == "forward" for item in given)
    connection.on_message(pb.ClientMessage(input=pb.Input(seq=2, kind=99)).SerializeToString(), 10.0)
    assert pipe.closed is not None
    assert pipe.closed[0] == CloseCode.BAD_INPUT
    assert ("suspect", (connection.session.player, CloseCode.BAD_INPUT)) in desk.calls


def test_one_module_on_each_side_knows_the_websocket_library() -> None:
    package = Path(overworld.__file__).parent
    knowing = set()
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(module.split(".")[0] == "picows" for module in modules):
                knowing.add(path.relative_to(package).as_posix())
    assert knowing == WEBSOCKET
