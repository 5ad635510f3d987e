"""Workers that die or freeze under players: what was done, when the world went on, how long each bot saw nothing."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from loadtest.cluster import Cluster, Node
from loadtest.history import BotHistory, Event
from loadtest.truth import ENTITY, Truth
from overworld.client.mirror import LightMirror

GOES_ON_S = 60.0
POLL_S = 0.05


@dataclass
class Loss:
    """A worker was lost. Times of the machine's monotonic clock, in seconds."""

    worker: str
    shards: dict[int, int]
    """The shards it ran, and their epochs."""
    at_s: float
    taken_over_s: float = 0.0
    """When others were seen to run all of them."""


def owners(cluster: Cluster) -> list[Node]:
    """Workers that run shards now."""
    return [node for node in cluster.workers if node.process.alive and node.shards()]


async def until_taken_over(cluster: Cluster, loss: Loss) -> None:
    """Wait until other workers run the lost one's shards, at higher epochs. Raises TimeoutError."""
    others = [node for node in cluster.workers if node.name != loss.worker]
    async with asyncio.timeout(GOES_ON_S):
        while True:
            running: dict[int, int] = {}
            for node in others:
                if node.process.alive:
                    running.update(await asyncio.to_thread(node.shards))
            if all(running.get(shard, 0) > epoch for shard, epoch in loss.shards.items()):
                break
            await asyncio.sleep(POLL_S)
    loss.taken_over_s = time.monotonic()


@dataclass
class Pauses:
    """What bots noticed of losses, in seconds."""

    by_loss_s: list[list[float]] = field(default_factory=list)
    """For each loss, for each bot whose avatar was on a lost shard: from that shard's last tick before to its first
    tick after.
    """
    missing: int = 0
    """Of those, bots that never saw the shard again."""
    ticks_skipped: int = 0
    """Ticks between those two that were not shown: the bot's picture jumped over them."""

    @property
    def each_s(self) -> list[float]:
        """All losses' together."""
        return [pause_s for of_loss in self.by_loss_s for pause_s in of_loss]


Residents = Mapping[int, frozenset[int]]
"""Entities, by the lost shard that they were in when it was lost."""


def residents(loss: Loss, truths: Mapping[int, Truth]) -> Residents:
    """Who was in the lost shards, by their last ticks before."""
    found = {}
    for shard, epoch in loss.shards.items():
        truth = truths[shard]
        last = max((tick for tick, under in truth.epochs.items() if under <= epoch), default=0)
        rows = truth.ticks.get(last, [])
        found[shard] = frozenset(entity for of_kind in rows for entity in of_kind[:, ENTITY].tolist())
    return found


def pauses(histories: Iterable[BotHistory], losses: Sequence[tuple[Loss, Residents]]) -> Pauses:
    """Read every bot's ticks around every loss."""
    found = Pauses([[] for _ in losses])
    for history in histories:
        seen = _read(history)
        for number, (loss, of_shards) in enumerate(losses):
            avatar = next((entity for at_s, entity in reversed(seen.avatars) if at_s <= loss.at_s), 0)
            for shard, there in of_shards.items():
                if avatar in there:
                    _pause(seen.heads[shard], loss.shards[shard], found, number)
    return found


@dataclass
class _Seen:
    """What one bot saw: (time in seconds, epoch, tick) by shard, and (time, entity) whenever it was told its avatar."""

    heads: dict[int, list[tuple[float, int, int]]]
    avatars: list[tuple[float, int]]


def _read(history: BotHistory) -> _Seen:
    light = LightMirror()
    seen = _Seen(defaultdict(list), [])
    for entry in history.of(Event.FRAME):
        frame = light.parse(entry.body)
        for head in frame.heads:
            seen.heads[head.shard].append((entry.time_us / 1e6, head.epoch, head.tick))
        seen.avatars += [(entry.time_us / 1e6, own.entity) for own in frame.owns if own.entity]
    return seen


def _pause(heads: list[tuple[float, int, int]], epoch: int, found: Pauses, number: int) -> None:
    """One bot and its avatar's shard; `epoch` is the one that ended with loss `number`."""
    before = next((h for h in reversed(heads) if h[1] <= epoch), None)
    after = next((h for h in heads if h[1] > epoch), None)
    if before is None or after is None:
        found.missing += 1
        return
    found.by_loss_s[number].append(after[0] - before[0])
    found.ticks_skipped += after[2] - before[2] - 1
