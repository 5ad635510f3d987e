"""Azurite: Microsoft's emulator of Azure Blob Storage, run with Node from package-lock.json."""

from __future__ import annotations

import http.client
import os
import shutil
from pathlib import Path

from loadtest.processes import Process
from tests.parts.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
ACCOUNT = "devstoreaccount1"
# Published by Microsoft for every emulator; it opens nothing else.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
READY_S = 60.0


class Azurite:
    """One emulator; everything it holds is in its memory."""

    def __init__(self, log: Path, port: int = 0) -> None:
        self.port = port or free_port()
        assert PROGRAM.exists(), f"Azurite is not installed ({PROGRAM.relative_to(ROOT)} is missing); run `make setup`"
        argv = [
            *(str(_node()), str(PROGRAM), "--blobHost", "127.0.0.1", "--blobPort", str(self.port)),
            *("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"),
        ]
        self._process = Process("azurite", argv, log, os.environ)

    @property
    def account_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint={self.account_url};"
        )

    async def start(self) -> None:
        """Start (again, empty, on the same port); returns once it answers. Raises StartFailed."""
        self._process.start()
        await self._process.wait_until(self._answers, READY_S)

    def stop(self) -> None:
        """At once; nothing of it is kept anyway."""
        self._process.kill()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"/{ACCOUNT}?comp=list")
            return connection.getresponse().getheader("Server", "").startswith("Azurite")
        except OSError:
            return False
        finally:
            connection.close()


def _node() -> Path:
    """The Node that set-up chose, else the one on PATH."""
    chosen = ROOT / ".venv" / "bin" / "node"
    if chosen.exists():
        return chosen
    found = shutil.which("node")
    assert found, "no Node found; run `make setup`"
    return Path(found)
