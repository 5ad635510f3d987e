"""The authenticated stream between a gateway and a worker.

Each message is a 4-byte little-endian length, then one `LinkMessage`. Both sides prove that they know the cluster key
before anything else is said, and that they serve the same world contract. The accepting side may have it all inside
TLS. `handshake` decides, `stream` does the I/O, `tls` encrypts.
"""

from __future__ import annotations

from overworld.link.handshake import LINK_PROTOCOL, LinkCredentials
from overworld.link.stream import Link, LinkLimits, LinkPeer, LinkServer, connect, listen
from overworld.link.tls import OwnCertificate

__all__ = [
    "LINK_PROTOCOL",
    "Link",
    "LinkCredentials",
    "LinkLimits",
    "LinkPeer",
    "LinkServer",
    "OwnCertificate",
    "connect",
    "listen",
]
