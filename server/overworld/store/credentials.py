"""Redis passwords that expire: kept fresh ahead of time, and shown again by connections that live on.

    token source --fetch--> RotatingCredentials --> new connections (AUTH as they open)
                            every look_s        --> open connections (AUTH again; see store/redis_connection)

A token is fetched well before the last one expires. While the source fails, the old token stays in use and the source
is asked again with growing pauses; nothing ever waits for a token but the start of the process. The credential package
that redis-py recommends fetches with blocking calls on the event loop, and stops renewing subscribers; hence our own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from redis.credentials import CredentialProvider

from overworld import telemetry
from overworld.errors import StoreUnavailable

log = structlog.get_logger(__name__)

FETCH_S_MAX = 10.0
RENEW_PART = 0.6
"""Of a token's life, after which the next one is asked for."""
SAME_AGAIN_S_MAX = 60.0
"""A source may keep a token until shortly before its end, and give the same one again: how often it is asked then."""
PAUSE_S_MIN, PAUSE_S_MAX = 1.0, 30.0
LOOK_S = 1.0
IDLE_S = 5.0
"""Silence of a connection after which nothing can be on its way any more: above every timeout of a call."""


@dataclass(frozen=True, slots=True)
class RedisToken:
    """What AUTH is given. `life_s`: for how long from now on it is good."""

    user: str
    password: str = field(repr=False)
    life_s: float


class TokenSource(Protocol):
    """Where tokens come from. `fetch` never blocks the event loop, and may raise anything."""

    async def fetch(self) -> RedisToken:
        """The newest token."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class Renewable(Protocol):
    """A connection that can show a newer token."""

    def renew(self, now_s: float) -> None:
        """Send AUTH, where the connection has not seen the newest token and nothing is on its way."""
        ...


class RotatingCredentials(CredentialProvider):
    """The newest token, for redis-py and for the connections that `watch` has been told of."""

    def __init__(
        self,
        source: TokenSource,
        *,
        look_s: float = LOOK_S,
        pause_s_min: float = PAUSE_S_MIN,
        idle_s: float = IDLE_S,
    ) -> None:
        """look_s: how often open connections are looked at. pause_s_min: the first pause after a failed fetch."""
        self.idle_s = idle_s
        self._source = source
        self._look_s = look_s
        self._pause_s_min = pause_s_min
        self._token: RedisToken | None = None
        self._wanted = asyncio.Event()
        self._connections: weakref.WeakSet[Renewable] = weakref.WeakSet()
        self._tasks: list[asyncio.Task[None]] = []
        self.generation = 0
        """Grows with each new token."""

    async def start(self) -> None:
        """Fetch the first token, and keep it fresh from now on. Raises StoreUnavailable."""
        try:
            life_s = await self._fetch()
        except Exception as error:
            await self._source.close()
            raise StoreUnavailable(f"no token for Redis ({_reason(error)})") from error
        self._tasks = [asyncio.create_task(self._renew(life_s)), asyncio.create_task(self._look())]

    async def close(self) -> None:
        """Stop renewing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._source.close()

    def get_credentials(self) -> tuple[str, str]:
        """User name and password of now."""
        assert self._token is not None, "not started"
        return self._token.user, self._token.password

    async def get_credentials_async(self) -> tuple[str, str]:
        """The same; awaits nothing."""
        return self.get_credentials()

    def watch(self, connection: Renewable) -> None:
        """See to it that this connection, while it lives, shows each newer token."""
        self._connections.add(connection)

    def doubt(self, generation: int) -> None:
        """The server has refused the token of that generation: fetch the next one at once, unless there is one."""
        telemetry.redis_auth_total.labels("refused").inc()
        if generation == self.generation:
            self._wanted.set()

    # ------------------------------------------------------------ renewal

    async def _fetch(self) -> float:
        """Returns after how many seconds to ask again."""
        async with asyncio.timeout(FETCH_S_MAX):
            token = await self._source.fetch()
        telemetry.redis_token_expires_seconds.set(time.time() + token.life_s)
        if self._token is not None and token.password == self._token.password:
            return max(self._pause_s_min, min(SAME_AGAIN_S_MAX, token.life_s / 4))
        self._token = token
        self.generation += 1
        telemetry.redis_tokens_total.labels("new").inc()
        return max(self._pause_s_min, token.life_s * RENEW_PART)

    async def _renew(self, wait_s: float) -> None:
        pause_s = self._pause_s_min
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                wait_s = await self._fetch()
                pause_s = self._pause_s_min
            except Exception as error:  # noqa: BLE001 - a source may fail in any way; the old token stays
                telemetry.redis_tokens_total.labels("failed").inc()
                log.warning("redis_token_not_renewed", reason=_reason(error), again_s=pause_s)
                wait_s, pause_s = pause_s, min(2 * pause_s, PAUSE_S_MAX)
                # Doubts that come meanwhile do not shorten the pause: they come with every connection.
                await asyncio.sleep(wait_s)
                self._wanted.set()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._look_s)
            for connection in list(self._connections):
                connection.renew(loop.time())


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:300]


Clock = Callable[[], float]


class EntraTokens:
    """Microsoft Entra ID: workload identity or managed identity in the cluster, a developer's own login elsewhere."""

    SCOPE = "https://redis.azure.com/.default"

    def __init__(self, user: str = "", clock: Clock = time.time) -> None:
        """`user`: the object id that the access policy names; empty: the one in the token (`oid`)."""
        # Imported where needed: the library takes a second to load.
        from azure.identity.aio import DefaultAzureCredential

        self._credential = DefaultAzureCredential()
        self._user = user
        self._clock = clock

    async def fetch(self) -> RedisToken:
        """See TokenSource."""
        token = await self._credential.get_token(self.SCOPE)
        return RedisToken(self._user or object_id(token.token), token.token, token.expires_on - self._clock())

    async def close(self) -> None:
        """Closes the identity's HTTP session."""
        await self._credential.close()


def object_id(token: str) -> str:
    """The `oid` claim of an access token. Its signature is Redis's business, not ours. Raises StoreUnavailable."""
    import jwt

    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        raise StoreUnavailable("the token for Redis is no JWT: set OVERWORLD_REDIS_USER") from error
    oid = claims.get("oid")
    if not isinstance(oid, str) or not oid:
        raise StoreUnavailable("the token for Redis names no oid: set OVERWORLD_REDIS_USER")
    return oid
