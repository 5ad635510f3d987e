"""What it costs to protect a link: CPU time of a message, both sides and the kernel's part together.

    python -m loadtest.link_cost

Compares a plain link, one inside TLS, and what a MAC with a counter over each plain message would add (keyed blake2b,
16 bytes; computed and checked, not sent). Prints one line a case, and all of them as one JSON object at the end.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from dataclasses import asdict, dataclass, field
from hashlib import blake2b

import uvloop

from overworld.commands import logs
from overworld.link import Link, LinkCredentials, OwnCertificate, connect, listen
from overworld.wire.v1.link_pb2 import LinkMessage, TickOutput

CREDENTIALS = LinkCredentials(b"k" * 32, "world", "one")
SIZES = {"inputs of a few players": 300, "a tick of a small shard": 4_000, "a tick of a crowded shard": 60_000}
ROUNDS = 9
ROUND_S = 0.3
AT_ONCE = 4
"""Messages that wait for the loop together, as those of several shards do."""
HANDSHAKES = 100


@dataclass(frozen=True)
class Cost:
    """CPU time of one message of so many bytes, in microseconds: median of the rounds."""

    name: str
    message_bytes: int
    plain_us: float
    tls_us: float
    mac_us: float


@dataclass
class Side:
    """Counts what comes."""

    count: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: int = 0

    def on_message(self, link: Link, message: LinkMessage) -> None:  # noqa: ARG002 - the link passes it
        self.count += 1
        if self.count >= self.wanted:
            self.enough.set()

    def on_lost(self, link: Link, reason: str) -> None:  # noqa: ARG002 - the link passes it
        self.enough.set()


async def _pair(certificate: OwnCertificate | None) -> tuple[Link, Side]:
    """The worker's end of a link, and whoever hears at the other."""
    links: list[Link] = []

    def accept(link: Link) -> Side:
        links.append(link)
        return Side()

    server = await listen("127.0.0.1", 0, CREDENTIALS, accept, certificate=certificate)
    gateway = Side()
    await connect("127.0.0.1", server.port, CREDENTIALS, gateway, 5.0)
    while not links:
        await asyncio.sleep(0.001)
    return links[0], gateway


async def _round(link: Link, gateway: Side, body: bytes) -> float:
    """CPU time of a message, in microseconds."""
    began_s, until_s, sent = time.process_time(), time.perf_counter() + ROUND_S, 0
    while time.perf_counter() < until_s:
        gateway.enough.clear()
        gateway.wanted = gateway.count + AT_ONCE
        for _ in range(AT_ONCE):
            link.send_serialized(body)
        sent += AT_ONCE
        await asyncio.wait_for(gateway.enough.wait(), 5.0)
    return (time.process_time() - began_s) / sent * 1e6


def _mac_us(body: bytes) -> float:
    """Made by one side, made again by the other."""
    key, count, began_s = bytes(32), 2_000, time.process_time()
    for counter in range(count):
        for _ in ("sends", "checks"):
            mac = blake2b(counter.to_bytes(8, "little"), key=key, digest_size=16)
            mac.update(body)
            mac.digest()
    return (time.process_time() - began_s) / count * 1e6


async def _handshake_ms(certificate: OwnCertificate | None) -> float:
    """CPU time of opening one link, both sides, in milliseconds."""
    server = await listen("127.0.0.1", 0, CREDENTIALS, lambda _: Side(), certificate=certificate)
    began_s = time.process_time()
    for _ in range(HANDSHAKES):
        (await connect("127.0.0.1", server.port, CREDENTIALS, Side(), 5.0)).close("measured")
    spent_s = time.process_time() - began_s
    await server.close()
    return spent_s / HANDSHAKES * 1000


async def measure() -> dict[str, object]:
    """All cases; plain and TLS take turns, so that a machine that changes its pace does not choose between them."""
    certificate = OwnCertificate.make()
    pairs = {"plain": await _pair(None), "tls": await _pair(certificate)}
    costs = []
    for name, size in SIZES.items():
        body = LinkMessage(output=TickOutput(shard=1, tick=1, updates=bytes(size))).SerializeToString()
        taken: dict[str, list[float]] = {kind: [] for kind in pairs}
        for _ in range(ROUNDS):
            for kind, (link, gateway) in pairs.items():
                taken[kind].append(await _round(link, gateway, body))
        plain_us, tls_us = (statistics.median(taken[kind]) for kind in ("plain", "tls"))
        cost = Cost(name, size, *(round(us, 2) for us in (plain_us, tls_us, _mac_us(body))))
        print(f"{name} ({size} bytes): plain {cost.plain_us} us, TLS {cost.tls_us}, a MAC would add {cost.mac_us}")
        costs.append(cost)
    handshakes = {"plain": await _handshake_ms(None), "tls": await _handshake_ms(certificate)}
    print("opening a link: " + ", ".join(f"{kind} {ms:.2f} ms" for kind, ms in handshakes.items()))
    return {
        "costs": [asdict(cost) for cost in costs],
        "handshake_ms": {kind: round(ms, 3) for kind, ms in handshakes.items()},
    }


def main() -> None:
    """Measure, and print."""
    logs.set_up("console", "error")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure())))


if __name__ == "__main__":
    main()
