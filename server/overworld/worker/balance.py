"""Which shards are to move to which workers, and when that pays. Pure: loads and time come in as arguments.

A shard weighs its cost, in CPU ms a second, and a little for being there: shards that cost next to nothing are shared
out by their number. A worker's load is what its shards weigh, over its capacity. Of two workers' loads, what is out of
balance is half the difference.

    a move pays      when what is out of balance is above `start_part` of the mean load and the shard weighs at most
                     `START_WEIGHT` of the difference, both for `settle_s` without a break. Once moves have begun they
                     go on down to `stop_part`, with shards of up to `STOP_WEIGHT`
    a shard rests    for `rest_s` after its owner changed, whoever moved it; a target it could not be moved to is left
                     alone for a while, twice as long each time
    all rest         after a move that failed, for 2 s, twice as long after each that follows: a shard that is asked to
                     move and does not has stood still for nothing, and a cluster that is overloaded gets worse by it
    at once          at most `moves_at_once_max` are on their way; those count as arrived
    emptied          workers are relieved of their shards first, whatever that does to the balance, and get none

A shard that weighs less than the difference lowers the sum of the squares of all loads (weighted with capacities) where
it moves, so that moves come to an end while costs stay as they are; the best is the one that lowers it most. The
distance from start to stop is how much costs may change before there are new moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

FAILED_REST_S_MIN, FAILED_REST_S_MAX = 2.0, 60.0
ARRIVED_S = 3.0
"""For this long a shard is believed to be where it was moved to, whatever is told."""
START_WEIGHT, STOP_WEIGHT = 0.7, 0.9
"""A shard that weighs as much as the difference only changes which of the two workers has it."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One live worker. `takes`: it may get shards, up to `shards_max`; `emptied`: all it has is to go elsewhere.
    `capacity`: relative to others.
    """

    address: str
    takes: bool = True
    emptied: bool = False
    shards_max: int = 65_536
    capacity: float = 1.0

    def __post_init__(self) -> None:
        assert self.capacity > 0


@dataclass(frozen=True, slots=True)
class ShardState:
    """One shard that a worker owns. `cost`: CPU ms a second; None where its owner does not know it yet: then it is not
    moved. `movable`: nobody else moves it.
    """

    shard: int
    owner: str
    cost: float | None = 0.0
    movable: bool = True


@dataclass(frozen=True, slots=True)
class Move:
    """One shard, from its owner to another worker."""

    shard: int
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class BalanceRules:
    """See the head of this file. `shard_ms_per_s`: what a shard weighs besides its cost."""

    moves_at_once_max: int = 2
    start_part: float = 0.25
    stop_part: float = 0.10
    settle_s: float = 2.0
    rest_s: float = 30.0
    shard_ms_per_s: float = 5.0

    def __post_init__(self) -> None:
        assert 0 < self.stop_part <= self.start_part


@dataclass
class Floor:
    """All workers' loads, with moves that are on their way counted as arrived. `loads`: CPU ms a second, by address."""

    workers: dict[str, WorkerState]
    shards: dict[int, ShardState]
    rules: BalanceRules
    loads: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loads = dict.fromkeys(self.workers, 0.0)
        self.counts = dict.fromkeys(self.workers, 0)
        for shard in self.shards.values():
            self._add(shard, shard.owner, 1)

    @property
    def mean(self) -> float:
        """Mean load of the workers that take shards."""
        takers = [worker for worker in self.workers.values() if worker.takes]
        capacity = sum(worker.capacity for worker in takers)
        return sum(self.loads[a] * w.capacity for a, w in self.workers.items()) / capacity if capacity else 0.0

    def weight(self, shard: ShardState) -> float:
        """CPU ms a second."""
        return (shard.cost or 0.0) + self.rules.shard_ms_per_s

    def target(self, barred: frozenset[str] = frozenset()) -> str | None:
        """The worker with the lowest load that has room, without those in `barred`."""
        free = [
            address
            for address, worker in self.workers.items()
            if worker.takes and self.counts[address] < worker.shards_max and address not in barred
        ]
        return min(free, key=lambda address: (self.loads[address], self.counts[address], address), default=None)

    def gain(self, shard: ShardState, target: str, weight_part_max: float) -> tuple[float, float]:
        """(what is out of balance between the shard's owner and the target, by how much the sum of the squares of loads
        would sink). Zeros where the shard is too heavy for the difference.
        """
        weight, source = self.weight(shard), shard.owner
        difference = self.loads[source] - self.loads[target]
        less, more = weight / self.workers[source].capacity, weight / self.workers[target].capacity
        if (less + more) / 2 > weight_part_max * difference:
            return 0.0, 0.0
        return difference / 2, 2 * weight * (difference - (less + more) / 2)

    def carry(self, move: Move) -> None:
        """Count a move as done."""
        shard = self.shards[move.shard]
        self._add(shard, shard.owner, -1)
        self.shards[move.shard] = moved = ShardState(shard.shard, move.target, shard.cost, movable=False)
        self._add(moved, move.target, 1)

    def _add(self, shard: ShardState, address: str, sign: int) -> None:
        if address in self.workers:
            self.loads[address] += sign * self.weight(shard) / self.workers[address].capacity
            self.counts[address] += sign


class Balance:
    """What whoever balances remembers from look to look."""

    def __init__(self, rules: BalanceRules) -> None:
        self._rules = rules
        self._under_way: dict[int, Move] = {}
        self._owners: dict[int, str] = {}
        self._arrived: dict[int, tuple[str, float]] = {}
        self._costs: dict[int, float] = {}
        self._rests_until_s: dict[int, float] = {}
        self._failed: dict[tuple[int, str], tuple[float, float]] = {}
        self._failures = 0
        self._quiet_until_s = 0.0
        self._since_s: float | None = None
        self._active = False

    @property
    def under_way(self) -> list[Move]:
        """Moves that have begun and not ended."""
        return list(self._under_way.values())

    def look(self, workers: Iterable[WorkerState], shards: Iterable[ShardState], now_s: float) -> list[Move]:
        """The moves to begin now, the most urgent first. They count as begun: `ended` must be called for each."""
        states = {state.shard: self._completed(state, now_s) for state in shards}
        self._watch_owners(states, now_s)
        floor = Floor({worker.address: worker for worker in workers}, states, self._rules)
        for move in self._under_way.values():
            if move.shard in floor.shards:
                floor.carry(move)
        if now_s < self._quiet_until_s:
            return []
        moves = self._emptying(floor, now_s)
        moves += self._balancing(floor, now_s, self._room - len(moves))
        for move in moves:
            self._under_way[move.shard] = move
        return moves

    def ended(self, move: Move, moved: bool, now_s: float) -> None:
        """A move is over."""
        del self._under_way[move.shard]
        if moved:
            self._owners[move.shard] = move.target
            self._arrived[move.shard] = move.target, now_s + ARRIVED_S
            self._rests_until_s[move.shard] = now_s + self._rules.rest_s
            self._failed.pop((move.shard, move.target), None)
            self._failures = 0
            return
        _, last_s = self._failed.get((move.shard, move.target), (0.0, FAILED_REST_S_MIN / 2))
        rest_s = min(2 * last_s, FAILED_REST_S_MAX)
        self._failed[move.shard, move.target] = now_s + rest_s, rest_s
        self._quiet_until_s = now_s + min(FAILED_REST_S_MIN * 2**self._failures, FAILED_REST_S_MAX)
        self._failures = min(self._failures + 1, 16)

    # ------------------------------------------------------------ decisions

    @property
    def _room(self) -> int:
        return max(0, self._rules.moves_at_once_max - len(self._under_way))

    def _completed(self, shard: ShardState, now_s: float) -> ShardState:
        """What is told is older than what we know: of a shard that was just moved, the owner; and the cost, which its
        new owner has yet to find out.
        """
        owner, until_s = self._arrived.get(shard.shard, (shard.owner, 0.0))
        if owner != shard.owner and now_s < until_s:
            shard = replace(shard, owner=owner, movable=False)
        else:
            self._arrived.pop(shard.shard, None)
        if shard.cost is None:
            return replace(shard, cost=self._costs.get(shard.shard, 0.0), movable=False)
        self._costs[shard.shard] = shard.cost
        return shard

    def _watch_owners(self, shards: dict[int, ShardState], now_s: float) -> None:
        """A shard whose owner changed rests, whoever moved it. What is long over is forgotten."""
        for number, shard in shards.items():
            before = self._owners.get(number)
            if before is not None and before != shard.owner and number not in self._under_way:
                self._rests_until_s.setdefault(number, now_s + self._rules.rest_s)
            if number not in self._under_way:
                self._owners[number] = shard.owner
        self._rests_until_s = {n: until_s for n, until_s in self._rests_until_s.items() if until_s > now_s}
        self._failed = {
            pair: (until_s, rest_s)
            for pair, (until_s, rest_s) in self._failed.items()
            if until_s + FAILED_REST_S_MAX > now_s
        }

    def _emptying(self, floor: Floor, now_s: float) -> list[Move]:
        """Shards of workers that are to be emptied, the heaviest first."""
        leaving = [s for s in floor.shards.values() if s.movable and _emptied(floor, s)]
        moves: list[Move] = []
        for shard in sorted(leaving, key=lambda s: (-floor.weight(s), s.shard)):
            target = floor.target(self._barred(shard.shard, now_s))
            if len(moves) < self._room and target is not None:
                moves.append(Move(shard.shard, shard.owner, target))
                floor.carry(moves[-1])
        return moves

    def _balancing(self, floor: Floor, now_s: float, room: int) -> list[Move]:
        """Moves that pay, the best first."""
        if not self._active and self._best(floor, now_s, self._rules.start_part, START_WEIGHT) is None:
            self._since_s = None
            return []
        if self._since_s is None:
            self._since_s = now_s
        self._active = self._active or now_s - self._since_s >= self._rules.settle_s
        moves: list[Move] = []
        while self._active and len(moves) < room:
            best = self._best(floor, now_s, self._rules.stop_part, STOP_WEIGHT)
            if best is None:
                self._active, self._since_s = False, None
                break
            moves.append(best)
            floor.carry(best)
        return moves

    def _best(self, floor: Floor, now_s: float, part: float, weight_part_max: float) -> Move | None:
        """The best of the moves that pay; None where none does."""
        pays = floor.mean * part
        anywhere = floor.target()
        best: tuple[float, int, str] | None = None
        for shard in floor.shards.values():
            resting = now_s < self._rests_until_s.get(shard.shard, 0.0)
            if not shard.movable or resting or shard.owner not in floor.workers or _emptied(floor, shard):
                continue
            barred = self._barred(shard.shard, now_s)
            target = floor.target(barred) if barred else anywhere
            if target is None or target == shard.owner:
                continue
            unbalanced, gain = floor.gain(shard, target, weight_part_max)
            if unbalanced > pays and (best is None or (gain, -shard.shard) > best[:2]):
                best = gain, -shard.shard, target
        return Move(-best[1], floor.shards[-best[1]].owner, best[2]) if best is not None else None

    def _barred(self, shard: int, now_s: float) -> frozenset[str]:
        if not self._failed:
            return frozenset()
        return frozenset(to for (of, to), (until_s, _) in self._failed.items() if of == shard and now_s < until_s)


def plan(workers: Sequence[WorkerState], shards: Sequence[ShardState], rules: BalanceRules) -> list[Move]:
    """All moves that would be made if nothing changed, without waiting for anything: for people to look at."""
    states = {state.shard: state for state in shards}
    impatient = BalanceRules(
        len(states) or 1, rules.start_part, rules.stop_part, 0.0, rules.rest_s, rules.shard_ms_per_s
    )
    return Balance(impatient).look(workers, states.values(), 0.0)


def _emptied(floor: Floor, shard: ShardState) -> bool:
    return shard.owner in floor.workers and floor.workers[shard.owner].emptied
