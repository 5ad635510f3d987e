"""Settings: what is accepted, and how a bad one is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from overworld import settings
from overworld.errors import SettingsError
from overworld.settings import ClusterSettings, WorkerSettings

KEY = "k" * settings.CLUSTER_KEY_CHARS_MIN


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OVERWORLD_"):
            monkeypatch.delenv(name)


def test_the_environment_is_read_with_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERWORLD_CLUSTER_KEY", KEY)
    monkeypatch.setenv("OVERWORLD_WORLD", "alpha")
    monkeypatch.setenv("OVERWORLD_WORKER_LEASE_TTL_S", "2.5")
    cluster = settings.load(ClusterSettings)
    assert (cluster.world, cluster.cluster_key_bytes) == ("alpha", KEY.encode())
    assert settings.load(WorkerSettings).lease_ttl_s == 2.5


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERWORLD_WORLD", "alpha")
    assert settings.load(ClusterSettings, cluster_key=KEY, world="beta").world == "beta"


def test_no_env_file_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"OVERWORLD_CLUSTER_KEY={KEY}\n")
    with pytest.raises(SettingsError, match="OVERWORLD_CLUSTER_KEY: is required"):
        settings.load(ClusterSettings)


def test_a_missing_key_is_one_line() -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(ClusterSettings)
    assert str(caught.value) == "OVERWORLD_CLUSTER_KEY: is required"


def test_a_short_key_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(ClusterSettings, cluster_key="hunter2")
    assert "OVERWORLD_CLUSTER_KEY: needs at least 32 characters" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_key_is_not_in_the_printed_settings() -> None:
    assert KEY not in repr(settings.load(ClusterSettings, cluster_key=KEY))


def test_each_bad_setting_has_its_own_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERWORLD_WORKER_PORT", "99999")
    monkeypatch.setenv("OVERWORLD_WORKER_LEASE_TTL_S", "soon")
    with pytest.raises(SettingsError) as caught:
        settings.load(WorkerSettings)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert any(line.startswith("OVERWORLD_WORKER_PORT: ") and "99999" in line for line in lines)
    assert any(line.startswith("OVERWORLD_WORKER_LEASE_TTL_S: ") and "'soon'" in line for line in lines)


def test_a_misspelt_variable_is_told_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"OVERWORLD_WORKER_PROT: no such setting; did you mean .*PORT"):
        settings.check_names({"OVERWORLD_WORKER_PROT": "1", "PATH": "x"}, (ClusterSettings, WorkerSettings))


def test_known_and_foreign_variables_pass() -> None:
    settings.check_names({"OVERWORLD_SEED": "1", "HOME": "/"}, (ClusterSettings, WorkerSettings))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        settings.load(WorkerSettings).port = 1


def test_the_repair_ring_covers_what_may_be_held_back() -> None:
    with pytest.raises(SettingsError, match="ticks_kept_max must be at least ticks_held_max"):
        settings.load(WorkerSettings, ticks_held_max=40, ticks_kept_max=20)


def test_a_worker_on_every_interface_must_say_where_it_is_reached() -> None:
    with pytest.raises(SettingsError, match="address is required"):
        settings.load(WorkerSettings, host="0.0.0.0")
    assert settings.load(WorkerSettings, host="0.0.0.0", address="10.0.0.7:7400").address == "10.0.0.7:7400"


@pytest.mark.parametrize("address", ["10.0.0.7", ":7400", "10.0.0.7:x", "10.0.0.7:0", "10.0.0.7:99999"])
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(SettingsError, match="is not host:port"):
        settings.load(WorkerSettings, address=address)


@pytest.mark.parametrize(("text", "pair"), [("2x1", (2, 1)), ("16x16", (16, 16))])
def test_shards_are_across_and_down(text: str, pair: tuple[int, int]) -> None:
    assert settings.parse_shards(text) == pair


@pytest.mark.parametrize("text", ["2", "x", "0x1", "2x", "2 x 1", "-1x2", "2x1x1"])
def test_bad_shards_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="OVERWORLD_SHARDS"):
        settings.load(ClusterSettings, cluster_key=KEY, shards=text)


def test_secrets_may_stand_in_files_and_the_environment_counts_before_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "overworld_cluster_key").write_text(f"{KEY}from-a-file\n")
    monkeypatch.setenv("OVERWORLD_SECRETS_DIR", str(tmp_path))
    settings.check_names(os.environ, [ClusterSettings])
    assert settings.load(ClusterSettings).cluster_key_bytes == f"{KEY}from-a-file".encode()
    monkeypatch.setenv("OVERWORLD_CLUSTER_KEY", KEY)
    assert settings.load(ClusterSettings).cluster_key_bytes == KEY.encode()


def test_a_secrets_folder_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OVERWORLD_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match=r"OVERWORLD_SECRETS_DIR: .* is no folder"):
        settings.load(ClusterSettings, cluster_key=KEY)


def test_a_second_cluster_key_is_as_long_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERWORLD_CLUSTER_KEY_ALSO", "short")
    with pytest.raises(SettingsError, match="OVERWORLD_CLUSTER_KEY_ALSO: needs at least"):
        settings.load(ClusterSettings, cluster_key=KEY)
