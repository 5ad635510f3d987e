"""[rotation] Redis passwords that expire, changed under load on one server and on a cluster of three.

A gate in front of each server cuts every connection whose password has expired, as Azure does. Appends of eight shards,
ordinary calls, a subscriber and idle connections go on meanwhile: no call may fail, and nothing may be cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.expiring import Gate, Issuer, gated_cluster
from loadtest.figures import percentiles
from loadtest.machine import REPOSITORY
from loadtest.prove.proof import Proof
from loadtest.rotating import Holder, Toll
from overworld.store.credentials import RotatingCredentials
from tests.parts.redis import RedisFactory

STALL_MS_MAX = 500.0
"""An invariant only in this generous form: a blocking fetch or a context made anew would be a bug on any machine."""
SUITE = ("ownership", "journal", "outbox", "directory")


@dataclass(frozen=True)
class Options:
    """`seconds` for each topology; `life_s`: of a password. `suite`: also run the stores' tests on both topologies."""

    seconds: float = 30.0
    life_s: float = 4.0
    suite: bool = True


def run(proof: Proof, options: Options) -> None:
    """One server, then a cluster; then the stores' own tests."""
    for cluster in (False, True):
        with tempfile.TemporaryDirectory(prefix="overworld-rotation-") as folder:
            toll, issuer, gates = asyncio.run(_rotate(Path(folder), options, cluster=cluster))
        _tell(proof, "cluster_" if cluster else "one_", toll, issuer, gates)
    if options.suite:
        _suite(proof)


async def _rotate(folder: Path, options: Options, *, cluster: bool) -> tuple[Toll, Issuer, list[Gate]]:
    factory = RedisFactory(folder)
    try:
        async with contextlib.AsyncExitStack() as stack:
            if cluster:
                issuer, gates = await stack.enter_async_context(gated_cluster(factory, options.life_s))
            else:
                server = await factory.start()
                issuer = Issuer([server.port], options.life_s)
                gates = [await stack.enter_async_context(Gate(server.port, issuer))]
            credentials = RotatingCredentials(issuer, look_s=0.1, pause_s_min=0.2, idle_s=1.2)
            await credentials.start()
            stack.push_async_callback(credentials.close)
            holder = Holder(gates[0].url, credentials, cluster=cluster, subscriber_port=gates[0].port)
            await stack.enter_async_context(holder)
            holder.start()
            await asyncio.sleep(options.seconds)
            await holder.stop()
            return holder.toll, issuer, gates
    finally:
        factory.kill_all()


def _tell(proof: Proof, prefix: str, toll: Toll, issuer: Issuer, gates: list[Gate]) -> None:
    stalls_ms = [1000 * s for s in toll.stalls_s]
    proof.figure(f"{prefix}rotations", issuer.issued - 1)
    proof.figure(f"{prefix}connections", sum(gate.connections for gate in gates))
    proof.figure(f"{prefix}auths", sum(gate.auths for gate in gates))
    proof.figure(f"{prefix}calls", toll.calls)
    proof.figure(f"{prefix}calls_failed", len(toll.failed))
    proof.figure(f"{prefix}appends", toll.appends)
    proof.figure(f"{prefix}slowest_call_ms", 1000 * toll.slowest_s)
    proof.figure(f"{prefix}loop_late_ms", percentiles(stalls_ms, 50, 99, 99.9))
    proof.require(issuer.issued > 1, "no password was changed")
    proof.require(toll.appends > 0, "nothing was appended")
    proof.require(toll.news_heard > 0, "the subscriber heard nothing")
    proof.require(toll.subscriber_closed == 0, f"the subscriber was closed {toll.subscriber_closed} times")
    proof.require(not toll.failed, f"{len(toll.failed)} calls failed: {toll.failed[:3]}")
    proof.require(not any(gate.cut for gate in gates), f"connections were cut: {[gate.cut for gate in gates]}")
    proof.require(max(stalls_ms) < STALL_MS_MAX, f"the event loop stood still for {max(stalls_ms):.0f} ms")


def _suite(proof: Proof) -> None:
    files = [f"tests/store/test_{name}.py" for name in SUITE]
    for kind in ("redis", "tls-cluster"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-k", f"[{kind}", *files],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=540, check=False,
        )  # fmt: skip
        closing = (done.stdout.strip().splitlines() or ["nothing was printed"])[-1]
        proof.figure(f"suite_{kind.replace('-', '_')}", closing)
        proof.require(done.returncode == 0, f"tests with {kind}: {closing}\n{done.stdout[-2000:]}")
