"""[migrate] Shards move to another worker under players; then workers with a hot standby die by `kill -9`.

No socket closes, no tick that any bot saw is missing from the replay, no acknowledged input is lost, none is applied
twice, all digests are equal. Printed: how long each bot whose avatar was there saw nothing of the shard; and what the new
owner says of each step.
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
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from loadtest.takeovers import Loss, Pauses, owners, until_taken_over
from loadtest.trial import Findings, Trial
from overworld.link import Link, LinkCredentials, connect
from overworld.wire.v1 import link_pb2

STANDBY_S = 20.0
STEPS = ("settle", "hand", "replay", "claim", "first", "pause")


@dataclass(frozen=True)
class Options:
    """`rest_s`: the longest time between two events; each is drawn from the seed. Aims of the two p99 in seconds."""

    bots: int = 200
    migrations: int = 50
    kills: int = 10
    workers: int = 3
    rest_s: float = 1.5
    shards: str = "2x2"
    seed: int = 1
    migration_p99_s: float = 0.1
    standby_p99_s: float = 0.3


@dataclass
class Seen:
    """What the run came to."""

    findings: Findings
    moved: Pauses
    killed: Pauses
    said_s: list[float]
    """Pauses as the new owners told them."""


def run(proof: Proof, options: Options) -> None:
    """Move, kill, then check."""
    with tempfile.TemporaryDirectory(prefix="overworld-migrate-") as folder:
        seen = asyncio.run(play(proof, options, Path(folder)))
    check(proof, options, seen)


def check(proof: Proof, options: Options, seen: Seen) -> None:
    """Everything that must hold."""
    require_sound(proof, seen.findings)
    proof.figure("migrations", len(seen.said_s))
    proof.figure("migration_pause_s", percentiles(seen.moved.each_s, 50, 99))
    proof.figure("migration_pauses", len(seen.moved.each_s))
    proof.figure("migration_ticks_not_shown", seen.moved.ticks_skipped)
    proof.figure("migration_pause_of_workers_s", percentiles(seen.said_s, 50, 99))
    proof.figure("standby_kills", options.kills)
    proof.figure("standby_pause_s", percentiles(seen.killed.each_s, 50, 99))
    proof.figure("standby_pauses", len(seen.killed.each_s))
    proof.require(seen.findings.lost_sockets == 0, f"{seen.findings.lost_sockets} sockets were lost")
    proof.require(len(seen.said_s) == options.migrations, f"only {len(seen.said_s)} shards were moved")
    missing = seen.moved.missing + seen.killed.missing
    proof.require(missing == 0, f"{missing} bots never saw a shard again")
    for what, found, aim_s in (
        ("migration", seen.moved, options.migration_p99_s),
        ("take-over by a standby", seen.killed, options.standby_p99_s),
    ):
        p99_s = percentiles(found.each_s, 99).get("p99", float("inf"))
        proof.require(p99_s <= aim_s, f"{what}: a p99 of {p99_s:.3f} s, aimed at {aim_s:g}")


async def play(proof: Proof, options: Options, folder: Path) -> Seen:
    """One cluster: migrations, then kills, at random moments."""
    chance = random.Random(options.seed)
    shape = Shape(
        workers=options.workers,
        shards=options.shards,
        seed=options.seed,
        audit_ticks=100,
        worker_env={"OVERWORLD_WORKER_STANDBYS": "1"},
    )
    moves: list[Loss] = []
    kills: list[Loss] = []
    said_s: list[float] = []
    async with Trial(folder, shape, options.bots, say=proof.say) as trial:
        helm = Helm(trial)
        for _ in range(options.migrations):
            await asyncio.sleep(chance.uniform(0.3, options.rest_s))
            source = chance.choice(owners(trial.cluster))
            target = chance.choice([node for node in trial.cluster.workers if node is not source])
            shards = source.shards()
            shard = chance.choice(sorted(shards))
            loss = Loss(source.name, {shard: shards[shard]}, time.monotonic())
            ended = await helm.move(shard, target)
            proof.say(f"shard {shard} to {target.name}: {ended.result} {ended.reason} {ended.pause_us / 1000:.1f} ms")
            if ended.result == "moved":
                moves.append(loss)
                said_s.append(ended.pause_us / 1e6)
        for number in range(options.kills):
            await until_followed(trial.cluster)
            await asyncio.sleep(chance.uniform(0.3, options.rest_s))
            victim = chance.choice(owners(trial.cluster))
            loss = Loss(victim.name, victim.shards(), time.monotonic())
            victim.process.kill()
            kills.append(loss)
            await until_taken_over(trial.cluster, loss)
            proof.say(f"kill {number + 1}: {victim.name} with shards {sorted(loss.shards)}")
            await trial.cluster.start_node(victim)
        await trial.play(options.rest_s)
        tell_steps(proof, trial.cluster)
        await trial.leave()
        await trial.finish()
    findings = trial.findings()
    return Seen(findings, trial.pauses(moves), trial.pauses(kills), said_s)


def tell_steps(proof: Proof, cluster: Cluster) -> None:
    """Means of what the workers that still live measured of each step."""
    for step in STEPS:
        sums = [node.metrics().total("overworld_migration_seconds_sum", step=step) for node in cluster.workers]
        counts = [node.metrics().total("overworld_migration_seconds_count", step=step) for node in cluster.workers]
        if sum(counts):
            proof.say(f"  {step}: {1000 * sum(sums) / sum(counts):.2f} ms, mean of {sum(counts):.0f}")


async def until_followed(cluster: Cluster) -> None:
    """Wait until every shard has a standby that could take it over. Raises TimeoutError."""
    async with asyncio.timeout(STANDBY_S):
        while True:
            metrics = [await asyncio.to_thread(node.metrics) for node in cluster.workers if node.process.alive]
            ready = sum(m.total("overworld_standbys", state="ready") for m in metrics)
            owned = sum(m.total("overworld_shards_owned", phase="running") for m in metrics)
            if ready >= owned > 0:
                return
            await asyncio.sleep(0.1)


class Helm:
    """Asks workers to take shards over, as another worker would."""

    def __init__(self, trial: Trial) -> None:
        self._credentials = LinkCredentials(trial.cluster.key.encode(), trial.contract.fingerprint, "helm")
        self._ended: asyncio.Future[link_pb2.MoveEnded] | None = None

    async def move(self, shard: int, target: Node) -> link_pb2.MoveEnded:
        """Raises LinkError, TimeoutError."""
        self._ended = asyncio.get_running_loop().create_future()
        link = await connect("127.0.0.1", target.port, self._credentials, self, 5.0)
        try:
            link.send(link_pb2.LinkMessage(move=link_pb2.MoveShard(number=1, shard=shard)))
            async with asyncio.timeout(30):
                return await self._ended
        finally:
            link.close("asked")

    def on_message(self, link: Link, message: link_pb2.LinkMessage) -> None:  # noqa: ARG002 - a LinkPeer is told
        """The answer."""
        if message.WhichOneof("message") == "moved" and self._ended is not None:
            self._ended.set_result(message.moved)

    def on_lost(self, link: Link, reason: str) -> None:
        """Of no interest: an answer that does not come is missed."""
