"""[simulate]: the whole system on a virtual clock, under faults drawn from seeds; and proof that the checker can
fail.
"""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
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
    first = options.first or random.SystemRandom().randrange(1, 1 << 40)
    proof.figure("first_seed", first)
    with ProcessPoolExecutor(
        options.processes, mp_context=multiprocessing.get_context("spawn"), initializer=quiet
    ) as pool:
        outcomes: list[Outcome] = []
        for outcome in pool.map(simulate, range(first, first + options.seeds)):
            outcomes.append(outcome)
            proof.require(not outcome.failure, f"seed {outcome.seed}: {outcome.failure}")
            if len(outcomes) % PROGRESS_SEEDS == 0:
                proof.say(f"{len(outcomes)} seeds")
        seeds = range(1, options.search_seeds + 1)
        searches = {name: pool.submit(search, name, seeds) for name in MUTATIONS}
        found = {name: search.result() for name, search in searches.items()}
    checks = sum((o.checks for o in outcomes), Counter[str]())
    proof.figure("seeds", len(outcomes))
    proof.figure("seeds_failed", sum(bool(o.failure) for o in outcomes))
    proof.figure("checks_by_invariant", dict(sorted(checks.items())))
    proof.figure("checks", sum(checks.values()))
    proof.figure("ticks_journaled", sum(o.ticks for o in outcomes))
    proof.figure("virtual_seconds", sum(o.virtual_s for o in outcomes))
    proof.require(sum(checks.values()) > 0, "no invariant was checked")
    for name, outcome_found in found.items():
        text = f"seed {outcome_found.seed}: {outcome_found.failure[:120]}" if outcome_found else "not found"
        proof.figure(f"broken_rule_{name}", text)
        proof.require(outcome_found is not None, f"{name}: not found within {options.search_seeds} seeds")
