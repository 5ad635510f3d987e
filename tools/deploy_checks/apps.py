"""The single-replica profile of Container Apps against the code: settings, ports, probes, no second replica."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tools.deploy_checks.bicep import Declared, Expression, File
from tools.deploy_checks.facts import ROLES, settings_of
from tools.deploy_checks.finding import Finding
from tools.deploy_checks.pods import PROBES

KIND = "Microsoft.App/containerApps"
_ENTRY = re.compile(r"\{ name: '(\w+)', value: '([^']*)' \}")
_INTERNAL = {"worker": "http_port", "gateway": "internal_port"}
_PROBE = {"livenessProbe": "Liveness", "readinessProbe": "Readiness"}


def faults(files: dict[str, File]) -> Iterator[Finding]:
    """What is wrong with the apps. `files`: by where they are."""
    for where, file in files.items():
        for one in file.declared:
            if one.what.partition("@")[0] == KIND:
                yield from _app(f"{where}:{one.line} {one.name}", file, one)


def _app(where: str, file: File, one: Declared) -> Iterator[Finding]:
    properties = one.body["properties"]
    template = properties["template"]
    if template.get("scale") != {"minReplicas": 1, "maxReplicas": 1}:
        yield Finding("container-app", where, "must have exactly one replica: none of several can be addressed")
    roles = {}
    for container in template["containers"]:
        told = f"{where} {container['name']}"
        if {"cpu", "memory"} - set(container.get("resources", {})):
            yield Finding("resources", told, "needs CPU and memory")
        if str(getattr(container["image"], "text", container["image"])).endswith(":latest"):
            yield Finding("image-version", told, "names no version")
        name = (container.get("args") or [""])[0]
        if name in ROLES:
            settings, wrong = settings_of(ROLES[name], _environment(file, container.get("env")))
            roles[name] = settings
            for what in wrong:
                yield Finding("settings", told, what)
            if settings is not None:
                yield from _probes(told, container, getattr(settings, _INTERNAL[name]))
    if set(roles) != set(ROLES):
        yield Finding("container-app", where, f"runs {sorted(roles)}, not {sorted(ROLES)}")
    ingress = properties["configuration"]["ingress"]
    gateway = roles.get("gateway")
    pages = [mapping["targetPort"] for mapping in ingress.get("additionalPortMappings", [])]
    if gateway is not None and (ingress["targetPort"] != gateway.port or pages != [gateway.http_port]):
        yield Finding("ports", where, f"leads to {ingress['targetPort']} and {pages}, not to the gateway's ports")


def _environment(file: File, env: Any) -> dict[str, str]:
    """`concat(VARIABLE, [...])`, or a list. What Azure fills in has some value."""
    entries = [*file.variables.get("shared", [])]
    found = {e["name"]: e.get("value", "x" * 64) for e in entries if not isinstance(e.get("value"), Expression)}
    text = env.text if isinstance(env, Expression) else ""
    return found | {name: value.replace("${host}", "app.example") for name, value in _ENTRY.findall(text)}


def _probes(where: str, container: dict[str, Any], port: int) -> Iterator[Finding]:
    asked = {probe["type"]: probe.get("httpGet", {}) for probe in container.get("probes", [])}
    for probe, kind in _PROBE.items():
        if (asked.get(kind, {}).get("path"), asked.get(kind, {}).get("port")) != (PROBES[probe], port):
            yield Finding("probes", where, f"{kind} must ask {PROBES[probe]} on port {port}")
