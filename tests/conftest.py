"""Fixtures every test may ask for: real servers, and ports for what tests start themselves."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from hypothesis import settings

from overworld.store.local_redis import LocalRedis
from tests.parts.azurite import Azurite
from tests.parts.chromium import find_chromium
from tests.parts.ports import free_port as next_free_port
from tests.parts.redis import RedisFactory, flush
from tests.parts.tls import TlsServers, start_tls_servers

# No deadline: the machine's load is not what is tested. The failing example is printed and can be replayed.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")


@pytest.fixture(autouse=True)
def logging_as_it_came() -> Iterator[None]:
    """What a command set up for its logs within this process ends with its test: others read the log they expect."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def free_port() -> int:
    """A loopback port nobody listens on."""
    return next_free_port()


@pytest.fixture(scope="session")
def logs(pytestconfig: pytest.Config) -> Path:
    """Folder for the logs of what tests start; kept until the next run."""
    folder = pytestconfig.rootpath / ".cache" / "test-logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRedis]:
    """One Redis server for the whole run; tests ask for `redis_server`, which empties it first."""
    factory = RedisFactory(tmp_path_factory.mktemp("shared"))
    yield await factory.start()
    factory.kill_all()


@pytest_asyncio.fixture
async def redis_server(shared_redis: LocalRedis) -> LocalRedis:
    """A running Redis server with nothing in it. Not to be killed or paused: `redis_factory` makes ones for that."""
    await flush(shared_redis.port)
    return shared_redis


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_tls_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsServers]:
    """Three nodes with TLS for the whole run; tests ask for `tls_cluster`, which empties them first."""
    folder = tmp_path_factory.mktemp("tls-cluster")
    factory = RedisFactory(folder)
    try:
        yield await start_tls_servers(factory, folder, 3)
    finally:
        factory.kill_all()


@pytest_asyncio.fixture
async def tls_cluster(shared_tls_cluster: TlsServers) -> TlsServers:
    """A Redis cluster with TLS and nothing in it."""
    for server in shared_tls_cluster.servers:
        await flush(server.port)
    return shared_tls_cluster


@pytest_asyncio.fixture
async def redis_factory(tmp_path: Path) -> AsyncIterator[RedisFactory]:
    """Makes servers of the test's own: to kill, pause, restart, or with replicas."""
    factory = RedisFactory(tmp_path)
    yield factory
    factory.kill_all()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def azurite(logs: Path) -> AsyncIterator[Azurite]:
    """One Azurite for the whole run. Tests keep apart by using containers of their own."""
    log = logs / "azurite.log"
    log.unlink(missing_ok=True)
    emulator = Azurite(log)
    try:
        await emulator.start()
        yield emulator
    finally:
        emulator.stop()


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The system's browser program."""
    return find_chromium()
