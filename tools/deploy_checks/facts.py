"""What the code says that deploy/ must say too: settings, metrics, ports, and the paths of the internal port."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import prometheus_client
from pydantic import ValidationError

import overworld.telemetry  # noqa: F401  registers the metrics
from overworld.commands.wiring import SETTINGS
from overworld.gateway.internal_http import internal_app
from overworld.settings import GatewaySettings, WorkerSettings

VARIABLE = re.compile(r"\bOVERWORLD_[A-Z][A-Z0-9_]*[A-Z0-9]\b")
METRIC = re.compile(r"\boverworld_[a-z][a-z0-9_]*[a-z0-9]\b(?!\()")


@dataclass(frozen=True)
class Role:
    """One kind of process: its settings class, and which of its settings are ports."""

    name: str
    kind: type[WorkerSettings | GatewaySettings]
    port_fields: dict[str, str]
    """By the name of the container's port: the setting that says where it is."""
    internal_port: str


ROLES = {
    "worker": Role("worker", WorkerSettings, {"link": "port", "internal": "http_port"}, "internal"),
    "gateway": Role(
        "gateway",
        GatewaySettings,
        {"game": "port", "pages": "http_port", "internal": "internal_port"},
        "internal",
    ),
}


@cache
def variables() -> frozenset[str]:
    """Every environment variable that is a setting."""
    return frozenset(
        (kind.model_config.get("env_prefix", "") + field).upper() for kind in SETTINGS for field in kind.model_fields
    )


@cache
def metrics() -> frozenset[str]:
    """Every name a query may use."""
    return frozenset(
        name
        for family in prometheus_client.REGISTRY.collect()
        if family.name.startswith("overworld_")
        for name in (
            {
                "counter": [f"{family.name}_total"],
                "histogram": [f"{family.name}_{end}" for end in ("bucket", "count", "sum")],
            }.get(family.type, [family.name])
        )
    )


@cache
def internal_paths() -> frozenset[str]:
    """Paths that every process's internal port answers."""
    app = internal_app(lambda: "", lambda: None)
    return frozenset(info["path"] for route in app.router.routes() if "path" in (info := route.get_info()))


def settings_of(role: Role, environment: dict[str, str]) -> tuple[Any, list[str]]:
    """(a role's settings as this environment gives them or None, what is wrong with the environment)."""
    prefix = str(role.kind.model_config.get("env_prefix", ""))
    given = {
        name.removeprefix(prefix).lower(): value
        for name, value in environment.items()
        if name.startswith(prefix) and name in variables()
    }
    try:
        kind: Any = role.kind
        return kind(**given), []
    except ValidationError as error:
        return None, [f"{prefix}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
