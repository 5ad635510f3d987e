"""`overworld admin`: looks at a running cluster and gives it orders, over the admin API of any of its processes."""

from __future__ import annotations

import functools
import getpass
import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click
from rich.console import Console
from rich.table import Table

from overworld import settings
from overworld.admin.node import PATH
from overworld.admin.tokens import ADMIN, READ, AdminTokens
from overworld.commands.dev_folder import admin_urls, folder_key
from overworld.commands.wiring import SETTINGS
from overworld.errors import AdminError, SettingsError
from overworld.settings import AdminSettings

TIMEOUT_S = 65.0
TOKEN_TTL_S = 60.0
POLL_S = 0.5
LINE_CHARS_MAX = 250
"""Lines are as long as they need to be: a terminal folds them, and a name that is cut off is of no use."""
DATA = Path(".overworld")

COLUMNS: Mapping[str, Sequence[str]] = {
    "worlds": ("world", "title", "title_version", "shards", "shards_running", "shards_asleep", "players", "entities",
               "workers", "gateways", "paused"),
    "shards": ("shard", "owner", "phase", "epoch", "tick", "players", "entities", "tick_ms", "cpu_ms_per_s",
               "snapshot_age_s", "standbys"),
    "workers": ("name", "address", "shards", "players", "entities", "cpu_ms_per_s", "capacity", "state", "error"),
    "gateways": ("name", "address", "sockets", "sessions", "behind", "backlog_bytes", "state", "error"),
    "players": ("player", "shard", "gateway", "state", "client", "address"),
}  # fmt: skip


class Remote:
    """The admin API as a client sees it. `urls` are tried one after the other until one answers."""

    def __init__(self, urls: Sequence[str], token: str) -> None:
        self._urls = list(urls)
        self._token = token

    def get(self, path: str) -> dict[str, Any]:
        """Raises AdminError."""
        return self._call("GET", path, None)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Raises AdminError."""
        return self._call("POST", path, json.dumps(body))

    def _call(self, method: str, path: str, body: str | None) -> dict[str, Any]:
        refused = ""
        for url in self._urls:
            parts = urlsplit(url)
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
            try:
                connection.connect()
            except OSError as error:
                refused = f"no answer from {url}: {error}"
                connection.close()
                continue
            # From here on it may have been done: never twice.
            try:
                return self._answer(connection, method, f"{parts.path.rstrip('/')}{PATH}/{path}", body)
            except (OSError, http.client.HTTPException) as error:
                raise AdminError(502, f"{url} did not finish its answer: {error}") from error
            finally:
                connection.close()
        raise AdminError(502, refused)

    def _answer(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        try:
            said = json.loads(text)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise AdminError(answer.status, f"status {answer.status}, not the admin API: {text[:200].strip()}")
        if answer.status != 200:
            raise AdminError(answer.status, str(said.get("error", answer.status)))
        return said


@dataclass(frozen=True)
class Session:
    """One command: whom it asks, and how it shows the answer."""

    remote: Remote
    console: Console
    as_json: bool

    def show(self, said: Mapping[str, Any], line: str) -> None:
        """An answer: all of it as JSON, or one line for people."""
        if self.as_json:
            click.echo(json.dumps(said))
        else:
            self.console.print(line, highlight=False, soft_wrap=True)

    def show_rows(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """A table for people. Columns that are empty everywhere are left out."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        used = [name for name in columns if any(row.get(name) not in ("", None, [], ()) for row in rows)]
        for name in used or columns[:1]:
            number = rows and all(isinstance(row.get(name), (int, float)) for row in rows)
            table.add_column(name.replace("_", " "), justify="right" if number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*(_cell(row.get(name)) for name in used or columns[:1]))
        self.console.print(table, soft_wrap=True)


def _with_session(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every command has."""

    @click.option("--url", default="", help="http://host:port of any internal port; or OVERWORLD_ADMIN_URL.")
    @click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help=f"The folder of a running `overworld dev`.  [default: {DATA}, where no URL is given]",
    )
    @click.option("--json", "as_json", is_flag=True, help="The answer as JSON.")
    @functools.wraps(command)
    def wrapped(url: str, data: Path | None, as_json: bool, **options: Any) -> None:
        command(Session(Remote(*find(url, data)), Console(width=LINE_CHARS_MAX), as_json), **options)

    return wrapped


def find(url: str, data: Path | None) -> tuple[list[str], str]:
    """Where to ask, and with which token. Raises SettingsError where that is not known."""
    settings.check_names(os.environ, SETTINGS)
    own = settings.load(AdminSettings)
    url = url or (own.url if data is None else "")
    if url:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"--url: {url!r} is not http://host:port")
        return [url], _token(own, data)
    folder = data or DATA
    urls = admin_urls(folder)
    if not urls:
        raise SettingsError(
            f"no cluster to ask: no `overworld dev` runs on {folder}; give --url or OVERWORLD_ADMIN_URL"
        )
    return urls, _token(own, folder)


def _token(own: AdminSettings, folder: Path | None) -> str:
    """The one that was given, or one of our own where the cluster's key is at hand."""
    if own.token.get_secret_value():
        return own.token.get_secret_value()
    if folder is not None:
        key = folder_key(folder)
    elif os.environ.get("OVERWORLD_CLUSTER_KEY"):
        key = settings.load(settings.ClusterSettings).cluster_key_bytes
    else:
        raise SettingsError("OVERWORLD_ADMIN_TOKEN or OVERWORLD_CLUSTER_KEY is required")
    return AdminTokens(key).issue(_who(), time.time(), TOKEN_TTL_S)


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


# ---------------------------------------------------------------- look


@click.group()
def admin() -> None:
    """Look at a running cluster, and give it orders.

    Any worker or gateway can be asked. Beside a running `overworld dev` nothing needs to be given.
    """


@admin.command(name="list")
@click.argument("what", type=click.Choice(list(COLUMNS)))
@_with_session
def list_command(session: Session, what: str) -> None:
    """Show worlds, shards, workers, gateways or players."""
    said = session.remote.get(what)
    if session.as_json:
        click.echo(json.dumps(said))
        return
    session.show_rows(COLUMNS[what], [_for_people(row) for row in said[what]])


@admin.command()
@_with_session
def balance(session: Session) -> None:
    """Show loads, and what would be moved to even them out."""
    said = session.remote.get("balance")["balance"]
    if session.as_json:
        click.echo(json.dumps(said))
        return
    session.show_rows(("name", "address", "shards", "load_ms_per_s", "capacity", "takes", "emptied"), said["workers"])
    leader = said["leader"] or ("nobody now" if said["on"] else "nobody: it is switched off")
    more = f"{said['unbalanced']:.0%} above the mean of {said['mean_ms_per_s']:g} CPU ms a second"
    session.console.print(f"the highest load is {more}; balanced by {leader}", highlight=False)
    for title, moves in (("on their way", said["under_way"]), ("would be moved if this lasts", said["plan"])):
        for move in moves:
            text = f"{title}: shard {move['shard']} from {move['source']} to {move['target']}"
            session.console.print(text, highlight=False)


# ---------------------------------------------------------------- orders


@admin.command()
@click.argument("worker")
@click.option("--undo", is_flag=True, help="Let it take shards again.")
@click.option("--wait", "wait_s", default=60.0, show_default=True, type=click.FloatRange(0), help="Seconds to wait.")
@_with_session
def drain(session: Session, worker: str, undo: bool, wait_s: float) -> None:
    """Move all shards of a worker to others, while they are played; it goes on running without.

    Exit code 1 where it still has some after the wait.
    """
    said = session.remote.post(f"workers/{quote(worker, safe='')}/drain", undo=undo)
    if undo:
        session.show(said, f"{worker} takes shards again")
        return
    until_s = time.monotonic() + wait_s
    left = _shards_of(session.remote, said["worker"])
    while left and time.monotonic() < until_s:
        time.sleep(POLL_S)
        left = _shards_of(session.remote, said["worker"])
    done = "is empty" if not left else f"still has {left} shards"
    hint = "" if said["balanced"] or not left else ": balancing is switched off there, migrate them by hand"
    session.show(said | {"shards_left": left}, f"{worker} {done}{hint}")
    if left and wait_s:
        raise click.exceptions.Exit(1)


@admin.command()
@click.argument("shard", type=click.IntRange(0))
@click.argument("worker")
@_with_session
def migrate(session: Session, shard: int, worker: str) -> None:
    """Move a shard to a worker, while it is played."""
    said = session.remote.post(f"shards/{shard}/migrate", to=worker)
    session.show(said, f"shard {shard} is run by {said['owner']}; it stood still for {said['pause_ms']:g} ms")


@admin.command()
@click.argument("world", required=False)
@_with_session
def pause(session: Session, world: str | None) -> None:
    """Let a world stand still; players stay connected."""
    _pause(session, world, "pause", "stands still within a second")


@admin.command()
@click.argument("world", required=False)
@_with_session
def resume(session: Session, world: str | None) -> None:
    """Let a paused world go on."""
    _pause(session, world, "resume", "goes on within a second")


def _pause(session: Session, world: str | None, order: str, what: str) -> None:
    name = world or session.remote.get("worlds")["worlds"][0]["world"]
    session.show(session.remote.post(f"worlds/{quote(name, safe='')}/{order}"), f"world {name} {what}")


@admin.command()
@click.argument("player")
@click.option("--reason", default="", help="The player sees it.")
@_with_session
def kick(session: Session, player: str, reason: str) -> None:
    """End a player's session: a number as `list players` shows it, or a guest's name."""
    from overworld.gateway.tokens import GUEST_ISSUER, player_id

    number = int(player) if player.isdecimal() else player_id(GUEST_ISSUER, player)
    said = session.remote.post(f"players/{number}/kick", reason=reason)
    session.show(said, f"player {number} is gone: {said['sockets']} sockets closed")


@admin.command()
@click.argument("text")
@_with_session
def broadcast(session: Session, text: str) -> None:
    """Show a text to everybody who plays."""
    said = session.remote.post("broadcast", text=text)
    session.show(said, f"shown to {said['sockets']} players")


@admin.command()
@click.option("--name", default="", help="Who will have called, in logs.  [default: user@host]")
@click.option("--ttl", "ttl_s", default=3600, show_default=True, type=click.IntRange(5, 366 * 86400), help="Seconds.")
@click.option("--read", is_flag=True, help="Good for looking only.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The folder of an `overworld dev`.")
def token(name: str, ttl_s: int, read: bool, data: Path | None) -> None:
    """Sign a token for the admin API with the cluster's key (OVERWORLD_CLUSTER_KEY)."""
    key = folder_key(data) if data is not None else settings.load(settings.ClusterSettings).cluster_key_bytes
    click.echo(AdminTokens(key).issue(name or _who(), time.time(), ttl_s, READ if read else ADMIN))


# ---------------------------------------------------------------- what people see


def _shards_of(remote: Remote, worker: str) -> int:
    return sum(shard["owner"] == worker for shard in remote.get("shards")["shards"])


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(row)
    states = [word for word in ("draining", "emptied", "leads") if row.get(word)]
    shown.setdefault("state", ", ".join({"leads": "balances", "emptied": "drained"}.get(w, w) for w in states))
    if row.get("paused"):
        shown["paused"] = f"by {row['paused'].get('by', '?')} since {row['paused'].get('since', '?')}"
    if "standbys" in row:
        lags = [f"{s['worker']} ({'not ready' if s['lag_ticks'] is None else s['lag_ticks']})" for s in row["standbys"]]
        shown["standbys"] = ", ".join(lags)
    return shown


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
