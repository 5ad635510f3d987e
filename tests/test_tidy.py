"""The tree keeps its own rules: sizes, names, addresses, locks, mirrors, metrics and determinism."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import prometheus_client
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.determinism import findings

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
SAYS_NOTHING = re.compile(r"^(utils?|helpers?|manager|base|common|misc)\.\w+$", re.IGNORECASE)
CODE = {".py", ".js", ".mjs", ".ts", ".css", ".html", ".sh", ".lua", ".proto"}
REPLAYED_EXACTLY = ("world", "shard", "titles")

# Character classes keep these patterns from finding themselves.
LATER = re.compile(r"\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b")
SKIPPED = re.compile(
    r"mark\.(skip|skipif|xfail)\b|pytest\.(skip|xfail|importorskip)\(|\b(it|test|describe)\.(skip|todo)\("
)
REGISTRY = re.compile(
    r"--(extra-)?index-ur[l]|(PIP|UV|NPM_CONFIG)_(EXTRA_|DEFAULT_)?(INDEX|REGISTRY)|registry *= *\"?http"
    r"|\b(pypi|pythonhosted|npmjs|npmmirror|yarnpkg)\.[a-z]{2,3}\b|http[^ \"]*/simple/?[\"\s]|\"resolved\" *: *\"http",
    re.IGNORECASE,
)
MACHINE_PATH = re.compile(r"(?<![\w./~$}-])/(home|root|Users|work|tmp)/[\w.]")
METRIC = re.compile(r"\boverworld_[a-z][a-z0-9_]*[a-z0-9]\b(?!\()")


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the tree that is, or is about to be, committed."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    return tuple(path for line in sorted(listing.splitlines()) if (path := ROOT / line).is_file())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def is_generated(path: Path) -> bool:
    return path.name.endswith(("_pb2.py", "_pb2.pyi")) or path.name in {"constraints.txt", "package-lock.json"}


@cache
def text_of(path: Path) -> str:
    """Contents, empty where the file is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def python_files(*folders: str) -> list[Path]:
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and not is_generated(path) and name_of(path).startswith(folders)
    ]


def lines_matching(pattern: re.Pattern[str], wanted: Callable[[Path], bool]) -> list[str]:
    return [
        f"{name_of(path)}:{number}: {line.strip()[:120]}"
        for path in tracked()
        if wanted(path)
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]


# ---------------------------------------------------------------- sizes and names


def test_files_fit_in_the_head() -> None:
    sizes = {name_of(p): text_of(p).count("\n") for p in tracked() if p.suffix in CODE and not is_generated(p)}
    assert {name: lines for name, lines in sizes.items() if lines > FILE_LINES_MAX} == {}


def test_functions_fit_on_a_screen() -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}: {(node.end_lineno or 0) - node.lineno + 1} lines"
        for path in python_files("server/", "tests/", "loadtest/", "tools/", "proto/")
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_file_names_say_what_is_inside() -> None:
    assert [name_of(path) for path in tracked() if SAYS_NOTHING.match(path.name)] == []


def test_every_module_of_the_server_says_what_it_is() -> None:
    assert [name_of(p) for p in python_files("server/") if ast.get_docstring(ast.parse(text_of(p))) is None] == []


def test_nothing_is_left_for_later() -> None:
    assert lines_matching(LATER, lambda path: path.suffix in CODE | {".toml", ".yml", ".yaml", ".md", ""}) == []


def test_no_test_is_skipped() -> None:
    assert lines_matching(SKIPPED, lambda path: path.suffix in {".py", ".js", ".mjs"}) == []


# ---------------------------------------------------------------- what is installed, and from where


def test_no_file_names_where_packages_come_from() -> None:
    assert lines_matching(REGISTRY, lambda path: not is_generated(path) or path.suffix != ".py") == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_matching(MACHINE_PATH, lambda path: not is_generated(path)) == []


def locked() -> dict[str, dict[str, list[str]]]:
    """The entries of constraints.txt: section, then package, then its entries (one for each range of Pythons)."""
    sections: dict[str, dict[str, list[str]]] = {}
    entries: dict[str, list[str]] = {}
    for line in re.sub(r"\\\n", "", text_of(ROOT / "constraints.txt")).splitlines():
        if line.startswith("# section "):
            entries = sections.setdefault(line.split()[2], {})
        elif line and not line.startswith("#"):
            entries.setdefault(canonicalize_name(line.split("==")[0]), []).append(line)
    return sections


def test_every_locked_package_is_pinned_by_hash() -> None:
    entries = [entry for packages in locked().values() for group in packages.values() for entry in group]
    assert len(entries) > 50
    assert [entry for entry in entries if not re.match(r"[\w.-]+==\S+.* --hash=sha256:[0-9a-f]{64}( |$)", entry)] == []
    assert [entry for entry in entries if "://" in entry or re.search(r"--hash=(?!sha256:)", entry)] == []


def test_everything_asked_for_is_locked_in_its_section() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    sections = locked()
    wanted = {
        "runtime": project["dependencies"] + project["optional-dependencies"]["build"],
        "traces": project["optional-dependencies"]["traces"],
        "dev": project["optional-dependencies"]["dev"],
    }
    for section, requirements in wanted.items():
        for requirement in map(Requirement, requirements):
            name = canonicalize_name(requirement.name)
            # Tests need what traces need, so that comes first.
            found = [
                sections[place].get(name) for place in (section, "node", *(["traces"] if section == "dev" else []))
            ]
            entries = next(filter(None, found), [])
            versions = [entry.split("==")[1].split()[0] for entry in entries]
            if name != "overworld":
                assert versions, f"{name} is not in section {section} of constraints.txt; run `make lock`"
                assert all(version in requirement.specifier for version in versions), (requirement, versions)


def test_node_packages_are_locked_by_digest_alone() -> None:
    for lock in (path for path in tracked() if path.name == "package-lock.json"):
        packages = json.loads(text_of(lock))["packages"]
        assert [name for name, entry in packages.items() if name and "integrity" not in entry] == [], lock
        assert [name for name, entry in packages.items() if "resolved" in entry] == [], lock


# ---------------------------------------------------------------- tests and metrics


def imported_by(path: Path) -> Iterator[str]:
    """Full names of the modules (and of what is taken from them) that a file imports."""
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_tests_stand_where_the_package_stands() -> None:
    """tests/store/test_x.py tests overworld.store, best its module x, itself or through what stands beside it."""
    wrong = []
    for path in python_files("tests/"):
        folder = path.relative_to(ROOT / "tests").parent
        package, beside = (".".join((top, *folder.parts)) for top in ("overworld", "tests"))
        mirrors = folder.parts and (ROOT / "server" / "overworld" / folder).is_dir()
        if (
            mirrors
            and path.name.startswith("test_")
            and not any(name == package or name.startswith((f"{package}.", f"{beside}.")) for name in imported_by(path))
        ):
            wrong.append(f"{name_of(path)} imports nothing of {package}")
    assert wrong == []


def test_named_metrics_exist() -> None:
    import overworld.telemetry  # noqa: F401  registers them

    known = {"overworld_titles"}
    for family in prometheus_client.REGISTRY.collect():
        known |= {family.name, *(f"{family.name}_{end}" for end in ("total", "bucket", "count", "sum", "created"))}
    unknown = {
        f"{name_of(path)}: {name}"
        for path in tracked()
        if name_of(path).startswith(("deploy/", "docs/")) or path.suffix == ".md"
        for name in METRIC.findall(text_of(path))
        if name not in known
    }
    assert sorted(unknown) == []


# ---------------------------------------------------------------- determinism


@pytest.mark.parametrize("package", REPLAYED_EXACTLY)
def test_what_is_replayed_uses_nothing_that_differs_between_machines(package: str) -> None:
    found = [
        f"{name_of(path)}:{finding.line}: {finding.what}"
        for path in python_files(f"server/overworld/{package}/")
        for finding in findings(text_of(path))
    ]
    assert found == []
