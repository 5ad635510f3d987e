"""[world-e2e] What every bot sees is what the workers hold, field by field.

Two gateways, two workers, Redis, Azurite; bots move, shoot and die. Every bot's picture is compared at tick ends with
the workers' own word (sampled) and with the replay of the journal (every tick), for all cells it holds.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import Shape
from loadtest.findings import Findings
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.trial import Trial


@dataclass(frozen=True)
class Options:
    """How many bots, for how long."""

    bots: int = 200
    seconds: float = 30.0
    shards: str = "2x2"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """Play, then check."""
    with tempfile.TemporaryDirectory(prefix="overworld-e2e-") as folder:
        check(proof, asyncio.run(play(proof, options, Path(folder))))


def check(proof: Proof, found: Findings, *, fights: bool = True) -> None:
    """Everything that must hold. `fights`: there were enough bots for long enough to kill each other."""
    require_sound(proof, found)
    proof.require(found.lost_sockets == 0, f"{found.lost_sockets} sockets were lost")
    if fights:
        proof.require(found.players.get("kills", 0) > 0, "nobody was killed")
        proof.require(found.players.get("deaths", 0) > 0, "nobody died")


async def play(proof: Proof, options: Options, folder: Path) -> Findings:
    """One run, recorded and checked."""
    shape = Shape(shards=options.shards, seed=options.seed, blob="azurite", audit_ticks=100)
    async with Trial(folder, shape, options.bots, say=proof.say) as trial:
        await trial.play(options.seconds)
        await trial.leave()
        await trial.finish()
    return trial.findings()
