"""Snapshot + journal = the same state: replays records onto a core, and checks everything that can be checked.

One mechanism for crash recovery, replay and time travel. Pure: it is fed records and does no I/O.

    checked of every record     its checksum, its shard, that its tick and its chain follow, that no epoch goes back,
                                that the same version of the title wrote it, the digest of its outbox
    of every n-th (as written)  the digest of the whole state, and of each column to name the first that differs
"""

from __future__ import annotations

from overworld.errors import DivergenceError, FormatTooNew, JournalGap, RecordCorrupt
from overworld.shard import record
from overworld.shard.core import ShardCore
from overworld.shard.digest import differing_column
from overworld.shard.inputs import TickOutcome
from overworld.shard.record import Record
from overworld.store.ports import JournalEntry
from overworld.worker.records import outbox_digest, outbox_messages


class Follower:
    """A core that is brought forward record by record."""

    def __init__(self, core: ShardCore, chain: bytes, epoch: int = 0) -> None:
        """`chain`: the journal's chain value at `core.tick`; empty at tick 0. `epoch`: of whoever wrote the state."""
        self.core = core
        self.chain = chain
        self.epoch = epoch
        self.checked_tick = core.tick
        """The last tick whose whole state was compared with a digest."""

    @property
    def tick(self) -> int:
        """The last tick applied."""
        return self.core.tick

    def apply(self, entry: JournalEntry) -> TickOutcome:
        """Run one more tick. Raises RecordCorrupt, JournalGap, FormatTooNew (nothing was run), DivergenceError (the
        core is what the replay made of it), TitleError.
        """
        found = self._checked(entry)
        outcome = self.core.step(found.inputs)
        self.chain, self.epoch = entry.chain, found.epoch
        self._compare(found, outcome)
        return outcome

    def _checked(self, entry: JournalEntry) -> Record:
        where = f"shard {self.core.index} tick {entry.tick}"
        if entry.tick != self.tick + 1:
            raise JournalGap(f"{where}: the record before it was of tick {self.tick}")
        try:
            found = record.decode(entry.payload)
        except RecordCorrupt as error:
            raise RecordCorrupt(f"{where}: {error}") from error
        previous = self.chain or record.GENESIS
        if (found.shard, found.tick) != (self.core.index, entry.tick):
            raise RecordCorrupt(f"{where}: holds a record of shard {found.shard} tick {found.tick}")
        if found.previous != previous or record.chain(previous, entry.payload) != entry.chain:
            raise RecordCorrupt(f"{where}: not in the chain of the records before it")
        if found.epoch < self.epoch:
            raise RecordCorrupt(f"{where}: epoch {found.epoch} after epoch {self.epoch}")
        version = str(self.core.contract.title_version)
        if found.title_version != version:
            raise FormatTooNew(
                f"{where}: written by version {found.title_version} of {self.core.contract.title}, this is {version}: "
                f"run that version until it has stopped in order, then this one"
            )
        return found

    def _compare(self, found: Record, outcome: TickOutcome) -> None:
        where = f"shard {self.core.index} tick {found.tick}"
        if outbox_digest(outbox_messages(outcome)) != found.outbox_digest:
            raise DivergenceError(f"{where}: the replay sends other messages than the journal says")
        if not found.state_digest:
            return
        if self.core.digest() != found.state_digest:
            column = differing_column(self.core.shard, found.column_digests)
            raise DivergenceError(
                f"{where}: the replay's state differs from the journal's digest, first in "
                f"{column or 'no column that is known by its digest'}; they were equal at tick {self.checked_tick}"
            )
        self.checked_tick = found.tick
