"""Runs simulations: `python -m tests.simulation.run --seeds 500` or `--seed 17 --log`.

One seed decides everything: what goes wrong and when, every delay, every input. A failing seed is printed and gives
the same failure again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import structlog

from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.store.blob_memory import MemoryBlobs
from overworld.store.ports import CommitLevel
from overworld.store.snapshots import SnapshotStore
from tests.simulation.balancing import balance_watched
from tests.simulation.checker import Checker
from tests.simulation.deployment import WORLD, Deployment
from tests.simulation.determinism import determined
from tests.simulation.faults import Troublemaker, faults_for
from tests.simulation.lineage import Lineage, require
from tests.simulation.loop import SimulatedLoop
from tests.simulation.mutations import MUTATIONS
from tests.simulation.pasture import Pasture

PEACE_S, TROUBLE_S, CALM_S = 2.5, 7.0, 9.0
BOTS = 5
LOOK_S = 0.5
"""How often all journals are looked through for entities that are nowhere or twice."""


@dataclass
class Outcome:
    """What came of one seed. `failure` is empty where every invariant held."""

    seed: int
    failure: str = ""
    checks: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    events: int = 0
    ticks: int = 0
    closes: Counter[int] = field(default_factory=Counter)
    virtual_s: float = 0.0


def simulate(seed: int) -> Outcome:
    """One simulation from its seed."""
    outcome = Outcome(seed)
    balanced: Counter[str] = Counter()
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    level = CommitLevel.L1 if seed % 3 == 0 else CommitLevel.L2
    try:
        with determined(loop, seed), balance_watched(balanced):
            loop.run_until_complete(_scenario(loop, level, random.Random(seed), outcome))
    except Exception as error:  # noqa: BLE001 (whatever it is, the seed failed)
        outcome.failure = f"{type(error).__name__}: {error}"
    finally:
        outcome.checks += balanced
        outcome.events = loop.events
        outcome.virtual_s = loop.time()
        asyncio.set_event_loop(None)
        loop.end()
    return outcome


async def _scenario(loop: SimulatedLoop, level: CommitLevel, chance: random.Random, outcome: Outcome) -> None:
    deployment = Deployment(loop, Pasture(), level, chance)
    lineage = Lineage(deployment.redis, deployment.contract, deployment.title)
    checker = Checker(lineage)
    trouble = Troublemaker(deployment, lineage, random.Random(chance.getrandbits(64)))
    outcome.log, outcome.checks, outcome.closes = trouble.log, checker.checks, checker.closes
    failures: list[BaseException] = []
    loop.after_event = lineage.observe
    loop.set_exception_handler(lambda _, context: failures.append(context.get("exception") or _unknown(context)))
    for _ in range(2):
        deployment.start_worker()
        deployment.start_gateway()
    await asyncio.sleep(0.2)
    for number in range(BOTS):
        deployment.start_bot(number, checker)

    async def on(seconds: float) -> None:
        """Let time pass, and stop at the first failure."""
        until_s = loop.time() + seconds
        looked_s = loop.time()
        while loop.time() < until_s:
            await asyncio.sleep(min(0.05, until_s - loop.time()))
            deployment.replace_gone()
            failures.extend(e for t in loop.tasks if t.done() and not t.cancelled() and (e := t.exception()))
            if failures:
                raise failures[0]
            if loop.time() >= looked_s + LOOK_S:
                looked_s = loop.time()
                checker.check_entities()

    await on(PEACE_S)
    faults, ends_s = faults_for(level), loop.time() + TROUBLE_S
    while loop.time() < ends_s:
        chance.choice(faults)(trouble)
        await on(chance.uniform(0.05, 2))
    trouble.note("calm")
    await on(CALM_S)
    checker.check_health(deployment.bots)
    checker.check_inputs()
    checker.check_entities()
    await _check_snapshots(deployment, lineage, checker)
    checker.checks["I2"] += lineage.checks
    for result in sorted(deployment.moves):
        checker.checks[f"migrations {result}"] += deployment.moves[result]
    outcome.ticks = sum(len(shard.entries) for shard in lineage.shards)


async def _check_snapshots(deployment: Deployment, lineage: Lineage, checker: Checker) -> None:
    """The newest snapshot of every shard is a state its journal led to."""
    store = SnapshotStore(MemoryBlobs(deployment.disk), WORLD)
    for shard in range(deployment.contract.grid.shard_count):
        starts = await store.newest_first(shard)
        require(bool(starts), "I10", f"shard {shard} has no good snapshot")
        core = ShardCore(deployment.contract, deployment.title, shard)
        head = snapshot.restore(core, starts[0].data)
        chain = lineage.shards[shard].entries[head.tick - 1].chain if head.tick else b""
        require(head.chain == chain, "I10", f"shard {shard}: snapshot of tick {head.tick} is of another lineage")
        checker.checks["I10"] += 1


def _unknown(context: dict[str, object]) -> BaseException:
    return RuntimeError(str(context.get("message")))


def search(mutation: str, seeds: Iterable[int]) -> Outcome | None:
    """The first seed that finds a rule broken on purpose; None where none does."""
    with MUTATIONS[mutation]():
        return next((outcome for outcome in map(simulate, seeds) if outcome.failure), None)


def quiet() -> None:
    """The product's log is not what a simulation prints."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=None, help="the first one; without it, a fresh one")
    parser.add_argument("--seed", type=int, default=None, help="this one alone, with its log")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began_s = time.monotonic()
    if options.seed is not None:
        quiet()
        outcomes = [simulate(options.seed)]
        print("\n".join(outcomes[0].log))
    else:
        first = options.first if options.first is not None else random.SystemRandom().randrange(1 << 40)
        with ProcessPoolExecutor(options.processes, initializer=quiet) as pool:
            outcomes = list(pool.map(simulate, range(first, first + options.seeds), chunksize=4))
    failed = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failed[:20]:
        print(f"seed {outcome.seed}: {outcome.failure}")
        print(f"    again: python -m tests.simulation.run --seed {outcome.seed}")
    checks: Counter[str] = sum((o.checks for o in outcomes), Counter())
    figures = {
        "seeds": len(outcomes),
        "first_seed": outcomes[0].seed,
        "failed": len(failed),
        "checks": dict(sorted(checks.items())),
        "checks_total": sum(checks.values()),
        "ticks": sum(o.ticks for o in outcomes),
        "events": sum(o.events for o in outcomes),
        "virtual_s": round(sum(o.virtual_s for o in outcomes)),
        "seconds": round(time.monotonic() - began_s, 1),
    }
    print(json.dumps(figures))
    return 1 if failed or not checks else 0


if __name__ == "__main__":
    sys.exit(main())
