"""What azd runs, with programs in the place of azd, az and kubectl: a copy of the overlay is filled, nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {
    "AZURE_TENANT_ID": "11111111-2222-3333-4444-555555555555",
    "AZURE_WORKLOAD_CLIENT_ID": "aaaaaaaa-0000-0000-0000-000000000001",
    "AZURE_KEDA_CLIENT_ID": "aaaaaaaa-0000-0000-0000-000000000002",
    "AZURE_KEY_VAULT_NAME": "kv-ow-abc",
    "AZURE_PROMETHEUS_ENDPOINT": "https://amw.test.prometheus.monitor.azure.com",
    "OVERWORLD_REDIS_URL": "rediss://redis.test:10000/0",
    "OVERWORLD_BLOB_URL": "https://stow.blob.core.windows.net/overworld",
    "OVERWORLD_GATEWAY_SOCKET_URL": "wss://play.test/play?a=1&b=2",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the scripts read, and an azd that knows `KNOWN`."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    program(tmp_path, "azd", "\n".join(f"echo '{name}=\"{value}\"'" for name, value in KNOWN.items()))
    return tmp_path


def program(tree: Path, name: str, text: str) -> None:
    path = tree / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def ran(tree: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tree / "deploy" / "azure" / script)],
        env={"PATH": f"{tree / 'bin'}:{os.environ['PATH']}", "OVERLAY": "production", **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_overlay_is_filled_from_what_azd_knows_in_a_copy(tree: Path) -> None:
    before = contents(tree / "deploy")

    done = ran(tree, "write-env.sh")

    assert done.returncode == 0, done.stderr
    assert contents(tree / "deploy") == before
    written = (tree / ".azure" / "k8s" / "overlays" / "production" / ".env").read_text().splitlines()
    assert set(written[1:]) == {f"{name}={value}" for name, value in KNOWN.items()} | {
        "OVERWORLD_GATEWAY_ORIGINS=http://play.example"
    }
    assert "OVERWORLD_GATEWAY_ORIGINS is a placeholder still" in done.stderr


def test_a_resource_that_azd_does_not_know_stops_it(tree: Path) -> None:
    program(tree, "azd", "echo 'OVERWORLD_REDIS_URL=\"rediss://redis.test:10000/0\"'")

    done = ran(tree, "write-env.sh")

    assert done.returncode == 1
    assert "azd knows no AZURE_TENANT_ID" in done.stderr


def test_what_is_applied_is_the_filled_overlay_with_the_image_that_was_built(tree: Path) -> None:
    program(
        tree,
        "azd",
        'case $2 in get-value) echo "$3.test" ;; *) cat <<END\n'
        + "\n".join(f'{name}="{value}"' for name, value in KNOWN.items())
        + "\nEND\nesac",
    )
    for name in ("az", "kubelogin"):
        program(tree, name, "exit 0")
    program(tree, "git", "echo 0123456789ab")
    program(
        tree,
        "kubectl",
        'case $1 in kustomize) cat "$2/.env"; echo "image: x.azurecr.io/overworld:0.1.0" ;; '
        f"apply) cat > {tree}/out ;; esac",
    )

    done = ran(tree, "apply.sh")

    assert done.returncode == 0, done.stderr
    applied = (tree / "out").read_text()
    assert "image: AZURE_CONTAINER_REGISTRY_ENDPOINT.test/overworld:0123456789ab" in applied
    assert f"OVERWORLD_REDIS_URL={KNOWN['OVERWORLD_REDIS_URL']}" in applied
