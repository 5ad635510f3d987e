"""The command line, and the composition root: the only place where parts are wired and the environment is read."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from redis.asyncio import Redis, RedisCluster

from overworld import __version__, settings
from overworld.commands import health, logs, running
from overworld.commands.title_loader import installed_titles, load_title
from overworld.errors import OverworldError, SettingsError, StoreError
from overworld.game import Title, contract_of
from overworld.settings import ClusterSettings, GatewaySettings, WorkerSettings, parse_shards
from overworld.store.archive import Archive
from overworld.store.blobs import open_blobs
from overworld.store.group_commit import GroupCommit
from overworld.store.ports import Blobs, CommitLevel, CommitPolicy
from overworld.store.redis_client import open_redis
from overworld.store.redis_directory import RedisDirectory
from overworld.store.redis_ownership import RedisOwnership
from overworld.store.snapshots import SnapshotStore
from overworld.world.contract import WorldContract

SETTINGS = (ClusterSettings, WorkerSettings, GatewaySettings)
EXIT_REFUSED = 2


class _OneLineErrors(click.Group):
    """Errors that we raise on purpose are told in one line each, not as a stack trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OverworldError as error:
            for line in str(error).splitlines():
                click.echo(f"overworld: {line}", err=True)
            sys.exit(EXIT_REFUSED)


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="overworld")
def main() -> None:
    """Overworld: an authoritative multiplayer game server.

    Settings are environment variables: OVERWORLD_* for every process, OVERWORLD_WORKER_* and OVERWORLD_GATEWAY_*.
    """


_follow_stdin = click.option("--follow-stdin", is_flag=True, help="Stop in order when standard input closes.")


# ---------------------------------------------------------------- worker


@main.command()
@_follow_stdin
def worker(follow_stdin: bool) -> None:
    """Own shards and tick them."""
    from overworld.worker.host import Stores
    from overworld.worker.service import Worker

    cluster, own = _settings(WorkerSettings)
    world = _world(cluster)
    logs.set_up(cluster.log_format, cluster.log_level, role="worker", **_named(own.name))

    async def work() -> int:
        async with _stores(cluster, world.contract) as parts:
            service = Worker(
                own,
                world.contract,
                world.title,
                Stores(parts.ownership, parts.shelf, parts.archive if cluster.archive else None),
                parts.directory,
                cluster.cluster_key_bytes,
            )
            return await running.until_stopped(service, follow_stdin=follow_stdin)

    sys.exit(running.run(work))


# ---------------------------------------------------------------- gateway


@main.command()
@_follow_stdin
def gateway(follow_stdin: bool) -> None:
    """Hold players' sockets."""
    from overworld.gateway.service import Gateway

    cluster, own = _settings(GatewaySettings)
    world = _world(cluster)
    logs.set_up(cluster.log_format, cluster.log_level, role="gateway", **_named(own.name))

    async def work() -> int:
        async with _redis(cluster) as client:
            service = Gateway(own, world.contract, RedisDirectory(client), cluster.cluster_key_bytes)
            return await running.until_stopped(service, follow_stdin=follow_stdin)

    sys.exit(running.run(work))


# ---------------------------------------------------------------- everything on one machine


@main.command()
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--gateways", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--bots", default=50, show_default=True, type=click.IntRange(0, 10_000))
@click.option("--shards", default="", help="Across x down, e.g. 2x1; without it as the title says.")
@click.option("--title", default="frontier", show_default=True)
@click.option("--world", default="main", show_default=True)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Of the first page.")
@click.option("--data", default=".overworld", show_default=True, type=click.Path(path_type=Path, file_okay=False))
def dev(**options: Any) -> None:
    """Play on this machine: Redis, workers, gateways and bots; Ctrl-C stops all, and the world is kept."""
    from rich.console import Console

    from overworld.commands.dev import Dev, DevOptions

    settings.check_names(os.environ, SETTINGS)
    world = _world(settings.load(ClusterSettings, **_dev_cluster(options)))
    options["shards"] = "x".join(str(n) for n in world.contract.grid.shards)
    logs.set_up("console", "warning")
    chosen = DevOptions(**options)
    sys.exit(running.run(Dev(chosen, Console()).run))


def _dev_cluster(options: dict[str, Any]) -> dict[str, Any]:
    given = {name: options[name] for name in ("title", "world", "shards", "seed")}
    return given | {"cluster_key": "0" * settings.CLUSTER_KEY_CHARS_MIN}


# ---------------------------------------------------------------- players without people


@main.command()
@click.option("--players", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--url", "urls", multiple=True, required=True, help="ws://host:port/play; may be given several times.")
@click.option("--guest-url", "guest_urls", multiple=True, help="http://host:port that gives tokens to guests.")
@click.option("--title", default=lambda: os.environ.get("OVERWORLD_TITLE", "frontier"))
@click.option("--seed", default=0, show_default=True)
@click.option("--seconds", default=None, type=float, help="Stop after this long; without it, on a signal.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 256))
@click.option("--light", is_flag=True, help="Keep no picture of the world: for load.")
@_follow_stdin
def bots(
    players: int,
    urls: tuple[str, ...],
    guest_urls: tuple[str, ...],
    title: str,
    seed: int,
    seconds: float | None,
    processes: int,
    light: bool,
    follow_stdin: bool,
) -> None:
    """Play without people. Prints what happened as JSON."""
    from overworld.client import bots as bot_runner
    from overworld.client.guest import Tokens
    from overworld.client.swarm import BotOptions

    logs.set_up("console", "info", role="bots")
    if follow_stdin:
        running.terminate_when_stdin_closes()
    if guest_urls:
        tokens = Tokens(guest_urls=guest_urls, title=title)
    else:
        cluster = settings.load(ClusterSettings, title=title)
        tokens = Tokens(cluster_key=cluster.cluster_key_bytes, world=cluster.world, title=title)
    options = BotOptions(
        urls=urls,
        title=title,
        tokens=tokens,
        count=players,
        processes=processes,
        seed=seed,
        duration_s=seconds,
        light=light,
    )
    click.echo(json.dumps(bot_runner.run(options).summary()))


# ---------------------------------------------------------------- small ones


@main.command()
@click.option("--name", default="guest", show_default=True, help="Whose token; the same name is the same player.")
@click.option("--ttl", "ttl_s", default=3600, show_default=True, type=click.IntRange(5, 86400), help="Seconds.")
def token(name: str, ttl_s: int) -> None:
    """Sign a login token with the cluster's key, for development and tests."""
    from overworld.gateway.tokens import GuestTokens

    cluster = settings.load(ClusterSettings)
    audience = f"{cluster.world}/{cluster.title}"
    click.echo(GuestTokens(cluster.cluster_key_bytes, audience, ttl_s).issue(name, time.time()))


@main.command(name="health")
@click.option("--port", default=0, help="The internal port; without it, the ones of the settings are tried.")
def health_command(port: int) -> None:
    """Ask this machine's worker or gateway whether it is ready; exit code 1 where it is not."""
    ports = [port] if port else [settings.load(WorkerSettings).http_port, settings.load(GatewaySettings).internal_port]
    asked = [health.ask(number) for number in ports if number]
    if not asked:
        raise SettingsError(
            "no internal port is set: give --port, OVERWORLD_WORKER_HTTP_PORT or OVERWORLD_GATEWAY_INTERNAL_PORT"
        )
    good = [said for healthy, said in asked if healthy]
    click.echo("; ".join(good or [said for _, said in asked]))
    sys.exit(0 if good else 1)


@main.command()
def titles() -> None:
    """List the games that are installed."""
    for name, point in installed_titles().items():
        try:
            title = load_title(name)
            grid = contract_of(title, "main").grid
        except OverworldError as error:
            click.echo(f"{name}\t{point.value}\tcannot be used: {error}")
        else:
            size = f"{grid.width}x{grid.height}, {grid.shards[0]}x{grid.shards[1]} shards, {grid.tick_hz} Hz"
            click.echo(f"{name}\t{point.value}\tversion {title.version}, {size}")


# ---------------------------------------------------------------- wiring


@dataclass(frozen=True)
class _World:
    title: Title
    contract: WorldContract


@dataclass(frozen=True)
class _Parts:
    ownership: RedisOwnership
    directory: RedisDirectory
    blobs: Blobs
    shelf: SnapshotStore
    archive: Archive


def _settings(kind: type[settings.S]) -> tuple[ClusterSettings, settings.S]:
    settings.check_names(os.environ, SETTINGS)
    return settings.load(ClusterSettings), settings.load(kind)


def _named(name: str) -> dict[str, str]:
    return {"process": name} if name else {}


def _world(cluster: ClusterSettings) -> _World:
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
    return _World(title, contract)


@contextlib.contextmanager
def _about(setting: str) -> Iterator[None]:
    """Say which setting an error is about."""
    try:
        yield
    except (StoreError, SettingsError) as error:
        raise type(error)(f"{setting}: {error}") from error


@contextlib.asynccontextmanager
async def _redis(cluster: ClusterSettings) -> AsyncIterator[Redis | RedisCluster]:
    with _about("OVERWORLD_REDIS_URL"):
        client = await open_redis(cluster.redis_url)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def _stores(cluster: ClusterSettings, contract: WorldContract) -> AsyncIterator[_Parts]:
    if not cluster.blob_url:
        raise SettingsError("OVERWORLD_BLOB_URL: is required (a directory, or an Azure container's URL)")
    async with _redis(cluster) as client, contextlib.AsyncExitStack() as stack:
        with _about("OVERWORLD_BLOB_URL"):
            blobs = open_blobs(cluster.blob_url)
            stack.push_async_callback(blobs.close)
            await blobs.check()
        group = GroupCommit(client)
        stack.push_async_callback(group.close)
        policy = CommitPolicy(CommitLevel(contract.commit_level), cluster.commit_replicas)
        yield _Parts(
            RedisOwnership(client, group, cluster.world, policy),
            RedisDirectory(client),
            blobs,
            SnapshotStore(blobs, cluster.world),
            Archive(blobs, cluster.world),
        )


if __name__ == "__main__":
    main()
