"""What properties Azure's resources have: Microsoft's own type schemas, as `azmcp bicepschema` ships them.

It ships no schema of a few types. Azure Managed Redis comes from Microsoft's Python client for it, whose models name
the properties of the REST interface; for the rest, `OURS` knows only what deploy/azure uses.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tools.deploy_checks.bicep import Either, Expression

AZMCP_S_MAX = 60
PRIMITIVES = frozenset({"string", "int", "bool", "any", "null"})
PLACED_BY_BICEP = frozenset({"parent", "scope", "dependsOn"})
_TAGGED: dict[str, Any] = {"name": {}, "location": {}, "tags": {"*": {}}}
OURS: dict[str, dict[str, Any]] = {
    "Microsoft.Network/privateDnsZones@2024-06-01": _TAGGED,
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01": {
        **_TAGGED,
        "properties": {"registrationEnabled": {}, "virtualNetwork": {"id": {}}},
    },
    "Microsoft.Insights/dataCollectionEndpoints@2023-03-11": {
        **_TAGGED,
        "kind": {},
        "properties": {"networkAcls": {"publicNetworkAccess": {}}},
    },
    "Microsoft.Insights/dataCollectionRules@2023-03-11": {
        **_TAGGED,
        "kind": {},
        "properties": {
            "dataCollectionEndpointId": {},
            "dataSources": {"prometheusForwarder": {"name": {}, "streams": {}}},
            "destinations": {"monitoringAccounts": {"name": {}, "accountResourceId": {}}},
            "dataFlows": {"streams": {}, "destinations": {}},
        },
    },
    "Microsoft.Insights/dataCollectionRuleAssociations@2023-03-11": {
        "name": {},
        "properties": {"dataCollectionRuleId": {}},
    },
    "Microsoft.Insights/diagnosticSettings@2021-05-01-preview": {
        "name": {},
        "properties": {"workspaceId": {}, "logs": {"category": {}, "categoryGroup": {}, "enabled": {}}},
    },
    "Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2025-07-01": {
        "name": {},
        "properties": {"accessPolicyName": {}, "user": {"objectId": {}}},
    },
}
FROM_CLIENT = {
    "Microsoft.Cache/redisEnterprise@2025-07-01": "Cluster",
    "Microsoft.Cache/redisEnterprise/databases@2025-07-01": "Database",
}


def wrong(what: str, body: dict[str, Any]) -> Iterator[str]:
    """What the schema of a type (with its version) says against a body; one line each."""
    given = {name: value for name, value in body.items() if name not in PLACED_BY_BICEP}
    if what in OURS:
        yield from _beyond(OURS[what], given, "")
    elif what in FROM_CLIENT:
        yield from _beyond(_from_client(FROM_CLIENT[what]), given, "")
    else:
        kind, _, version = what.partition("@")
        try:
            types = _types(kind)
        except LookupError as error:
            yield str(error)
            return
        latest = types[""]["name"].partition("@")[2]
        if version != latest:
            yield f"version {version} is not {latest}, the one whose schema is known"
        yield from _misfits(types, types[""]["bodyType"], given, "")


@cache
def _types(kind: str) -> dict[str, Any]:
    """A resource type's objects by name; the resource itself under ""."""
    # It takes seconds to start, and says the same for as long as it is the same: kept beside it.
    kept = Path(sys.prefix) / "schemas" / f"{kind.replace('/', '_')}.json"
    if not kept.exists():
        program = str(Path(sys.prefix) / "bin" / "azmcp")
        done = subprocess.run(
            [program, "bicepschema", "get", "--resource-type", kind],
            capture_output=True,
            text=True,
            timeout=AZMCP_S_MAX,
            check=False,
        )
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(done.stdout, encoding="utf-8")
    try:
        told = json.loads(kept.read_text(encoding="utf-8"))["results"]["BicepSchemaResult"]
    except (json.JSONDecodeError, KeyError, TypeError):
        kept.unlink()
        raise LookupError(f"no schema of {kind} is known") from None
    types: dict[str, Any] = {one["name"]: one for one in told}
    types[""] = next(one for one in told if one["$type"] == "Resource" and one["name"].startswith(f"{kind}@"))
    return types


def _misfits(types: dict[str, Any], declared: dict[str, Any], given: dict[str, Any], path: str) -> Iterator[str]:
    properties = {one["name"]: one for one in declared.get("properties", declared.get("baseProperties", []))}
    more = declared.get("additionalPropertiesType")
    if declared.get("$type") == "DiscriminatedObject":
        return
    for name, value in given.items():
        where = f"{path}.{name}".lstrip(".")
        if name not in properties:
            if more is None:
                yield f"{where} is no property of {declared.get('name', 'it')}"
            continue
        if "ReadOnly" in properties[name].get("flags", ""):
            yield f"{where} cannot be written"
        yield from _misfit(types, properties[name]["type"], value, where)
    for name, one in properties.items():
        if "Required" in one.get("flags", "") and name not in given:
            yield f"{path}.{name}".lstrip(".") + " is missing"


def _misfit(types: dict[str, Any], wanted: str, value: Any, where: str) -> Iterator[str]:
    if isinstance(value, Either):
        for one in value.values:
            yield from _misfit(types, wanted, one, where)
    elif isinstance(value, Expression) or wanted == "any":
        return
    elif wanted.endswith("[]") and " | " not in wanted:
        if not isinstance(value, list):
            yield f"{where} must be a list"
            return
        for one in value:
            yield from _misfit(types, wanted[:-2], one, where)
    elif isinstance(value, dict):
        if wanted in types:
            yield from _misfits(types, types[wanted], value, where)
        elif wanted in PRIMITIVES:
            yield f"{where} must be a {wanted}"
    elif isinstance(value, str) and " | " in wanted and not wanted.endswith("[]"):
        allowed = wanted.split(" | ")
        if "string" not in allowed and value not in allowed:
            yield f"{where}: {value!r} is none of {wanted}"
    elif (
        wanted in ("int", "bool", "string")
        and type(value).__name__ != {"int": "int", "bool": "bool", "string": "str"}[wanted]
    ):
        yield f"{where}: {value!r} is no {wanted}"


def _beyond(known: dict[str, Any], given: Any, path: str) -> Iterator[str]:
    """Names in `given` that `known` lacks. Empty: a value, "*": any name."""
    if isinstance(given, Either):
        for one in given.values:
            yield from _beyond(known, one, path)
    elif isinstance(given, list):
        for one in given:
            yield from _beyond(known, one, path)
    elif isinstance(given, dict):
        for name, value in given.items():
            where = f"{path}.{name}".lstrip(".")
            if name not in known and "*" not in known:
                yield f"{where} is no property that is known"
            else:
                yield from _beyond(known.get(name, {}), value, where)


@cache
def _from_client(model: str) -> dict[str, Any]:
    """Names on the wire of a model's fields, nested as its keys say ("properties.port"); what is inside of a field that
    is a model of its own is not looked into.
    """
    import importlib

    keys = getattr(importlib.import_module("azure.mgmt.redisenterprise.models"), model)._attribute_map.values()
    names: dict[str, Any] = {}
    for one in keys:
        at = names
        *above, last = one["key"].split(".")
        for name in above:
            at = at.setdefault(name, {})
        at[last] = {"*": {"*": {}}}
    return names
