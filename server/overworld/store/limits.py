"""What a store refuses to send, and refuses to believe: shared by the real stores and their twins."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count

from overworld import telemetry
from overworld.errors import JournalGap, StoreRefused, TooBig
from overworld.store.ports import (
    MESSAGE_BYTES_MAX,
    MESSAGES_PER_APPEND_MAX,
    PAYLOAD_BYTES_MAX,
    AppendRequest,
    BlobLimits,
    JournalEntry,
    OutboxMessage,
)

BLOB_NAME_BYTES_MAX = 512
METADATA_PAIRS_MAX = 16
METADATA_CHARS_MAX = 512
NONCE_KEY = "nonce"

_BLOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_BLOB_PREFIX = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*/?)?")
_METADATA_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
_METADATA_VALUE = re.compile(r"[\x20-\x7e]*")


def check_append(request: AppendRequest) -> int:
    """Returns the bytes that the record and its messages hold. Raises TooBig."""
    if len(request.payload) > PAYLOAD_BYTES_MAX:
        raise TooBig(f"record of tick {request.tick}: {len(request.payload)} bytes, at most {PAYLOAD_BYTES_MAX}")
    if not request.outbox:
        return len(request.payload)
    if len(request.outbox) > MESSAGES_PER_APPEND_MAX:
        raise TooBig(f"tick {request.tick}: {len(request.outbox)} messages, at most {MESSAGES_PER_APPEND_MAX}")
    for message in request.outbox:
        if len(message.body) > MESSAGE_BYTES_MAX:
            text = f"message to shard {message.to_shard}: {len(message.body)} bytes, at most {MESSAGE_BYTES_MAX}"
            raise TooBig(text)
    return len(request.payload) + sum(len(message.body) for message in request.outbox)


def check_outbox(to_shard: int, messages: Sequence[OutboxMessage]) -> None:
    """Raises TooBig."""
    for message, number in zip(messages, count(messages[0].number if messages else 1)):
        assert (message.to_shard, message.number) == (to_shard, number), "an outbox has no gaps"
        if len(message.body) > MESSAGE_BYTES_MAX:
            raise TooBig(f"message to shard {to_shard}: {len(message.body)} bytes, at most {MESSAGE_BYTES_MAX}")


def check_contiguous(shard: int, after_tick: int, entries: Sequence[JournalEntry]) -> None:
    """Raises JournalGap unless the entries are after_tick + 1 and on."""
    for expected, entry in enumerate(entries, start=after_tick + 1):
        if entry.tick != expected:
            telemetry.journal_gap_total.inc()
            raise JournalGap(f"shard {shard}: the journal has tick {entry.tick} where {expected} should be")


def check_blob_name(name: str) -> str:
    """Returns the name. Raises StoreRefused."""
    if len(name) > BLOB_NAME_BYTES_MAX or not _BLOB_NAME.fullmatch(name):
        raise StoreRefused(f"object name {name[:BLOB_NAME_BYTES_MAX]!r}: segments of letters, digits, '.', '-', '_'")
    return name


def check_blob_prefix(prefix: str) -> str:
    """Returns the prefix. Raises StoreRefused."""
    if len(prefix) > BLOB_NAME_BYTES_MAX or not _BLOB_PREFIX.fullmatch(prefix):
        raise StoreRefused(
            f"object prefix {prefix[:BLOB_NAME_BYTES_MAX]!r}: segments of letters, digits, '.', '-', '_'"
        )
    return prefix


def check_blob(name: str, data: bytes, metadata: Mapping[str, str] | None, limits: BlobLimits) -> None:
    """Raises StoreRefused, TooBig."""
    check_blob_name(name)
    if len(data) > limits.blob_bytes_max:
        raise TooBig(f"object {name}: {len(data)} bytes, at most {limits.blob_bytes_max}")
    pairs = metadata or {}
    if len(pairs) > METADATA_PAIRS_MAX or sum(len(k) + len(v) for k, v in pairs.items()) > METADATA_CHARS_MAX:
        raise TooBig(f"object {name}: at most {METADATA_PAIRS_MAX} metadata pairs of {METADATA_CHARS_MAX} characters")
    for key, value in pairs.items():
        if key == NONCE_KEY or not _METADATA_KEY.fullmatch(key) or not _METADATA_VALUE.fullmatch(value):
            raise StoreRefused(f"object {name}: metadata {key!r} is not a short ASCII pair, or is the store's own")
