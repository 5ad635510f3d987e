"""Rules for what finds pods: services reach some, and budgets let some go."""

from __future__ import annotations

from collections.abc import Iterator

from tools.deploy_checks.finding import Finding
from tools.deploy_checks.pods import pod_of
from tools.deploy_checks.rendering import Object, named


def dead_ends(overlay: str, objects: list[Object]) -> Iterator[Finding]:
    """Services without pods or ports, budgets that hold every drain, selectors of their own pods that do not fit."""
    makers = [found for found in objects if pod_of(found) is not None and "template" in found["spec"]]
    for found in objects:
        where = f"{overlay} {named(found)}"
        if found["kind"] == "Service":
            yield from _service(where, found, makers)
        elif found["kind"] == "PodDisruptionBudget":
            yield from _budget(where, found, makers)
    for found in makers:
        if not _chosen(found["spec"]["selector"]["matchLabels"], [found]):
            yield Finding("selector", f"{overlay} {named(found)}", "does not choose its own pods")


def _chosen(wanted: dict[str, str], makers: list[Object]) -> list[Object]:
    return [one for one in makers if wanted.items() <= one["spec"]["template"]["metadata"].get("labels", {}).items()]


def _service(where: str, found: Object, makers: list[Object]) -> Iterator[Finding]:
    chosen = _chosen(found["spec"].get("selector") or {"": ""}, makers)
    if not chosen:
        yield Finding("service", where, f"its selector {found['spec'].get('selector')} chooses no pod")
    for maker in chosen:
        ports = [port for one in (pod_of(maker) or {})["containers"] for port in one.get("ports", [])]
        known = {port["name"] for port in ports} | {port["containerPort"] for port in ports}
        for port in found["spec"].get("ports", []):
            target = port.get("targetPort", port["port"])
            if target not in known:
                yield Finding("service", where, f"port {port.get('name')} leads to {target}, which no container has")


def _budget(where: str, found: Object, makers: list[Object]) -> Iterator[Finding]:
    chosen = _chosen(found["spec"]["selector"].get("matchLabels", {"": ""}), makers)
    if not chosen:
        yield Finding("disruption", where, "chooses no pod")
    spec = found["spec"]
    for maker in chosen:
        # Where something else counts replicas, its least: two, as production's and dev's are.
        replicas = int(maker["spec"].get("replicas", 2))
        least = spec.get("minAvailable", 0)
        blocks = spec.get("maxUnavailable") in (0, "0%") or least == "100%"
        if blocks or (isinstance(least, int) and least >= replicas):
            yield Finding("disruption", where, "lets no pod go: every drain of a node would wait for ever")
    if spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow" and "gateway" in found["metadata"]["name"]:
        yield Finding("disruption", where, "a gateway that is not ready would hold up the drain of its node")
