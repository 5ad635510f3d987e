"""Azurite: Microsoft's emulator of Azure Blob Storage, run with Node from package-lock.json."""

from __future__ import annotations

import http.client
import shutil
from pathlib import Path

from tests.parts.ports import free_port
from tests.parts.process import PartProcess

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
ACCOUNT = "devstoreaccount1"
# Published by Microsoft for every emulator; it opens nothing else.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azurite:
    """A running emulator; everything it holds is in its memory."""

    def __init__(self, log: Path, port: int = 0) -> None:
        self.port = port or free_port()
        self.log = log
        self.process = self._start()

    @property
    def account_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint={self.account_url};"
        )

    def stop(self) -> None:
        self.process.end()

    def _start(self) -> PartProcess:
        assert PROGRAM.exists(), f"Azurite is not installed ({PROGRAM.relative_to(ROOT)} is missing); run `make setup`"
        command: list[str | Path] = [
            *(_node(), PROGRAM, "--blobHost", "127.0.0.1", "--blobPort", str(self.port)),
            *("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"),
        ]
        process = PartProcess(command, self.log)
        process.wait_until(self._answers, seconds_max=60)
        return process

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
