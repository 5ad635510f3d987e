"""Faults of Redis, one after the other on a running cluster: restarts and failovers, with and without a dead worker."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from loadtest.cluster import Cluster, Shape
from loadtest.findings import Findings
from loadtest.pauses import Fault, Noticed, noticed
from loadtest.replicated import ReplicatedCluster
from loadtest.trial import Trial
from overworld.store import keys

TICKS_AFTER = 20
"""A world goes on when every shard has journaled this many ticks since the fault."""
GOES_ON_S = 60.0
POLL_S = 0.1
REST_S = 2.0
"""Play between faults."""


@dataclass(frozen=True)
class Outage:
    """A restart. `kill`: SIGKILL instead of an orderly stop. `down_s`: how long nobody listens, at least."""

    kill: bool
    down_s: float


@dataclass(frozen=True)
class Split:
    """A failover. Until `split_s` after the promotion the old primary lives, and each process goes on using it until
    its own moment. `kill_s`: when after the promotion a worker is killed; None: never.
    """

    split_s: float
    moves_s: dict[str, float]
    kill_s: float | None = None
    victim: int = 0


def outages(chance: random.Random, count: int) -> list[Outage]:
    """Short ones and ones longer than the world may run on alone, by turns."""
    return [Outage(kill=bool(i // 2 % 2), down_s=chance.uniform(3.0, 4.0) if i % 2 else 0.0) for i in range(count)]


def splits(chance: random.Random, count: int, shape: Shape, split_s: float, *, kill: bool) -> list[Split]:
    """By turns: all processes move at the end; each at a moment of its own; a worker and a gateway at once, the others
    at the end.
    """
    workers, gateways = [f"worker-{i}" for i in range(shape.workers)], [f"gateway-{i}" for i in range(shape.gateways)]
    names = [*workers, *gateways]
    found = []
    for i in range(count):
        if i % 3 == 0:
            moves = dict.fromkeys(names, split_s)
        elif i % 3 == 1:
            moves = {name: chance.uniform(0.0, split_s) for name in names}
        else:
            early = [chance.choice(group) for group in (workers, gateways)]
            moves = {name: 0.0 if name in early else split_s for name in names}
        kill_s = chance.uniform(0.2, split_s) if kill else None
        found.append(Split(split_s, moves, kill_s, chance.randrange(len(workers))))
    return found


async def play(
    folder: Path, shape: Shape, bots: int, plan: Sequence[Outage | Split], say: Callable[[str], object]
) -> tuple[Findings, list[Noticed]]:
    """A cluster with bots, one fault after the other; then the check."""
    cluster = ReplicatedCluster(folder, shape)
    async with Trial(folder, shape, bots, cluster=cluster, say=say) as trial:
        faults = Faults(trial, cluster, say)
        for fault in plan:
            await asyncio.sleep(REST_S)
            await (faults.restart(fault) if isinstance(fault, Outage) else faults.fail_over(fault))
        await asyncio.sleep(REST_S)
        await trial.leave()
        await trial.finish()
    return trial.findings(), noticed(trial.histories(), faults.done)


class Faults:
    """Does faults to a trial's cluster and notes when they were."""

    def __init__(self, trial: Trial, cluster: ReplicatedCluster, say: Callable[[str], object]) -> None:
        self._trial = trial
        self._cluster = cluster
        self._say = say
        self.done: list[Fault] = []

    async def restart(self, outage: Outage) -> None:
        """Redis stops or is killed, and starts again on its files."""
        name = f"Redis {'killed' if outage.kill else 'stopped'}, away for {outage.down_s:.1f} s or longer"
        self._say(name)
        began_s = time.monotonic()
        await self._cluster.stop_redis(kill=outage.kill)
        await asyncio.sleep(outage.down_s)
        await self._cluster.start_redis()
        await self._note(name, began_s)

    async def fail_over(self, split: Split) -> None:
        """The replica is promoted; processes follow one by one; the old primary dies; a new replica comes."""
        cluster = self._cluster
        late = sorted(split.moves_s.items(), key=lambda item: item[1])
        name = "failover, " + ", ".join(f"{who} after {when:.1f} s" for who, when in late)
        if split.kill_s is not None:
            name += f"; worker-{split.victim} killed after {split.kill_s:.1f} s"
        self._say(name)
        began_s = time.monotonic()
        await cluster.promote()
        events: list[tuple[float, str]] = [(when, who) for who, when in late]
        if split.kill_s is not None:
            events.append((split.kill_s, ""))
        for when, who in sorted(events):
            await asyncio.sleep(max(0.0, began_s + when - time.monotonic()))
            if who:
                cluster.move([who])
            else:
                cluster.workers[split.victim].process.kill()
        await asyncio.sleep(max(0.0, began_s + split.split_s - time.monotonic()))
        cluster.retire()
        self._trial.follow_redis(cluster.redis_url)
        await cluster.add_replica()
        await self._note(name, began_s)
        if split.kill_s is not None:
            await cluster.start_node(cluster.workers[split.victim])

    async def _note(self, name: str, began_s: float) -> None:
        await goes_on(self._cluster, self._trial.contract.grid.shard_count)
        self.done.append(Fault(name, began_s, time.monotonic()))
        self._say(f"it goes on after {self.done[-1].over_s - began_s:.1f} s")


async def goes_on(cluster: Cluster, shards: int) -> None:
    """Wait until every shard has journaled some more ticks. Raises TimeoutError."""
    first: dict[int, int] = {}
    async with asyncio.timeout(GOES_ON_S), Redis.from_url(cluster.redis_url, socket_timeout=5) as client:
        waiting = set(range(shards))
        while waiting:
            for shard in sorted(waiting):
                try:
                    tick = int(await client.hget(keys.own(cluster.shape.world, shard), "tick") or 0)
                except (RedisError, OSError):
                    continue
                if tick >= first.setdefault(shard, tick) + TICKS_AFTER:
                    waiting.discard(shard)
            await asyncio.sleep(POLL_S)
