"""Reads licences from the metadata of installed packages, and says which are not allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions

from packaging.utils import canonicalize_name

ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BlueOak-1.0.0",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Zlib",
    }
)
"""SPDX. MPL-2.0 binds only who changes the package's own files, and nobody here does."""
SAME = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The MIT License": "MIT",
}
"""What classifiers, old metadata and first lines of licence files say, as SPDX."""
BY_PACKAGE = {
    "crc32c": ("LGPL-2.0-or-later", "a wheel of its own that anybody can exchange; never linked or changed by us"),
    "uri-templates": ("http://geraintluff.github.io/tv4/LICENSE.txt", "public domain or MIT; the Azurite emulator's"),
}
"""Packages that may have a licence that others may not, exactly that one, and why."""


def wrong_licence(name: str, licence: str) -> str:
    """ "" where a licence (an SPDX expression without parentheses) is allowed for this package; otherwise why not."""
    if not licence:
        return "says nothing of its licence"
    if BY_PACKAGE.get(name, ("",))[0] == licence:
        return ""
    choices = [re.split(r"\s+AND\s+", choice) for choice in re.split(r"\s+OR\s+", licence.strip("()"))]
    if any(all(part in ALLOWED for part in choice) for choice in choices):
        return ""
    return f"licence {licence!r} is not on the allow-list"


def licence_of(package: Distribution) -> str:
    """As SPDX where it can be told: from the expression, classifiers, old field or a licence file's title."""
    about = package.metadata
    if "License-Expression" in about:
        return about["License-Expression"]
    named = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    spdx = [SAME.get(name, name) for name in named if name != "DFSG approved" and name != "OSI Approved"]
    if spdx:
        return " AND ".join(spdx)
    field = about["License"].strip() if "License" in about else ""
    if field:
        return SAME.get(field, field)
    for file in package.files or ():
        if re.fullmatch(r"LICEN[CS]E(\.\w+)?", file.name):
            title = file.read_text().lstrip().split("\n", 1)[0].strip()
            return SAME.get(title, title)
    return ""


def wrong(packages: Iterable[Distribution]) -> list[str]:
    """What is wrong with the licences of packages, one line each."""
    findings = []
    for package in packages:
        name = canonicalize_name(package.metadata["Name"])
        if reason := wrong_licence(name, licence_of(package)):
            findings.append(f"{name} {package.version}: {reason}")
    return findings


def installed() -> list[Distribution]:
    """Every package of the environment that runs this."""
    return list(distributions())
