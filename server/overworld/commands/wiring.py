"""Where settings become parts: the world that a process plays, and its stores. With `overworld.__main__` the
composition root: nowhere else are parts wired, or is the environment read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis, RedisCluster

from overworld import settings
from overworld.admin.oidc import Issued, Oidc
from overworld.commands import logs
from overworld.commands.dev_folder import folder_redis, folder_settings
from overworld.commands.title_loader import load_title
from overworld.errors import SettingsError, StoreError
from overworld.game import Title, contract_of
from overworld.link.keys import ClusterKeys
from overworld.settings import AdminSettings, ClusterSettings, GatewaySettings, WorkerSettings, parse_shards
from overworld.store.archive import Archive
from overworld.store.blobs import open_blobs
from overworld.store.credentials import EntraTokens, RotatingCredentials
from overworld.store.group_commit import GroupCommit
from overworld.store.ports import Blobs, CommitLevel, CommitPolicy
from overworld.store.redis_client import open_redis
from overworld.store.redis_directory import RedisDirectory
from overworld.store.redis_ownership import RedisOwnership
from overworld.store.snapshots import SnapshotStore
from overworld.world.contract import WorldContract

if TYPE_CHECKING:
    from overworld.shard.core import ShardCore
    from overworld.worker.history import History

SETTINGS = (ClusterSettings, WorkerSettings, GatewaySettings, AdminSettings)


@dataclass(frozen=True)
class World:
    """What is played."""

    title: Title
    contract: WorldContract


@dataclass(frozen=True)
class Parts:
    """A world's stores, open."""

    ownership: RedisOwnership
    directory: RedisDirectory
    blobs: Blobs
    shelf: SnapshotStore
    archive: Archive


def settings_of(kind: type[settings.S]) -> tuple[ClusterSettings, settings.S]:
    """The cluster's settings and the process' own. Raises SettingsError, also for names that no setting has."""
    settings.check_names(os.environ, SETTINGS)
    return settings.load(ClusterSettings), settings.load(kind)


def world_of(cluster: ClusterSettings) -> World:
    """The title, and the contract that its declarations and the cluster's settings make."""
    title = load_title(cluster.title)
    grid = title.world
    if cluster.shards:
        try:
            grid = dataclasses.replace(grid, shards=parse_shards(cluster.shards))
        except ValueError as error:
            raise SettingsError(f"OVERWORLD_SHARDS: {error}") from error
    contract = contract_of(title, cluster.world, cluster.seed, grid)
    if cluster.commit_level is not None:
        contract = dataclasses.replace(contract, commit_level=cluster.commit_level)
    return World(title, contract)


def keys_of(cluster: ClusterSettings) -> ClusterKeys:
    """The cluster's key, and the other one where it is being changed."""
    return ClusterKeys(cluster.cluster_key_bytes, cluster.cluster_key_also.get_secret_value().encode())


def oidc_of(cluster: ClusterSettings) -> Oidc | None:
    """Who checks tokens of the issuer for the admin API, where there is one. Raises SettingsError."""
    if not cluster.admin_oidc_issuer:
        return None
    return Oidc(Issued(cluster.admin_oidc_issuer, cluster.admin_oidc_audience))


@dataclass(frozen=True)
class Past:
    """A world's stores (`ownership` None: without Redis), and what it takes to run its past again."""

    world: World
    ownership: RedisOwnership | None
    shelf: SnapshotStore
    archive: Archive

    def history(self, shard: int) -> History:
        """Of one shard; not looked at yet. Raises SettingsError where there is no such shard."""
        from overworld.worker.history import History

        return History(self._checked(shard), self.archive, self.shelf, self.ownership)

    def new_core(self, shard: int) -> ShardCore:
        """To run it on. Raises SettingsError where there is no such shard."""
        from overworld.shard.core import ShardCore

        return ShardCore(self.world.contract, self.world.title, self._checked(shard))

    def _checked(self, shard: int) -> int:
        count = self.world.contract.grid.shard_count
        if shard >= count:
            raise SettingsError(f"--shard: there is no shard {shard}; the world has {count}, from 0")
        return shard


@contextlib.asynccontextmanager
async def past_of(world: str | None, data: Path | None, *, redis: bool = True) -> AsyncIterator[Past]:
    """The past of the world that the settings name, or of the one in a folder of `overworld dev`."""
    logs.set_up("console", "warning")
    settings.check_names(os.environ, SETTINGS)
    # Nothing is signed and no link is opened: the key that processes need is not needed here.
    given: dict[str, Any] = {"cluster_key": "0" * settings.CLUSTER_KEY_CHARS_MIN}
    given |= folder_settings(data) if data is not None else {}
    given |= {"world": world} if world else {}
    async with contextlib.AsyncExitStack() as stack:
        if data is not None and redis:
            given["redis_url"] = await stack.enter_async_context(folder_redis(data))
        cluster = settings.load(ClusterSettings, **given)
        its_world = world_of(cluster)
        if redis:
            parts = await stack.enter_async_context(stores_of(cluster, its_world.contract))
            yield Past(its_world, parts.ownership, parts.shelf, parts.archive)
        else:
            blobs = await stack.enter_async_context(blobs_of(cluster))
            yield Past(its_world, None, SnapshotStore(blobs, cluster.world), Archive(blobs, cluster.world))


@contextlib.contextmanager
def _about(setting: str) -> Iterator[None]:
    """Say which setting an error is about."""
    try:
        yield
    except (StoreError, SettingsError) as error:
        raise type(error)(f"{setting}: {error}") from error


@contextlib.asynccontextmanager
async def redis_of(cluster: ClusterSettings) -> AsyncIterator[Redis | RedisCluster]:
    """Redis, for as long as this lasts. Raises StoreUnavailable."""
    async with contextlib.AsyncExitStack() as stack:
        credentials = None
        if cluster.redis_auth == "entra":
            credentials = RotatingCredentials(EntraTokens(cluster.redis_user))
            with _about("OVERWORLD_REDIS_AUTH"):
                await credentials.start()
            stack.push_async_callback(credentials.close)
        with _about("OVERWORLD_REDIS_URL"):
            client = await open_redis(
                cluster.redis_url,
                cluster=cluster.redis_cluster,
                credentials=credentials,
                ca_file=cluster.redis_ca_file,
            )
        stack.push_async_callback(client.aclose)
        yield client


@contextlib.asynccontextmanager
async def blobs_of(cluster: ClusterSettings) -> AsyncIterator[Blobs]:
    """Blob storage, for as long as this lasts. Raises SettingsError, StoreUnavailable."""
    if not cluster.blob_url:
        raise SettingsError("OVERWORLD_BLOB_URL: is required (a directory, or an Azure container's URL)")
    with _about("OVERWORLD_BLOB_URL"):
        blobs = open_blobs(cluster.blob_url)
    try:
        with _about("OVERWORLD_BLOB_URL"):
            await blobs.check()
        yield blobs
    finally:
        await blobs.close()


@contextlib.asynccontextmanager
async def stores_of(cluster: ClusterSettings, contract: WorldContract) -> AsyncIterator[Parts]:
    """All stores, for as long as this lasts. Raises SettingsError, StoreUnavailable."""
    async with redis_of(cluster) as client, blobs_of(cluster) as blobs, contextlib.AsyncExitStack() as stack:
        group = GroupCommit(client)
        stack.push_async_callback(group.close)
        policy = CommitPolicy(CommitLevel(contract.commit_level), cluster.commit_replicas)
        yield Parts(
            RedisOwnership(client, group, cluster.world, policy),
            RedisDirectory(client),
            blobs,
            SnapshotStore(blobs, cluster.world),
            Archive(blobs, cluster.world),
        )
