"""What a connection asks of the gateway around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from overworld.gateway.inputs import Forward
from overworld.gateway.message import MessageLimits
from overworld.gateway.session import Attach, Detach, Session, SessionRules
from overworld.gateway.tokens import Login
from overworld.gateway.views import Viewer
from overworld.settings import GatewaySettings

if TYPE_CHECKING:
    from overworld.gateway.connection import Connection


class Desk(Protocol):
    """The gateway, as its connections see it. Nothing here blocks."""

    settings: GatewaySettings
    rules: SessionRules
    message_limits: MessageLimits

    def now_s(self) -> float:
        """Monotonic."""

    def wall_s(self) -> float:
        """Since 1970."""

    def fresh_session(self) -> int:
        """A session number nobody has had."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Call it at the next turn of the event loop."""

    def opened(self, connection: Connection) -> None:
        """A socket is open."""

    def gone(self, connection: Connection) -> None:
        """A socket is gone."""

    def use_token(self, connection: Connection, login: Login) -> None:
        """Find out whether the token is new, and tell the connection's session."""

    def has_room(self, connection: Connection) -> bool:
        """Whether a new session may go in now; where not, it has a place in the queue. Raises WireError where that is
        full.
        """

    def seek(self, connection: Connection, shard: int) -> None:
        """The session wants to attach to this shard."""

    def tell_worker(self, session: Session, what: Attach | Detach) -> None:
        """Send it to the worker of the shard it names."""

    def forward(self, session: Session, item: Forward) -> None:
        """Send an input to the worker of the session's shard."""

    def welcome(self, session: Session, last_seq: int) -> bytes:
        """Frame bytes of the session's Welcome."""

    def admit(self, viewer: Viewer) -> None:
        """The session plays: ticks go to this viewer."""

    def enter_lane(self, connection: Connection) -> None:
        """It plays, and its socket reads: compiled code may serve it from now on."""

    def pause(self, viewer: Viewer) -> None:
        """The viewer's client does not read."""

    def resume(self, viewer: Viewer) -> None:
        """It reads again."""

    def suspect(self, player: int, what: int | str, times: int = 1) -> None:
        """A socket is closed with this code, or its player did this; player 0: nobody knows yet whose it is."""

    def leave(self, connection: Connection) -> None:
        """The session sees and sends nothing more here."""
