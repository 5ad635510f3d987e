"""Every file below deploy/, whatever it is: the settings and metrics it names exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools.deploy_checks.facts import METRIC, VARIABLE, metrics, variables
from tools.deploy_checks.finding import Finding

NOT_METRICS = frozenset({"overworld_titles"})


def unknown_names(root: Path) -> Iterator[Finding]:
    """Names of settings and metrics that the code does not have, in deploy/ and azure.yaml."""
    files = [path for path in sorted((root / "deploy").rglob("*")) if path.is_file()]
    for path in [*files, root / "azure.yaml", root / "Dockerfile"]:
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        where = str(path.relative_to(root))
        for name in sorted(set(VARIABLE.findall(text)) - variables()):
            yield Finding("settings", where, f"{name} is no setting of settings.py")
        families = {name.removesuffix(end) for name in metrics() for end in ("", "_total", "_bucket", "_sum", "_count")}
        for name in sorted(
            set(METRIC.findall(text)) - metrics() - NOT_METRICS - (families if path.suffix == ".md" else set())
        ):
            yield Finding("metrics", where, f"{name} is no metric of telemetry.py")
