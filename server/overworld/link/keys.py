"""Keys made from the cluster key, one for each purpose: none of them is good for another.

While the cluster key is changed, processes have two: the first signs, both are accepted. Changing it takes three rounds
of restarts, each of which may be rolling: (old, new), (new, old), (new).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt


@dataclass(frozen=True)
class ClusterKeys:
    """`signing`: the key to prove oneself with. `also`: another one that is accepted; empty: none."""

    signing: bytes = field(repr=False)
    also: bytes = field(default=b"", repr=False)


Key = bytes | ClusterKeys
"""One key, or two while it is changed."""


def accepted_keys(key: Key) -> tuple[bytes, ...]:
    """The one that signs first."""
    if isinstance(key, bytes):
        return (key,)
    return (key.signing, key.also) if key.also else (key.signing,)


def derived_keys(key: Key, purpose: bytes) -> tuple[bytes, ...]:
    """Keys for one purpose, 32 bytes each; the one that signs first."""
    return tuple(derived_key(one, purpose) for one in accepted_keys(key))


def derived_key(cluster_key: bytes, purpose: bytes) -> bytes:
    """A key of its own for one purpose, 32 bytes."""
    return hmac.new(cluster_key, b"overworld key 1|" + purpose, hashlib.sha256).digest()


def decode_with_any(token: str, keys: Sequence[bytes], **rules: Any) -> dict[str, Any]:
    """A JWT's claims, where any of the keys has signed it. Raises jwt.InvalidTokenError."""
    for key in keys[:-1]:
        try:
            return dict(jwt.decode(token, key, **rules))
        except jwt.InvalidSignatureError:
            continue
    return dict(jwt.decode(token, keys[-1], **rules))
