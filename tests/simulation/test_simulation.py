"""Seeds that always run, seeds that never ran before, and rules broken on purpose. `make simulate SEEDS=500` runs
more.
"""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import Outcome, quiet, search, simulate

FIXED_SEEDS = range(1, 25)
FRESH_SEEDS = 4
SEARCH_SEEDS = range(1, 201)


def run_all(seeds: list[int]) -> list[Outcome]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=quiet) as pool:
        return list(pool.map(simulate, seeds))


@pytest.mark.timeout(600)
def test_every_invariant_holds_for_fixed_and_fresh_seeds() -> None:
    fresh = random.SystemRandom().randrange(1 << 40)
    seeds = [*FIXED_SEEDS, *range(fresh, fresh + FRESH_SEEDS)]
    print(f"fresh seeds from {fresh}")
    outcomes = run_all(seeds)
    failures = [f"seed {o.seed}: {o.failure}" for o in outcomes if o.failure]
    assert not failures, "\n".join(failures)
    checks = sum((o.checks for o in outcomes), Counter[str]())
    assert {"I1", "I2", "I3", "I4", "I5", "I6", "I9", "I10"} <= {name for name, count in checks.items() if count}
    closes = sum((o.closes for o in outcomes), Counter[int]())
    assert closes, "nothing ever went wrong: the faults do not reach the players"


def test_a_seed_gives_the_same_run_again() -> None:
    quiet()
    first, second = simulate(1), simulate(1)
    assert (first.log, first.checks, first.events) == (second.log, second.checks, second.events)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_rule_is_found(mutation: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=quiet) as pool:
        found = pool.submit(search, mutation, SEARCH_SEEDS).result()
    assert found is not None, f"{mutation} was not found in {len(SEARCH_SEEDS)} seeds"
    print(f"{mutation}: seed {found.seed}: {found.failure}")
