"""Opening a Redis client, and making ordinary calls with it: short timeouts, and retries that are ours.

redis-py's own retries are off: on a stalled server they send one command many times over while nobody knows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
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
from overworld.store.credentials import RotatingCredentials
from overworld.store.redis_connection import StoreConnection, Tls

log = structlog.get_logger(__name__)

T = TypeVar("T")
VERSION_MIN = (7, 0)
CALL_TIMEOUT_S = 1.0
ASK_TIMEOUT_S = 3.0
CALL_PAUSE_S = 0.05
_CERTIFICATE = re.compile(r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (.*?)\.? \(_ssl")

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
    url: str,
    *,
    cluster: bool = False,
    credentials: RotatingCredentials | None = None,
    ca_file: str = "",
    timeout_s: float = CALL_TIMEOUT_S,
) -> Redis | RedisCluster:
    """Connect and look whether the server will do. `url`: redis://, rediss:// (TLS) or unix://.

    credentials: instead of a user name and password in the URL; started. ca_file: authorities to trust instead of the
    system's; certificate and host name are always checked.

    Raises StoreUnavailable where it cannot be reached, SettingsError where it is of the wrong kind; one line each.
    """
    address = _parsed(url)
    if credentials is not None and (address.keys() & {"username", "password"}):
        raise SettingsError(f"Redis address {shown(url)}: names a user or a password, and tokens are to be used")
    settings: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    kind = address.pop("connection_class", None)
    own: dict[str, Any] = {
        "tls": Tls.to(str(address.get("host", "localhost")), ca_file) if kind is SSLConnection else None,
        "rotation": credentials,
    }
    if cluster:
        client: Redis | RedisCluster = _cluster_client(url, address, settings, own)
    elif kind is UnixDomainSocketConnection:
        client = Redis.from_url(url, retry_on_error=[], **settings)
    else:
        pool = ConnectionPool(StoreConnection, retry_on_error=[], **address, **settings, **own)
        client = Redis.from_pool(pool)
    try:
        await _check_server(client, url)
    except BaseException:
        await client.aclose()
        raise
    return client


def _parsed(url: str) -> dict[str, Any]:
    try:
        address = dict(parse_url(url))
    except ValueError as error:
        raise SettingsError(f"Redis address {shown(url)}: {error}") from error
    loose = sorted(name for name in address if name.startswith("ssl"))
    if loose:
        raise SettingsError(f"Redis address {shown(url)}: {loose[0]}: certificates are always checked")
    return address


def _cluster_client(url: str, address: dict[str, Any], settings: dict[str, Any], own: dict[str, Any]) -> RedisCluster:
    """redis-py's client chooses the class of its connections itself; ours goes in before the first one is opened."""
    if "host" not in address or address.pop("db", 0):
        raise SettingsError(f"Redis address {shown(url)}: a cluster needs a host, and has only database 0")
    client = RedisCluster(port=address.pop("port", 6379), **address, **settings)
    ours = {"connection_class": StoreConnection, **own}
    for kwargs in (client.connection_kwargs, client.nodes_manager.connection_kwargs):
        kwargs.update(ours)
    for node in client.startup_nodes:
        node.connection_class = StoreConnection
        node.connection_kwargs.update(own)
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
    except (RedisError, RedisClusterException, OSError) as error:
        if (doubt := _certificate_doubt(error)) is not None:
            raise StoreUnavailable(
                f"Redis at {shown(url)} shows a certificate that is not trusted ({doubt}): "
                "set the Redis address to a name in it, and redis_ca_file to the authority that signed it"
            ) from error
        raise StoreUnavailable(
            f"no Redis at {shown(url)} ({error}): start one there, or set the Redis address to where it runs"
        ) from error
    version = tuple(int(part) for part in str(about.get("redis_version", "0")).split(".")[:2])
    if version < VERSION_MIN:
        raise SettingsError(f"Redis at {shown(url)} is {about.get('redis_version')}: 7.0 or newer is needed")
    if about.get("redis_mode") == "cluster" and not isinstance(client, RedisCluster):
        raise SettingsError(f"Redis at {shown(url)} is a cluster: set redis_cluster (OVERWORLD_REDIS_CLUSTER=true)")
    policy = str(about.get("maxmemory_policy", ""))
    if policy.startswith("allkeys"):
        raise SettingsError(
            f"Redis at {shown(url)} evicts any key when full ({policy}), journals too: set maxmemory-policy noeviction"
        )


def _certificate_doubt(error: BaseException) -> str | None:
    """What is wrong with the server's certificate, where that is behind an error. redis-py hands on only the text."""
    found = _CERTIFICATE.search(str(error))
    return found[1] if found else None


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
