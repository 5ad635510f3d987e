"""[deploy-checks] `make check-deploy` passes, and fails on mistakes planted in a copy of the tree, each by name."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.machine import REPOSITORY
from loadtest.prove.proof import Proof

CHECKS_S_MAX = 900


@dataclass(frozen=True)
class Mistake:
    """`old` becomes `new` in a file; the checks `only` must then name `rule`."""

    name: str
    file: str
    old: str
    new: str
    only: str
    rule: str


MISTAKES = (
    Mistake(
        "a property that does not exist",
        "deploy/azure/modules/storage.bicep",
        "allowBlobPublicAccess:",
        "allowBlobPublicAcces:",
        "bicep",
        "bicep-schema",
    ),
    Mistake(
        "a value that is not allowed",
        "deploy/azure/modules/storage.bicep",
        "defaultAction: 'Deny'",
        "defaultAction: 'Denied'",
        "bicep",
        "bicep-schema",
    ),
    Mistake(
        "a parameter that the module lacks",
        "deploy/azure/main.bicep",
        "zoneId: network.outputs.redisZoneId",
        "zone: network.outputs.redisZoneId",
        "bicep",
        "bicep-module",
    ),
    Mistake(
        "shared keys",
        "deploy/azure/modules/storage.bicep",
        "allowSharedKeyAccess: false",
        "allowSharedKeyAccess: true",
        "bicep",
        "azure-rests-on",
    ),
    Mistake(
        "a Redis that evicts",
        "deploy/azure/modules/redis.bicep",
        "'NoEviction'",
        "'VolatileLRU'",
        "bicep",
        "azure-rests-on",
    ),
    Mistake(
        "an admin password for images",
        "deploy/azure/modules/registry.bicep",
        "adminUserEnabled: false",
        "adminUserEnabled: true",
        "checkov",
        "checkov",
    ),
    Mistake(
        "a missing probe",
        "deploy/k8s/base/gateway.yaml",
        "readinessProbe:",
        "x-readinessProbe:",
        "kubernetes",
        "schema",
    ),
    Mistake(
        "a probe of a path that nobody answers",
        "deploy/k8s/base/worker.yaml",
        "path: /readyz",
        "path: /ready",
        "kubernetes",
        "probes",
    ),
    Mistake(
        "an unknown metric",
        "deploy/k8s/azure/scaling.yaml",
        "overworld_gateway_sockets{",
        "overworld_gateway_players{",
        "names kubernetes",
        "metrics",
    ),
    Mistake(
        "a privileged container",
        "deploy/k8s/base/worker.yaml",
        "allowPrivilegeEscalation: false",
        "privileged: true",
        "kubernetes",
        "unprivileged",
    ),
    Mistake(
        "a variable that is no setting",
        "deploy/k8s/base/kustomization.yaml",
        "OVERWORLD_SHARDS=",
        "OVERWORLD_SHARD=",
        "names",
        "settings",
    ),
    Mistake(
        "a setting with a wrong value",
        "deploy/k8s/base/kustomization.yaml",
        "OVERWORLD_WORKER_STANDBYS=1",
        "OVERWORLD_WORKER_STANDBYS=many",
        "kubernetes",
        "settings",
    ),
    Mistake("an image that runs as root", "Dockerfile", "USER 10001:10001", "USER root", "dockerfile", "image-user"),
    Mistake(
        "a file system that can be written",
        "deploy/k8s/base/gateway.yaml",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        "kubernetes",
        "read-only-root",
    ),
    Mistake(
        "a probe on a wrong port",
        "deploy/k8s/base/gateway.yaml",
        "path: /readyz, port: internal",
        "path: /readyz, port: pages",
        "kubernetes",
        "probes",
    ),
    Mistake(
        "a service that chooses no pod",
        "deploy/k8s/base/gateway.yaml",
        "  selector: {app.kubernetes.io/name: overworld-gateway}",
        "  selector: {app.kubernetes.io/name: overworld-gateways}",
        "kubernetes",
        "service",
    ),
    Mistake(
        "a service of a port that no container has",
        "deploy/k8s/base/worker.yaml",
        "targetPort: link",
        "targetPort: links",
        "kubernetes",
        "service",
    ),
    Mistake(
        "a budget that holds every drain",
        "deploy/k8s/base/worker.yaml",
        "maxUnavailable: 1",
        "maxUnavailable: 0",
        "kubernetes",
        "disruption",
    ),
    Mistake(
        "a kill before the drain is over",
        "deploy/k8s/base/worker.yaml",
        "terminationGracePeriodSeconds: 90",
        "terminationGracePeriodSeconds: 30",
        "kubernetes",
        "stop-in-order",
    ),
    Mistake(
        "no limit of memory",
        "deploy/k8s/base/worker.yaml",
        "            limits: {memory: 2Gi}\n",
        "",
        "kubernetes",
        "resources",
    ),
    Mistake(
        "an image named latest",
        "deploy/k8s/overlays/production/kustomization.yaml",
        "newTag: 0.1.0",
        "newTag: latest",
        "kubernetes",
        "image-version",
    ),
    Mistake(
        "an Owner",
        "deploy/azure/modules/storage.bicep",
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
        "bicep",
        "azure-roles",
    ),
    Mistake(
        "a role on the whole resource group",
        "deploy/azure/modules/vault.bicep",
        "  scope: vault\n  name: guid(vault.id, workload",
        "  name: guid(vault.id, workload",
        "bicep",
        "azure-roles",
    ),
    Mistake(
        "storage that the internet reaches",
        "deploy/azure/modules/storage.bicep",
        "publicNetworkAccess: 'Disabled'",
        "publicNetworkAccess: 'Enabled'",
        "bicep",
        "azure-rests-on",
    ),
    Mistake(
        "a Redis that the internet reaches",
        "deploy/azure/modules/redis.bicep",
        "publicNetworkAccess: 'Disabled'",
        "publicNetworkAccess: 'Enabled'",
        "bicep",
        "azure-rests-on",
    ),
    Mistake(
        "keys of Redis",
        "deploy/azure/modules/redis.bicep",
        "accessKeysAuthentication: 'Disabled'",
        "accessKeysAuthentication: 'Enabled'",
        "bicep",
        "azure-rests-on",
    ),
    Mistake(
        "no federated credential for workers",
        "deploy/azure/modules/trust.bicep",
        "['overworld-gateway', 'overworld-worker']",
        "['overworld-gateway']",
        "kubernetes",
        "identity-chain",
    ),
    Mistake(
        "Redis opened to another identity",
        "deploy/azure/main.bicep",
        "    zoneId: network.outputs.redisZoneId\n    workloadPrincipalId: identity.outputs.workloadPrincipalId",
        "    zoneId: network.outputs.redisZoneId\n    workloadPrincipalId: identity.outputs.kedaPrincipalId",
        "kubernetes",
        "identity-chain",
    ),
    Mistake(
        "a pod without its identity's label",
        "deploy/k8s/azure/pods.yaml",
        "azure.workload.identity~1use",
        "azure.workload.identity~1used",
        "kubernetes",
        "identity-chain",
    ),
    Mistake(
        "a secret that Key Vault is not asked for",
        "deploy/k8s/azure/secrets.yaml",
        "objectName: overworld-admin-token, key",
        "objectName: overworld-admin-tokens, key",
        "kubernetes",
        "identity-chain",
    ),
    Mistake(
        "a scaler on a metric that nobody has",
        "deploy/k8s/azure/scaling.yaml",
        "overworld_tick_seconds_sum{",
        "overworld_ticks_seconds_sum{",
        "kubernetes",
        "metrics",
    ),
    Mistake(
        "a dashboard with a label that the metric lacks",
        "deploy/grafana/gateway.json",
        "by (reason)",
        "by (player)",
        "queries",
        "labels",
    ),
    Mistake(
        "a lifecycle that takes what is old",
        "deploy/azure/modules/storage.bicep",
        "actions: { version: { delete: { daysAfterCreationGreaterThan: 30 } } }",
        "actions: { baseBlob: { delete: { daysAfterModificationGreaterThan: 30 } } }",
        "bicep",
        "lifecycle",
    ),
    Mistake(
        "a second replica of the container app",
        "deploy/azure/modules/app.bicep",
        "maxReplicas: 1",
        "maxReplicas: 2",
        "bicep",
        "container-app",
    ),
    Mistake(
        "a container app's probe on a wrong port",
        "deploy/azure/modules/app.bicep",
        "path: '/readyz', port: 9100",
        "path: '/readyz', port: 7100",
        "bicep",
        "probes",
    ),
    Mistake(
        "a setting of the container app with a wrong value",
        "deploy/azure/modules/app.bicep",
        "value: '7100'",
        "value: '71000'",
        "bicep",
        "settings",
    ),
    Mistake(
        "a script that does not quote",
        "deploy/azure/apply.sh",
        '"$(dirname "$0")/../.."',
        "$(dirname $0)/../..",
        "scripts",
        "shellcheck",
    ),
)


@dataclass(frozen=True)
class Options:
    """Nothing to choose."""


def run(proof: Proof, _options: Options) -> None:
    """The tree as it is, then each mistake."""
    code, said = check(REPOSITORY, "names queries dockerfile scripts kubernetes bicep checkov")
    proof.figure("passes", code == 0)
    proof.require(code == 0, f"the tree as it is does not pass: {said[-600:]}")
    with tempfile.TemporaryDirectory(prefix="overworld-deploy-") as folder:
        found = 0
        for mistake in MISTAKES:
            root = planted(Path(folder) / "tree", mistake)
            code, said = check(root, mistake.only)
            named = [line for line in said.splitlines() if line.startswith(f"{mistake.rule}:")]
            caught = code != 0 and bool(named)
            proof.require(caught, f"{mistake.name}: not found as {mistake.rule}: {said[-300:]}")
            proof.say(f"{mistake.name}: {named[0][:150] if named else 'not found'}")
            found += caught
    proof.figure("mistakes_planted", len(MISTAKES))
    proof.figure("mistakes_found", found)


def planted(root: Path, mistake: Mistake) -> Path:
    """A copy of what the checks read, with one mistake in it."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(REPOSITORY / "deploy", root / "deploy")
    for name in ("Dockerfile", "azure.yaml"):
        shutil.copy(REPOSITORY / name, root / name)
    path = root / mistake.file
    text = path.read_text()
    assert mistake.old in text, f"{mistake.file} has no {mistake.old!r}"
    path.write_text(text.replace(mistake.old, mistake.new))
    return root


def check(root: Path, only: str) -> tuple[int, str]:
    """Exit code and output of the checks over a tree."""
    program = REPOSITORY / ".venv" / "deploy" / "bin" / "python"
    done = subprocess.run(
        [str(program), "-m", "tools.deploy_checks", "--root", str(root), "--only", *only.split()],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=CHECKS_S_MAX, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr
