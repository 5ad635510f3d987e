"""`python -m tools.deploy_checks [--root FOLDER] [--only NAME ...]`: exit code 1 where anything is found."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.deploy_checks import (
    azure,
    chain,
    cluster,
    dockerfile,
    pods,
    queries,
    rendering,
    roles,
    scripts,
    services,
    texts,
)
from tools.deploy_checks.finding import Finding

ROOT = Path(__file__).resolve().parent.parent.parent


def kubernetes(root: Path) -> Iterator[Finding]:
    """All overlays, rendered: schemas first, and rules only for what fits them."""
    wiring = roles.Wiring(root / "deploy" / "azure" / "main.bicep")
    for overlay in rendering.OVERLAYS:
        objects, faults = rendering.render(root / "deploy" / "k8s" / "overlays" / overlay)
        faults = [*faults, *rendering.invalid(overlay, objects)]
        yield from faults
        if not faults:
            yield from pods.unsafe(overlay, objects)
            yield from pods.strangers(overlay, objects)
            yield from cluster.loose(overlay, objects)
            yield from services.dead_ends(overlay, objects)
            if not overlay.startswith("local"):
                yield from chain.broken(overlay, objects, wiring)


CHECKS: dict[str, Callable[[Path], Iterator[Finding]]] = {
    "names": texts.unknown_names,
    "queries": queries.faults,
    "dockerfile": dockerfile.faults,
    "scripts": scripts.faults,
    "kubernetes": kubernetes,
    "bicep": azure.faults,
    "checkov": azure.checkov,
}


def main() -> int:
    """Run the checks. 0: nothing found."""
    parser = argparse.ArgumentParser(prog="make check-deploy", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to check")
    parser.add_argument("--only", nargs="*", choices=list(CHECKS), default=list(CHECKS))
    given = parser.parse_args()
    failed = 0
    for name in given.only:
        began = time.monotonic()
        found = list(CHECKS[name](given.root.resolve()))
        for finding in found:
            print(finding)
        failed += len(found)
        print(f"check-deploy: {name}: {f'{len(found)} found' if found else 'good'} ({time.monotonic() - began:.1f} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
