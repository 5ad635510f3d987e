"""A Redis connection that shows a newer token while it is in use, and that checks one host name on every node.

AUTH travels with the next command, in front of it and in the same write, so it costs no round trip; its answer is taken
off before the command's. A connection that nobody uses, or that only listens (a subscriber), is sent AUTH by
`RotatingCredentials`. A refused AUTH leaves a connection as it was: the server goes on with the old one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio.connection import Connection
from redis.exceptions import AuthenticationError, ResponseError

from overworld import telemetry
from overworld.errors import SettingsError
from overworld.store.credentials import RotatingCredentials
from overworld.store.resp import pack

log = structlog.get_logger(__name__)

AGAIN_S = 1.0
"""After a refused AUTH."""


@dataclass(frozen=True, slots=True)
class Tls:
    """One context for all connections: making one reads every authority's certificate, and stalls the event loop.

    `host`: the name that each node of a cluster must prove. Nodes announce themselves by address, and an address
    stands in no certificate.
    """

    context: ssl.SSLContext
    host: str

    @classmethod
    def to(cls, host: str, ca_file: str = "") -> Tls:
        """`ca_file`: authorities to trust instead of the system's. Raises SettingsError."""
        try:
            context = ssl.create_default_context(cafile=ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"redis_ca_file: {ca_file}: no certificates can be read ({error})") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return cls(context, host)


class StoreConnection(Connection):
    """See the module's text. With neither `tls` nor `rotation` it is redis-py's own."""

    def __init__(
        self,
        *,
        tls: Tls | None = None,
        rotation: RotatingCredentials | None = None,
        **settings: Any,
    ) -> None:
        if rotation is not None:
            settings["credential_provider"] = rotation
        super().__init__(**settings)
        self._tls = tls
        self._rotation = rotation
        self._generation = 0
        self._auths_due = 0
        """Answers to AUTH that have not been read yet; always the next ones."""
        self._calls = 0
        """Coroutines inside this object: while there is one, answers are on their way."""
        self._subscribed = False
        self._moved_s = 0.0
        self._not_before_s = 0.0

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments = dict(super()._connection_arguments())
        if self._tls is not None:
            arguments |= {"ssl": self._tls.context, "server_hostname": self._tls.host}
        return arguments

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in, and from then on be told of newer tokens."""
        if self._rotation is None:
            await super().on_connect_check_health(check_health)
            return
        self._auths_due = 0
        self._subscribed = False
        # Before the password is asked for: it may be newer than this says, never older.
        self._generation = self._rotation.generation
        self._calls += 1
        try:
            await super().on_connect_check_health(check_health)
        except AuthenticationError:
            self._rotation.doubt(self._generation)
            raise
        finally:
            self._calls -= 1
        self._moved_s = asyncio.get_running_loop().time()
        telemetry.redis_auth_total.labels("opened").inc()
        self._rotation.watch(self)

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """As redis-py's, with AUTH in front where there is a newer token."""
        if self._rotation is None:
            await super().send_packed_command(command, check_health)
            return
        now_s = asyncio.get_running_loop().time()
        if self.is_connected and self._stale(now_s):
            parts = [command.encode()] if isinstance(command, str) else command
            command = [self._auth(), *([parts] if isinstance(parts, bytes) else parts)]
        self._moved_s = now_s
        self._calls += 1
        try:
            await super().send_packed_command(command, check_health)
        finally:
            self._calls -= 1

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,
        *,
        disconnect_on_error: bool = True,
        push_request: bool | None = False,
    ) -> Any:
        """As redis-py's; takes the answers to AUTH off first."""
        if self._rotation is None:
            return await super().read_response(
                disable_decoding, timeout, disconnect_on_error=disconnect_on_error, push_request=push_request
            )
        self._subscribed = bool(push_request) and self.protocol == 3
        self._calls += 1
        try:
            while self._auths_due or push_request:
                due, refused = self._auths_due, None
                try:
                    reply = await super().read_response(
                        disable_decoding, timeout, disconnect_on_error=False, push_request=push_request
                    )
                except (AuthenticationError, ResponseError) as error:
                    if not due:
                        raise
                    reply, refused = None, error
                if push_request and refused is None and (isinstance(reply, list) or reply is None or not due):
                    return reply  # a message, or the time is up
                self._settle(refused)
            return await super().read_response(
                disable_decoding, timeout, disconnect_on_error=disconnect_on_error, push_request=push_request
            )
        except ResponseError:
            raise
        except BaseException:
            if disconnect_on_error:
                await self.disconnect(nowait=True)
            raise
        finally:
            self._moved_s = asyncio.get_running_loop().time()
            self._calls -= 1

    async def can_read(self) -> bool:
        """As redis-py's: true where something unexpected has come. An answer to AUTH is expected."""
        while self._auths_due and self.is_connected:
            self._calls += 1
            try:
                await super().read_response()
                self._settle(None)
            except (AuthenticationError, ResponseError) as error:
                self._settle(error)
            finally:
                self._calls -= 1
        return bool(await super().can_read())

    def renew(self, now_s: float) -> None:
        """See Renewable. A subscriber (of RESP 3) may be sent AUTH at any time: its messages cannot be
        taken for the answer.
        """
        if self._rotation is None:
            return
        quiet = now_s - self._moved_s >= self._rotation.idle_s and self._calls == 0
        if not self.is_connected or not (quiet or self._subscribed) or not self._stale(now_s):
            return
        writer = self._writer
        if writer is not None and not writer.is_closing():
            self._moved_s = now_s
            writer.write(self._auth())

    # ------------------------------------------------------------ tokens

    def _stale(self, now_s: float) -> bool:
        rotation = self._rotation
        return rotation is not None and self._generation != rotation.generation and now_s >= self._not_before_s

    def _auth(self) -> bytes:
        assert self._rotation is not None
        self._generation = self._rotation.generation
        self._auths_due += 1
        user, password = self._rotation.get_credentials()
        return pack(b"AUTH", user.encode(), password.encode())

    def _settle(self, refused: BaseException | None) -> None:
        assert self._rotation is not None
        self._auths_due -= 1
        if refused is None:
            telemetry.redis_auth_total.labels("renewed").inc()
            return
        log.warning("redis_auth_refused", host=self.host, port=self.port, reason=str(refused)[:200])
        self._rotation.doubt(self._generation)
        self._generation = 0
        self._not_before_s = asyncio.get_running_loop().time() + AGAIN_S
