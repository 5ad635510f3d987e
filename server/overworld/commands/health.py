"""Asks this machine's own process how it is, over its internal port: for a container's health check."""

from __future__ import annotations

import http.client


def ask(port: int, path: str = "/readyz", timeout_s: float = 2.0) -> tuple[bool, str]:
    """(healthy, what it said). Never raises for a process that does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == 200, answer.read(500).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return False, f"no answer on port {port}: {error}"
    finally:
        connection.close()
