"""[simulate-handover]: handover, migration, balance and drain on a virtual clock, under faults drawn from seeds; and
proof that the checker can fail: a planted double handover and a planted lost one are found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from loadtest.prove.proof import Proof
from loadtest.prove.simulate import require_found, run_seeds, seeds_pool

CONSERVATION, IN_TRANSIT = "I4", "handovers in transit"
BALANCED = "balance moves"
BROKEN_RULES = {
    "mail_before_append": "doubled: a message leaves before the tick that sent it is stored",
    "no_outbox": "lost: a message is not stored with the tick that sent it",
}


@dataclass(frozen=True)
class Options:
    """`first` 0 draws fresh seeds. `search_seeds`: in how many each broken rule must be found."""

    seeds: int = 300
    first: int = 0
    search_seeds: int = 200
    processes: int = 2


def run(proof: Proof, options: Options) -> None:
    """Simulate, then break each rule."""
    with seeds_pool(options.processes) as pool:
        outcomes = run_seeds(proof, pool, options.seeds, options.first)
        require_found(proof, pool, BROKEN_RULES, options.search_seeds)
    checks = sum((o.checks for o in outcomes), Counter[str]())
    proof.require(checks[CONSERVATION] > 0, "no entity was looked for")
    proof.require(checks[IN_TRANSIT] > 0, "no handover was ever under way when entities were looked for")
    proof.require(checks[BALANCED] > 0, "no shard was ever moved to even out loads")
    proof.figure("faults_done", dict(sorted(faults(line for o in outcomes for line in o.log).items())))


def faults(log: Iterable[str]) -> Counter[str]:
    """What went wrong how often: the first word of what was noted, after the time and who was asked to do it."""
    noted = (line.split()[1:] for line in log)
    return Counter(next((w.strip(",") for w in words if not w.endswith(":")), "") for words in noted)
