"""[simulate]: the whole system on a virtual clock, under faults drawn from seeds; and proof that the checker can
fail.
"""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass

from loadtest.prove.proof import Proof
from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import Outcome, quiet, search, simulate

PROGRESS_SEEDS = 50


@dataclass(frozen=True)
class Options:
    """`first` 0 draws fresh seeds. `search_seeds`: in how many each broken rule must be found."""

    seeds: int = 500
    first: int = 0
    search_seeds: int = 200
    processes: int = 2


def run(proof: Proof, options: Options) -> None:
    """Simulate, then break each rule."""
    with seeds_pool(options.processes) as pool:
        run_seeds(proof, pool, options.seeds, options.first)
        require_found(proof, pool, MUTATIONS, options.search_seeds)


def seeds_pool(processes: int) -> ProcessPoolExecutor:
    """Processes to simulate in."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=context, initializer=quiet)


def run_seeds(proof: Proof, pool: Executor, count: int, first: int) -> list[Outcome]:
    """Simulate seeds from `first` (0: a fresh one), and note what they came to."""
    first = first or random.SystemRandom().randrange(1, 1 << 40)
    proof.figure("first_seed", first)
    outcomes: list[Outcome] = []
    for outcome in pool.map(simulate, range(first, first + count)):
        outcomes.append(outcome)
        proof.require(not outcome.failure, f"seed {outcome.seed}: {outcome.failure}")
        if len(outcomes) % PROGRESS_SEEDS == 0:
            proof.say(f"{len(outcomes)} seeds")
    checks = sum((o.checks for o in outcomes), Counter[str]())
    proof.figure("seeds", len(outcomes))
    proof.figure("seeds_failed", sum(bool(o.failure) for o in outcomes))
    proof.figure("checks_by_invariant", dict(sorted(checks.items())))
    proof.figure("checks", sum(checks.values()))
    proof.figure("ticks_journaled", sum(o.ticks for o in outcomes))
    proof.figure("virtual_seconds", sum(o.virtual_s for o in outcomes))
    proof.require(sum(checks.values()) > 0, "no invariant was checked")
    return outcomes


def require_found(proof: Proof, pool: Executor, rules: Iterable[str], seeds: int) -> None:
    """Break each rule and search for a seed that finds it."""
    searches = {name: pool.submit(search, name, range(1, seeds + 1)) for name in rules}
    for name, searched in searches.items():
        found = searched.result()
        text = f"seed {found.seed}: {found.failure[:120]}" if found else "not found"
        proof.figure(f"broken_rule_{name}", text)
        proof.require(found is not None, f"{name}: not found within {seeds} seeds")
