"""[restart] A stopped world goes on where it was: from Redis and blob storage, and from the last snapshot alone.

Bots play, their sockets vanish, everything is stopped and started again, once with Redis's data kept and once with it
wiped; the same players come back. Required: the snapshot written at the stop is the journal's last state, by digest and
in every column; the journal goes on at the next tick; the new workers hold what the replay of the whole journal holds
(positions, scores, hp, ...); players have the avatar they had.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.avatars import first_avatars, last_avatars
from loadtest.cluster import Shape
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.stored import Stored, compare_with_replay, newest_snapshots
from loadtest.trial import Trial


@dataclass(frozen=True)
class Options:
    """How many bots, and for how long before and after."""

    bots: int = 60
    seconds: float = 8.0
    shards: str = "2x2"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """Both variants."""
    for wiped in (False, True):
        with tempfile.TemporaryDirectory(prefix="overworld-restart-") as folder:
            asyncio.run(restart(proof, options, Path(folder), wiped=wiped))


async def restart(proof: Proof, options: Options, folder: Path, *, wiped: bool) -> None:
    """Play, stop everything, start everything, play on, check."""
    prefix = "wiped_" if wiped else "kept_"
    # Every record carries a digest, so that the replay is checked at every tick.
    digests = {"OVERWORLD_WORKER_DIGEST_TICKS": "1"}
    shape = Shape(shards=options.shards, seed=options.seed, audit_ticks=100, worker_env=digests)
    async with Trial(folder, shape, options.bots, say=proof.say) as trial:
        await trial.play(options.seconds)
        await trial.leave(drop=True)
        cluster = trial.cluster
        proof.say("stopping everything")
        failed = await cluster.stop()
        proof.require(not failed, f"not every process stopped in order: {failed}")
        await trial.read_journal()
        stored = await newest_snapshots(cluster, trial.contract)
        await cluster.stop_redis()
        if wiped:
            cluster.wipe_redis()
        proof.say("starting everything again" + (", Redis empty" if wiped else ""))
        await cluster.start_redis()
        await cluster.start()
        await trial.join()
        await trial.play(options.seconds)
        await trial.leave()
        await trial.finish()
    require_same_state(proof, trial, stored, prefix)
    found = trial.findings()
    require_sound(proof, found, prefix)
    require_same_avatars(proof, trial, prefix)


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
    proof.figure(f"{prefix}ticks_at_stop", [s.tick for s in stored])
    proof.figure(f"{prefix}snapshot_values_compared", values)


def require_same_avatars(proof: Proof, trial: Trial, prefix: str) -> None:
    """Who came back has the avatar it had."""
    before, after = last_avatars(trial.histories(0)), first_avatars(trial.histories(1))
    same = sum(after.get(bot) == entity for bot, entity in before.items())
    proof.figure(f"{prefix}avatars_kept", f"{same} of {len(before)}")
    proof.require(len(before) == trial.bots, f"{len(before)} of {trial.bots} bots had an avatar before the stop")
    proof.require(same == len(before), f"{len(before) - same} bots came back to another avatar")
