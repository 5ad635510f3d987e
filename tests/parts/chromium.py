"""The system's Chromium: where it is, and how it is started without asking the outside for anything."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


def find_chromium() -> Path:
    """The browser named by CHROMIUM, else the first known name on PATH. Raises AssertionError where there is none."""
    named = os.environ.get("CHROMIUM")
    found = next((path for name in ((named,) if named else NAMES) if (path := shutil.which(name))), None)
    if found is None and MAC.exists():
        return MAC
    assert found, f"no Chromium: looked for {named or ', '.join(NAMES)} on PATH; run `make setup` or set CHROMIUM"
    return Path(found)


def launch_flags() -> list[str]:
    """Arguments for a headless run; root has no sandbox."""
    return [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
