"""Who may do what: every role assignment is one of a list, on one resource, and reaches the identity it is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.deploy_checks.bicep import Declared, Expression, File, read
from tools.deploy_checks.finding import Finding

ROLES = {
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "b0d8363b-8ddd-447d-831f-62ca05bff136": "Monitoring Data Reader",
    "22926164-76b3-42b3-bc55-97df8dab3e41": "Grafana Admin",
    "749a398d-560b-491b-bb21-08924219302e": "Load Test Contributor",
    "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b": "Azure Kubernetes Service RBAC Cluster Admin",
    "4d97b98b-1d4f-4787-a291-c67834d212e7": "Network Contributor",
}
"""Built-in roles that may be assigned, by the id that is the same in every tenant. Owner, Contributor and the like are
not among them: whoever needs another role writes it here, with its name, for somebody to read.
"""
ASSIGNED = "Microsoft.Authorization/roleAssignments"
REDIS_ACCESS = "Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments"
TRUST = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def too_wide(files: dict[str, File]) -> Iterator[Finding]:
    """Roles that nobody has agreed to, and roles on more than one resource. `files`: by where they are."""
    for where, file in files.items():
        for one in file.declared:
            if one.what.partition("@")[0] != ASSIGNED:
                continue
            told = f"{where}:{one.line} {one.name}"
            role = _role(file, one)
            if role not in ROLES:
                yield Finding(
                    "azure-roles", told, f"assigns {role or 'a role that nobody can read'}: not in roles.ROLES"
                )
            if not isinstance(one.body.get("scope"), Expression):
                yield Finding("azure-roles", told, "has no scope: it would hold for the whole resource group")


def _role(file: File, one: Declared) -> str:
    text = str(getattr(one.body.get("properties", {}).get("roleDefinitionId"), "text", ""))
    for name, value in file.variables.items():
        if re.search(rf"\b{name}\b", text) and isinstance(value, str):
            text += value
    found = _GUID.findall(text)
    return found[0] if len(found) == 1 else ""


@dataclass(frozen=True)
class Identity:
    """A managed identity of the deployment: whom it trusts, and what it may do, by names of `ROLES` and "Redis"."""

    name: str
    subjects: frozenset[str]
    roles: frozenset[str]


class Wiring:
    """main.bicep and its modules, followed by name from an output to the identity that it is of."""

    def __init__(self, main: Path) -> None:
        self._main = read(main)
        self._modules = {one.name: one for one in self._main.declared if one.kind == "module"}
        self._files = {name: read(main.parent / one.what) for name, one in self._modules.items()}

    @property
    def outputs(self) -> frozenset[str]:
        """What azd is told."""
        return frozenset(self._main.outputs)

    def identity(self, output: str) -> Identity | None:
        """The identity whose client id an output of main.bicep is; None where it is no identity's."""
        found = self._meant(self._main.outputs.get(output))
        if found is None or found[1] != "properties.clientId":
            return None
        return Identity(found[0], frozenset(self._subjects(found[0])), frozenset(self._roles(found[0])))

    def _meant(self, value: Any) -> tuple[str, str] | None:
        """(resource, property) that `MODULE.outputs.NAME` stands for, of a resource that is an identity."""
        told = re.fullmatch(r"(\w+)\.outputs\.(\w+)", getattr(value, "text", ""))
        if told is None or told[1] not in self._files:
            return None
        file = self._files[told[1]]
        resource, _, rest = getattr(file.outputs.get(told[2]), "text", "").partition(".")
        kinds = {one.name: one.what.partition("@")[0] for one in file.declared}
        return (f"{told[1]}.{resource}", rest) if kinds.get(resource) == IDENTITY else None

    def _given(self, module: str, text: str) -> list[tuple[str, str]]:
        """What a name in a module means: a parameter that main.bicep gives, or a list of such."""
        name = text.partition("[")[0]
        values = self._files[module].variables.get(name, [Expression(name)])
        params = self._modules[module].body.get("params", {})
        meant = [self._meant(params.get(getattr(value, "text", ""))) for value in values]
        return [one for one in meant if one is not None]

    def _subjects(self, identity: str) -> Iterator[str]:
        for module, file in self._files.items():
            parents = {one.name: one.body.get("name") for one in file.declared if one.existing}
            for one in file.declared:
                if one.what.partition("@")[0] != TRUST:
                    continue
                parent = parents.get(getattr(one.body.get("parent"), "text", ""))
                if (identity, "name") not in self._given(module, getattr(parent, "text", "")):
                    continue
                properties = one.body.get("properties", {})
                if properties.get("audiences") != ["api://AzureADTokenExchange"]:
                    continue
                subject = properties.get("subject")
                if isinstance(subject, str):
                    yield subject
                elif one.loop is not None:
                    for value in file.variables.get(one.loop[1], []):
                        yield subject.text.strip("'").replace(f"${{{one.loop[0]}}}", value)

    def _roles(self, identity: str) -> Iterator[str]:
        for module, file in self._files.items():
            for one in file.declared:
                kind, properties = one.what.partition("@")[0], one.body.get("properties", {})
                if kind == ASSIGNED:
                    principal, role = properties.get("principalId"), ROLES.get(_role(file, one), "")
                elif kind == REDIS_ACCESS:
                    principal, role = properties.get("user", {}).get("objectId"), "Redis"
                else:
                    continue
                if (identity, "properties.principalId") in self._given(module, getattr(principal, "text", "")):
                    yield role
