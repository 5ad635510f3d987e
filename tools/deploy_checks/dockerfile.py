"""The Dockerfile: hadolint, every rule of it, and what only we ask for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.deploy_checks.finding import Finding

HADOLINT_S_MAX = 60
ASKED = {
    "user": (r"(?m)^USER 10001:10001$", "does not run as 10001:10001, which the pods ask for"),
    "healthcheck": (
        r'(?m)^HEALTHCHECK .*CMD \["overworld", "health"\]',
        "has no HEALTHCHECK that asks `overworld health`",
    ),
    "stopsignal": (r"(?m)^STOPSIGNAL SIGTERM$", "does not stop by SIGTERM, which hands shards over"),
    "labels": (r"org\.opencontainers\.image\.(source|title|licenses|revision|version)", "has no OCI labels"),
    "hashes": (r"--require-hashes", "installs packages without checking their hashes"),
    "entrypoint": (r'(?m)^ENTRYPOINT \["overworld"\]$', "does not start overworld without a shell"),
}


def faults(root: Path) -> Iterator[Finding]:
    """What is wrong with the Dockerfile."""
    path = root / "Dockerfile"
    done = subprocess.run(
        [str(Path(sys.prefix) / "bin" / "hadolint"), "--no-color", "--format", "json", str(path)],
        capture_output=True,
        text=True,
        timeout=HADOLINT_S_MAX,
        check=False,
    )
    try:
        found = json.loads(done.stdout)
    except json.JSONDecodeError:
        yield Finding("hadolint", "Dockerfile", f"hadolint itself failed: {done.stderr.strip()[:300]}")
        found = []
    for one in found:
        yield Finding("hadolint", f"Dockerfile:{one['line']}", f"{one['code']} {one['message']}")
    text = path.read_text(encoding="utf-8")
    for name, (pattern, what) in ASKED.items():
        if not re.search(pattern, text):
            yield Finding(f"image-{name}", "Dockerfile", what)
