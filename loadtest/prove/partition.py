"""[partition] Several hosts: the network breaks between worker and Redis, between gateway and worker, and heals.

Every worker and gateway has a network namespace of its own. Bots play through it; the figures are what they saw.
Nothing that was shown may be lost, nobody doubled, and who sees nothing for long is told why.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import Shape
from loadtest.failovers import goes_on
from loadtest.figures import percentiles
from loadtest.findings import Findings
from loadtest.hosts import REDIS, HostsCluster
from loadtest.pauses import Fault, Noticed, noticed
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.trial import Trial

REST_S = 6.0
"""Play between faults: above what a link takes to be given up."""


@dataclass(frozen=True)
class Options:
    """`rounds`: of each kind of partition. `short_s`, `long_s`: how long they last, by turns."""

    bots: int = 60
    rounds: int = 2
    short_s: float = 1.5
    long_s: float = 8.0
    shards: str = "2x2"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """The run and its check."""
    with tempfile.TemporaryDirectory(prefix="overworld-partition-") as folder:
        found, parts = asyncio.run(play(proof, options, Path(folder)))
    check(proof, found, parts)


async def play(proof: Proof, options: Options, folder: Path) -> tuple[Findings, list[Noticed]]:
    """Bots on a cluster of hosts; one partition after the other."""
    shape = Shape(shards=options.shards, seed=options.seed, audit_ticks=100)
    chance = random.Random(options.seed)
    cluster = HostsCluster(folder, shape)
    faults: list[Fault] = []
    async with Trial(folder, shape, options.bots, cluster=cluster, say=proof.say) as trial:
        for number in range(2 * options.rounds):
            await asyncio.sleep(REST_S)
            worker = f"worker-{chance.randrange(shape.workers)}"
            other = REDIS if number % 2 == 0 else f"gateway-{chance.randrange(shape.gateways)}"
            lasts_s = options.long_s if number // 2 % 2 == 0 else options.short_s
            name = f"{worker} and {other} apart for {lasts_s:g} s"
            proof.say(name)
            began_s = time.monotonic()
            cluster.hosts.cut(worker, other)
            await asyncio.sleep(lasts_s)
            cluster.hosts.heal()
            await goes_on(cluster, trial.contract.grid.shard_count)
            faults.append(Fault(name, began_s, time.monotonic()))
        await asyncio.sleep(REST_S)
        await trial.leave()
        await trial.finish()
    return trial.findings(), noticed(trial.histories(), faults)


def check(proof: Proof, found: Findings, parts: list[Noticed]) -> None:
    """Figures of every partition, and what must hold."""
    for number, part in enumerate(parts):
        proof.figure(
            f"fault_{number}",
            {
                "what": part.fault.name,
                "healed_after_s": part.fault.over_s - part.fault.began_s,
                "pause_s": percentiles(part.pauses_s, 50, 99),
                "bots_told": len(part.told_s),
                "told_after_s": percentiles(part.told_s, 50),
                "told_it_goes_on": part.told_resumed,
            },
        )
        proof.require(part.untold == 0, f"{part.untold} bots saw nothing for long, untold ({part.fault.name})")
        proof.require(len(part.pauses_s) == found.bots, f"{len(part.pauses_s)} of {found.bots} bots were there")
    require_sound(proof, found)
