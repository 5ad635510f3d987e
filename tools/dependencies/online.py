"""Asks the services that publish advisories about every lock file: `make audit`.

Exit code 0 where all was asked and nothing is known but what accepted.toml lets be; 1 where something is, or where
an entry there is overdue, whoever answers; 2 where nothing was found, but a service did not answer for everything: that
is no result, and the last line says so.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.dependencies import accepted
from tools.dependencies.__main__ import ROOT, locks
from tools.dependencies.accepted import Accepted

ASK_TIMEOUT_S = 300


@dataclass(frozen=True)
class Hole:
    """A known one. `names`: of its advisory, which has several."""

    package: str
    names: frozenset[str]
    about: str


@dataclass
class Answer:
    """What a service said of one lock file. `unasked`: what it did not answer for, and why."""

    known: list[Hole] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)


def of_pip_audit(text: str, said: str) -> Answer:
    """What pip-audit's JSON says; `said`: what it wrote beside it, for where there is none."""
    packages = _object(text).get("dependencies")
    if not isinstance(packages, list) or not packages:
        return Answer(unasked=[_last_line(said)])
    answer = Answer()
    for package in packages:
        if "skip_reason" in package:
            answer.unasked.append(f"{package['name']}: {package['skip_reason']}")
        for hole in package.get("vulns", ()):
            fixed = ", ".join(hole["fix_versions"]) or "nothing yet"
            about = f"{package['name']} {package['version']}: {hole['id']}, fixed in {fixed}"
            answer.known.append(Hole(package["name"], frozenset({hole["id"], *hole.get("aliases", ())}), about))
    return answer


def of_npm_audit(text: str, said: str) -> Answer:
    """What npm audit's JSON says; its errors are JSON too, without a list of vulnerabilities."""
    told = _object(text)
    holes = told.get("vulnerabilities")
    if not isinstance(holes, dict):
        return Answer(unasked=[str(told.get("message") or _last_line(said))])
    answer = Answer()
    for name, hole in holes.items():
        about = f"{name} {hole['range']}: {hole['severity']}"
        # A text names a package that is listed for itself; without any advisory of its own it is reported as it is.
        own = [via for via in hole.get("via", ()) if isinstance(via, dict)]
        for via in own:
            advisory = str(via.get("url", "")).rsplit("/", 1)[-1]
            answer.known.append(Hole(name, frozenset({advisory}), f"{about}, {advisory}"))
        if not own and not hole.get("via"):
            answer.known.append(Hole(name, frozenset(), about))
    return answer


def report(answers: dict[str, Answer], entries: list[Accepted], today: dt.date) -> int:
    """Print what was said of each lock file, and return the exit code."""
    known = let_be = 0
    for line in (late := accepted.overdue(entries, today)):
        print(f"audit: OVERDUE: {line}")
    for file, answer in answers.items():
        for hole in answer.known:
            mild = accepted.covers(entries, file, hole.package, hole.names, today)
            known, let_be = known + (not mild), let_be + mild
            print(f"audit: {file}: {hole.about}{' (let be: accepted.toml)' if mild else ''}")
        if answer.unasked:
            print(f"audit: {file}: no answer for {len(answer.unasked)} of it, as {answer.unasked[0]}")
    silent = [file for file, answer in answers.items() if answer.unasked]
    if silent:
        print(
            f"audit: NOT CHECKED, or not all: {', '.join(silent)}: the service could not be reached or lacks packages"
        )
    print(f"audit: {len(answers)} lock files, {known} known holes, {let_be} let be, {len(late)} of those overdue")
    return 1 if known or late else 2 if silent else 0


def main() -> int:
    entries = accepted.read(accepted.FILE.read_text(encoding="utf-8"))
    answers = {}
    for path in locks(ROOT):
        if path.name == "package-lock.json":
            told = _run("npm", "audit", "--json", "--package-lock-only", cwd=path.parent)
            answers[str(path.relative_to(ROOT))] = of_npm_audit(*told)
        else:
            # Sections may pin one package differently, which pip-audit takes for an error: one question each.
            for section, text in sections(path.read_text(encoding="utf-8")).items():
                options = ("--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json")
                part = ROOT / ".cache" / "audit.txt"
                part.parent.mkdir(exist_ok=True)
                part.write_text(text, encoding="utf-8")
                program = str(Path(sys.executable).with_name("pip-audit"))
                told = _run(program, *options, "--requirement", str(part), cwd=ROOT)
                answers[f"{path.relative_to(ROOT)} ({section})"] = of_pip_audit(*told)
    return report(answers, entries, dt.datetime.now(dt.UTC).date())


def sections(text: str) -> dict[str, str]:
    """A constraints file, cut at its sections."""
    _, *parts = text.split("# section ")
    return {name.strip(): pins for name, _, pins in (part.partition("\n") for part in parts)}


def _run(*command: str, cwd: Path) -> tuple[str, str]:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    return done.stdout, done.stderr


def _object(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]


if __name__ == "__main__":
    sys.exit(main())
