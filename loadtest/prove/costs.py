"""[costs] Milliseconds a tick for moving entities, bytes for an entity, gateway CPU for a client.

A shard is measured alone (step and encoding, no I/O), then in the real worker's loop, then the gateway under real
sockets.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from loadtest.core_cost import measure
from loadtest.prove.proof import Proof

ENTITIES = (1_000, 10_000, 50_000)
MOTIONS = ("roam", "curve", "straight")


@dataclass(frozen=True)
class Options:
    """`ticks`: of each shard measured alone. `seconds`: of each run with processes."""

    ticks: int = 200
    seconds: float = 10.0


def run(proof: Proof, options: Options) -> None:
    """Measure all three."""
    shards_alone(proof, options)


def shards_alone(proof: Proof, options: Options) -> None:
    """Tables of `ShardCore`'s costs."""
    for motion in MOTIONS:
        for entities in ENTITIES:
            cost = measure(motion, entities, options.ticks)
            proof.figure(f"{motion}_{entities}", {**asdict(cost), "tick_ms": cost.tick_ms})
            proof.require(cost.changed_bytes_per_tick > 0, f"{entities} entities that {motion} gave no bytes")
