"""Frozen settings of one process, read from the environment by the command line and passed on by hand.

What all processes of a world must agree on is not here: that is the world contract, made from the title's declarations
(`overworld.world.contract`). A setting that enters the contract says so.

    OVERWORLD_*           ClusterSettings   every process of the cluster
    OVERWORLD_WORKER_*    WorkerSettings
    OVERWORLD_GATEWAY_*   GatewaySettings
    OVERWORLD_ADMIN_*     AdminSettings      whoever asks a cluster something

Secrets may stand in files instead: OVERWORLD_SECRETS_DIR names a folder (a mount of Key Vault) whose files are called
as the settings, overworld_cluster_key for one. The environment counts before them.

Times and sizes carry their unit at the end of the name. No `.env` file is read.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from overworld.errors import SettingsError

CLUSTER_KEY_CHARS_MIN = 32
"""Whoever knows the cluster key may speak for any gateway, and sign any player's token."""

SECRETS_DIR = "OVERWORLD_SECRETS_DIR"

_SHARDS = re.compile(r"(\d{1,4})x(\d{1,4})")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s,]+")
_SOCKET_URL = re.compile(r"wss?://[^/?#\s;,'\"]+/play")


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
    cluster_key_also: SecretStr = Field(
        SecretStr(""), description="A second key that is accepted and never signed with: for changing the key."
    )
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="redis:// or rediss:// (TLS)")
    redis_cluster: bool = Field(False, description="Redis is a cluster whose nodes are reached one by one (MOVED).")
    redis_auth: Literal["url", "entra"] = Field(
        "url", description="url: user name and password, if any, of the address. entra: tokens of Microsoft Entra ID."
    )
    redis_user: str = Field("", max_length=128, description="With entra: the object id; empty: the token's own.")
    redis_ca_file: str = Field("", description="With rediss://: PEM file of authorities instead of the system's.")
    blob_url: str = Field(
        "", description="A directory, an Azure container's URL, or azurite:CONNECTION;Container=NAME."
    )
    archive: bool = Field(
        False, description="Keep every journal record and states to replay from in blob storage, for good."
    )
    commit_level: int | None = Field(
        None, ge=0, le=3, description="When results are released; empty: as the title says."
    )
    commit_replicas: int = Field(1, ge=0, le=5, description="Replicas that must have a record at levels 2 and 3.")
    admin_token: SecretStr = Field(
        SecretStr(""), description="A token that may everything over the admin API; empty: only signed ones may."
    )
    admin_oidc_issuer: str = Field(
        "", max_length=512, description="Issuer of tokens with roles for the admin API; empty: none."
    )
    admin_oidc_audience: str = Field("", max_length=512, description="What those tokens must be meant for.")
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    traces: Literal["off", "otlp", "azure"] = Field("off", description="Where spans go; needs the extra `traces`.")
    traces_share: float = Field(1.0, ge=0, le=1, description="The part of all traces that is kept, whole ones.")

    @field_validator("cluster_key")
    @classmethod
    def _key_is_long(cls, key: SecretStr) -> SecretStr:
        if len(key.get_secret_value()) < CLUSTER_KEY_CHARS_MIN:
            raise ValueError(f"needs at least {CLUSTER_KEY_CHARS_MIN} characters of randomness")
        return key

    @field_validator("admin_token", "cluster_key_also")
    @classmethod
    def _token_is_long(cls, token: SecretStr) -> SecretStr:
        if 0 < len(token.get_secret_value()) < CLUSTER_KEY_CHARS_MIN:
            raise ValueError(f"needs at least {CLUSTER_KEY_CHARS_MIN} characters of randomness")
        return token

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
    link_tls: bool = Field(False, description="Encrypt links to this worker; whoever connects need not be told.")
    http_host: str = Field("127.0.0.1", description="Where /livez, /readyz and /metrics listen.")
    http_port: int = Field(0, ge=0, le=65535, description="0: any free port.")
    shards_max: int = Field(256, ge=1, le=65536, description="Never own more shards than this.")
    shards_slack: int = Field(
        0, ge=0, le=65536, description="Shards above a fair share that one worker may take at once."
    )
    lease_ttl_s: float = Field(1.0, ge=0.2, le=60, description="An owner silent for this long is taken over.")
    standbys: int = Field(
        0, ge=0, le=8, description="Workers that follow each shard, ready to take it over; the same on all workers."
    )
    standby_shards_max: int = Field(
        32, ge=0, le=65536, description="Follow at most so many shards: each costs its state's memory and its steps."
    )
    standby_poll_s: float = Field(0.1, ge=0.01, le=10, description="How often a standby reads the journal.")
    moves_at_once_max: int = Field(4, ge=1, le=256, description="Shards on their way to other workers in a drain.")
    move_timeout_s: float = Field(
        15.0, ge=1, le=3600, description="One migration: snapshot, journal, and the change of hands."
    )
    capacity: float = Field(1.0, gt=0, le=1000, description="Load this worker is to get, relative to other workers.")
    balance: bool = Field(True, description="Move shards to even out loads; one worker does it for all.")
    balance_moves_max: int = Field(2, ge=1, le=64, description="Shards moved at once to even out loads, or by a drain.")
    balance_start_part: float = Field(
        0.25, gt=0, le=10, description="Out of balance by more than this part of the mean load, shards are moved."
    )
    balance_stop_part: float = Field(0.10, gt=0, le=10, description="Once they are, they are down to this part.")
    balance_settle_s: float = Field(2.0, ge=0, le=3600, description="How long it must be out of balance before.")
    balance_rest_s: float = Field(30.0, ge=0, le=86400, description="How long a shard stays where it was moved to.")
    sleep_after_s: float = Field(
        30.0, ge=0, le=86400, description="A shard that nobody needs stops ticking after this long; 0: never."
    )
    leave_after_s: float = Field(
        60.0, ge=0, le=86400, description="Having slept for this long, it leaves memory until somebody comes."
    )
    start_wait_s: float = Field(1.0, ge=0, le=60, description="How long a new worker lets others announce themselves.")
    attach_wait_s: float = Field(
        5.0, ge=0, le=300, description="How long players may be without a gateway before they count as lost."
    )
    sessions_max: int = Field(20_000, ge=1, le=1_000_000, description="Sessions of one shard.")
    dilation_max: float = Field(
        4.0,
        ge=1,
        le=4,
        description="While there is more to do than time, ticks last up to so many times longer; 1: never.",
    )
    ticks_in_flight_max: int = Field(2, ge=1, le=16, description="Journal appends on their way at once.")
    ticks_held_max: int = Field(40, ge=2, le=2000, description="Results held back before the shard pauses.")
    ticks_kept_max: int = Field(
        200, ge=2, le=20000, description="Committed records kept to repair a journal that went back."
    )
    digest_ticks: int = Field(20, ge=1, le=10000, description="A state digest goes into every n-th record.")
    snapshot_interval_s: float = Field(
        5.0, ge=0.2, le=3600, description="A crashed shard's successor replays at most this, and an upload, of ticks."
    )
    snapshot_timeout_s: float = Field(60.0, ge=1, le=3600, description="One snapshot's upload, read back and all.")
    archive_interval_s: float = Field(
        5.0, ge=0.2, le=3600, description="One segment of the journal in so many seconds."
    )
    archive_state_interval_s: float = Field(
        300.0,
        ge=0.2,
        le=86400,
        description="One archived state in so many seconds: the most a replay has to run before.",
    )
    recovery_timeout_s: float = Field(120.0, ge=1, le=3600, description="Snapshot and replay of one shard.")
    stop_timeout_s: float = Field(25.0, ge=1, le=600, description="Orderly stop; past it the worker stops at once.")
    audit_ticks: int = Field(0, ge=0, le=2000, description="Keep the last n ticks for /audit/state; tests only.")

    @model_validator(mode="after")
    def _kept_covers_held(self) -> WorkerSettings:
        if self.ticks_kept_max < self.ticks_held_max:
            raise ValueError("ticks_kept_max must be at least ticks_held_max")
        return self

    @model_validator(mode="after")
    def _balance_stops_below_its_start(self) -> WorkerSettings:
        if self.balance_stop_part > self.balance_start_part:
            raise ValueError("balance_stop_part must be at most balance_start_part")
        return self

    @model_validator(mode="after")
    def _gateways_can_reach_it(self) -> WorkerSettings:
        if self.host in ("0.0.0.0", "::") and not self.address:  # noqa: S104 - compared, not bound
            raise ValueError("address is required where host is every interface: gateways need one to connect to")
        return self

    @field_validator("address")
    @classmethod
    def _address_has_a_port(cls, address: str) -> str:
        host, _, port = address.rpartition(":")
        if address and (not host or not port.isdigit() or not 0 < int(port) < 65536):
            raise ValueError(f"{address!r} is not host:port")
        return address


class GatewaySettings(_Settings):
    """One gateway process. What clients meet at each limit stands in proto/README.md."""

    model_config = SettingsConfigDict(env_prefix="OVERWORLD_GATEWAY_")

    name: str = Field("", max_length=64, description="For logs; empty: made from host and process.")
    host: str = Field("127.0.0.1", description="Where the game socket listens.")
    port: int = Field(0, ge=0, le=65535, description="Port of the game socket; 0: any free one.")
    http_host: str = Field("127.0.0.1", description="Where the public pages and the API listen.")
    http_port: int = Field(0, ge=0, le=65535, description="0: any free port.")
    internal_host: str = Field("127.0.0.1", description="Where /livez, /readyz and /metrics listen.")
    internal_port: int = Field(0, ge=0, le=65535, description="0: any free port.")
    internal_address: str = Field(
        "", description="host:port of the internal port for other processes; empty: where it listens, if that is one."
    )
    socket_url: str = Field("", description="ws:// or wss:// URL that pages are told; empty: made from their request.")
    client_dir: str = Field("", description="Folder of the JavaScript client's modules; empty: the packaged one.")
    tls_certificate: str = Field(
        "", description="PEM file: game socket and pages are wss and https; reread when it changes. Empty: ws and http."
    )
    tls_key: str = Field("", description="PEM file of its key, without a password.")
    origins: str = Field("", description="Comma-separated origins whose pages may connect, e.g. https://play.example.")
    origin_absent: bool = Field(False, description="Admit sockets without an Origin: native clients and bots.")
    guest_logins: bool = Field(False, description="Give a token to whoever asks.")
    guest_logins_per_minute_max: int = Field(30, ge=1, le=1_000_000, description="From one address.")
    token_ttl_s: int = Field(60, ge=5, le=3600, description="Longest life of a login token.")
    resume_ttl_s: int = Field(12 * 3600, ge=60, le=7 * 24 * 3600, description="How long a resume token is good for.")
    sockets_max: int = Field(5000, ge=1, le=200_000, description="Beyond it, new sockets are told to try later.")
    sockets_per_address_max: int = Field(64, ge=1, le=200_000)
    handshakes_max: int = Field(256, ge=1, le=65536, description="Sockets that have not asked for the upgrade yet.")
    hello_s: float = Field(5.0, gt=0, le=60, description="For the upgrade, and again from it to a whole hello.")
    idle_s: int = Field(20, ge=1, le=3600, description="Silence after which a socket is closed.")
    message_bytes_max: int = Field(1024, ge=512, le=65536, description="One client message, over all its fragments.")
    fragments_max: int = Field(8, ge=1, le=1024)
    assembly_s: float = Field(2.0, gt=0, le=60, description="From the first to the last fragment.")
    messages_per_second_max: int = Field(60, ge=1, le=10_000, description="Pings included; bursts of twice as many.")
    inputs_waiting_max: int = Field(32, ge=1, le=1024, description="Of one session, sent and not yet applied.")
    backlog_bytes_max: int = Field(256 << 10, ge=4096, le=64 << 20, description="Unread bytes before updates pause.")
    backlog_bytes_low: int = Field(32 << 10, ge=0, le=64 << 20, description="Unread bytes at which they go on.")
    kernel_buffer_bytes: int = Field(128 << 10, ge=4096, le=16 << 20, description="Send buffer of a socket's kernel.")
    client_bytes_per_s: int = Field(
        128 << 10,
        ge=0,
        le=1 << 30,
        description="Updates for one client; in a crowd, what is near comes first. 0: no bound.",
    )
    behind_s: float = Field(5.0, gt=0, le=300, description="How long updates may pause before the socket is closed.")
    world_wait_s: float = Field(20.0, gt=0, le=600, description="How long a session waits for a worker.")
    full_dilation: float = Field(
        3.0, gt=1, le=4, description="The world has no room for new players while ticks last so many times longer."
    )
    queue_places_max: int = Field(
        1000, ge=0, le=200_000, description="New players who wait for room; more are refused."
    )
    queue_wait_s: float = Field(25.0, gt=0, le=600, description="How long one waits in the queue before 1013.")
    queue_rate_per_s: float = Field(10.0, gt=0, le=10_000, description="How many of them go in when there is room.")
    input_flush_s: float = Field(0.004, ge=0, le=0.1, description="Inputs are gathered this long on their way.")
    lane: bool = Field(True, description="Serve sockets by compiled code, where it was built.")
    link_timeout_s: float = Field(3.0, gt=0, le=60, description="Opening a link to a worker, handshake and all.")
    drain_s: float = Field(5.0, ge=0, le=300, description="A stopping gateway spreads its closes over this long.")

    @model_validator(mode="after")
    def _low_is_below_max(self) -> GatewaySettings:
        if self.backlog_bytes_low >= self.backlog_bytes_max:
            raise ValueError("backlog_bytes_low must be below backlog_bytes_max")
        return self

    @model_validator(mode="after")
    def _tls_is_a_pair(self) -> GatewaySettings:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key are files that belong together: give both or neither")
        return self

    @field_validator("origins")
    @classmethod
    def _origins_are_origins(cls, origins: str) -> str:
        for origin in filter(None, (part.strip() for part in origins.split(","))):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is not scheme://host or scheme://host:port")
        return origins

    @field_validator("socket_url")
    @classmethod
    def _socket_url_is_one(cls, url: str) -> str:
        if url and not _SOCKET_URL.fullmatch(url):
            raise ValueError("must be ws://host:port/play or wss://host/play")
        return url

    @property
    def origins_allowed(self) -> frozenset[str]:
        """The origins as a set."""
        return frozenset(filter(None, (part.strip() for part in self.origins.split(","))))


class AdminSettings(_Settings):
    """`overworld admin`: whom to ask."""

    model_config = SettingsConfigDict(env_prefix="OVERWORLD_ADMIN_")

    url: str = Field("", description="http://host:port of the internal port of any worker or gateway.")
    token: SecretStr = Field(SecretStr(""), description="A token for it; empty: signed with the cluster key.")


def parse_shards(text: str) -> tuple[int, int]:
    """'4x2' as (4, 2): shards across and down. Raises ValueError."""
    match = _SHARDS.fullmatch(text)
    if match is None or int(match[1]) < 1 or int(match[2]) < 1:
        raise ValueError(f"{text!r} is not ACROSSxDOWN, for example 2x1")
    return int(match[1]), int(match[2])


S = TypeVar("S", bound=_Settings)


def load(kind: type[S], **given: object) -> S:
    """Settings from arguments, the environment and, after it, the secrets' folder.

    Raises SettingsError with one line for each bad setting.
    """
    secrets_dir = os.environ.get(SECRETS_DIR)
    if secrets_dir:
        if not Path(secrets_dir).is_dir():
            raise SettingsError(f"{SECRETS_DIR}: {secrets_dir} is no folder")
        given = {"_secrets_dir": secrets_dir, **given}
    try:
        return kind(**given)
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        lines = []
        for fault in error.errors():
            name = prefix + "_".join(str(part) for part in fault["loc"]).upper() if fault["loc"] else prefix + "*"
            why = "is required" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
            secret = "key" in name.lower() or name.lower().endswith("token")
            shown = "" if fault["type"] == "missing" or secret else f" (got {fault['input']!r})"
            lines.append(f"{name}: {why}{shown if fault['loc'] else ''}")
        raise SettingsError("\n".join(lines)) from None


def check_names(environment: Mapping[str, str], kinds: Iterable[type[_Settings]]) -> None:
    """Raises SettingsError for OVERWORLD_ variables no settings class knows: a misspelt one must not pass unnoticed."""
    known = {(kind.model_config.get("env_prefix", "") + field).upper() for kind in kinds for field in kind.model_fields}
    known.add(SECRETS_DIR)
    lines = []
    for name in sorted(environment):
        if name.startswith("OVERWORLD_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            lines.append(f"{name}: no such setting" + (f"; did you mean {close[0]}?" if close else ""))
    if lines:
        raise SettingsError("\n".join(lines))
