"""The parts other tests stand on are the real ones, and answer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from azure.storage.blob.aio import ContainerClient

from tests.parts.azurite import Azurite
from tests.parts.chromium import launch_flags
from tests.parts.ports import free_port


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
