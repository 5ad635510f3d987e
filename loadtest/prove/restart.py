"""[restart] A stopped world goes on where it was: from Redis and blob storage, and from the last snapshot alone.

Bots play, everything is stopped and started again: once in order, once in order but with Redis emptied, once by kill -9
and with Redis emptied; the same players come back. Required: the newest snapshot is the journal's state at its tick, by
digest and in every column; the journal goes on at the next tick; the new workers hold what the replay of the whole
journal holds (positions, scores, hp, ...); nothing is lost unless it was a crash; players have the avatar they had.
"""

from __future__ import annotations

import asyncio
import enum
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.avatars import first_avatars, last_avatars
from loadtest.cluster import Shape
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.stored import Stored, compare_with_replay, newest_snapshots
from loadtest.trial import Trial

SNAPSHOT_INTERVAL_S = 2


@dataclass(frozen=True)
class Options:
    """How many bots, and for how long before and after."""

    bots: int = 60
    seconds: float = 8.0
    shards: str = "2x2"
    seed: int = 1


class Stop(enum.Enum):
    """How everything is stopped."""

    KEPT = "kept"
    """In order; Redis keeps its data."""
    WIPED = "wiped"
    """In order; Redis loses everything."""
    CRASHED = "crashed"
    """kill -9 of everything, and Redis loses everything: what is left is the last snapshot."""


def run(proof: Proof, options: Options) -> None:
    """All variants."""
    for how in Stop:
        with tempfile.TemporaryDirectory(prefix="overworld-restart-") as folder:
            asyncio.run(restart(proof, options, Path(folder), how))


async def restart(proof: Proof, options: Options, folder: Path, how: Stop) -> None:
    """Play, stop everything, start everything, play on, check."""
    proof.say(f"---- {how.value}")
    # Every record carries a digest, so that the replay is checked at every tick.
    env = {"OVERWORLD_WORKER_DIGEST_TICKS": "1", "OVERWORLD_WORKER_SNAPSHOT_INTERVAL_S": str(SNAPSHOT_INTERVAL_S)}
    shape = Shape(shards=options.shards, seed=options.seed, audit_ticks=100, worker_env=env)
    async with Trial(folder, shape, options.bots, say=proof.say) as trial:
        await trial.play(options.seconds)
        heads = await stop(proof, trial, how)
        stored = await newest_snapshots(trial.cluster, trial.contract)
        for snapshot in stored:
            trial.forget_after(snapshot.shard, snapshot.tick)
        proof.say("starting everything again")
        await trial.cluster.start_redis()
        await trial.cluster.start()
        await trial.join()
        await trial.play(options.seconds)
        await trial.leave()
        await trial.finish()
    prefix = how.value + "_"
    proof.figure(f"{prefix}ticks_at_stop", heads)
    proof.figure(f"{prefix}ticks_lost", [head - s.tick for head, s in zip(heads, stored, strict=True)])
    require_same_state(proof, trial, stored, prefix)
    # After a crash the first life's last ticks are lost, as stated: what was seen of them is in no journal.
    crashed = how is Stop.CRASHED
    require_sound(proof, trial.findings(life=1 if crashed else None), prefix, conserved=not crashed)
    require_little_lost(proof, heads, stored, how)
    if how is not Stop.CRASHED:
        require_same_avatars(proof, trial, prefix)


async def stop(proof: Proof, trial: Trial, how: Stop) -> list[int]:
    """Stop everything. Returns the last tick of each shard's journal."""
    cluster = trial.cluster
    if how is Stop.CRASHED:
        proof.say("kill -9 of everything")
        for node in cluster.nodes:
            node.process.kill()
        await trial.leave(drop=True)
    else:
        await trial.leave(drop=True)
        proof.say("stopping everything")
        failed = await cluster.stop()
        proof.require(not failed, f"not every process stopped in order: {failed}")
    await trial.read_journal()
    heads = [trial.lineage(shard).head[0] for shard in range(trial.contract.grid.shard_count)]
    await cluster.stop_redis(kill=how is Stop.CRASHED)
    if how is not Stop.KEPT:
        cluster.wipe_redis()
    return heads


def require_little_lost(proof: Proof, heads: list[int], stored: list[Stored], how: Stop) -> None:
    """Nothing after an orderly stop; after a crash that took Redis along, what came after the last snapshot."""
    for head, snapshot in zip(heads, stored, strict=True):
        if how is Stop.CRASHED:
            proof.require(snapshot.tick > 0, f"shard {snapshot.shard} had no snapshot but its first")
        else:
            proof.require(head == snapshot.tick, f"shard {snapshot.shard}: snapshot of {snapshot.tick}, head {head}")


def require_same_state(proof: Proof, trial: Trial, stored: list[Stored], prefix: str) -> None:
    """The snapshots of the stop are the journal's state at that tick, and the journal goes on from there."""
    values = 0
    for snapshot in stored:
        lineage = trial.lineage(snapshot.shard)
        compared = compare_with_replay(trial.contract, trial.title, lineage, snapshot)
        proof.require(not compared.faults, f"shard {snapshot.shard}: {compared.faults[:3]}")
        proof.require(compared.values > 0, f"shard {snapshot.shard}: no value of the snapshot was compared")
        values += compared.values
        after = lineage.head[0] - snapshot.tick
        proof.require(after > 0, f"shard {snapshot.shard} did not go on after tick {snapshot.tick}")
        proof.require(
            len(lineage.records) == lineage.head[0],
            f"shard {snapshot.shard}: {len(lineage.records)} records lead to tick {lineage.head[0]}",
        )
    proof.figure(f"{prefix}snapshot_ticks", [s.tick for s in stored])
    proof.figure(f"{prefix}snapshot_values_compared", values)


def require_same_avatars(proof: Proof, trial: Trial, prefix: str) -> None:
    """Who came back has the avatar it had."""
    before, after = last_avatars(trial.histories(0)), first_avatars(trial.histories(1))
    same = sum(after.get(bot) == entity for bot, entity in before.items())
    proof.figure(f"{prefix}avatars_kept", f"{same} of {len(before)}")
    proof.require(len(before) == trial.bots, f"{len(before)} of {trial.bots} bots had an avatar before the stop")
    proof.require(same == len(before), f"{len(before) - same} bots came back to another avatar")
