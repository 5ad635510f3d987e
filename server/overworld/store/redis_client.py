"""Opening a Redis client, and making ordinary calls with it: short timeouts, and retries that are ours.

redis-py's own retries are off: on a stalled server they send one command many times over while nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004  redis-py's own, not a subclass of the built-in one
    NoPermissionError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TimeoutError,  # noqa: A004  likewise
    TryAgainError,
)
from redis.maint_notifications import MaintNotificationsConfig

from overworld import telemetry
from overworld.errors import SettingsError, StoreRefused, StoreUnavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")
VERSION_MIN = (7, 0)
CALL_TIMEOUT_S = 1.0
ASK_TIMEOUT_S = 3.0
CALL_PAUSE_S = 0.05

_WORTH_A_RETRY = (
    ConnectionError,
    TimeoutError,
    BusyLoadingError,
    ClusterDownError,
    TryAgainError,
    ReadOnlyError,
    RedisClusterException,
    OSError,  # the built-in TimeoutError is one
)


async def open_redis(
    url: str, *, cluster: bool = False, credentials: CredentialProvider | None = None, timeout_s: float = CALL_TIMEOUT_S
) -> Redis | RedisCluster:
    """Connect and look whether the server will do. `url`: redis://, rediss:// (TLS) or unix://.

    Raises StoreUnavailable where it cannot be reached, SettingsError where it is of the wrong kind; one line each.
    """
    settings: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if credentials is not None:
        settings["credential_provider"] = credentials
    try:
        if cluster:
            client: Redis | RedisCluster = RedisCluster.from_url(url, **settings)
        else:
            settings["retry_on_error"] = []
            client = Redis.from_url(url, **settings)
    except ValueError as error:
        raise SettingsError(f"Redis address {shown(url)}: {error}") from error
    try:
        await _check_server(client, url)
    except BaseException:
        await client.aclose()
        raise
    return client


async def _check_server(client: Redis | RedisCluster, url: str) -> None:
    try:
        if isinstance(client, RedisCluster):
            _ = await client.initialize()
            about: dict[str, Any] = await client.info(target_nodes=RedisCluster.DEFAULT_NODE)
        else:
            about = await client.info()
    except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
        raise StoreUnavailable(f"Redis at {shown(url)} refuses the user name or password: {error}") from error
    except (RedisError, OSError) as error:
        raise StoreUnavailable(
            f"no Redis at {shown(url)} ({error}): start one there, or set the Redis address to where it runs"
        ) from error
    version = tuple(int(part) for part in str(about.get("redis_version", "0")).split(".")[:2])
    if version < VERSION_MIN:
        raise SettingsError(f"Redis at {shown(url)} is {about.get('redis_version')}: 7.0 or newer is needed")
    policy = str(about.get("maxmemory_policy", ""))
    if policy.startswith("allkeys"):
        raise SettingsError(
            f"Redis at {shown(url)} evicts any key when full ({policy}), journals too: set maxmemory-policy noeviction"
        )


def shown(url: str) -> str:
    """The address without user name and password, for messages and logs."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def ask(call: str, attempt: Callable[[], Awaitable[T]], timeout_s: float = ASK_TIMEOUT_S) -> T:
    """Make a call that may be repeated, again and again until timeout_s has passed.

    call: its name, for metrics and messages. Raises StoreUnavailable, or StoreRefused for an answer that would not
    change.
    """
    loop = asyncio.get_running_loop()
    end_s = loop.time() + timeout_s
    pause_s = CALL_PAUSE_S
    task = asyncio.current_task()
    cancellations = task.cancelling() if task is not None else 0
    while True:
        try:
            async with asyncio.timeout_at(end_s):
                answer = await attempt()
            # asyncio.wait_for, which redis-py uses, swallows a cancellation that comes with the answer (Python 3.11).
            if task is not None and task.cancelling() > cancellations:
                raise asyncio.CancelledError
            return answer
        except _WORTH_A_RETRY as error:
            if loop.time() + pause_s >= end_s:
                telemetry.redis_unavailable_total.labels(call).inc()
                raise StoreUnavailable(f"Redis: {call}: {str(error) or 'no answer'} for {timeout_s:g} s") from error
            telemetry.redis_retries_total.labels(call).inc()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.5)
        except RedisError as error:
            raise StoreRefused(f"Redis: {call}: {error}") from error
