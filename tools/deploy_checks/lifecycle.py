"""The storage account's lifecycle against the names that the code gives its objects: it may delete old versions, and
nothing that is current. Which generation is the newest is said by a manifest; a rule knows nothing but ages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from overworld.store.archive import Archive
from overworld.store.blob_memory import MemoryBlobs
from overworld.store.snapshots import SnapshotStore
from tools.deploy_checks.bicep import Declared
from tools.deploy_checks.finding import Finding

POLICY = "Microsoft.Storage/storageAccounts/managementPolicies"
BLOBS = "Microsoft.Storage/storageAccounts/blobServices"


def object_names(world: str = "main", shard: int = 0) -> tuple[str, ...]:
    """One name of each sort of object that a world cannot do without, below its container."""
    snapshots = SnapshotStore(MemoryBlobs(), world)
    archive = Archive(MemoryBlobs(), world)
    return (
        snapshots._manifest_name(shard),
        f"{snapshots._prefix(shard)}000000000100-1-0",
        f"{archive._prefix(shard)}journal/00000000/000000000001-000000000100",
        f"{archive._prefix(shard)}state/000000000100-1",
    )


def deletes(declared: list[Declared]) -> Iterator[Finding]:
    """Rules that could take the newest of something, and versions that go before soft delete would let them."""
    of = {one.what.partition("@")[0]: one for one in declared if not one.existing}
    policy, blobs = of.get(POLICY), of.get(BLOBS)
    if policy is None or blobs is None:
        return
    kept_days = blobs.body.get("properties", {}).get("deleteRetentionPolicy", {}).get("days", 0)
    for rule in policy.body.get("properties", {}).get("policy", {}).get("rules", []):
        definition = rule.get("definition", {})
        actions: dict[str, Any] = definition.get("actions", {})
        prefixes = definition.get("filters", {}).get("prefixMatch", [""])
        for name in object_names():
            if "baseBlob" in actions and any(f"overworld/{name}".startswith(prefix) for prefix in prefixes):
                yield Finding(
                    "lifecycle", f"{POLICY} {rule.get('name')}", f"would take {name} by its age, newest or not"
                )
        days = actions.get("version", {}).get("delete", {}).get("daysAfterCreationGreaterThan", kept_days)
        if days < kept_days:
            yield Finding(
                "lifecycle", f"{POLICY} {rule.get('name')}", f"versions go after {days} days, before {kept_days}"
            )
