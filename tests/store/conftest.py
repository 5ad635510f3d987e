from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis, RedisCluster

from overworld.store.blob_directory import DirectoryBlobs
from overworld.store.blob_memory import MemoryBlobs
from overworld.store.blobs import open_blobs
from overworld.store.group_commit import GroupCommit
from overworld.store.local_redis import LocalRedis
from overworld.store.memory import MemoryDirectory, MemoryOwnership, MemoryRedis
from overworld.store.ports import BlobLimits, Blobs, Directory, Ownership
from overworld.store.redis_client import open_redis
from overworld.store.redis_directory import RedisDirectory
from overworld.store.redis_ownership import RedisOwnership
from tests.parts.azurite import Azurite
from tests.parts.tls import TlsServers

_WORLDS = itertools.count(1)


@pytest.fixture
def world() -> str:
    """A world name no other test uses, so that tests share a server without meeting."""
    return f"world-{next(_WORLDS)}"


@pytest_asyncio.fixture
async def redis_client(redis_server: LocalRedis) -> AsyncIterator[Redis]:
    client = await open_redis(redis_server.url)
    assert isinstance(client, Redis)
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def group(redis_client: Redis) -> AsyncIterator[GroupCommit]:
    group = GroupCommit(redis_client)
    yield group
    await group.close()


@pytest_asyncio.fixture
async def cluster_client(tls_cluster: TlsServers) -> AsyncIterator[RedisCluster]:
    client = await open_redis(tls_cluster.url(), cluster=True, ca_file=tls_cluster.ca_file)
    assert isinstance(client, RedisCluster)
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def cluster_group(cluster_client: RedisCluster) -> AsyncIterator[GroupCommit]:
    group = GroupCommit(cluster_client)
    yield group
    await group.close()


KINDS = ["memory", "redis", "tls-cluster"]


@pytest.fixture(params=KINDS)
def ownership(request: pytest.FixtureRequest, world: str) -> Ownership:
    if request.param == "memory":
        return MemoryOwnership(MemoryRedis(), world)
    if request.param == "tls-cluster":
        cluster: RedisCluster = request.getfixturevalue("cluster_client")
        return RedisOwnership(cluster, request.getfixturevalue("cluster_group"), world, write_timeout_s=5.0)
    return RedisOwnership(
        request.getfixturevalue("redis_client"), request.getfixturevalue("group"), world, write_timeout_s=5.0
    )


class Deployment:
    """A directory as several processes see it, and the ownership beside it."""

    def __init__(self, kind: str, world: str, client: Redis | RedisCluster | None, group: GroupCommit | None) -> None:
        self.world = world
        self._memory = MemoryRedis()
        self._client = client
        self.ownership: Ownership
        if client is None or group is None:
            self.ownership = MemoryOwnership(self._memory, world)
        else:
            self.ownership = RedisOwnership(client, group, world)

    def directory(self) -> Directory:
        """As one more process opens it."""
        return MemoryDirectory(self._memory) if self._client is None else RedisDirectory(self._client)


@pytest.fixture(params=KINDS)
def deployment(request: pytest.FixtureRequest, world: str) -> Deployment:
    if request.param == "memory":
        return Deployment("memory", world, None, None)
    if request.param == "tls-cluster":
        cluster: RedisCluster = request.getfixturevalue("cluster_client")
        return Deployment("redis", world, cluster, request.getfixturevalue("cluster_group"))
    client: Redis = request.getfixturevalue("redis_client")
    return Deployment("redis", world, client, request.getfixturevalue("group"))


SMALL = BlobLimits(blob_bytes_max=12 << 20, listed_names_max=10_000)


@pytest_asyncio.fixture(params=["memory", "directory", "azurite"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path, azurite: Azurite) -> AsyncIterator[Blobs]:
    if request.param == "memory":
        store: Blobs = MemoryBlobs(limits=SMALL)
    elif request.param == "directory":
        store = DirectoryBlobs(tmp_path, SMALL)
    else:
        container = f"test-{secrets.token_hex(8)}"
        store = open_blobs(f"azurite:{azurite.connection_string};Container={container}", SMALL)
    await store.check()
    yield store
    await store.close()
