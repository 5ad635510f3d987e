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
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import Shape
from loadtest.failovers import Outage, Split, outages, play, splits
from loadtest.figures import percentiles
from loadtest.findings import Findings
from loadtest.machine import REPOSITORY
from loadtest.pauses import Noticed
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound

LEASES = {"OVERWORLD_WORKER_LEASE_TTL_S": "2"}
"""As where Redis fails over: an owner must be able to stand still for as long as that takes."""
LOGS = REPOSITORY / ".cache" / "prove-logs" / "redis-failover"
"""What the processes of a run that broke something had to say."""


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
    runs = (
        ("l1_", 1, options.restarts, options.failovers, 0),
        ("l2_", 2, 0, options.failovers, options.kills),
        ("l1_kill_", 1, 0, 0, options.kills),
    )
    for number, (prefix, level, *counts) in enumerate(runs):
        if not any(counts):
            continue
        seed = options.seed * 1000 + number
        chance = random.Random(seed)
        proof.say(f"commit level {level}, seed {seed}")
        shape = Shape(shards=options.shards, seed=seed, commit_level=level, audit_ticks=100, worker_env=LEASES)
        restarts, alive, kills = counts
        plan: list[Outage | Split] = [
            *outages(chance, restarts),
            *splits(chance, alive, shape, options.split_s, kill=False),
            *splits(chance, kills, shape, options.split_s, kill=True),
        ]
        with tempfile.TemporaryDirectory(prefix="overworld-failover-") as folder:
            found, parts = asyncio.run(play(Path(folder), shape, options.bots, plan, proof.say))
            tell(proof, found, parts, prefix)
            if level == 1 and kills:
                require_honest(proof, found, prefix)
            else:
                require_sound(proof, found, prefix)
            if proof.broken:
                keep_logs(Path(folder), LOGS / prefix.rstrip("_"))


def keep_logs(folder: Path, kept: Path) -> None:
    """Copy the processes' logs out of a folder that is about to go."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, kept)


def tell(proof: Proof, found: Findings, parts: list[Noticed], prefix: str) -> None:
    """The figures of every fault, and of all."""
    lost = found.replayed.missing
    proof.figure(f"{prefix}faults", len(parts))
    proof.figure(f"{prefix}ticks_shown", len(found.replayed.seen))
    proof.figure(f"{prefix}ticks_shown_and_lost", len(lost))
    proof.figure(f"{prefix}records_on_dead_branches", found.side_branches)
    proof.figure(f"{prefix}pause_s", percentiles([s for part in parts for s in part.pauses_s], 50, 99))
    for number, part in enumerate(parts):
        proof.figure(
            f"{prefix}fault_{number}",
            {
                "what": part.fault.name,
                "pause_s": percentiles(part.pauses_s, 50, 99),
                "bots_told": len(part.told_s),
                "told_after_s": percentiles(part.told_s, 50),
                "told_it_goes_on": part.told_resumed,
            },
        )
        proof.require(part.untold == 0, f"{part.untold} bots saw nothing for long, untold ({part.fault.name})")
        proof.require(len(part.pauses_s) == found.bots, f"{len(part.pauses_s)} of {found.bots} bots were there")


def require_honest(proof: Proof, found: Findings, prefix: str) -> None:
    """Level 1 with two dead at once may lose ticks, and says how many; everything that survived must still agree."""
    replayed = found.replayed
    lost = len(replayed.missing)
    proof.figure(f"{prefix}lost_share", lost / max(1, len(replayed.seen)))
    proof.figure(f"{prefix}inputs_lost_after_ack", found.inputs.lost_after_ack + found.inputs.early_acks)
    told = "; ".join(replayed.examples[:5])
    proof.require(replayed.mismatches == 0, f"{replayed.mismatches} pictures of surviving ticks differ: {told}")
    proof.require(replayed.entities > 0 and replayed.fields > 0, "no entity was compared")
    proof.require(replayed.order_broken == 0, f"{replayed.order_broken} ticks came again or out of order: {told}")
    proof.require(replayed.rule_broken == 0, f"{replayed.rule_broken} frames broke the protocol: {told}")
    proof.require(not found.journal_faults, f"journal: {found.journal_faults[:5]}")
    proof.require(not found.replay_faults, f"replay: {found.replay_faults[:5]}")
    proof.require(found.digests_compared > 0, "no digest was compared")
    proof.require(not found.doubles, f"{len(found.doubles)} inputs applied twice: {found.doubles[:3]}")
    proof.require(not found.endings, f"bots were closed: {dict(found.endings)}")
