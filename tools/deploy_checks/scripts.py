"""Every shell script of the tree through shellcheck, all of its rules."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.deploy_checks.finding import Finding

SHELLCHECK_S_MAX = 60
FOLDERS = (".ci", "deploy", "tools", "loadtest", "docs", "clients")


def faults(root: Path) -> Iterator[Finding]:
    """What shellcheck says, and that a script can be run at all."""
    scripts = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if _is_one(path)]
    if not scripts:
        yield Finding("shellcheck", ".", "there are no scripts")
        return
    for path in scripts:
        if not path.stat().st_mode & 0o100:
            yield Finding("script-mode", str(path.relative_to(root)), "cannot be executed")
    done = subprocess.run(
        [str(Path(sys.prefix) / "bin" / "shellcheck"), "--format", "json", *map(str, scripts)],
        capture_output=True,
        text=True,
        timeout=SHELLCHECK_S_MAX,
        check=False,
    )
    try:
        found = json.loads(done.stdout)
    except json.JSONDecodeError:
        yield Finding("shellcheck", ".", f"shellcheck itself failed: {done.stderr.strip()[:300]}")
        return
    for one in found:
        where = f"{Path(one['file']).relative_to(root)}:{one['line']}"
        yield Finding("shellcheck", where, f"SC{one['code']} {one['message']}")
    for path in scripts:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if "sed -i" in line.partition("#")[0]:
                yield Finding("portable", f"{path.relative_to(root)}:{number}", "sed -i is another option on macOS")


def _is_one(path: Path) -> bool:
    if not path.is_file() or path.is_symlink() or "node_modules" in path.parts:
        return False
    with path.open("rb") as file:
        line = file.readline(80)
    return line.startswith(b"#!") and line.split(b"/")[-1].split()[-1] in (b"sh", b"bash", b"dash")
