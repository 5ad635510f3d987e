"""[zombie] A worker is frozen for longer than its lease and wakes up again: nothing it still does reaches anybody.

No frame of its epoch after the takeover reaches any bot, its records are not in the journal, its snapshots not in the
manifests.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import Node, Shape
from loadtest.figures import percentiles
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.stored import compare_with_replay, newest_snapshots
from loadtest.takeovers import Loss, owners, until_taken_over
from loadtest.trial import Trial

AWAKE_S = 4.0


@dataclass(frozen=True)
class Options:
    """`frozen_s`: for how long, far above the lease's second."""

    bots: int = 100
    zombies: int = 3
    frozen_s: float = 10.0
    shards: str = "2x2"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """Freeze, wake, check."""
    with tempfile.TemporaryDirectory(prefix="overworld-zombie-") as folder:
        asyncio.run(play(proof, options, Path(folder)))


async def play(proof: Proof, options: Options, folder: Path) -> None:
    """One cluster, one zombie after the other."""
    # Snapshots often, so that a zombie wakes up with one on its way; and nobody gives it a shard afterwards.
    env = {"OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": "1", "OVERWORLD_WORKER_BALANCE": "false"}
    shape = Shape(shards=options.shards, seed=options.seed, audit_ticks=100, worker_env=env)
    losses: list[Loss] = []
    fenced = 0.0
    async with Trial(folder, shape, options.bots, say=proof.say) as trial:
        for _ in range(options.zombies):
            await asyncio.sleep(2.0)
            victim = owners(trial.cluster)[0]
            loss = Loss(victim.name, victim.shards(), time.monotonic())
            losses.append(loss)
            before = dropped(victim)
            victim.process.pause()
            await until_taken_over(trial.cluster, loss)
            proof.say(f"{victim.name} is frozen; taken over after {loss.taken_over_s - loss.at_s:.2f} s")
            await asyncio.sleep(max(0.0, loss.at_s + options.frozen_s - time.monotonic()))
            victim.process.resume()
            await asyncio.sleep(AWAKE_S)
            fenced += dropped(victim) - before
            kept = sorted(set(victim.shards().items()) & set(loss.shards.items()))
            proof.require(not kept, f"{victim.name} woke up and still runs {kept}")
        await trial.leave()
        stored = await newest_snapshots(trial.cluster, trial.contract)
        # After the snapshots: the journal then reaches beyond each of them.
        await trial.finish()
    lost = sum(len(loss.shards) for loss in losses)
    found, noticed = trial.findings(), trial.pauses(losses)
    require_sound(proof, found)
    proof.figure("zombies", len(losses))
    proof.figure("shards_lost", lost)
    proof.figure("shards_dropped_by_zombies", fenced)
    proof.figure("pause_s", percentiles(noticed.each_s, 50, 99))
    proof.require(fenced == lost, f"the zombies dropped {fenced:.0f} of {lost} shards")
    proof.require(found.side_branches == 0, f"{found.side_branches} records lead nowhere: somebody else wrote")
    proof.require(found.lost_sockets == 0, f"{found.lost_sockets} sockets were lost")
    for snapshot in stored:
        compared = compare_with_replay(trial.contract, trial.title, trial.lineage(snapshot.shard), snapshot)
        proof.require(
            not compared.faults and compared.values > 0,
            f"shard {snapshot.shard}: snapshot of tick {snapshot.tick}: {compared.faults[:3]}",
        )


def dropped(node: Node) -> float:
    """Shards that a process gave up because somebody else had them."""
    return node.metrics().total("overworld_shard_ended_total", reason="fenced")
