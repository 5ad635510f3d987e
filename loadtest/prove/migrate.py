"""[migrate] How long players wait for a shard that moves to another worker, and, where it has a standby, for one whose
worker dies.

Bots play frontier; shards move one after the other, each to a worker drawn from the seed. A pause is, for each bot
whose avatar is in the shard, the time from the shard's last tick of the old owner to the first of the new one, less a
tick's interval: what it waited longer than always. Then the same with a standby for every shard and `kill -9`.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import Cluster, Node, Shape
from loadtest.figures import percentiles
from loadtest.findings import Findings
from loadtest.moving import Mover
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.takeovers import Loss, Pauses, owners, until_taken_over
from loadtest.trial import Trial

READY_S = 60.0
POLL_S = 0.1
HOT_LAG_TICKS_MAX = 4
"""A standby looks at the journal ten times a second: two ticks behind is as close as it comes between two looks."""


@dataclass(frozen=True)
class Options:
    """`rest_s`: between two events; each is drawn from the seed, from half of it on."""

    bots: int = 200
    migrations: int = 50
    kills: int = 20
    rest_s: float = 1.0
    workers: int = 3
    shards: str = "2x2"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """Both parts."""
    with tempfile.TemporaryDirectory(prefix="overworld-migrate-") as folder:
        found, pauses, told_s = asyncio.run(migrate(proof, options, Path(folder)))
    check(proof, "migration", found, pauses)
    proof.figure("migrations_refused", options.migrations - len(told_s))
    proof.figure("migration_pause_by_workers_ms", percentiles([1000 * s for s in told_s], 50, 99))
    with tempfile.TemporaryDirectory(prefix="overworld-standby-") as folder:
        found, pauses = asyncio.run(kill(proof, options, Path(folder)))
    check(proof, "standby", found, pauses)


def check(proof: Proof, name: str, found: Findings, pauses: Pauses) -> None:
    """Everything that must hold, and the pauses."""
    require_sound(proof, found, f"{name}_")
    proof.require(found.lost_sockets == 0, f"{name}: {found.lost_sockets} sockets were lost")
    proof.require(pauses.missing == 0, f"{name}: {pauses.missing} bots never saw their shard again")
    proof.require(bool(pauses.each_s), f"{name}: no pause was seen")
    tick_ms = found.tick_ms
    each = [max(0.0, 1000 * s - tick_ms) for s in pauses.each_s]
    worst = [max(0.0, 1000 * max(of_loss) - tick_ms) for of_loss in pauses.by_loss_s if of_loss]
    proof.figure(f"{name}_count", len(pauses.by_loss_s))
    proof.figure(f"{name}_pauses_seen", len(each))
    proof.figure(f"{name}_pause_ms", percentiles(each, 50, 99))
    proof.figure(f"{name}_pause_ticks", percentiles([ms / tick_ms for ms in each], 50, 99))
    proof.figure(f"{name}_pause_worst_bot_ms", percentiles(worst, 50, 99))
    proof.figure(f"{name}_ticks_not_shown", pauses.ticks_skipped)


async def migrate(proof: Proof, options: Options, folder: Path) -> tuple[Findings, Pauses, list[float]]:
    """One cluster, one migration after the other. Returns the workers' own word on the pauses as well, in seconds."""
    chance = random.Random(options.seed)
    losses: list[Loss] = []
    told_s: list[float] = []
    async with Trial(folder, _shape(options), options.bots, say=proof.say) as trial:
        mover = Mover(trial.cluster, trial.contract.play_fingerprint)
        for number in range(options.migrations):
            await asyncio.sleep(chance.uniform(options.rest_s / 2, options.rest_s))
            shard = chance.randrange(trial.contract.grid.shard_count)
            giver = await mover.owner_of(shard)
            assert giver is not None, f"nobody runs shard {shard}"
            taker = chance.choice([node for node in trial.cluster.workers if node is not giver])
            loss = Loss(giver.name, {shard: giver.shards()[shard]}, time.monotonic())
            ended = await mover.move(shard, taker)
            # Refused: nothing was touched. Where the machine is too busy, a tick may not be committed in time.
            fair = ended.result in ("moved", "refused")
            proof.require(fair, f"shard {shard} to {taker.name}: {ended.result} {ended.reason}")
            if ended.result == "moved":
                losses.append(loss)
                told_s.append(ended.pause_us / 1e6)
            told = f"{ended.result} {ended.reason} after {ended.pause_us / 1000:.0f} ms"
            proof.say(f"migration {number + 1}: shard {shard} to {taker.name}: {told}")
        await trial.play(options.rest_s)
        await trial.leave()
        await trial.finish()
    return trial.findings(), trial.pauses(losses), told_s


async def kill(proof: Proof, options: Options, folder: Path) -> tuple[Findings, Pauses]:
    """One cluster with standbys, one kill after the other."""
    chance = random.Random(options.seed)
    losses: list[Loss] = []
    async with Trial(folder, _shape(options, standbys=1), options.bots, say=proof.say) as trial:
        for number in range(options.kills):
            await standbys_ready(trial.cluster, trial.contract.grid.shard_count)
            await asyncio.sleep(chance.uniform(options.rest_s / 2, options.rest_s))
            victim = chance.choice(owners(trial.cluster))
            loss = Loss(victim.name, victim.shards(), time.monotonic())
            victim.process.kill()
            losses.append(loss)
            await until_taken_over(trial.cluster, loss)
            took_s = loss.taken_over_s - loss.at_s
            proof.say(f"kill {number + 1}: {victim.name} with {sorted(loss.shards)}, taken over after {took_s:.2f} s")
            await trial.cluster.start_node(victim)
        await trial.play(options.rest_s)
        await trial.leave()
        await trial.finish()
    return trial.findings(), trial.pauses(losses)


async def standbys_ready(cluster: Cluster, shards: int) -> None:
    """Wait until every shard is followed by a worker that keeps up with it. Raises TimeoutError."""

    def ready(node: Node) -> set[int]:
        return {shard for shard, lag in node.standbys().items() if lag is not None and lag <= HOT_LAG_TICKS_MAX}

    async with asyncio.timeout(READY_S):
        while True:
            found: set[int] = set()
            for node in cluster.workers:
                if node.process.alive:
                    found |= await asyncio.to_thread(ready, node)
            if len(found) == shards:
                return
            await asyncio.sleep(POLL_S)


def _shape(options: Options, standbys: int = 0) -> Shape:
    # Shards move when this proof says so.
    env = {"OVERWORLD_WORKER_STANDBYS": str(standbys), "OVERWORLD_WORKER_BALANCE": "false"}
    return Shape(
        workers=options.workers, shards=options.shards, seed=options.seed, audit_ticks=100, worker_env=env
    )  # fmt: skip
