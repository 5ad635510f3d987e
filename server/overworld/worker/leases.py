"""Which shards this worker may try to take, and when. Pure: heads and time come in as arguments, in seconds,
monotonic.

Safety does not rest on anything here: taking a shard is a compare-and-swap on what was seen, and a fenced owner can
write nothing more. This decides liveness and balance: not to take from an owner that lives, to take from a dead one
soon, and to share shards fairly.

    a shard is vacant    when
    new                  it has no head: nobody ever owned it, or Redis was wiped
    released             its last owner gave it up in order
    suspect              its owner's process is known to be gone (its port refuses)
    silent               its head stood still for a full time to live of our clock, with every look in between
                         answered; for four where its owner's process answers all the while: it may be looking at
                         another server than we are, in the middle of a failover, and at commit level 1 what it
                         releases there survives only if it lives to send it again

The vacant shards are dealt out to the live workers, fewest shards first; all workers see the same heads and so deal
alike. A worker takes what was dealt to it at once, and what was dealt to others only when they do not (`yield_s`), up
to its fair share; past `any_s` it takes what it can: a world that stands still is worse than one out of balance. Two
kinds of shards are taken at once whatever the balance: those whose owner is gone, by the first of their standbys,
where there are standbys; and those that stand under the worker's own address without being run there (a migration whose
end it did not hear of, an earlier process at this address).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from overworld.store.ports import Head
from overworld.worker import standbys

ANSWERING_FACTOR = 4
"""Times to live that an owner may be silent whose process answers."""
GAP_PART = 0.5
"""A pause between two looks above this part of the time to live starts all clocks anew: we may have been the sleeper.
"""


class Vacancy(enum.Enum):
    """Why a shard may be taken."""

    NEW = "new"
    RELEASED = "released"
    SUSPECT = "suspect"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shard to try, and what to show the compare-and-swap."""

    shard: int
    seen: Head | None
    why: Vacancy


@dataclass(frozen=True, slots=True)
class LeaseRules:
    """Times in seconds. `slack`: shards above a fair share that are still fair. `standbys`: how many workers follow
    each shard; `followed_max`: how many shards this one follows at most. `version`: of the title that this worker
    runs; 0 where versions do not matter.
    """

    ttl_s: float
    shards_max: int
    slack: int = 0
    standbys: int = 0
    followed_max: int = 0
    version: int = 0

    @property
    def yield_s(self) -> float:
        """How long a shard dealt to another worker is left to it."""
        return self.ttl_s * 0.75

    @property
    def any_s(self) -> float:
        """How long a shard may be vacant before balance is given up for it."""
        return self.ttl_s * 2


@dataclass(slots=True)
class _Seen:
    head: Head | None
    since_s: float
    vacant_since_s: float | None = None


class LeaseBook:
    """What one worker knows of all shards of a world."""

    def __init__(self, shard_count: int, address: str, rules: LeaseRules) -> None:
        self._shard_count = shard_count
        self._address = address
        self._rules = rules
        self._seen: dict[int, _Seen] = {}
        self._looked_s: float | None = None
        self._suspects: dict[str, set[int]] = {}
        self._answered_s: dict[str, float] = {}
        self._barred: dict[int, tuple[float, float]] = {}

    @property
    def version(self) -> int:
        """Of the title that this worker runs."""
        return self._rules.version

    # ------------------------------------------------------------ what is known

    def looked(self, heads: Mapping[int, Head | None], now_s: float) -> None:
        """A look at all shards was answered."""
        if self._looked_s is None or now_s - self._looked_s > self._rules.ttl_s * GAP_PART:
            self._seen.clear()
        self._looked_s = now_s
        self._answered_s = {a: at_s for a, at_s in self._answered_s.items() if now_s - at_s < self._rules.ttl_s}
        for shard, head in heads.items():
            seen = self._seen.get(shard)
            if seen is None or not _same(seen.head, head):
                vacant = seen.vacant_since_s if seen is not None else None
                self._seen[shard] = _Seen(head, now_s, vacant)
            if head is not None and head.address in self._suspects:
                self._weigh(shard, head, seen.head if seen else None)

    def look_failed(self) -> None:
        """A look was not answered: silence proves nothing until looks have succeeded for a full time to live
        again.
        """
        self._looked_s = None

    def suspect(self, address: str) -> None:
        """The process at this address seems to be gone. Its shards are vacant from the next look on, unless a later
        one shows that it lives.
        """
        self._suspects.setdefault(address, set())

    def trust(self, address: str) -> None:
        """The process at this address answers."""
        self._suspects.pop(address, None)

    def answered(self, address: str, now_s: float) -> None:
        """The process at this address has just answered: it lives, whatever its shards' heads say."""
        self.trust(address)
        self._answered_s[address] = now_s

    def _weigh(self, shard: int, head: Head, before: Head | None) -> None:
        """A look at a suspect's shard: the first after the suspicion may still show its last deeds, progress after
        that shows that it lives, and so does a new epoch. A head that went back shows a failover, and nobody's life.
        """
        looked_at = self._suspects[head.address]
        if before is not None and (
            head.epoch > before.epoch or (shard in looked_at and (head.tick, head.beat) > (before.tick, before.beat))
        ):
            self.trust(head.address)
        else:
            looked_at.add(shard)

    def bar(self, shard: int, now_s: float, first_s: float = 1.0, most_s: float = 60.0) -> float:
        """This worker failed to run the shard: leave it alone for a while, twice as long each time. Returns
        seconds.
        """
        _, last_s = self._barred.get(shard, (0.0, first_s / 2))
        wait_s = min(2 * last_s, most_s)
        self._barred[shard] = (now_s + wait_s, wait_s)
        return wait_s

    def unbar(self, shard: int) -> None:
        """The shard runs well here."""
        self._barred.pop(shard, None)

    def head(self, shard: int) -> Head | None:
        """The head as last seen."""
        seen = self._seen.get(shard)
        return seen.head if seen else None

    def silent(self, shard: int, now_s: float) -> bool:
        """True where the head stood still for a full time to live."""
        seen = self._seen.get(shard)
        return seen is not None and self._looked_s is not None and now_s - seen.since_s >= self._rules.ttl_s

    # ------------------------------------------------------------ decisions

    def vacancies(self, now_s: float, mine: Collection[int]) -> list[Candidate]:
        """Every shard that nobody runs, ascending, whoever is to take it."""
        found = []
        for shard in range(self._shard_count):
            seen = self._seen.get(shard)
            if seen is None or self._looked_s is None or shard in mine:
                continue
            why = self._why_vacant(seen, shard, now_s)
            if why is None:
                seen.vacant_since_s = None
            else:
                if seen.vacant_since_s is None:
                    seen.vacant_since_s = now_s
                found.append(Candidate(shard, seen.head, why))
        return found

    def candidates(
        self, now_s: float, live: Collection[str], mine: Collection[int], older: bool = False
    ) -> list[Candidate]:
        """The shards to try now. `live`: addresses of live workers of this version of the title; `mine`: shards this
        worker runs or is taking. `older`: there are workers of an older version that take shards.
        """
        vacant = self.vacancies(now_s, mine)
        # An owner that fell silent still stands in the directory for a while: it takes nothing.
        silent = {c.seen.address for c in vacant if c.why is Vacancy.SILENT and c.seen is not None}
        workers = sorted({*live} - self._suspects.keys() - silent | {self._address})
        vacant = [candidate for candidate in vacant if self._fit(candidate, older)]
        share = math.ceil(self._shard_count / len(workers)) + self._rules.slack
        dealt = self._deal(vacant, workers, mine)
        room = self._rules.shards_max - len(mine)
        chosen: list[Candidate] = []
        for candidate in vacant:
            until_s, _ = self._barred.get(candidate.shard, (0.0, 0.0))
            if len(chosen) >= room or now_s < until_s:
                continue
            since_s = self._seen[candidate.shard].vacant_since_s
            assert since_s is not None
            vacant_s = now_s - since_s
            fair = len(mine) + len(chosen) < share
            mine_to_take = dealt[candidate.shard] == self._address
            if (
                (mine_to_take and (fair or self._has_standbys(candidate)))
                or (candidate.seen is not None and candidate.seen.address == self._address)
                or (fair and vacant_s >= self._rules.yield_s)
                or vacant_s >= self._rules.any_s
            ):
                chosen.append(candidate)
        return chosen

    def to_follow(self, live: Collection[str], mine: Collection[int]) -> set[int]:
        """The shards that this worker follows as a standby. `live`: as in `candidates`; `mine`: what it runs."""
        owners = {
            shard: seen.head.address
            for shard, seen in self._seen.items()
            if seen.head is not None and shard not in mine and seen.head.version in (0, self._rules.version)
        }
        workers = {*live, self._address} - self._suspects.keys()
        return standbys.to_follow(self._address, owners, workers, self._rules.standbys, self._rules.followed_max)

    def why_not(self, shard: int, mine: Collection[int], now_s: float) -> str:
        """Why this worker cannot have one more shard, this one; empty where it can."""
        if not 0 <= shard < self._shard_count:
            return f"there are only shards 0 to {self._shard_count - 1}"
        if len(mine) >= self._rules.shards_max:
            return f"this worker has {len(mine)} shards, as many as it may"
        if now_s < self._barred.get(shard, (0.0, 0.0))[0]:
            return "this worker failed to run it a moment ago"
        return ""

    def counts(
        self, workers: Collection[str], mine: Collection[int], empty: Collection[int] = frozenset()
    ) -> dict[str, int]:
        """How many shards each of these workers owned at the last look, without those in `empty`; this one's are
        `mine`.
        """
        counts = dict.fromkeys(workers, 0)
        counts[self._address] = len(mine)
        for shard, seen in self._seen.items():
            owner = seen.head.address if seen.head else ""
            if owner in counts and owner != self._address and shard not in empty:
                counts[owner] += 1
        return counts

    def _fit(self, candidate: Candidate, older: bool) -> bool:
        """Nobody can run what a newer version wrote. What an older one left in order is taken once none of its kind
        is there to do it: they go on without a migration of the state.
        """
        mine = self._rules.version
        theirs = candidate.seen.version if candidate.seen is not None else 0
        return theirs == mine if older else not mine or theirs <= mine

    def _has_standbys(self, candidate: Candidate) -> bool:
        return self._rules.standbys > 0 and candidate.why in (Vacancy.SUSPECT, Vacancy.SILENT)

    def _why_vacant(self, seen: _Seen, shard: int, now_s: float) -> Vacancy | None:
        head = seen.head
        if head is None:
            return Vacancy.NEW
        if head.released:
            return Vacancy.RELEASED
        # Our own address on a shard we do not run: left behind by us, or by an earlier process at this address.
        if shard in self._suspects.get(head.address, ()) or head.address == self._address:
            return Vacancy.SUSPECT
        patience_s = self._rules.ttl_s * (ANSWERING_FACTOR if self._answers(head.address, now_s) else 1)
        return Vacancy.SILENT if now_s - seen.since_s >= patience_s else None

    def _answers(self, address: str, now_s: float) -> bool:
        return now_s - self._answered_s.get(address, -math.inf) < self._rules.ttl_s

    def _deal(self, vacant: list[Candidate], workers: list[str], mine: Collection[int]) -> dict[int, str]:
        """Which worker each vacant shard is meant for."""
        counts = self.counts(workers, mine, {candidate.shard for candidate in vacant})
        dealt = {}
        for candidate in vacant:
            if self._has_standbys(candidate):
                worker = standbys.ranked(candidate.shard, workers)[0]
            else:
                worker = min(workers, key=lambda w: (counts[w], w))
            counts[worker] += 1
            dealt[candidate.shard] = worker
        return dealt


def _same(a: Head | None, b: Head | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.same_life(b) and a.address == b.address
