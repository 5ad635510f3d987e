"""[bytes] Bytes for each client and second: 40 ships in view that turn every 0.5 to 1 s, beside Colyseus' StateView.

The aim is 1,500; the figure says whether it was met.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from loadtest.peers.run import Pace
from loadtest.peers.worlds import Workload
from loadtest.prove.compare import watched
from loadtest.prove.proof import Proof

AIM_BYTES = 1500
SERVERS = ("overworld", "colyseus")


@dataclass(frozen=True)
class Options:
    """`clients`: of the same script on each server."""

    clients: int = 500
    window_s: float = 5.0


def run(proof: Proof, options: Options) -> None:
    """Measure both servers with inputs on change and 20 times a second."""
    asyncio.run(_run(proof, options))


async def _run(proof: Proof, options: Options) -> None:
    pace = Pace(warm_s=2.0, window_s=options.window_s)
    for inputs in ("change", "hz20"):
        found = {}
        for server in SERVERS:
            outcome = await watched(proof, server, Workload("B", options.clients), inputs, pace)
            proof.figure(f"{server}_{inputs}", outcome.plain())
            found[server] = outcome.bytes_per_client_s
        mine, theirs = (found[server] for server in SERVERS)
        proof.require(mine > 0 and theirs > 0, f"inputs {inputs}: no bytes came")
        proof.figure(f"beside_{inputs}", {
            "overworld_bytes_per_client_s": mine, "colyseus_bytes_per_client_s": theirs,
            "ratio": mine / max(theirs, 1.0), "aim_bytes_per_client_s": AIM_BYTES, "aim_met": mine <= AIM_BYTES,
        })  # fmt: skip
