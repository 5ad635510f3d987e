"""The parts other tests stand on are the real ones, and answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from azure.storage.blob.aio import ContainerClient

from tests.parts.azurite import Azurite
from tests.parts.chromium import launch_flags
from tests.parts.ports import free_port
from tests.parts.process import PartProcess


@pytest.mark.asyncio
async def test_azurite_keeps_a_blob_for_microsoft_s_own_client(azurite: Azurite) -> None:
    async with ContainerClient.from_connection_string(azurite.connection_string, "parts") as container:
        await container.create_container()
        await container.upload_blob("world", b"kept")
        assert await (await container.download_blob("world")).readall() == b"kept"


def test_chromium_is_one_that_runs(chromium: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [
        chromium,
        "--headless",
        *launch_flags(),
        f"--user-data-dir={tmp_path}",
        "--dump-dom",
        "data:text/html,alive",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "alive" in done.stdout, done.stderr


def test_ports_are_handed_out_once() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)


def test_a_part_that_ends_early_fails_with_its_last_words(tmp_path: Path) -> None:
    part = PartProcess([sys.executable, "-c", "raise SystemExit('no such world')"], tmp_path / "part.log")
    with pytest.raises(AssertionError, match=r"ended with status 1.*no such world"):
        part.wait_until(lambda: False, seconds_max=30)


def test_a_part_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    part = PartProcess([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "part.log")
    with pytest.raises(AssertionError, match=r"not ready in 0\.1 s"):
        part.wait_until(lambda: False, seconds_max=0.1)
    assert part.process.returncode is not None
