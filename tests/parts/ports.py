"""Free loopback ports, each handed out once."""

from __future__ import annotations

import socket

TRIES = 200
_handed_out: set[int] = set()


def free_port() -> int:
    """A TCP port nobody listens on now and that this run has not been given before.

    Another program may still take it before we do; a server that then fails to start says so by its log. Ports from
    10,000 below the usual end are left out because a cluster bus listens on the port plus 10,000.
    """
    for _ in range(TRIES):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _handed_out and port + 10_000 <= 65_535:
            _handed_out.add(port)
            return port
    raise RuntimeError(f"no free port found in {TRIES} tries")
