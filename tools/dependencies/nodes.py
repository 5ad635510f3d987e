"""Reads package-lock.json, and says what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from packaging.version import InvalidVersion, Version

from tools.dependencies.licences import wrong_licence

INTEGRITY = re.compile(r"sha512-[A-Za-z0-9+/]{86}==")
INSTALL_SCRIPTS = {
    "esbuild": "checks which of its programs fits; the client's bundles are made with it",
    "msgpackr-extract": "picks its prebuilt part; a rival of the comparison, never shipped",
    "protobufjs": "warns of version mismatches; generates the client's message code",
}
"""Packages that have a script npm would run at installation, and why they may."""


def wrong(file: str, text: str, safe: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What is wrong, one line each: no integrity, an unknown install script, a licence, an unsafe version."""
    lock = json.loads(text)
    if lock.get("lockfileVersion") != 3:
        return [f"{file}: lockfileVersion is not 3"]
    findings = []
    for path, entry in lock["packages"].items():
        if not path or entry.get("link"):
            continue
        name, version = path.rpartition("node_modules/")[2], str(entry.get("version", ""))
        what = f"{file}: {name}@{version}"
        if not INTEGRITY.fullmatch(entry.get("integrity", "")):
            findings.append(f"{what} has no sha512 integrity hash")
        if entry.get("hasInstallScript") and name not in INSTALL_SCRIPTS:
            findings.append(f"{what} runs a script when it is installed, and is not on the list of those that may")
        if reason := wrong_licence(name, str(entry.get("license", ""))):
            findings.append(f"{what}: {reason}")
        floor = safe.get(name)
        try:
            if floor and Version(version) < Version(floor["version"]):
                findings.append(f"{what} is older than {floor['version']}: {floor['advisory']}, {floor['about']}")
        except InvalidVersion:
            findings.append(f"{what}: cannot compare this with {floor}")
    return findings
