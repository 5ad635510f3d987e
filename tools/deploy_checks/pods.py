"""Rules for pods: no rights they do not need, and what they are told is what the code understands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.deploy_checks.facts import ROLES, VARIABLE, Role, internal_paths, settings_of, variables
from tools.deploy_checks.finding import Finding
from tools.deploy_checks.rendering import Object, named

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
PROBES = {"livenessProbe": "/livez", "readinessProbe": "/readyz", "startupProbe": "/livez"}
SPARE_S = 5
"""Seconds between the end of an orderly stop and the kill, at least."""


def pod_of(found: Object) -> Object | None:
    """The pod that an object makes; None where it makes none."""
    if found.get("kind") not in WORKLOADS:
        return None
    spec = found["spec"]
    return dict(spec["template"]["spec"]) if "template" in spec else dict(spec)


def unsafe(overlay: str, objects: list[Object]) -> Iterator[Finding]:
    """Privileges, missing limits, and what Kubernetes would add to a pod unasked."""
    for found in objects:
        pod = pod_of(found)
        if pod is None:
            continue
        where = f"{overlay} {named(found)}"
        own = pod.get("securityContext", {})
        if not own.get("runAsNonRoot") or own.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield Finding("restricted-pod", where, "needs runAsNonRoot and seccompProfile RuntimeDefault")
        if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
            yield Finding("restricted-pod", where, "uses a namespace of its node")
        if pod.get("automountServiceAccountToken") is not False:
            yield Finding("no-token", where, "automountServiceAccountToken must be false: Kubernetes is never asked")
        if pod.get("enableServiceLinks") is not False:
            yield Finding(
                "no-service-links", where, "a service overworld-worker becomes OVERWORLD_WORKER_PORT=tcp://..."
            )
        for volume in pod.get("volumes", []):
            if "hostPath" in volume:
                yield Finding("restricted-pod", where, f"volume {volume['name']} is a folder of its node")
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield from _unsafe_container(f"{where} {container['name']}", container)


def _unsafe_container(where: str, container: Object) -> Iterator[Finding]:
    rights = container.get("securityContext", {})
    if rights.get("privileged") or rights.get("allowPrivilegeEscalation") is not False:
        yield Finding("unprivileged", where, "is privileged, or may become it")
    if rights.get("capabilities", {}).get("drop") != ["ALL"] or rights.get("capabilities", {}).get("add"):
        yield Finding("unprivileged", where, "must drop all capabilities and add none")
    if rights.get("readOnlyRootFilesystem") is not True:
        yield Finding("read-only-root", where, "its root file system can be written")
    if rights.get("runAsUser") == 0:
        yield Finding("unprivileged", where, "runs as root")
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}) or {"cpu", "memory"} - set(resources.get("requests", {})):
        yield Finding("resources", where, "needs requests of CPU and memory, and a limit of memory")
    image = str(container.get("image", ""))
    if ":" not in image.rpartition("/")[2] or image.endswith(":latest"):
        yield Finding("image-version", where, f"{image!r} names no version")
    for probe in ("livenessProbe", "readinessProbe"):
        if probe not in container:
            yield Finding("probes", where, f"has no {probe}")


# ---------------------------------------------------------------- against the code


def strangers(overlay: str, objects: list[Object]) -> Iterator[Finding]:
    """Pods of ours that are told what the code does not know, or asked what it does not answer."""
    maps = {
        (found["kind"], found["metadata"]["name"]): found.get("data") or {}
        for found in objects
        if found["kind"] in ("ConfigMap", "Secret")
    }
    for found in objects:
        if found["kind"] == "SecretProviderClass":
            for secret in found["spec"].get("secretObjects", []):
                keys = {entry["key"]: "" for entry in secret["data"]}
                maps["Secret", secret["secretName"]] = keys
    for (kind, name), data in maps.items():
        for key in data:
            if VARIABLE.fullmatch(key) and key not in variables():
                yield Finding("settings", f"{overlay} {kind}/{name}", f"{key} is no setting of settings.py")
    for found in objects:
        pod = pod_of(found)
        for container in pod["containers"] if pod else []:
            role = ROLES.get((container.get("args") or [""])[0])
            if role is not None:
                where = f"{overlay} {named(found)}"
                environment, faults = _environment(where, container, maps)
                yield from faults
                yield from _told(where, role, pod or {}, container, environment)


def _environment(
    where: str, container: Object, maps: dict[tuple[str, str], dict[str, str]]
) -> tuple[dict[str, str], list[Finding]]:
    found: dict[str, str] = {}
    faults = []
    for source in container.get("envFrom", []):
        kind = "ConfigMap" if "configMapRef" in source else "Secret"
        name = source.get("configMapRef", source.get("secretRef"))["name"]
        if (kind, name) not in maps:
            faults.append(Finding("settings", where, f"{kind} {name} does not exist"))
        found |= {key: str(value) for key, value in maps.get((kind, name), {}).items()}
    for entry in container.get("env", []):
        if VARIABLE.fullmatch(entry["name"]) and entry["name"] not in variables():
            faults.append(Finding("settings", where, f"{entry['name']} is no setting of settings.py"))
        source = entry.get("valueFrom", {})
        if reference := source.get("configMapKeyRef"):
            data = maps.get(("ConfigMap", reference["name"]), {})
            if reference["key"] not in data:
                faults.append(Finding("settings", where, f"{reference['name']} has no {reference['key']}"))
            found[entry["name"]] = data.get(reference["key"], "")
        else:
            # What the cluster fills in has some value; which one matters to no rule here.
            value = entry.get("value", "x")
            for name in found:
                value = value.replace(f"$({name})", found[name] or "x")
            if "$(" in value:
                faults.append(Finding("settings", where, f"{entry['name']} uses a variable that is not set before it"))
            found[entry["name"]] = value
    return found, faults


def _told(where: str, role: Role, pod: Object, container: Object, environment: dict[str, str]) -> Iterator[Finding]:
    settings, faults = settings_of(role, environment)
    for fault in faults:
        yield Finding("settings", where, fault)
    for name in ("OVERWORLD_CLUSTER_KEY", "OVERWORLD_REDIS_URL", "OVERWORLD_BLOB_URL"):
        if name not in environment:
            yield Finding("settings", where, f"{name} is not set")
    if settings is None:
        return
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    for name, field in role.port_fields.items():
        if ports.get(name) != getattr(settings, field):
            yield Finding(
                "ports", where, f"port {name} is {ports.get(name)}, the setting says {getattr(settings, field)}"
            )
    yield from _probes(where, role, container)
    yield from _stop(where, role, settings, pod, container)


def _probes(where: str, role: Role, container: Object) -> Iterator[Finding]:
    for probe, path in PROBES.items():
        asked = container.get(probe, {}).get("httpGet", {})
        if not asked:
            yield Finding("probes", where, f"has no {probe} that asks by HTTP")
        elif asked.get("path") != path or path not in internal_paths() or asked.get("port") != role.internal_port:
            said = f"{asked.get('path')} on {asked.get('port')}"
            yield Finding("probes", where, f"{probe} asks {said}, not {path} on the port {role.internal_port}")


def _stop(where: str, role: Role, settings: Any, pod: Object, container: Object) -> Iterator[Finding]:
    needs_s = settings.stop_timeout_s if role.name == "worker" else settings.drain_s
    before_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    given_s = pod.get("terminationGracePeriodSeconds", 30)
    if given_s < before_s + needs_s + SPARE_S:
        yield Finding(
            "stop-in-order", where, f"is killed after {given_s} s; stopping takes {before_s} + {needs_s:g} s and some"
        )
