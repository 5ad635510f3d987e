"""From a pod to what it may use, by name and without a gap: label, service account, its annotation, the output that it
is filled from, the identity, whom that trusts, its roles, and the secrets that come with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tools.deploy_checks.finding import Finding
from tools.deploy_checks.pods import pod_of
from tools.deploy_checks.rendering import Object, named
from tools.deploy_checks.roles import Wiring

NEEDED = frozenset({"Storage Blob Data Contributor", "Key Vault Secrets User", "Redis"})
PEOPLE_SAY = frozenset({"OVERWORLD_GATEWAY_SOCKET_URL", "OVERWORLD_GATEWAY_ORIGINS"})
"""Names in an overlay's .env that no resource tells: what players type."""
KEDA = "system:serviceaccount:kube-system:keda-operator"
RULE = "identity-chain"


def broken(overlay: str, objects: list[Object], wiring: Wiring) -> Iterator[Finding]:
    """Where the chain has a gap in an overlay of AKS."""
    filled: dict[str, str] = next(
        (o["data"] for o in objects if o["metadata"]["name"].startswith("overworld-azure")), {}
    )
    for name in sorted(filled.keys() - wiring.outputs - PEOPLE_SAY):
        yield Finding(RULE, f"{overlay} .env", f"main.bicep has no output {name} to fill it from")
    sources = {value: name for name, value in filled.items()}
    for found in objects:
        if found["metadata"]["name"].startswith("overworld-") and pod_of(found) is not None:
            yield from _pod(overlay, found, objects, sources, wiring)
        elif found["kind"] == "TriggerAuthentication":
            client = found["spec"]["podIdentity"].get("identityId", "")
            yield from _trusted(
                f"{overlay} {named(found)}", sources.get(client), KEDA, {"Monitoring Data Reader"}, wiring
            )


def _trusted(
    where: str, output: str | None, subject: str, roles: frozenset[str] | set[str], wiring: Wiring
) -> Iterator[Finding]:
    identity = wiring.identity(output or "")
    if identity is None:
        yield Finding(RULE, where, f"its client id ({output or 'of no output'}) is no identity's in main.bicep")
        return
    if subject not in identity.subjects:
        yield Finding(RULE, where, f"{identity.name} has no federated credential for {subject}")
    for role in sorted(roles - identity.roles):
        yield Finding(RULE, where, f"{identity.name} is not given {role}")


def _pod(
    overlay: str, found: Object, objects: list[Object], sources: dict[str, str], wiring: Wiring
) -> Iterator[Finding]:
    where, pod = f"{overlay} {named(found)}", pod_of(found) or {}
    if found["spec"]["template"]["metadata"]["labels"].get("azure.workload.identity/use") != "true":
        yield Finding(RULE, where, "its pods have no label azure.workload.identity/use: no token is projected")
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    account = by_name.get(("ServiceAccount", pod.get("serviceAccountName", "")))
    if account is None:
        yield Finding(RULE, where, f"there is no ServiceAccount {pod.get('serviceAccountName')}")
        return
    client = account["metadata"].get("annotations", {}).get("azure.workload.identity/client-id", "")
    subject = f"system:serviceaccount:{account['metadata'].get('namespace')}:{account['metadata']['name']}"
    yield from _trusted(where, sources.get(client), subject, NEEDED, wiring)
    yield from _secrets(where, pod, by_name, client)


def _secrets(where: str, pod: Object, by_name: dict[tuple[str, str], Object], client: str) -> Iterator[Finding]:
    container = pod["containers"][0]
    mounted = {one["name"] for one in container.get("volumeMounts", [])}
    made: set[str] = set()
    for volume in pod.get("volumes", []):
        if "csi" not in volume:
            continue
        name = volume["csi"].get("volumeAttributes", {}).get("secretProviderClass", "")
        provider = by_name.get(("SecretProviderClass", name))
        if provider is None or volume["name"] not in mounted:
            yield Finding(RULE, where, f"{name} does not exist, or is not mounted: its secret would not be made")
            continue
        if provider["spec"]["parameters"]["clientID"] != client:
            yield Finding(RULE, where, f"{name} asks Key Vault as another identity than the pod's")
        made |= {one["secretName"] for one in provider["spec"].get("secretObjects", [])}
        named_there = provider["spec"]["parameters"]["objects"]
        for one in provider["spec"].get("secretObjects", []):
            for entry in one["data"]:
                if f"objectName: {entry['objectName']}\n" not in named_there:
                    yield Finding(RULE, where, f"{name} makes {entry['key']} of {entry['objectName']}, not fetched")
    for source in container.get("envFrom", []):
        if "secretRef" in source and source["secretRef"]["name"] not in made:
            yield Finding(RULE, where, f"nothing makes the secret {source['secretRef']['name']}")
