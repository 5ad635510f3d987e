"""The journal as an observer reads it from Redis while the world runs, and what follows from it afterwards.

A worker trims its journal behind its snapshots, and a failover may cut its end off: so records are collected as they
appear, and the lineage that counts is found at the end, by walking back from the surviving head along the chain.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from redis.asyncio import Redis
from redis.exceptions import RedisError

from loadtest.census import Count, count_of
from loadtest.truth import Truth, owns_of_core, rows_of_core
from overworld.errors import RecordCorrupt
from overworld.game import Title
from overworld.shard import record as records
from overworld.shard import snapshot as snapshots
from overworld.shard.core import ShardCore
from overworld.shard.record import Record
from overworld.store import keys
from overworld.worker import tasks
from overworld.world.contract import WorldContract

Ints = npt.NDArray[np.int64]

Versions = Mapping[str, tuple[WorldContract, Title]]
NEVER_UPGRADED: Versions = MappingProxyType({})
_NOBODY: Ints = np.zeros(0, np.int64)
TIMEOUT_S = 2.0
"""Of one read: whatever Redis does, the next shard's journal must be read before it is trimmed."""
OVERLAP_TICKS = 40
"""Read again this far back each time: a failover may have replaced the newest records."""


@dataclass(frozen=True)
class Kept:
    """One record as it was read: `chain` is its own chain value, `data` its bytes."""

    tick: int
    epoch: int
    chain: bytes
    data: bytes


@dataclass
class Lineage:
    """The records that lead to a shard's head, oldest first, and what is wrong with them."""

    shard: int
    records: list[Record]
    head: tuple[int, bytes] = (0, b"")
    """Tick and chain of the newest record."""
    faults: list[str] = field(default_factory=list)
    side_branches: int = 0
    """Records that were read once and are not ancestors of the head: written, and lost again."""


class JournalCollector:
    """Reads all shards' journals of a world, again and again, into memory."""

    def __init__(self, redis_url: str, world: str, shards: int, pause_s: float = 0.5) -> None:
        self._redis = Redis.from_url(redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        self._left: list[Redis] = []
        self._world = world
        self._pause_s = pause_s
        self._seen: dict[int, dict[bytes, Kept]] = {shard: {} for shard in range(shards)}
        self._last = dict.fromkeys(range(shards), 0)
        self._heads: dict[int, tuple[int, bytes]] = {}
        self._task: asyncio.Task[None] | None = None
        self.failed_reads = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        await tasks.end([self._task])
        for redis in (*self._left, self._redis):
            await redis.aclose()

    def follow(self, redis_url: str) -> None:
        """Read from another server from now on (after a failover), from as far back as it remembers: what was read
        from the other may lie on a branch that this one does not have.
        """
        # Closed at the end: a read may be under way.
        self._left.append(self._redis)
        self._redis = Redis.from_url(redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        self._last = dict.fromkeys(self._last, 0)

    async def finish(self) -> None:
        """One last read of everything, with the heads. Raises RedisError."""
        for shard in self._seen:
            head: Any = await self._redis.hmget(keys.own(self._world, shard), ["tick", "chain"])
            self._heads[shard] = (int(head[0] or 0), head[1] or b"")
            # The journal after the head: it holds at least what leads there.
            await self._read(shard)

    def lineage(self, shard: int) -> Lineage:
        """What leads to the head that `finish` found."""
        tick, chain = self._heads[shard]
        found = Lineage(shard, [], (tick, chain))
        kept = self._seen[shard]
        walked = 0
        while tick > 0 and (step := kept.get(chain)) is not None:
            walked += 1
            try:
                record = records.decode(step.data)
            except RecordCorrupt as error:
                found.faults.append(f"shard {shard} tick {tick}: {error}")
                break
            if (record.tick, record.epoch, record.shard) != (tick, step.epoch, shard):
                found.faults.append(f"shard {shard} tick {tick}: it says {record.shard}, {record.tick}, {record.epoch}")
            if records.chain(record.previous, step.data) != chain:
                found.faults.append(f"shard {shard} tick {tick}: the chain does not hold")
            found.records.append(record)
            tick, chain = tick - 1, record.previous
        if tick > 0:
            found.faults.append(f"shard {shard}: no record of tick {tick}, an ancestor of the head")
        found.records.reverse()
        for before, after in pairwise(found.records):
            if after.epoch < before.epoch:
                found.faults.append(f"shard {shard} tick {after.tick}: epoch {after.epoch} follows {before.epoch}")
        # What was appended while the head was read stands above it and leads nowhere yet.
        found.side_branches = sum(step.tick <= found.head[0] for step in kept.values()) - walked
        return found

    async def _run(self) -> None:
        while True:
            for shard in self._seen:
                try:
                    await self._read(shard)
                except (RedisError, OSError):
                    self.failed_reads += 1
            await asyncio.sleep(self._pause_s)

    async def _read(self, shard: int) -> None:
        start = max(1, self._last[shard] - OVERLAP_TICKS)
        rows: Any = await self._redis.xrange(keys.journal(self._world, shard), f"{start}-0", "+")
        for row_id, row in rows:
            tick = int(row_id.partition(b"-")[0])
            self._seen[shard][row[b"c"]] = Kept(tick, int(row[b"e"]), row[b"c"], row[b"p"])
            self._last[shard] = tick


@dataclass
class Replayed:
    """What replaying a lineage gave."""

    truth: Truth
    digests: dict[int, bytes]
    digests_compared: int = 0
    faults: list[str] = field(default_factory=list)
    players: dict[str, int] = field(default_factory=dict)
    """Sums of the title's own player columns at the end."""
    last_seqs: dict[int, int] = field(default_factory=dict)
    """Highest input applied at the end, by session."""
    seqs: dict[int, tuple[Ints, Ints]] = field(default_factory=dict)
    """Sessions whose players were there, and the highest input applied of each, after each tick."""
    counts: list[Count] = field(default_factory=list)
    """The state before the first record, and after each."""

    def applied(self, session: int, tick: int) -> int:
        """The highest input of a session applied by the end of a tick, in this shard or in one its player came from;
        0 where its player was not there.
        """
        sessions, seqs = self.seqs.get(tick, (_NOBODY, _NOBODY))
        at = np.flatnonzero(sessions == session)
        return int(seqs[at[0]]) if len(at) else 0


def replay(
    contract: WorldContract,
    title: Title,
    lineage: Lineage,
    keep_rows: bool = True,
    start: bytes = b"",
    later: Versions = NEVER_UPGRADED,
) -> Replayed:
    """Run a shard again, from its first tick or from a snapshot. `keep_rows`: keep the state of every tick as truth.
    `later`: versions of the title that went on with it, by the version that their records name.
    """
    core = ShardCore(contract, title, lineage.shard)
    if start:
        snapshots.restore(core, start)
    else:
        core.setup()
    first = core.tick
    result = Replayed(Truth(lineage.shard, contract), {})
    result.counts.append(count_of(core, 0))
    for record in lineage.records:
        if record.tick <= first:
            continue
        if record.title_version != str(core.contract.title_version) and record.title_version in later:
            core = migrated(core, *later[record.title_version])
        if core.tick + 1 != record.tick:
            result.faults.append(f"shard {lineage.shard}: record {record.tick} comes after tick {core.tick}")
            break
        outcome = core.step(record.inputs)
        if record.state_digest:
            result.digests_compared += 1
            result.digests[record.tick] = core.digest()
            if result.digests[record.tick] != record.state_digest:
                result.faults.append(f"shard {lineage.shard} tick {record.tick}: the replay gives another state")
                break
        if keep_rows:
            result.truth.add(record.tick, rows_of_core(core), record.epoch)
            result.truth.owns[record.tick] = owns_of_core(core)
            here = core.shard.players.session != 0
            result.seqs[record.tick] = core.shard.players.session[here], core.shard.players.last_seq[here]
            result.counts.append(count_of(core, record.wall_ms, record.inputs.messages, outcome.outbox))
    for column in contract.player_columns:
        result.players[column.name] = int(getattr(core.shard.players, column.name).sum())
    players = core.shard.players
    result.last_seqs = dict(zip(players.session.tolist(), players.last_seq.tolist(), strict=True))
    # Who went to another shard leaves a row without a session.
    result.last_seqs.pop(0, None)
    return result


def migrated(core: ShardCore, contract: WorldContract, title: Title) -> ShardCore:
    """The same state under another version of the title."""
    data = snapshots.encode(snapshots.freeze(core), core, epoch=0, chain=b"", wall_ms=0)
    newer = ShardCore(contract, title, core.index)
    snapshots.restore(newer, data)
    return newer


@dataclass
class AppliedInput:
    """One input as the journal has it."""

    shard: int
    tick: int
    kind: int
    values: tuple[int, ...]


def applied_inputs(lineages: list[Lineage]) -> tuple[dict[int, dict[int, AppliedInput]], list[str]]:
    """Inputs by session and number over all shards that the session's player was in, and what was applied more than
    once or, within a shard, out of order.
    """
    found: dict[int, dict[int, AppliedInput]] = defaultdict(dict)
    doubles = []
    for lineage in lineages:
        last: dict[int, int] = {}
        for record in lineage.records:
            inputs, at = record.inputs, 0
            columns = (inputs.sessions, inputs.seqs, inputs.kinds, inputs.counts)
            for session, seq, kind, count in zip(*(c.tolist() for c in columns), strict=True):
                values = tuple(inputs.values[at : at + count].tolist())
                at += count
                if seq <= last.get(session, 0):
                    where = f"shard {lineage.shard} tick {record.tick}"
                    doubles.append(f"input {seq} of session {session} after {last[session]}: at {where}")
                last[session] = seq
                if seq in found[session]:
                    first = found[session][seq]
                    doubles.append(
                        f"input {seq} of session {session}: at shard {first.shard} tick {first.tick} "
                        f"and at shard {lineage.shard} tick {record.tick}"
                    )
                found[session][seq] = AppliedInput(lineage.shard, record.tick, kind, values)
    return dict(found), doubles
