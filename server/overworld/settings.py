"""Frozen settings of one process, read from the environment by the command line and passed on by hand.

What all processes of a world must agree on is not here: that is the world contract, made from the title's declarations
(`overworld.world.contract`). A setting that enters the contract says so.

    OVERWORLD_*           ClusterSettings   every process of the cluster
    OVERWORLD_WORKER_*    WorkerSettings
    OVERWORLD_GATEWAY_*   GatewaySettings

Times and sizes carry their unit at the end of the name. No `.env` file is read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from overworld.errors import SettingsError

CLUSTER_KEY_CHARS_MIN = 32
"""Whoever knows the cluster key may speak for any gateway, and sign any player's token."""

_SHARDS = re.compile(r"(\d{1,4})x(\d{1,4})")


class _Settings(BaseSettings):
    """Shared behaviour: frozen, nothing unknown, environment only."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_file=None, secrets_dir=None, env_ignore_empty=True
    )


class ClusterSettings(_Settings):
    """What every process of a cluster is told alike."""

    model_config = SettingsConfigDict(env_prefix="OVERWORLD_")

    world: str = Field("main", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Name of the world (contract).")
    title: str = Field("frontier", min_length=1, max_length=64, description="The game to run (contract).")
    seed: int = Field(0, ge=0, lt=2**63, description="Keys all chance in the world (contract).")
    shards: str = Field("", description="Shards across and down, e.g. 4x4; empty: as the title says (contract).")
    cluster_key: SecretStr = Field(description="Shared secret of the cluster's processes.")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="redis:// or rediss://")
    blob_url: str = Field("", description="A directory, or an Azure container's URL.")
    commit_level: int | None = Field(
        None, ge=0, le=3, description="When results are released; empty: as the title says."
    )
    commit_replicas: int = Field(1, ge=0, le=5, description="Replicas that must have a record at levels 2 and 3.")
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("cluster_key")
    @classmethod
    def _key_is_long(cls, key: SecretStr) -> SecretStr:
        if len(key.get_secret_value()) < CLUSTER_KEY_CHARS_MIN:
            raise ValueError(f"needs at least {CLUSTER_KEY_CHARS_MIN} characters of randomness")
        return key

    @field_validator("shards")
    @classmethod
    def _shards_are_a_pair(cls, shards: str) -> str:
        if shards:
            parse_shards(shards)
        return shards

    @property
    def cluster_key_bytes(self) -> bytes:
        """The key as the link and the token signer use it."""
        return self.cluster_key.get_secret_value().encode()


class WorkerSettings(_Settings):
    """One worker process."""

    model_config = SettingsConfigDict(env_prefix="OVERWORLD_WORKER_")

    name: str = Field("", max_length=64, description="Unique among workers; empty: made from host and process.")
    host: str = Field("127.0.0.1", description="Where the link listens.")
    port: int = Field(0, ge=0, le=65535, description="Port of the link; 0: any free one.")
    address: str = Field("", description="host:port that gateways are told; empty: where the link listens.")
    http_host: str = Field("127.0.0.1", description="Where /livez, /readyz and /metrics listen.")
    http_port: int = Field(0, ge=0, le=65535, description="0: any free port.")
    shards_max: int = Field(256, ge=1, le=65536, description="Never own more shards than this.")
    shards_slack: int = Field(
        0, ge=0, le=65536, description="Shards above a fair share that one worker may take at once."
    )
    lease_ttl_s: float = Field(1.0, ge=0.2, le=60, description="An owner silent for this long is taken over.")
    start_wait_s: float = Field(1.0, ge=0, le=60, description="How long a new worker lets others announce themselves.")
    attach_wait_s: float = Field(
        5.0, ge=0, le=300, description="How long players may be without a gateway before they count as lost."
    )
    ticks_in_flight_max: int = Field(2, ge=1, le=16, description="Journal appends on their way at once.")
    ticks_held_max: int = Field(40, ge=2, le=2000, description="Results held back before the shard pauses.")
    ticks_kept_max: int = Field(
        200, ge=2, le=20000, description="Committed records kept to repair a journal that went back."
    )
    digest_ticks: int = Field(20, ge=1, le=10000, description="A state digest goes into every n-th record.")
    snapshot_interval_s: float = Field(10.0, ge=0.2, le=3600)
    snapshot_timeout_s: float = Field(60.0, ge=1, le=3600, description="One snapshot's upload, read back and all.")
    recovery_timeout_s: float = Field(120.0, ge=1, le=3600, description="Snapshot and replay of one shard.")
    stop_timeout_s: float = Field(25.0, ge=1, le=600, description="Orderly stop; past it the worker stops at once.")
    audit_ticks: int = Field(0, ge=0, le=2000, description="Keep the last n ticks for /audit/state; tests only.")

    @model_validator(mode="after")
    def _kept_covers_held(self) -> WorkerSettings:
        if self.ticks_kept_max < self.ticks_held_max:
            raise ValueError("ticks_kept_max must be at least ticks_held_max")
        return self


def parse_shards(text: str) -> tuple[int, int]:
    """'4x2' as (4, 2): shards across and down. Raises ValueError."""
    match = _SHARDS.fullmatch(text)
    if match is None or int(match[1]) < 1 or int(match[2]) < 1:
        raise ValueError(f"{text!r} is not ACROSSxDOWN, for example 2x1")
    return int(match[1]), int(match[2])


S = TypeVar("S", bound=_Settings)


def load(kind: type[S], **given: object) -> S:
    """Settings from arguments and the environment. Raises SettingsError with one line for each bad setting."""
    try:
        return kind(**given)
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        lines = []
        for fault in error.errors():
            name = prefix + "_".join(str(part) for part in fault["loc"]).upper() if fault["loc"] else prefix + "*"
            why = "is required" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
            shown = "" if fault["type"] == "missing" or "key" in name.lower() else f" (got {fault['input']!r})"
            lines.append(f"{name}: {why}{shown if fault['loc'] else ''}")
        raise SettingsError("\n".join(lines)) from None


def check_names(environment: Mapping[str, str], kinds: Iterable[type[_Settings]]) -> None:
    """Raises SettingsError for OVERWORLD_ variables no settings class knows: a misspelt one must not pass unnoticed."""
    known = {(kind.model_config.get("env_prefix", "") + field).upper() for kind in kinds for field in kind.model_fields}
    lines = []
    for name in sorted(environment):
        if name.startswith("OVERWORLD_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            lines.append(f"{name}: no such setting" + (f"; did you mean {close[0]}?" if close else ""))
    if lines:
        raise SettingsError("\n".join(lines))
