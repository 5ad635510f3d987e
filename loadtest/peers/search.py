"""The largest number of clients that a server holds: by steps up or down from a guess, then by halves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from loadtest.peers.run import Outcome

STEP = 1.25
FINE = 1.07
PROBES_MAX = 9
SMALLEST = 20
ROUND_TO = 10


@dataclass
class Search:
    """`largest`: 0 where nothing held. `broke`: the smallest number that did not hold; 0 where all tried did."""

    largest: int = 0
    broke: int = 0
    generator_was_the_wall: bool = False
    """It then ended the search: the largest number is a lower bound."""
    probes: list[Outcome] = field(default_factory=list)

    @property
    def at_largest(self) -> Outcome | None:
        """The last outcome at the largest number that held."""
        return next((o for o in reversed(self.probes) if o.clients == self.largest), None)


async def largest(
    measure: Callable[[int], Awaitable[Outcome]], guess: int, at_most: int, probes_max: int = PROBES_MAX
) -> Search:
    """Search. What does not hold is tried once more before it is believed: a machine may hiccup."""
    search = Search()
    clients = min(guess, at_most)
    while len(search.probes) < probes_max:
        outcome = await measure(clients)
        search.probes.append(outcome)
        if _near(outcome) and len(search.probes) < probes_max:
            outcome = await measure(clients)
            search.probes.append(outcome)
        if outcome.holds:
            search.largest = max(search.largest, clients)
        elif outcome.generator_was_the_wall:
            search.generator_was_the_wall = True
            break
        else:
            search.broke = clients if not search.broke else min(search.broke, clients)
        following = _next(search, at_most)
        if following is None:
            break
        clients = following
    return search


def _near(outcome: Outcome) -> bool:
    """Whether it nearly held, so that chance may have decided."""
    if outcome.holds or outcome.generator_was_the_wall:
        return False
    return outcome.updates_per_client_s > 18.0 and outcome.gap_ms_p99 < 150.0 and not outcome.closes


def _next(search: Search, at_most: int) -> int | None:
    low, high = search.largest, search.broke
    if not high:
        clients = min(at_most, int(low * STEP))
        return _rounded(clients) if clients > low else None
    if not low:
        return _rounded(int(high / STEP)) if high > SMALLEST else None
    return _rounded(int((low * high) ** 0.5)) if high > low * FINE + ROUND_TO else None


def _rounded(clients: int) -> int:
    return max(ROUND_TO, clients // ROUND_TO * ROUND_TO)
