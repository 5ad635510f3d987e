"""What `overworld dev` keeps in its folder."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from overworld.commands.dev import DevOptions, _Ports, cluster_key, origins, remember_world
from overworld.errors import SettingsError
from overworld.settings import CLUSTER_KEY_CHARS_MIN


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    key = cluster_key(tmp_path)
    assert len(key) >= CLUSTER_KEY_CHARS_MIN
    assert cluster_key(tmp_path) == key
    assert (tmp_path / "cluster.key").stat().st_mode & 0o077 == 0


def test_a_folder_keeps_one_world(tmp_path: Path) -> None:
    options = DevOptions(data=tmp_path, title="frontier", shards="2x1")
    remember_world(options)
    remember_world(replace(options, workers=5, bots=0))
    with pytest.raises(SettingsError, match="keeps a world with shards '2x1', not '4x4'"):
        remember_world(replace(options, shards="4x4"))


def test_a_taken_port_gives_way_to_the_next_free_one() -> None:
    ports = _Ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ports.near(port) != port
    first, second = ports.any(), ports.any()
    assert first != second


def test_pages_of_other_servers_are_admitted_where_they_are_named() -> None:
    own = "http://localhost:8080,http://127.0.0.1:8080"
    assert origins([8080], "") == own
    assert origins([8080], "http://127.0.0.1:3000") == f"{own},http://127.0.0.1:3000"
