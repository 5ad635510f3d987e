"""What the shards of one worker cost, and how that is told in the directory.

An announcement holds, besides what the process says of itself (`service`):

    capacity              relative to other workers
    shards_max            how many shards it may have
    emptied               1 where an operator wants it empty
    entities, players     of all its shards
    cpu                   CPU ms a second of all its shards' ticks
    c<shard>              the same of one shard; of the `SHARDS_TOLD_MAX` that cost most
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from overworld.store.ports import Member
from overworld.worker.balance import ShardState, WorkerState

SHARDS_TOLD_MAX = 1024
SETTLE_S = 5.0
"""A change of a shard's cost is believed by two thirds after this long."""
CAPACITY, SHARDS_MAX, EMPTIED = "capacity", "shards_max", "emptied"
DRAINING = "draining"
"""1 where a process stops, and hands its shards over by itself."""
_PREFIX = "c"


@dataclass(frozen=True, slots=True)
class Worked:
    """One shard, as it is now. `cpu_ns`: of all ticks that ran here; `ticks`: how many those were."""

    cpu_ns: int
    ticks: int
    entities: int = 0
    players: int = 0


@dataclass(slots=True)
class _Meter:
    cpu_ns: int
    ticks: int
    at_s: float
    cost: float | None = None
    tick_ms: float = 0.0

    def look(self, now: Worked, now_s: float) -> None:
        span_s, ran_ns, ticks = now_s - self.at_s, now.cpu_ns - self.cpu_ns, now.ticks - self.ticks
        if ran_ns < 0 or ticks < 0:
            # It was here before, under another grant: measure anew.
            self.cost, span_s = None, 0.0
        elif span_s > 0:
            keep = math.exp(-span_s / SETTLE_S)
            cost = ran_ns / 1e6 / span_s
            self.cost = cost if self.cost is None else keep * self.cost + (1 - keep) * cost
            if ticks:
                tick_ms = ran_ns / 1e6 / ticks
                self.tick_ms = keep * self.tick_ms + (1 - keep) * tick_ms if self.tick_ms else tick_ms
        self.cpu_ns, self.ticks, self.at_s = now.cpu_ns, now.ticks, now_s


class LoadBook:
    """Smoothed costs of the shards that a worker runs. Pure: time is an argument, in seconds, monotonic."""

    def __init__(self) -> None:
        self._meters: dict[int, _Meter] = {}
        self._last: dict[int, Worked] = {}

    def look(self, shards: Mapping[int, Worked], now_s: float) -> None:
        """What all shards have done so far. Call about twice a second."""
        self._meters = {shard: meter for shard, meter in self._meters.items() if shard in shards}
        for shard, worked in shards.items():
            meter = self._meters.get(shard)
            if meter is None:
                self._meters[shard] = _Meter(worked.cpu_ns, worked.ticks, now_s)
            else:
                meter.look(worked, now_s)
        self._last = dict(shards)

    def cost(self, shard: int) -> float | None:
        """CPU ms a second of a shard's ticks; None before it is known."""
        meter = self._meters.get(shard)
        return meter.cost if meter is not None else None

    def tick_ms(self, shard: int) -> float:
        """CPU ms of one of its ticks; 0 before it is known."""
        meter = self._meters.get(shard)
        return meter.tick_ms if meter is not None else 0.0

    def announcement(self) -> dict[str, float]:
        """As in the table above, without what the process says of itself."""
        costs = {shard: meter.cost for shard, meter in self._meters.items() if meter.cost is not None}
        told = sorted(costs, key=lambda shard: -costs[shard])[:SHARDS_TOLD_MAX]
        return {
            "entities": float(sum(worked.entities for worked in self._last.values())),
            "players": float(sum(worked.players for worked in self._last.values())),
            "cpu": round(sum(costs.values()), 2),
            **{f"{_PREFIX}{shard}": round(costs[shard], 2) for shard in sorted(told)},
        }


def picture(members: Iterable[Member], owners: Mapping[int, str]) -> tuple[list[WorkerState], list[ShardState]]:
    """What there is to balance, from the announcements of live workers and the heads' addresses by shard. The cost of a
    shard that its owner says nothing of is None: it is being recovered, or has just begun.
    """
    loads = {member.address: member.load for member in members}
    workers = [
        WorkerState(
            address,
            takes=not (load.get(DRAINING) or load.get(EMPTIED)),
            emptied=bool(load.get(EMPTIED)),
            shards_max=int(load.get(SHARDS_MAX, 65_536)),
            capacity=load[CAPACITY] if load.get(CAPACITY, 0.0) > 0 else 1.0,
        )
        for address, load in sorted(loads.items())
    ]
    # Of those that tell as much as they can, what is not told is cheap.
    otherwise = {address: 0.0 if len(load) > SHARDS_TOLD_MAX else None for address, load in loads.items()}
    shards = []
    for shard, owner in sorted(owners.items()):
        if owner in loads:
            cost = loads[owner].get(f"{_PREFIX}{shard}", otherwise[owner])
            # Who stops hands its shards over by itself.
            stops = bool(loads[owner].get(DRAINING))
            shards.append(ShardState(shard, owner, cost, movable=not stops))
    return workers, shards
