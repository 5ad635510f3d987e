"""[costs] Milliseconds a tick for moving entities, bytes for an entity, gateway CPU for a client.

A shard is measured alone (step and encoding, no I/O), then in the real worker's loop, then the gateway under real
sockets.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtest.core_cost import measure
from loadtest.process_cost import WATCHERS, gateway_cost, worker_cost
from loadtest.prove.proof import Proof

ENTITIES = (1_000, 10_000, 50_000)
CLIENTS = (500, 1000)
SLOW_CLIENT = ("4010", "4011")
MOTIONS = ("roam", "curve", "straight")


@dataclass(frozen=True)
class Options:
    """`ticks`: of each shard measured alone. `seconds`: of each run with processes."""

    ticks: int = 200
    seconds: float = 10.0


def run(proof: Proof, options: Options) -> None:
    """Measure all three."""
    shards_alone(proof, options)
    with tempfile.TemporaryDirectory(prefix="overworld-costs-") as folder:
        asyncio.run(in_processes(proof, options, Path(folder)))


async def in_processes(proof: Proof, options: Options, folder: Path) -> None:
    """The worker's loop, then the gateway."""
    for name, title, players in (("roam", "Roam10000", WATCHERS), ("curve", "Curve10000", 0)):
        proof.say(f"a worker runs 10,000 movers ({name}), {players} players look on")
        cost = await worker_cost(folder / f"worker-{name}", f"loadtest.titles:{title}", options.seconds, players)
        proof.figure(f"worker_{name}_10000", asdict(cost))
        proof.require(cost.ticks > 0, f"the worker ran no tick of {title}")
    for clients in CLIENTS:
        gateway = await gateway_cost(folder / f"gateway-{clients}", clients, options.seconds, proof.say)
        proof.figure(f"gateway_{clients}", asdict(gateway))
        proof.require(gateway.frames_per_client_s > 0, f"{clients} clients got no frames")
        # Too slow a reader is a matter of this machine's clock; any other close is not.
        unforced = {code: count for code, count in gateway.closes.items() if code not in SLOW_CLIENT}
        proof.require(not unforced, f"of {clients} clients were closed, by code: {unforced}")


def shards_alone(proof: Proof, options: Options) -> None:
    """Tables of `ShardCore`'s costs."""
    for motion in MOTIONS:
        for entities in ENTITIES:
            cost = measure(motion, entities, options.ticks)
            proof.figure(f"{motion}_{entities}", {**asdict(cost), "tick_ms": cost.tick_ms})
            proof.require(cost.changed_bytes_per_tick > 0, f"{entities} entities that {motion} gave no bytes")
