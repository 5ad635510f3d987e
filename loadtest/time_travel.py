"""`overworld replay`, `restore` and `archive` as an operator runs them: processes of their own, beside a cluster."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtest.cluster import Cluster
from loadtest.machine import REPOSITORY

COMMAND_S_MAX = 1800.0

ARCHIVING = {"OVERWORLD_ARCHIVE": "true"}
"""For `Shape.env`."""


@dataclass(frozen=True)
class Ran:
    """What a command said: `lines` on standard output, `told` on standard error."""

    code: int
    lines: list[str]
    told: str

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The lines of a replay."""
        return [json.loads(line) for line in self.lines]


async def overworld(cluster: Cluster, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
    """Run a command with the cluster's settings. Raises TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "overworld", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env={**cluster.environment(), **(env or {})},
    )
    try:
        async with asyncio.timeout(COMMAND_S_MAX):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, output.decode().splitlines(), errors.decode())
