"""`overworld admin` against a cluster that answers as told, and what it needs to know to find one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from overworld.__main__ import main
from overworld.admin.rank import Rank
from overworld.admin.tokens import AdminTokens
from overworld.commands.dev import cluster_key
from overworld.commands.dev_folder import admin_urls, tell_admin_urls
from overworld.gateway.tokens import GUEST_ISSUER, player_id

KEY = "k" * 40
WORKERS: list[dict[str, Any]] = [
    {"name": "worker-0", "address": "h:1", "shards": 3, "players": 5, "entities": 90, "leads": True, "error": ""},
    {"name": "worker-1", "address": "h:2", "shards": 0, "players": 0, "entities": 0, "emptied": True, "error": ""},
]


class Stand:
    """An HTTP server that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        stand = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.removeprefix("/admin/v1/")
                stand.asked.append((self.command, path, json.loads(body or b"{}")))
                good = AdminTokens(KEY.encode(), "s" * 40).check(token, time.time())
                status, said = stand.answers[path] if good else (401, {"error": "a bearer token is required"})
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(said).encode())

            do_POST = do_GET  # noqa: N815 - the library names it

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(10)


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("OVERWORLD_ADMIN_URL", "OVERWORLD_ADMIN_TOKEN", "OVERWORLD_CLUSTER_KEY"):
        monkeypatch.delenv(name, raising=False)


def admin(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["admin", *arguments], env=environment)


def test_lists_are_tables_for_people_and_json_for_machines(stand: Stand) -> None:
    stand.answers["workers"] = 200, {"workers": WORKERS}
    shown = admin("list", "workers", "--url", stand.url, OVERWORLD_CLUSTER_KEY=KEY)
    assert shown.exit_code == 0, shown.output
    assert [line.split() for line in shown.output.splitlines()] == [
        ["name", "address", "shards", "players", "entities", "state"],
        ["worker-0", "h:1", "3", "5", "90", "balances"],
        ["worker-1", "h:2", "0", "0", "0", "drained"],
    ]
    shown = admin("list", "workers", "--json", OVERWORLD_CLUSTER_KEY=KEY, OVERWORLD_ADMIN_URL=stand.url)
    assert json.loads(shown.output) == {"workers": WORKERS}


def test_orders_are_given_once(stand: Stand) -> None:
    number = player_id(GUEST_ISSUER, "anna")
    stand.answers |= {
        "shards/3/migrate": (200, {"shard": 3, "owner": "worker-1", "pause_ms": 51.5}),
        "worlds/main/pause": (200, {"world": "main", "paused": {}}),
        "worlds/main/resume": (200, {"world": "main", "paused": None}),
        "worlds": (200, {"worlds": [{"world": "main"}]}),
        f"players/{number}/kick": (200, {"sockets": 1}),
        "players/7/kick": (200, {"sockets": 2}),
        "broadcast": (200, {"sockets": 400}),
    }
    environment = {"OVERWORLD_ADMIN_URL": stand.url, "OVERWORLD_ADMIN_TOKEN": "s" * 40}
    for arguments, line in (
        (("migrate", "3", "worker-1"), "shard 3 is run by worker-1; it stood still for 51.5 ms\n"),
        (("pause",), "world main stands still within a second\n"),
        (("resume", "main"), "world main goes on within a second\n"),
        (("kick", "anna", "--reason", "rude"), f"player {number} is gone: 1 sockets closed\n"),
        (("kick", "7"), "player 7 is gone: 2 sockets closed\n"),
        (("broadcast", "noon"), "shown to 400 players\n"),
    ):
        shown = admin(*arguments, **environment)
        assert (shown.exit_code, shown.output) == (0, line)
    assert [asked for asked in stand.asked if asked[0] == "POST"] == [
        ("POST", "shards/3/migrate", {"to": "worker-1"}),
        ("POST", "worlds/main/pause", {}),
        ("POST", "worlds/main/resume", {}),
        ("POST", f"players/{number}/kick", {"reason": "rude"}),
        ("POST", "players/7/kick", {"reason": ""}),
        ("POST", "broadcast", {"text": "noon"}),
    ]


def test_a_drain_waits_until_the_worker_is_empty(stand: Stand) -> None:
    stand.answers["workers/worker-1/drain"] = 200, {"worker": "worker-1", "emptied": True, "balanced": True}
    stand.answers["shards"] = 200, {"shards": [{"shard": 0, "owner": "worker-0"}]}
    environment = {"OVERWORLD_ADMIN_URL": stand.url, "OVERWORLD_ADMIN_TOKEN": "s" * 40}
    shown = admin("drain", "worker-1", **environment)
    assert (shown.exit_code, shown.output) == (0, "worker-1 is empty\n")
    stand.answers["shards"] = 200, {"shards": [{"shard": 0, "owner": "worker-1"}]}
    shown = admin("drain", "worker-1", "--wait", "0.1", **environment)
    assert (shown.exit_code, shown.output) == (1, "worker-1 still has 1 shards\n")
    shown = admin("drain", "worker-1", "--undo", **environment)
    assert (shown.exit_code, shown.output) == (0, "worker-1 takes shards again\n")
    assert stand.asked[-1] == ("POST", "workers/worker-1/drain", {"undo": True})


def test_the_balance_is_shown_with_what_would_be_moved(stand: Stand) -> None:
    row = {"name": "worker-0", "address": "h:1", "shards": 3, "load_ms_per_s": 60.0, "capacity": 1.0, "takes": True}
    move = {"shard": 2, "source": "worker-0", "target": "worker-1"}
    stand.answers["balance"] = (
        200,
        {
            "balance": {
                "leader": "worker-0", "on": True, "unbalanced": 0.5, "mean_ms_per_s": 40.0, "workers": [row],
                "under_way": [], "plan": [move],
            }
        },
    )  # fmt: skip
    shown = admin("balance", OVERWORLD_ADMIN_URL=stand.url, OVERWORLD_ADMIN_TOKEN="s" * 40)
    assert "the highest load is 50% above the mean of 40 CPU ms a second; balanced by worker-0" in shown.output
    assert "would be moved if this lasts: shard 2 from worker-0 to worker-1" in shown.output


def test_what_goes_wrong_is_one_line(stand: Stand, tmp_path: Path) -> None:
    stand.answers["broadcast"] = 403, {"error": "this token may only look"}
    good = {"OVERWORLD_ADMIN_URL": stand.url, "OVERWORLD_ADMIN_TOKEN": "s" * 40}
    for arguments, environment, line in (
        (("broadcast", "hello"), good, "overworld: this token may only look"),
        (("list", "workers"), good | {"OVERWORLD_ADMIN_TOKEN": "wrong"}, "overworld: a bearer token is required"),
        (("list", "workers"), good | {"OVERWORLD_ADMIN_URL": "http://127.0.0.1:1"}, "overworld: no answer from http:"),
        (("list", "workers"), good | {"OVERWORLD_ADMIN_URL": "nonsense"}, "overworld: --url: 'nonsense' is not http"),
        (("list", "workers"), {"OVERWORLD_ADMIN_URL": stand.url}, "overworld: OVERWORLD_ADMIN_TOKEN or OVERWORLD_CLU"),
        (("list", "workers"), {}, "overworld: no cluster to ask: no `overworld dev` runs on .overworld; give --url"),
        (("list", "workers", "--data", str(tmp_path)), good, "overworld: no cluster to ask: no `overworld dev` runs"),
    ):
        shown = admin(*arguments, **environment)
        assert shown.exit_code == 2, shown.output
        assert shown.output.startswith(line), shown.output
        assert shown.output.count("\n") == 1


def test_beside_overworld_dev_nothing_needs_to_be_given(stand: Stand, tmp_path: Path) -> None:
    folder = tmp_path / ".overworld"
    folder.mkdir()
    (folder / "cluster.key").write_text(KEY)
    # The first of them has died meanwhile.
    tell_admin_urls(folder, ["http://127.0.0.1:1", stand.url])
    stand.answers["gateways"] = 200, {"gateways": []}
    assert json.loads(admin("list", "gateways", "--json").output) == {"gateways": []}
    tell_admin_urls(folder, [])
    assert admin_urls(folder) == []
    assert admin("list", "gateways").exit_code == 2


def test_a_token_can_be_signed_for_somebody(tmp_path: Path) -> None:
    shown = admin("token", "--name", "anna", "--read", OVERWORLD_CLUSTER_KEY=KEY)
    caller = AdminTokens(KEY.encode()).check(shown.output.strip(), time.time())
    assert caller is not None
    assert (caller.who, caller.rank) == ("anna", Rank.READER)
    key = cluster_key(tmp_path)
    shown = admin("token", "--data", str(tmp_path))
    caller = AdminTokens(key.encode()).check(shown.output.strip(), time.time())
    assert caller is not None
    assert caller.rank is Rank.ADMINISTRATOR
