"""Keys made from the cluster key, one for each purpose: none of them is good for another."""

from __future__ import annotations

import hashlib
import hmac


def derived_key(cluster_key: bytes, purpose: bytes) -> bytes:
    """A key of its own for one purpose, 32 bytes."""
    return hmac.new(cluster_key, b"overworld key 1|" + purpose, hashlib.sha256).digest()
