"""The command line and, with `overworld.commands.wiring`, the composition root: nowhere else are parts wired, or is the
environment read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from overworld import __version__, settings
from overworld.client.networks import NETWORKS, network_of
from overworld.commands import health, logs, running, traces
from overworld.commands.admin import admin
from overworld.commands.title_loader import installed_titles, load_title
from overworld.commands.wiring import SETTINGS, keys_of, oidc_of, past_of, redis_of, settings_of, stores_of, world_of
from overworld.errors import OverworldError, SettingsError
from overworld.game import contract_of
from overworld.settings import ClusterSettings, GatewaySettings, WorkerSettings
from overworld.store.redis_directory import RedisDirectory

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


def _named(name: str) -> dict[str, str]:
    return {"process": name} if name else {}


# ---------------------------------------------------------------- worker


@main.command()
@_follow_stdin
def worker(follow_stdin: bool) -> None:
    """Own shards and tick them."""
    from overworld.worker.service import Worker
    from overworld.worker.takeover import Stores

    cluster, own = settings_of(WorkerSettings)
    world = world_of(cluster)
    logs.set_up(cluster.log_format, cluster.log_level, role="worker", **_named(own.name))

    async def work() -> int:
        async with stores_of(cluster, world.contract) as parts:
            service = Worker(
                own,
                world.contract,
                world.title,
                Stores(parts.ownership, parts.shelf, parts.archive if cluster.archive else None),
                parts.directory,
                keys_of(cluster),
                cluster.admin_token.get_secret_value(),
                oidc_of(cluster),
            )
            return await running.until_stopped(service, follow_stdin=follow_stdin)

    with traces.told(cluster, "worker", own.name):
        code = running.run(work)
    sys.exit(code)


# ---------------------------------------------------------------- gateway


@main.command()
@_follow_stdin
def gateway(follow_stdin: bool) -> None:
    """Hold players' sockets."""
    from overworld.gateway.service import Gateway

    cluster, own = settings_of(GatewaySettings)
    world = world_of(cluster)
    logs.set_up(cluster.log_format, cluster.log_level, role="gateway", **_named(own.name))

    async def work() -> int:
        async with redis_of(cluster) as client:
            token = cluster.admin_token.get_secret_value()
            service = Gateway(own, world.contract, RedisDirectory(client), keys_of(cluster), token, oidc_of(cluster))
            return await running.until_stopped(service, follow_stdin=follow_stdin)

    with traces.told(cluster, "gateway", own.name):
        code = running.run(work)
    sys.exit(code)


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
@click.option("--network", type=click.Choice(list(NETWORKS)), help="A bad network between pages and gateways.")
def dev(**options: Any) -> None:
    """Play on this machine: Redis, workers, gateways and bots; Ctrl-C stops all, and the world is kept."""
    from rich.console import Console

    from overworld.commands.dev import Dev, DevOptions

    settings.check_names(os.environ, SETTINGS)
    world = world_of(settings.load(ClusterSettings, **_dev_cluster(options)))
    options["shards"] = "x".join(str(n) for n in world.contract.grid.shards)
    options["commit_level"] = world.contract.commit_level
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
@click.option("--network", type=click.Choice(list(NETWORKS)), help="A bad network between bots and gateways.")
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
    network: str | None,
    follow_stdin: bool,
) -> None:
    """Play without people. Prints what happened as JSON."""
    from overworld.client import bots as bot_runner
    from overworld.client.guest import Tokens
    from overworld.client.proxy import Road
    from overworld.client.swarm import BotOptions

    logs.set_up("console", "info", role="bots")
    if network:
        try:
            Road(urls, network_of(network))
        except ValueError as error:
            raise click.UsageError(str(error)) from error
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
        network=network or "",
    )
    click.echo(json.dumps(bot_runner.run(options).summary()))


# ---------------------------------------------------------------- the past


_world_option = click.option("--world", default=None, help="Without it, as OVERWORLD_WORLD or the folder says.")
_data_option = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="The folder of an `overworld dev`, running or not."
)
_branch_option = click.option(
    "--branch",
    default="",
    help="As `overworld archive` shows it; current; or then: the one that was current at the time.",
)
_archived_option = click.option("--archived", is_flag=True, help="From the archive alone, without Redis.")


@main.command()
@_world_option
@_data_option
@_branch_option
@_archived_option
@click.option("--shard", default=0, show_default=True, type=click.IntRange(0))
@click.option("--from", "start", default="", help="First tick, or a time like 2026-07-29T10:00:00Z.")
@click.option("--to", "end", default="", help="Last tick or time.")
@click.option("--digests", type=click.IntRange(0), help="A digest for every n-th tick; 0: none.  [default: 20]")
@click.option("--player", default="", help="Show this player's inputs and avatar: a number, or a guest's name.")
@click.option("--dump", default="", help="Show the whole state at this tick or time.")
def replay(
    shard: int, start: str, end: str, branch: str, digests: int | None, player: str, dump: str, archived: bool,
    world: str | None, data: Path | None,
) -> None:  # fmt: skip
    """Run a stretch of a shard's past again, check it against the journal, show it as JSON lines.

    Exit code 1 where the replay does not give what the journal says.
    """
    from overworld.commands import replay as command
    from overworld.gateway.tokens import GUEST_ISSUER, player_id
    from overworld.worker.moments import parse

    options = command.ReplayOptions(
        start=parse(start) if start else None,
        end=parse(end) if end else None,
        branch=branch,
        player=(int(player) if player.isdigit() else player_id(GUEST_ISSUER, player)) if player else None,
        dump=parse(dump) if dump else None,
        digests=digests if digests is not None else 0 if player or dump else 20,
    )

    async def work() -> int:
        async with past_of(world, data, redis=not archived) as past:
            return await command.replay(
                past.history(shard), lambda: past.new_core(shard), options, click.echo, _tell
            )  # fmt: skip

    sys.exit(running.run(work))


@main.command()
@_world_option
@_data_option
@_branch_option
@click.option("--at", required=True, help="A tick, or a time like 2026-07-29T10:00:00Z.")
@click.option("--shard", "shards", multiple=True, type=click.IntRange(0), help="Only this one; may be given again.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--force", is_flag=True, help="Take the shards from owners that live.")
def restore(
    at: str, shards: tuple[int, ...], branch: str, dry_run: bool, force: bool, world: str | None, data: Path | None
) -> None:
    """Bring a stopped world back as it was. What is given up stays in the archive as a branch."""
    from overworld.commands import restore as command
    from overworld.worker.moments import parse

    moment, watch_s = parse(at), 2 * max(1.0, settings.load(WorkerSettings).lease_ttl_s)

    async def work() -> int:
        async with past_of(world, data) as past:
            every = shards or range(past.world.contract.grid.shard_count)
            options = command.RestoreOptions(moment, list(every), branch, force, dry_run, watch_s)
            assert past.ownership is not None
            stores = command.RestoreStores(past.ownership, past.shelf, past.archive)
            return await command.restore(stores, past.new_core, options, click.echo)

    sys.exit(running.run(work))


@main.command()
@_world_option
@_data_option
@_archived_option
def archive(world: str | None, data: Path | None, archived: bool) -> None:
    """Show what is kept of a world's past: branches, ticks, times."""
    from overworld.commands.past import show_past

    async def work() -> int:
        async with past_of(world, data, redis=not archived) as past:
            for shard in range(past.world.contract.grid.shard_count):
                await show_past(past.history(shard), click.echo)
        return 0

    sys.exit(running.run(work))


def _tell(text: str) -> None:
    click.echo(text, err=True)


main.add_command(admin)


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
@click.option("--title", required=True, help="An installed one, or package.module:Class.")
@click.option("--language", required=True, type=click.Choice(("typescript", "python", "csharp")))
@click.option("--out", default=".", show_default=True, type=click.Path(path_type=Path, file_okay=False))
def codegen(title: str, language: str, out: Path) -> None:
    """Write a title's kinds and inputs as typed code for its clients."""
    from overworld.commands.codegen.languages import write_code

    click.echo(write_code(load_title(title), language, out))


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


if __name__ == "__main__":
    main()
