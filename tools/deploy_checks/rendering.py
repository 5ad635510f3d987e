"""The overlays as kubectl renders them, and each object against the schema of its kind: nothing unknown passes.

Kinds of Kubernetes: the schemas of `kubernetes-validate`. Custom ones: JSON schemas made from pydantic models that are
generated from the CRDs of KEDA and of the Prometheus operator (Azure's PodMonitor is the operator's under another
group). SecretProviderClass: no package has its CRD; the schema below is ours, and knows only the fields that we use.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tools.deploy_checks.finding import Finding

KUBERNETES = "1.33"
"""The oldest version that Azure's clusters of this deployment may have: what is new since then is not used."""
OVERLAYS = ("local", "local-tls", "dev", "production")
KUBECTL_S_MAX = 60

Object = dict[str, Any]
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_SECRET_PROVIDER_CLASS: Object = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "secrets-store.csi.x-k8s.io/v1"},
        "kind": {"const": "SecretProviderClass"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["provider", "parameters"],
            "properties": {
                "provider": {"const": "azure"},
                "parameters": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["clientID", "keyvaultName", "tenantId", "objects"],
                    "properties": {
                        name: {"type": "string", "minLength": 3}
                        for name in ("clientID", "keyvaultName", "tenantId", "objects")
                    },
                },
                "secretObjects": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["secretName", "type", "data"],
                        "properties": {
                            "secretName": {"type": "string"},
                            "type": {"const": "Opaque"},
                            "data": {"type": "array", "items": _TEXTS},
                        },
                    },
                },
            },
        },
    },
}


def render(folder: Path) -> tuple[list[Object], list[Finding]]:
    """(objects of a kustomization, why it could not be rendered)."""
    done = subprocess.run(
        [str(Path(sys.prefix) / "bin" / "kubectl"), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=KUBECTL_S_MAX,
        check=False,
    )
    if done.returncode:
        return [], [Finding("kustomize", folder.name, done.stderr.strip()[-300:])]
    return [found for found in yaml.safe_load_all(done.stdout) if found], []


def named(found: Object) -> str:
    """Kind and name, for people."""
    return f"{found.get('kind')}/{found.get('metadata', {}).get('name')}"


def invalid(overlay: str, objects: list[Object]) -> Iterator[Finding]:
    """What the schemas say against these objects."""
    for found in objects:
        where = f"{overlay} {named(found)}"
        schema = _custom_schema(str(found.get("apiVersion")), str(found.get("kind")))
        try:
            if schema is not None:
                jsonschema.Draft202012Validator(schema).validate(found)
            else:
                kubernetes_validate.validate(found, KUBERNETES, strict=True)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            path = ".".join(map(str, getattr(error, "path", []) or []))
            yield Finding("schema", where, f"{path}: {str(getattr(error, 'message', error))[:300]}")
        except kubernetes_validate.SchemaNotFoundError:
            yield Finding("schema", where, f"no schema of {found.get('apiVersion')} {found.get('kind')} is known")


def _custom_schema(version: str, kind: str) -> Object | None:
    if (version, kind) == ("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass"):
        return _SECRET_PROVIDER_CLASS
    if version == "keda.sh/v1alpha1":
        return _schema_of("cloudcoil.models.keda.v1alpha1", kind)
    if version == "azmonitoring.coreos.com/v1" and kind in ("PodMonitor", "ServiceMonitor"):
        return _schema_of("cloudcoil.models.prometheus_operator.v1", kind)
    return None


@cache
def _schema_of(module: str, kind: str) -> Object:
    import importlib

    model = getattr(importlib.import_module(module), kind)
    schema: Object = json.loads(json.dumps(model.model_json_schema()))
    # The models are of one group each; what is checked here is the rest.
    schema["properties"]["apiVersion"] = {"type": "string"}
    closed: Object = _closed(schema)
    return closed


def _closed(part: Any) -> Any:
    """The same schema, which lets no unknown property pass."""
    if isinstance(part, list):
        return [_closed(one) for one in part]
    if not isinstance(part, dict):
        return part
    closed = {key: _closed(value) for key, value in part.items()}
    if isinstance(part.get("properties"), dict) and "type" in part and "additionalProperties" not in part:
        closed["additionalProperties"] = False
    return closed
