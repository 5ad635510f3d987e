"""[kill-worker] `kill -9` of a worker under players, again and again: they notice a short pause.

No socket closes, no tick that any bot saw is missing from the replay, no acknowledged input is lost, none is applied
twice, all digests are equal. Printed: how long each bot saw nothing of a shard that had lost its worker (no standby is
running).
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import Shape
from loadtest.figures import percentiles
from loadtest.findings import Findings
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.takeovers import Loss, Pauses, owners, until_taken_over
from loadtest.trial import Trial


@dataclass(frozen=True)
class Options:
    """`rest_s`: the longest time between a takeover and the next kill; each is drawn from the seed."""

    bots: int = 300
    kills: int = 20
    rest_s: float = 5.0
    shards: str = "2x2"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """Kill, then check."""
    with tempfile.TemporaryDirectory(prefix="overworld-kill-") as folder:
        found, noticed = asyncio.run(play(proof, options, Path(folder)))
    check(proof, options, found, noticed)


def check(proof: Proof, options: Options, found: Findings, noticed: Pauses) -> None:
    """Everything that must hold."""
    require_sound(proof, found)
    proof.figure("kills", options.kills)
    proof.figure("pause_s", percentiles(noticed.each_s, 50, 99))
    proof.figure("pauses", len(noticed.each_s))
    proof.figure("ticks_not_shown", noticed.ticks_skipped)
    proof.require(found.lost_sockets == 0, f"{found.lost_sockets} sockets were lost")
    proof.require(noticed.missing == 0, f"{noticed.missing} bots never saw a shard again")
    proof.require(len(noticed.each_s) >= options.kills, f"only {len(noticed.each_s)} pauses were seen")


async def play(proof: Proof, options: Options, folder: Path) -> tuple[Findings, Pauses]:
    """One cluster, one kill after the other, at random moments."""
    chance = random.Random(options.seed)
    shape = Shape(shards=options.shards, seed=options.seed, audit_ticks=100)
    losses: list[Loss] = []
    async with Trial(folder, shape, options.bots, say=proof.say) as trial:
        for number in range(options.kills):
            await asyncio.sleep(chance.uniform(1.0, max(1.0, options.rest_s)))
            victim = chance.choice(owners(trial.cluster))
            loss = Loss(victim.name, victim.shards(), time.monotonic())
            victim.process.kill()
            losses.append(loss)
            await until_taken_over(trial.cluster, loss)
            proof.say(
                f"kill {number + 1}: {victim.name} with shards {sorted(loss.shards)}, taken over after "
                f"{loss.taken_over_s - loss.at_s:.2f} s; {trial.playing} of {options.bots} bots play"
            )
            await trial.cluster.start_node(victim)
        await trial.play(options.rest_s)
        await trial.leave()
        await trial.finish()
    return trial.findings(), trial.pauses(losses)
