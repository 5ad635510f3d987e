"""Rules for what surrounds pods: policies, disruption, scaling, scraping, secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.deploy_checks.facts import METRIC, metrics
from tools.deploy_checks.finding import Finding
from tools.deploy_checks.pods import pod_of
from tools.deploy_checks.rendering import Object, named

SCALED_BY = {"Deployment": "overworld_gateway_sockets", "StatefulSet": "overworld_tick_seconds_sum"}
TRIGGER_KEYS = {"serverAddress", "query", "threshold", "activationThreshold", "ignoreNullValues"}


def loose(overlay: str, objects: list[Object]) -> Iterator[Finding]:
    """What is not guarded as it should be."""
    by_kind: dict[str, list[Object]] = {}
    for found in objects:
        by_kind.setdefault(found["kind"], []).append(found)
    ours = [found for found in objects if pod_of(found) and found["metadata"]["name"].startswith("overworld-")]
    yield from _policies(overlay, by_kind.get("NetworkPolicy", []), ours)
    budgets = {_selector(found) for found in by_kind.get("PodDisruptionBudget", [])}
    for found in ours:
        if _selector(found) not in budgets:
            yield Finding("disruption", f"{overlay} {named(found)}", "has no PodDisruptionBudget")
        pod = found["spec"]["template"]["spec"]
        if not pod.get("topologySpreadConstraints") or not pod.get("priorityClassName"):
            yield Finding("disruption", f"{overlay} {named(found)}", "needs a spread over nodes and a priority")
    if overlay.startswith("local"):
        return
    for found in by_kind.get("Secret", []):
        yield Finding("secrets", f"{overlay} {named(found)}", "secrets come from Key Vault, not from this tree")
    yield from _scaling(overlay, by_kind.get("ScaledObject", []), ours)
    yield from _scraping(overlay, by_kind.get("PodMonitor", []), ours)
    for found in by_kind.get("Service", []):
        notes = found["metadata"].get("annotations", {})
        balancer = "service.beta.kubernetes.io/azure-load-balancer-"
        if found["spec"].get("type") == "LoadBalancer" and (
            not notes.get(balancer + "tcp-idle-timeout", "").isdigit()
            or notes.get(balancer + "disable-tcp-reset") != "false"
        ):
            yield Finding("load-balancer", f"{overlay} {named(found)}", "needs an idle timeout, and resets")


def _selector(found: Object) -> str:
    labels = (found["spec"].get("selector") or found["spec"].get("podSelector") or {}).get("matchLabels", {})
    return str(labels.get("app.kubernetes.io/name", ""))


def _policies(overlay: str, policies: list[Object], ours: list[Object]) -> Iterator[Finding]:
    closed = [
        found
        for found in policies
        if found["spec"]["podSelector"] == {}
        and set(found["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not found["spec"].get("ingress")
        and not found["spec"].get("egress")
    ]
    if not closed:
        yield Finding("default-deny", overlay, "no NetworkPolicy refuses everything first")
    for found in ours:
        open_ports = _open_ports(policies, str(_selector(found)))
        container = found["spec"]["template"]["spec"]["containers"][0]
        for port in container.get("ports", []):
            if port["containerPort"] not in open_ports:
                where = f"{overlay} {named(found)}"
                yield Finding("default-deny", where, f"no policy lets anybody reach port {port['name']}")
    for found in policies:
        for rule in found["spec"].get("egress", []):
            if not rule.get("to"):
                yield Finding("default-deny", f"{overlay} {named(found)}", "lets pods out to anywhere")


def _open_ports(policies: list[Object], name: str) -> set[Any]:
    found = set()
    for policy in policies:
        chosen = policy["spec"]["podSelector"]
        values = [value for one in chosen.get("matchExpressions", []) for value in one.get("values", [])]
        if name in values or chosen.get("matchLabels", {}).get("app.kubernetes.io/name") == name:
            found |= {port["port"] for rule in policy["spec"].get("ingress", []) for port in rule.get("ports", [])}
    return found


def _scaling(overlay: str, scalers: list[Object], ours: list[Object]) -> Iterator[Finding]:
    scaled = {found["spec"]["scaleTargetRef"]["name"]: found for found in scalers}
    for found in ours:
        where, scaler = f"{overlay} {named(found)}", scaled.get(found["metadata"]["name"])
        if scaler is None:
            yield Finding("scaling", where, "has no ScaledObject")
            continue
        if "replicas" in found["spec"]:
            yield Finding("scaling", where, "sets replicas, which the ScaledObject counts")
        queries = " ".join(trigger["metadata"].get("query", "") for trigger in scaler["spec"]["triggers"])
        if SCALED_BY[found["kind"]] not in queries:
            yield Finding("scaling", where, f"is not scaled by {SCALED_BY[found['kind']]}")
    for scaler in scalers:
        for trigger in scaler["spec"]["triggers"]:
            where, told = f"{overlay} {named(scaler)}", trigger["metadata"]
            if trigger["type"] != "prometheus" or {"serverAddress", "query", "threshold"} - set(told):
                yield Finding("scaling", where, "needs a prometheus trigger with serverAddress, query and threshold")
            for key in set(told) - TRIGGER_KEYS:
                yield Finding("scaling", where, f"{key} is not known to KEDA's prometheus trigger")
            for name in METRIC.findall(told.get("query", "")):
                if name not in metrics():
                    yield Finding("metrics", where, f"{name} is no metric of telemetry.py")


def _scraping(overlay: str, monitors: list[Object], ours: list[Object]) -> Iterator[Finding]:
    for found in ours:
        name = _selector(found)
        container = found["spec"]["template"]["spec"]["containers"][0]
        ports = {port["name"] for port in container["ports"]}
        scraped = [
            endpoint
            for monitor in monitors
            for endpoint in monitor["spec"]["podMetricsEndpoints"]
            if any(name in one.get("values", []) for one in monitor["spec"]["selector"].get("matchExpressions", []))
        ]
        if not any(one.get("path") == "/metrics" and one.get("port") in ports for one in scraped):
            yield Finding("scraping", f"{overlay} {named(found)}", "no PodMonitor reads its /metrics")
