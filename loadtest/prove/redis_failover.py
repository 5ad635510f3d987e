"""[redis-failover] What players have seen outlives Redis: restarts, failovers with a split brain, and a dead worker.

    restarts     Redis stops or is killed and starts again on its append-only file: a pause; nothing is lost
    failovers    the replica is promoted while the old primary lives on for a while, and processes come over one by
                 one: with their workers alive nothing is lost, at level 1 (records are sent again) and at level 2
    with a kill  in the middle of a failover a worker dies, and so does, soon after, the old primary: at level 2
                 nothing is lost; at level 1 the figure is what it is

Every (shard, epoch, tick) that any bot was shown must stand in the journal that survived, and what the bot saw at it
must be what that journal's replay gives; acknowledged inputs are in it exactly once.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import Shape
from loadtest.failovers import Faults, outages, splits
from loadtest.figures import percentiles
from loadtest.pauses import Noticed, noticed
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.replicated import ReplicatedCluster
from loadtest.trial import Findings, Trial

REST_S = 2.0
TOLD_S_MIN = 2.5
"""Players must be told of outages that last longer than this: the world runs on alone for two seconds."""


@dataclass(frozen=True)
class Options:
    """`restarts`, `failovers`, `kills`: how many of each, and at each level. `split_s`: how long two primaries live."""

    bots: int = 100
    restarts: int = 4
    failovers: int = 3
    kills: int = 3
    split_s: float = 2.0
    shards: str = "2x2"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """Three runs: level 1 while workers live, level 2 with everything, level 1 with dead workers."""
    runs = (("l1_", 1, True, False), ("l2_", 2, True, True), ("l1_kill_", 1, False, True))
    for number, (prefix, level, alive, kill) in enumerate(runs):
        chance = random.Random(options.seed * 1000 + number)
        proof.say(f"commit level {level}, seed {options.seed * 1000 + number}")
        with tempfile.TemporaryDirectory(prefix="overworld-failover-") as folder:
            found, parts = asyncio.run(play(proof, options, Path(folder), chance, level, alive=alive, kill=kill))
        tell(proof, found, parts, prefix)
        if level == 1 and kill:
            require_honest(proof, found, prefix)
        else:
            require_sound(proof, found, prefix)


async def play(
    proof: Proof, options: Options, folder: Path, chance: random.Random, level: int, *, alive: bool, kill: bool
) -> tuple[Findings, list[Noticed]]:
    """One cluster, one fault after the other."""
    shape = Shape(shards=options.shards, seed=options.seed, commit_level=level, audit_ticks=100)
    cluster = ReplicatedCluster(folder, shape)
    async with Trial(folder, shape, options.bots, cluster=cluster, say=proof.say) as trial:
        await cluster.add_replica()
        faults = Faults(trial, cluster, proof.say)
        names = list(cluster.doors)
        await asyncio.sleep(REST_S)
        for outage in outages(chance, options.restarts) if level == 1 and alive else []:
            await faults.restart(outage)
            await asyncio.sleep(REST_S)
        for split in splits(chance, options.failovers, names, options.split_s, kill=False) if alive else []:
            await faults.fail_over(split)
            await asyncio.sleep(REST_S)
        for split in splits(chance, options.kills, names, options.split_s, kill=True) if kill else []:
            await faults.fail_over(split)
            await asyncio.sleep(REST_S)
        await trial.leave()
        await trial.finish()
    return trial.findings(), noticed(trial.histories(), faults.done)
