"""Reads constraints files, and says what is wrong with their pins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
PIN = re.compile(r"([A-Za-z0-9][\w.-]*)==([^\s;]+)\s*(?:;\s*(.+?))?\s*$")
ENVIRONMENTS = {"runtime": "project", "traces": "project", "dev": "project", "node": "project"}
"""Sections that meet in one virtual environment; any other section has one of its own."""
OWN_VERSIONS = {"deploy-checkov": "checkov asks for exact, old versions; it runs alone, on our own files"}
"""Sections whose versions may differ from the others', and why."""
PYTHONS = ("3.11.0", "3.11.3", "3.11.5", "3.11.9", "3.12.0", "3.13.0", "3.14.0", "3.15.0")
PLATFORMS = ("linux", "darwin", "win32")


@dataclass(frozen=True)
class Pin:
    """One entry of a constraints file. `hashes`: how many good ones it has."""

    file: str
    section: str
    name: str
    version: str
    marker: str
    hashes: int

    def __str__(self) -> str:
        return f"{self.file}: {self.name}=={self.version} (section {self.section or 'none'})"

    def overlaps(self, other: Pin) -> bool:
        """Whether one Python on one platform would install both."""
        ours, theirs = (Marker(pin.marker) if pin.marker else None for pin in (self, other))
        for python in PYTHONS:
            for platform in PLATFORMS:
                about = {
                    "python_full_version": python,
                    "python_version": ".".join(python.split(".")[:2]),
                    "sys_platform": platform,
                }
                if all(marker is None or marker.evaluate(about) for marker in (ours, theirs)):
                    return True
        return False


def read(file: str, text: str) -> tuple[list[Pin], list[str]]:
    """The pins of a constraints file, and what of it is none."""
    pins, findings, section = [], [], ""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.startswith("# section "):
            section = line.removeprefix("# section ").strip()
        if not line.strip() or line.startswith("#"):
            continue
        head, *rest = line.split("--hash=")
        found = PIN.match(head.strip())
        if found is None:
            findings.append(f"{file}: not a pin of one version: {line[:80]!r}")
            continue
        name, version, marker = found[1], found[2], found[3] or ""
        try:
            Version(version)
            if marker:
                Marker(marker)
        except (InvalidVersion, InvalidMarker):
            findings.append(f"{file}: not a version or marker: {line[:80]!r}")
            continue
        good = sum(HASH.fullmatch(f"--hash={digest.strip()}") is not None for digest in rest)
        if good < len(rest):
            findings.append(f"{file}: {name}=={version} has a hash that is not sha256")
        pins.append(Pin(file, section, canonicalize_name(name), version, marker, good))
    return pins, findings


def wrong(pins: Iterable[Pin], safe: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What is wrong with them, one line each: no hash, pinned twice, at odds, older than the safe version."""
    pins = list(pins)
    findings = [f"{pin} has no hash" for pin in pins if not pin.hashes]
    for one, other in combinations(sorted(pins, key=lambda pin: pin.name), 2):
        if one.name != other.name or not one.overlaps(other):
            continue
        together = _environment(one) == _environment(other)
        if together and one.version == other.version:
            findings.append(f"{one} is there twice: also {other}")
        elif one.version != other.version and (together or not {one.section, other.section} & OWN_VERSIONS.keys()):
            findings.append(f"{one} conflicts with {other}")
    for pin in pins:
        floor = safe.get(pin.name)
        if floor and Version(pin.version) < Version(floor["version"]):
            findings.append(f"{pin} is older than {floor['version']}: {floor['advisory']}, {floor['about']}")
    return findings


def _environment(pin: Pin) -> str:
    return ENVIRONMENTS.get(pin.section, f"{pin.file}#{pin.section}")
