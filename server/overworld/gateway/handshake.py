"""Who may open a game socket: what the upgrade request must look like.

The socket library has refused malformed requests, other methods and requests with a body before this is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

PATH = b"/play"
RETRY_AFTER_S = 5


Headers = Callable[[str], Sequence[str]]
"""All values of a request header, in order, by its name, whatever its case."""


@dataclass(frozen=True)
class Refusal:
    """An HTTP answer instead of the upgrade. `reason` is a metric label; `text` is for the client's developer."""

    status: int
    reason: str
    text: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class UpgradePolicy:
    """The rules of one gateway. `origins` are compared exactly; `origin_absent` admits native clients."""

    origins: frozenset[str]
    origin_absent: bool
    sockets_max: int
    sockets_per_address_max: int

    def judge(self, path: bytes, headers: Headers, sockets: int, sockets_of_address: int) -> Refusal | None:
        """None where the upgrade may go on. `sockets` and `sockets_of_address` are those open already."""
        return self._request(path, headers) or self._origin(headers) or self._room(sockets, sockets_of_address)

    def _request(self, path: bytes, headers: Headers) -> Refusal | None:
        if path != PATH:
            return Refusal(404, "path", "the game socket is at /play")
        hosts = headers("Host")
        if len(hosts) != 1 or not hosts[0]:
            return Refusal(400, "host", "exactly one Host header is needed")
        if len(headers("Sec-WebSocket-Key")) != 1:
            return Refusal(400, "key", "exactly one Sec-WebSocket-Key header is needed")
        if list(headers("Sec-WebSocket-Version")) != ["13"]:
            version = (("Sec-WebSocket-Version", "13"),)
            return Refusal(426, "version", "websocket version 13 is needed", version)
        return None

    def _origin(self, headers: Headers) -> Refusal | None:
        origins = headers("Origin")
        if not origins and self.origin_absent:
            return None
        if len(origins) == 1 and origins[0] in self.origins:
            return None
        return Refusal(403, "origin", "this origin may not connect")

    def _room(self, sockets: int, sockets_of_address: int) -> Refusal | None:
        later = (("Retry-After", str(RETRY_AFTER_S)),)
        if sockets_of_address >= self.sockets_per_address_max:
            return Refusal(429, "address", "too many sockets from this address", later)
        if sockets >= self.sockets_max:
            return Refusal(503, "full", "the server is full", later)
        return None
