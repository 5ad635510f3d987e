"""The checker's own copy of every shard's journal, and the truth that replaying it gives.

It looks at the primary after every event, so it holds records that are trimmed later, and it sees a failover take
records away. Invariants checked here: one lineage without a gap (I2), records and digests as written (I3, I10).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from overworld.game import Title
from overworld.shard import record
from overworld.shard.core import ShardCore
from overworld.shard.inputs import ShardMessage
from overworld.shard.record import GENESIS, Record
from overworld.store.memory import MemoryRedis
from overworld.store.ports import JournalEntry
from overworld.world.contract import WorldContract

PICTURES_KEPT = 600

Row = tuple[int, ...]
Picture = dict[int, frozenset[Row]]
"""Rows (kind, id, values...) of every occupied cell."""


class InvariantBroken(AssertionError):
    """The system did what it must never do."""


def require(condition: bool, invariant: str, what: str) -> None:
    """Raise InvariantBroken unless the condition holds."""
    if not condition:
        raise InvariantBroken(f"{invariant}: {what}")


@dataclass
class ShardLineage:
    """All records of one shard, tick 1 first."""

    entries: list[JournalEntry] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    taken_back: int = 0


class Lineage:
    """Follows the journals of all shards of a simulated world."""

    def __init__(self, redis: MemoryRedis, contract: WorldContract, title: Title) -> None:
        self._redis = redis
        self.contract = contract
        self.title = title
        self.shards = [ShardLineage() for _ in range(contract.grid.shard_count)]
        self._cores: list[ShardCore | None] = [None] * len(self.shards)
        self._pictures: list[OrderedDict[int, Picture]] = [OrderedDict() for _ in self.shards]
        self._last_seqs: list[dict[int, dict[int, int]]] = [{} for _ in self.shards]
        self._sent: list[dict[tuple[int, int], ShardMessage]] = [{} for _ in self.shards]
        self.checks = 0

    # ------------------------------------------------------------ watching

    def observe(self) -> None:
        """Take in what the primary's journals have now. Cheap where nothing changed."""
        for shard in range(len(self.shards)):
            state = self._redis.primary.journal_of(self.contract.world, shard)
            if state and (not self.shards[shard].entries or state[-1] != self.shards[shard].entries[-1]):
                self._take(shard, state)

    def failed_over(self) -> None:
        """A replica was promoted: what it lacks is gone, unless its owner appends it again."""
        for shard, lineage in enumerate(self.shards):
            state = self._redis.primary.journal_of(self.contract.world, shard)
            last = state[-1].tick if state else self._redis.primary.floor_of(self.contract.world, shard)
            if last < len(lineage.entries):
                lineage.taken_back += len(lineage.entries) - last
                del lineage.entries[last:], lineage.records[last:]
                self._rewind(shard, last)

    def _take(self, shard: int, journal: list[JournalEntry]) -> None:
        lineage = self.shards[shard]
        new: list[JournalEntry] = []
        for entry in reversed(journal):
            if entry.tick <= len(lineage.entries) and lineage.entries[entry.tick - 1] == entry:
                break
            new.append(entry)
        for entry in reversed(new):
            self.checks += 1
            require(
                entry.tick == len(lineage.entries) + 1,
                "I2",
                f"shard {shard}: record {entry.tick} follows {len(lineage.entries)}",
            )
            decoded = record.decode(entry.payload)
            previous = lineage.entries[-1].chain if lineage.entries else GENESIS
            epoch = lineage.entries[-1].epoch if lineage.entries else 0
            require(decoded.previous == previous, "I2", f"shard {shard} tick {entry.tick}: chain broken")
            require(
                record.chain(previous, entry.payload) == entry.chain, "I2", f"shard {shard} tick {entry.tick}: chain"
            )
            require(entry.epoch >= epoch, "I2", f"shard {shard} tick {entry.tick}: epoch {entry.epoch} after {epoch}")
            lineage.entries.append(entry)
            lineage.records.append(decoded)

    # ------------------------------------------------------------ the truth

    def has(self, shard: int, tick: int) -> bool:
        """Is the record of this tick in the surviving journal?"""
        return tick <= len(self.shards[shard].entries)

    def epoch_of(self, shard: int, tick: int) -> int:
        """The epoch under which a tick was journaled."""
        return self.shards[shard].entries[tick - 1].epoch

    def picture(self, shard: int, tick: int) -> Picture | None:
        """What the shard held after a tick, by replaying its journal; None for a tick too long ago."""
        pictures = self._pictures[shard]
        core = self._replay_to(shard, tick)
        require(core.tick >= tick, "I1", f"shard {shard} tick {tick} is not in the journal")
        return pictures.get(tick)

    def last_seqs(self, shard: int, tick: int) -> dict[int, int] | None:
        """The last input applied, by session, after a tick."""
        self._replay_to(shard, tick)
        return self._last_seqs[shard].get(tick)

    def core(self, shard: int) -> ShardCore:
        """The shard replayed to the end of its journal."""
        return self._replay_to(shard, len(self.shards[shard].entries))

    def birthplace(self, entity: int) -> int:
        """The shard an entity was spawned in: ids are interleaved."""
        kinds = len(self.contract.kinds)
        return entity // kinds % len(self.shards)

    def in_transit(self) -> list[ShardMessage]:
        """Messages that their senders have journaled and their receivers have not, as of now."""
        cores = [self.core(shard) for shard in range(len(self.shards))]
        found = []
        for shard, sent in enumerate(self._sent):
            for (to_shard, number), message in sent.items():
                if number > cores[to_shard].received(shard):
                    found.append(message)
        for receiver in cores:
            for sender in cores:
                row = sender.shard.neighbours.rows_of(np.array([receiver.index]))
                sent_last = int(sender.shard.neighbours.sent[row[0]]) if row[0] >= 0 else 0
                received = receiver.received(sender.index)
                require(received <= sent_last, "I4", f"{receiver.index} has message {received} of {sender.index}")
        return found

    def _replay_to(self, shard: int, tick: int) -> ShardCore:
        core = self._cores[shard]
        if core is None:
            core = self._cores[shard] = ShardCore(self.contract, self.title, shard)
            core.setup()
        lineage = self.shards[shard]
        while core.tick < min(tick, len(lineage.records)):
            entry = lineage.records[core.tick]
            for message in core.step(entry.inputs).outbox:
                self._sent[shard][message.to_shard, message.number] = message
            if entry.state_digest:
                self.checks += 1
                require(core.digest() == entry.state_digest, "I3", f"shard {shard} tick {core.tick}: digest differs")
            self._remember(shard, core)
        return core

    def _remember(self, shard: int, core: ShardCore) -> None:
        pictures, seqs = self._pictures[shard], self._last_seqs[shard]
        pictures[core.tick] = picture_of(core)
        players = core.shard.players
        seqs[core.tick] = dict(zip(players.session.tolist(), players.last_seq.tolist(), strict=True))
        while len(pictures) > PICTURES_KEPT:
            old, _ = pictures.popitem(last=False)
            seqs.pop(old, None)

    def _rewind(self, shard: int, tick: int) -> None:
        """The replay went past records that are gone: begin again when the truth is next asked for."""
        core = self._cores[shard]
        if core is not None and core.tick > tick:
            self._cores[shard] = None
            self._pictures[shard].clear()
            self._last_seqs[shard].clear()
            self._sent[shard].clear()


def picture_of(core: ShardCore) -> Picture:
    """Every row of a shard by world cell."""
    cells: dict[int, set[Row]] = {}
    grid = core.contract.grid
    for kind, table in enumerate(core.shard.tables):
        if not len(table):
            continue
        public = table.public
        at = grid.cells_of(public[0], public[1]).tolist() if table.kind.motion else [-1] * len(table)
        for cell, entity, *values in zip(at, table.ids.tolist(), *public.tolist(), strict=True):
            cells.setdefault(cell, set()).add((kind, entity, *values))
    return {cell: frozenset(rows) for cell, rows in cells.items()}
