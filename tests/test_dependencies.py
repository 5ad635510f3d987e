"""The offline audit of lock files finds each planted mistake, by name, and nothing in ours."""

from __future__ import annotations

import datetime as dt
import json
from email.message import Message
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Any

import pytest

from tools.dependencies import __main__ as audit
from tools.dependencies import accepted, licences, nodes, online, pins

HASH = f"    --hash=sha256:{'a' * 64}"
SAFE = {"aiohttp": {"version": "3.14.3", "advisory": "GHSA-cq5v-8q36-5273", "about": "heap read", "date": "2026-07-23"}}
INTEGRITY = f"sha512-{'A' * 86}=="


def found(*files: str) -> list[str]:
    """Findings in constraints files of this text."""
    everything, findings = [], []
    for number, text in enumerate(files):
        read, unread = pins.read(f"file{number}", text)
        everything += read
        findings += unread
    return findings + pins.wrong(everything, SAFE)


def pin(text: str, section: str = "runtime") -> str:
    return f"# section {section}\n{text} \\\n{HASH}\n"


def test_our_own_lock_files_are_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main() == 0, capsys.readouterr().out
    names = {str(path.relative_to(audit.ROOT)) for path in audit.locks(audit.ROOT)}
    assert {"constraints.txt", "deploy/constraints.txt", "package-lock.json", "clients/js/package-lock.json"} <= names


def test_a_good_pin_is_good() -> None:
    assert found(pin("aiohttp==3.14.3")) == []


def test_an_old_version_is_named_with_its_advisory() -> None:
    assert found(pin("aiohttp==3.14.2")) == [
        "file0: aiohttp==3.14.2 (section runtime) is older than 3.14.3: GHSA-cq5v-8q36-5273, heap read"
    ]


@pytest.mark.parametrize("version", ["3.9.5", "3.14.3rc1", "2026!0.1"])
def test_versions_are_compared_as_versions(version: str) -> None:
    assert bool(found(pin(f"aiohttp=={version}"))) == (not version.startswith("2026!"))


@pytest.mark.parametrize("digest", ["", f" --hash=md5:{'a' * 32}", " --hash=sha256:abc"])
def test_a_missing_hash_is_named(digest: str) -> None:
    assert "file0: redis==8.0 (section dev) has no hash" in found(f"# section dev\nredis==8.0{digest}\n")


def test_one_bad_hash_beside_a_good_one_is_named() -> None:
    assert found(pin("redis==8.0") + "    --hash=sha1:00\n".replace("    ", "x==1 ")) != []
    assert found(f"redis==8.0 --hash=sha256:{'a' * 64} --hash=sha1:00\n") == [
        "file0: redis==8.0 has a hash that is not sha256"
    ]


@pytest.mark.parametrize(
    "line", ["redis>=8", "redis", "redis @ git+file:repo", "-e .", "redis==8.*", "redis==8 ; nonsense"]
)
def test_what_pins_no_version_is_named(line: str) -> None:
    assert len(found(f"{line} {HASH.strip()}\n")) == 1


def test_a_pin_that_is_there_twice_is_named() -> None:
    assert "is there twice" in found(pin("redis==8.0") + pin("redis==8.0", "dev"))[0]
    assert "is there twice" in found(pin("Foo_Bar==1") + pin("foo-bar==1"))[0]


def test_pins_at_odds_are_named_within_a_file_and_between_files() -> None:
    assert "conflicts with file0: redis==8.1" in found(pin("redis==8.0") + pin("redis==8.1", "dev"))[0]
    assert "conflicts with file1: redis==8.1" in found(pin("redis==8.0"), pin("redis==8.1", "deploy"))[0]
    assert found(pin("redis==8.0"), pin("redis==8.1", "deploy-checkov")) == []


def test_pins_for_different_pythons_are_not_at_odds() -> None:
    old, new = "numpy==2.4 ; python_full_version < '3.12'", "numpy==2.5 ; python_full_version >= '3.12'"
    assert found(pin(old) + pin(new)) == []
    assert len(found(pin(old) + pin(new.replace(">= '3.12'", ">= '3.11'")))) == 1


# ---------------------------------------------------------------- Node's


def node_findings(name: str = "left-pad", **changed: Any) -> list[str]:
    entry = {"version": "1.0.0", "integrity": INTEGRITY, "license": "MIT"} | changed
    lock = {"lockfileVersion": 3, "packages": {"": {}, f"node_modules/a/node_modules/{name}": entry}}
    return nodes.wrong("lock", json.dumps(lock), {"ws": SAFE["aiohttp"]})


def test_node_packages_are_held_to_the_same() -> None:
    assert node_findings() == []
    assert node_findings(integrity="") == ["lock: left-pad@1.0.0 has no sha512 integrity hash"]
    assert node_findings(integrity="sha1-AAAA") == ["lock: left-pad@1.0.0 has no sha512 integrity hash"]
    assert "runs a script when it is installed" in node_findings(hasInstallScript=True)[0]
    assert node_findings("esbuild", hasInstallScript=True) == []
    assert "'GPL-3.0-only' is not on the allow-list" in node_findings(license="GPL-3.0-only")[0]
    assert "lock: ws@3.14.2 is older than 3.14.3: GHSA-cq5v-8q36-5273" in node_findings("ws", version="3.14.2")[0]


def test_scoped_names_are_whole_names() -> None:
    assert "lock: @scope/ws@1.0.0 has no" in node_findings("@scope/ws", integrity="")[0]


# ---------------------------------------------------------------- licences


def installed(tmp_path: Path, *headers: tuple[str, str]) -> Distribution:
    """A package whose metadata says this."""
    metadata = Message()
    for name, value in (("Metadata-Version", "2.4"), ("Name", "Planted"), ("Version", "1.0"), *headers):
        metadata[name] = value
    (tmp_path / "METADATA").write_text(metadata.as_string())
    return PathDistribution(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        ("License-Expression", "MIT"),
        ("License-Expression", "GPL-3.0-only OR MIT"),
        ("License-Expression", "Apache-2.0 AND BSD-2-Clause"),
        ("Classifier", "License :: OSI Approved :: Apache Software License"),
        ("License", "3-Clause BSD License"),
    ],
)
def test_a_licence_of_the_list_is_allowed(tmp_path: Path, header: tuple[str, str]) -> None:
    assert licences.wrong([installed(tmp_path, header)]) == []


@pytest.mark.parametrize(
    "header",
    [
        ("License-Expression", "AGPL-3.0-only"),
        ("License-Expression", "MIT AND GPL-3.0-only"),
        ("Classifier", "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"),
        ("License", "Ask us"),
        ("License-Expression", "LGPL-2.0-or-later"),
    ],
)
def test_any_other_is_named(tmp_path: Path, header: tuple[str, str]) -> None:
    (finding,) = licences.wrong([installed(tmp_path, header)])
    assert finding.startswith("planted 1.0: licence ")


def test_a_package_that_says_nothing_is_named(tmp_path: Path) -> None:
    assert licences.wrong([installed(tmp_path)]) == ["planted 1.0: says nothing of its licence"]


# ---------------------------------------------------------------- the services


def report(answers: dict[str, online.Answer], entries: str = "", today: str = "2026-12-01") -> int:
    return online.report(answers, accepted.read(entries), dt.date.fromisoformat(today))


def test_an_audit_that_reached_nobody_says_so_and_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    answers = {
        "constraints.txt": online.of_pip_audit("", "ConnectionError: no route"),
        "package-lock.json": online.of_npm_audit('{"message": "405 Method Not Allowed"}', ""),
    }
    assert report(answers) == 2
    said = capsys.readouterr().out
    assert "NOT CHECKED, or not all: constraints.txt, package-lock.json" in said
    assert "no route" in said
    assert "405" in said


def test_an_audit_that_leaves_packages_out_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}]}
    assert report({"constraints.txt": online.of_pip_audit(json.dumps(told), "")}) == 2
    assert "b: not found" in capsys.readouterr().out


def test_known_holes_fail_the_audit(capsys: pytest.CaptureFixture[str]) -> None:
    hole = {"id": "PYSEC-1", "fix_versions": ["2"]}
    python = {"dependencies": [{"name": "a", "version": "1", "vulns": [hole]}]}
    node = {"vulnerabilities": {"axios": {"range": "<1", "severity": "high"}}}
    assert report({"c": online.of_pip_audit(json.dumps(python), "")}) == 1
    assert report({"n": online.of_npm_audit(json.dumps(node), "")}) == 1
    assert report({"n": online.of_npm_audit('{"vulnerabilities": {}}', "")}) == 0
    said = capsys.readouterr().out
    assert "a 1: PYSEC-1, fixed in 2" in said
    assert "axios <1: high" in said


ACCEPTED = """
[[accepted]]
package = "axios"
advisory = "GHSA-1"
lock = "package-lock.json"
until = 2027-01-01
why = "a test's"
"""


def axios(*advisories: str) -> online.Answer:
    """As npm says it: what depends on the package is listed too, and names it alone."""
    via = [{"url": f"https://github.com/advisories/{advisory}"} for advisory in advisories]
    holes = {
        "axios": {"range": "<1", "severity": "high", "via": via},
        "azurite": {"range": "*", "severity": "high", "via": ["axios"]},
    }
    return online.of_npm_audit(json.dumps({"vulnerabilities": holes}), "")


def test_what_somebody_has_looked_at_is_told_and_does_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert report({"package-lock.json": axios("GHSA-1")}, ACCEPTED) == 0
    assert "axios <1: high, GHSA-1 (let be: accepted.toml)" in capsys.readouterr().out
    for answers in (
        {"package-lock.json": axios("GHSA-1", "GHSA-2")},
        {"clients/js/package-lock.json": axios("GHSA-1")},
    ):
        assert report(answers, ACCEPTED) == 1
        assert "1 known holes" in capsys.readouterr().out


def test_a_hole_is_known_by_any_of_its_names() -> None:
    hole = {"id": "PYSEC-1", "aliases": ["CVE-1", "GHSA-1"], "fix_versions": []}
    told = {"dependencies": [{"name": "axios", "version": "1", "vulns": [hole]}]}
    assert report({"package-lock.json": online.of_pip_audit(json.dumps(told), "")}, ACCEPTED) == 0


def test_from_the_day_on_somebody_has_to_look_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where no service answers, and where the hole is not there any more."""
    silent = {"package-lock.json": online.of_npm_audit("", "no route")}
    assert report(silent, ACCEPTED, "2026-12-31") == 2
    assert report(silent, ACCEPTED, "2027-01-01") == 1
    assert report({"package-lock.json": online.Answer()}, ACCEPTED, "2027-01-01") == 1
    assert report({"package-lock.json": axios("GHSA-1")}, ACCEPTED, "2027-01-01") == 1
    assert "OVERDUE: package-lock.json: axios GHSA-1: let be until 2027-01-01" in capsys.readouterr().out


def test_what_ships_lets_nothing_be_and_every_entry_says_why() -> None:
    for wrong in (
        ACCEPTED.replace("package-lock.json", "constraints.txt (runtime)"),
        ACCEPTED.replace('why = "a test\'s"', 'why = " "'),
        ACCEPTED.replace("until = 2027-01-01", 'until = "soon"'),
    ):
        assert wrong != ACCEPTED
        with pytest.raises(ValueError, match=r"ships|needs"):
            accepted.read(wrong)


def test_our_own_list_names_lock_files_that_are_and_packages_in_them() -> None:
    for entry in accepted.read(accepted.FILE.read_text()):
        path, _, section = entry.lock.partition(" (")
        text = (audit.ROOT / path).read_text()
        if section:
            text = online.sections(text)[section.rstrip(")")]
        assert f'"node_modules/{entry.package}"' in text or f"\n{entry.package}==" in text, entry


def test_every_section_is_asked_about() -> None:
    text = (audit.ROOT / "deploy" / "constraints.txt").read_text()
    assert list(online.sections(text)) == ["deploy", "deploy-programs", "deploy-checkov"]
    assert sum(part.count("==") for part in online.sections(text).values()) >= 100
