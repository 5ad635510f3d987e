"""[cost-of-safety] What commit levels 0, 1 and 2 cost, beside what they save.

The same bots on the same world, one worker, a Redis with a replica, at one level after the other, several times over:
CPU a tick of the worker and of Redis, the time that results are held back, and the time from an input to its ack at
the client. Then, at levels 1 and 2, a failover in which a worker dies with the old primary: what players had seen and
was lost.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import Shape
from loadtest.failovers import Split, play
from loadtest.figures import percentiles
from loadtest.level_cost import LevelCost, measure
from loadtest.prove.proof import Proof

LEVELS = (0, 1, 2)
KILL_S = 1.5


@dataclass(frozen=True)
class Options:
    """`seconds`: measured in each run. `rounds`: runs of each level. `split_s`: how long the failover takes."""

    bots: int = 100
    seconds: float = 10.0
    rounds: int = 2
    failover_bots: int = 30
    split_s: float = 2.0
    shards: str = "2x2"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """Costs, then one failover at level 1 and one at level 2."""
    costs = {level: LevelCost(level) for level in LEVELS}
    for number in range(options.rounds):
        # In another order each time: the machine is not alone, and its other load comes and goes.
        for level in LEVELS[number % 3 :] + LEVELS[: number % 3]:
            proof.say(f"level {level}, run {number + 1} of {options.rounds}, seed {options.seed}")
            with tempfile.TemporaryDirectory(prefix="overworld-levels-") as folder:
                asyncio.run(
                    measure(costs[level], Path(folder), options.bots, options.seconds, options.shards, options.seed)
                )
    for level, cost in costs.items():
        proof.figure(f"l{level}", cost.figures())
        proof.require(cost.ticks > 0, f"no tick was run at level {level}")
        proof.require(len(cost.acks) > 0, f"no input was acked at level {level}")
        proof.require(cost.levels_told == {level}, f"level {level} was set, {cost.levels_told} told")
    proof.figure("l1_under_1_ms_at_p50", costs[1].release_ms(0.5) < 1.0)
    for level in LEVELS[1:]:
        fail_over(proof, options, level)


def fail_over(proof: Proof, options: Options, level: int) -> None:
    """Everybody stays with the old primary until it dies, and a worker dies shortly before."""
    proof.say(f"a failover with a dead worker at level {level}, seed {options.seed}")
    shape = Shape(shards=options.shards, seed=options.seed, commit_level=level)
    names = [f"worker-{i}" for i in range(shape.workers)] + [f"gateway-{i}" for i in range(shape.gateways)]
    split = Split(options.split_s, dict.fromkeys(names, options.split_s), kill_s=KILL_S, victim=0)
    with tempfile.TemporaryDirectory(prefix="overworld-levels-") as folder:
        found, parts = asyncio.run(play(Path(folder), shape, options.failover_bots, [split], proof.say))
    replayed = found.replayed
    proof.figure(
        f"l{level}_failover",
        {
            "ticks_shown": len(replayed.seen),
            "ticks_shown_and_lost": len(replayed.missing),
            "inputs_lost_after_ack": found.inputs.lost_after_ack,
            "pause_s": percentiles(parts[0].pauses_s, 50, 99),
        },
    )
    proof.require(replayed.entities > 0 and len(replayed.bots) == found.bots, "not every bot was compared")
    proof.require(not found.journal_faults, f"journal: {found.journal_faults[:5]}")
    proof.require(not found.replay_faults, f"replay: {found.replay_faults[:5]}")
    told = "; ".join(replayed.examples[:5])
    proof.require(replayed.mismatches == 0, f"{replayed.mismatches} pictures of surviving ticks differ: {told}")
    if level > 1:
        proof.require(not replayed.missing, f"{len(replayed.missing)} ticks were shown and lost at level {level}")
        proof.require(found.inputs.clean, f"inputs: {found.inputs.examples[:5] or 'none acked'}")
