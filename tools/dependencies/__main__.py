"""Holds every lock file to its rules, without any network; exit code 1 and one line each where one is broken.

    python -m tools.dependencies

Pins have hashes, none is there twice or at odds with another, none is older than safe_versions.toml; Node's locks have
integrity hashes and no unknown install scripts; the licences of what is installed here, and of Node's locks, are
allowed. What is pinned and not installed here (another platform's, check-deploy's) has no metadata to read: it is
counted.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.utils import canonicalize_name

from tools.dependencies import licences, nodes, pins

ROOT = Path(__file__).resolve().parents[2]
SAFE = Path(__file__).with_name("safe_versions.toml")
LOCKS = ("constraints.txt", "package-lock.json")


def locks(root: Path) -> list[Path]:
    """Every lock file of a tree that is, or is about to be, committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *(f"*{name}" for name in LOCKS)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
    return [root / line for line in sorted(done.stdout.splitlines()) if Path(line).name in LOCKS]


def main() -> int:
    safe = tomllib.loads(SAFE.read_text(encoding="utf-8"))
    found: list[pins.Pin] = []
    findings: list[str] = []
    files = locks(ROOT)
    for path in files:
        name, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        if path.name == "package-lock.json":
            findings += nodes.wrong(name, text, safe["node"])
        else:
            read, unread = pins.read(name, text)
            found += read
            findings += unread
    findings += pins.wrong(found, safe["python"])
    here = licences.installed()
    findings += licences.wrong(here)
    for finding in findings:
        print(f"dependencies: {finding}")
    absent = {pin.name for pin in found} - {canonicalize_name(package.metadata["Name"]) for package in here}
    print(
        f"dependencies: {len(files)} lock files, {len(found)} pins, licences of {len(here)} packages read "
        f"({len(absent)} pinned ones are not installed here): {len(findings)} findings"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
