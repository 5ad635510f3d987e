"""The folder of an `overworld dev`, opened from outside: to look at its world's past, or to bring that back."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from overworld.errors import SettingsError
from overworld.store.local_redis import HOST, LocalRedis, running_url


def folder_settings(folder: Path) -> dict[str, Any]:
    """Cluster settings of the folder's world: all but Redis. Raises SettingsError where there is none."""
    path = folder / "world.json"
    try:
        world = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"--data: {path} cannot be read ({error}): no world was ever played there") from None
    return {**world, "blob_url": f"dir:{(folder / 'blobs').resolve()}", "cluster_key": "0" * 64}


def tell_admin_urls(folder: Path, urls: Sequence[str]) -> None:
    """Note where the running processes can be asked; none: nothing runs."""
    path = folder / "admin.json"
    if urls:
        path.write_text(json.dumps({"urls": list(urls)}, indent=2) + "\n", encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def admin_urls(folder: Path) -> list[str]:
    """Where the folder's running processes can be asked; [] where none are known."""
    try:
        return [str(url) for url in json.loads((folder / "admin.json").read_text(encoding="utf-8"))["urls"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def folder_key(folder: Path) -> bytes:
    """The cluster key of the folder's world. Raises SettingsError where it cannot be read."""
    path = folder / "cluster.key"
    try:
        return path.read_text(encoding="ascii").strip().encode()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


@contextlib.asynccontextmanager
async def folder_redis(folder: Path) -> AsyncIterator[str]:
    """The URL of its Redis: the running one's, else of one started for as long as this lasts."""
    running = running_url(folder / "redis")
    if running is not None:
        yield running
        return
    redis = LocalRedis()
    await redis.start(folder / "redis", _free_port(), appendonly=True)
    try:
        yield redis.url
    finally:
        await redis.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
