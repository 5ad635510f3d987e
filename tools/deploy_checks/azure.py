"""deploy/azure: every file is Bicep, every resource fits its type's schema, modules are called with what they ask for,
and what the design rests on is there. Then checkov; the rules that we do not follow are named, each with its reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pycep import BicepParser

from tools.deploy_checks import apps, azure_types, lifecycle, roles
from tools.deploy_checks.bicep import Declared, Either, File, read
from tools.deploy_checks.finding import Finding

CHECKOV_S_MAX = 300
RESTS_ON: tuple[tuple[str, str, Any, str], ...] = (
    (
        "Microsoft.Cache/redisEnterprise/databases",
        "properties.evictionPolicy",
        "NoEviction",
        "an evicted head is a lost shard",
    ),
    ("Microsoft.Cache/redisEnterprise/databases", "properties.clientProtocol", "Encrypted", "TLS only"),
    (
        "Microsoft.Cache/redisEnterprise/databases",
        "properties.accessKeysAuthentication",
        "Disabled",
        "tokens, not keys",
    ),
    (
        "Microsoft.Cache/redisEnterprise/databases",
        "properties.persistence.aofEnabled",
        True,
        "the second line of defence",
    ),
    ("Microsoft.Cache/redisEnterprise", "properties.highAvailability", "Enabled", "commit level 2 waits for a replica"),
    ("Microsoft.Cache/redisEnterprise", "properties.publicNetworkAccess", "Disabled", "private endpoint only"),
    ("Microsoft.Storage/storageAccounts", "properties.allowSharedKeyAccess", False, "identities, not keys"),
    ("Microsoft.Storage/storageAccounts", "properties.publicNetworkAccess", "Disabled", "private endpoint only"),
    ("Microsoft.Storage/storageAccounts/blobServices", "properties.isVersioningEnabled", True, "restores"),
    ("Microsoft.Storage/storageAccounts/blobServices", "properties.deleteRetentionPolicy.enabled", True, "restores"),
    ("Microsoft.ContainerService/managedClusters", "properties.disableLocalAccounts", True, "Entra ID only"),
    (
        "Microsoft.ContainerService/managedClusters",
        "properties.securityProfile.workloadIdentity.enabled",
        True,
        "pods have no secret",
    ),
    ("Microsoft.ContainerService/managedClusters", "properties.oidcIssuerProfile.enabled", True, "pods have no secret"),
    ("Microsoft.ContainerRegistry/registries", "properties.adminUserEnabled", False, "nobody has a password"),
    ("Microsoft.KeyVault/vaults", "properties.enablePurgeProtection", True, "a purged key is a lost cluster"),
    ("Microsoft.KeyVault/vaults", "properties.enableRbacAuthorization", True, "roles, not access policies"),
)
NOT_FOLLOWED = {
    "CKV_AZURE_206": "locally redundant storage is the dev profile's; production is zone-redundant",
    "CKV_AZURE_139": "nodes and build agents pull by identity from its public name; Basic has no private one",
    "CKV_AZURE_163": "scanning belongs to Defender for Cloud, which is the subscription's to switch on",
    "CKV_AZURE_164": "content trust is deprecated; images are deployed by digest",
    "CKV_AZURE_165": "one region by design: a region is a whole deployment",
    "CKV_AZURE_166": "quarantine is a preview that holds up deployments",
    "CKV_AZURE_167": "untagged manifests are removed by the pipeline",
    "CKV_AZURE_233": "zone redundancy needs Premium: production has it",
    "CKV_AZURE_237": "dedicated data endpoints need Premium and fixed firewalls",
    "CKV_AZURE_170": "the paid tier's SLA is production's",
    "CKV_AZURE_115": "the API server is closed by address ranges; a private one needs a way in of one's own",
    "CKV_AZURE_117": "disks hold nothing but images and logs; platform keys encrypt them",
    "CKV_AZURE_226": "ephemeral disks: where the size has room for one",
    "CKV_AZURE_227": "encryption at host must be registered for the subscription first",
    "CKV_AZURE_232": "the system pool is tainted for the system; checkov does not read nodeTaints",
    "CKV_AZURE_168": "overlay networking: pods per node cost no addresses",
    "CKV_AZURE_171": "upgrades of the cluster are patches, by themselves",
    "CKV_AZURE_8": "the add-on that it asks to be switched off does not exist any more",
    "CKV_AZURE_172": "enableSecretRotation is set, as text: the schema asks for text, the rule for a boolean",
    "CKV_AZURE_6": "the ranges are a parameter, empty only in dev",
    "CKV_AZURE_141": "disableLocalAccounts is set",
    "CKV_AZURE_189": "operators put secrets in by their own identity; everything else is denied",
    "CKV_AZURE_109": "networkAcls deny by default where the operators' ranges are given, as in production",
    "CKV_AZURE_33": "no queues are used",
    "CKV_AZURE_43": "the name is made of a prefix and a hash",
    "CKV2_AZURE_1": "platform keys: see the threat model",
    "CKV2_AZURE_21": "deletes are logged; reads are many a second",
    "CKV2_AZURE_33": "the private endpoint is a module's, which checkov does not follow",
    "CKV2_AZURE_29": "overlay networking with Cilium is newer than the rule",
}
"""Rules of checkov, and why we do not follow them."""


def faults(root: Path) -> Iterator[Finding]:
    """What is wrong with the Bicep files."""
    folder = root / "deploy" / "azure"
    files = {path: read(path) for path in sorted(folder.rglob("*.bicep"))}
    if not files:
        yield Finding("bicep", "deploy/azure", "there are no Bicep files")
    for path, found in files.items():
        where = str(path.relative_to(root))
        for line in found.errors[:3]:
            yield Finding("bicep-syntax", f"{where}:{line}", "is no Bicep")
        try:
            BicepParser().parse(text=path.read_text(encoding="utf-8"))
        except Exception as error:  # noqa: BLE001 (whatever the parser raises: it does not read the file)
            yield Finding("bicep-syntax", where, f"pycep: {str(error).splitlines()[0][:160]}")
        for one in found.declared:
            if one.kind == "module":
                yield from _called(f"{where}:{one.line}", one, files.get((path.parent / one.what).resolve()))
            elif not one.existing:
                for what in azure_types.wrong(one.what, one.body):
                    yield Finding("bicep-schema", f"{where}:{one.line} {one.name}", what)
        yield from _turning(where, found)
    named = {str(path.relative_to(root)): found for path, found in files.items()}
    yield from roles.too_wide(named)
    yield from apps.faults(named)
    yield from lifecycle.deletes([one for found in files.values() for one in found.declared])
    yield from _missing([one for found in files.values() for one in found.declared])


def _called(where: str, module: Declared, file: File | None) -> Iterator[Finding]:
    if file is None:
        yield Finding("bicep-module", where, f"there is no {module.what}")
        return
    given = module.body.get("params", {})
    for name in given:
        if name not in file.params:
            yield Finding("bicep-module", where, f"{module.what} has no parameter {name}")
    for name, has_default in file.params.items():
        if not has_default and name not in given:
            yield Finding("bicep-module", where, f"{module.what} needs {name}")


def _turning(where: str, file: File) -> Iterator[Finding]:
    """Declarations that wait for each other."""
    names = {one.name: one.uses - {one.name} for one in file.declared}
    done: set[str] = set()
    while ready := {name for name, uses in names.items() if name not in done and not (uses & names.keys()) - done}:
        done |= ready
    if len(done) < len(names):
        yield Finding("bicep-cycle", where, f"wait for each other: {', '.join(sorted(names.keys() - done))}")


def _missing(declared: list[Declared]) -> Iterator[Finding]:
    for kind, path, wanted, why in RESTS_ON:
        bodies = [one.body for one in declared if one.what.partition("@")[0] == kind and not one.existing]
        if not bodies:
            yield Finding("azure-rests-on", kind, "is not deployed")
        for body in bodies:
            at: Any = body
            for part in path.split("."):
                at = at.get(part) if isinstance(at, dict) else None
            values = at.values if isinstance(at, Either) else (at,)
            if any(value != wanted for value in values):
                yield Finding("azure-rests-on", kind, f"{path} must be {wanted!r}: {why}")


def checkov(root: Path) -> Iterator[Finding]:
    """What checkov finds in the Bicep files, but for `NOT_FOLLOWED`."""
    program = Path(sys.prefix).parent / "checkov" / "bin" / "checkov"
    done = subprocess.run(
        [
            str(program),
            "--directory",
            str(root / "deploy" / "azure"),
            "--framework",
            "bicep",
            "--output",
            "json",
            "--quiet",
            "--skip-download",
            "--compact",
        ],
        capture_output=True,
        text=True,
        timeout=CHECKOV_S_MAX,
        check=False,
    )
    try:
        told = json.loads(done.stdout)
    except json.JSONDecodeError:
        yield Finding("checkov", "deploy/azure", f"checkov itself failed: {done.stderr.strip()[-300:]}")
        return
    if not told.get("summary", {}).get("passed"):
        yield Finding("checkov", "deploy/azure", "checkov looked at nothing")
    for one in told.get("results", {}).get("failed_checks", []):
        if one["check_id"] not in NOT_FOLLOWED:
            where = f"deploy/azure{one['file_path']} {one['resource']}"
            yield Finding("checkov", where, f"{one['check_id']} {one['check_name']}")
