"""Snapshot + journal = the same state, and what happens when one of them is not what it should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.errors import Corrupt, DivergenceError, FormatTooNew, JournalGap, RecordCorrupt, SnapshotCorrupt
from overworld.game import contract_of
from overworld.shard import record, snapshot
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.store.memory import MemoryOwnership, MemoryRedis
from overworld.store.ports import AppendRequest, Grant, JournalEntry
from overworld.worker import records
from overworld.worker.follower import Follower
from overworld.worker.recovery import Recovered, recover
from overworld.worker.shelf import Start
from tests.shard.meadow import Meadow
from tests.worker.cluster import MemoryShelf

EVERY = 5
"""Ticks from one digest to the next in these journals."""


class History:
    """A shard that lived for some ticks, written down as a worker does."""

    def __init__(self, seed: int = 3) -> None:
        self.title = Meadow(sheep=12)
        self.contract = contract_of(self.title, "test", seed=seed)
        self.core = self.new_core()
        self.core.setup()
        self.entries: list[JournalEntry] = []
        self.digests = {0: self.core.digest()}
        self.starts: list[Start] = []

    def new_core(self) -> ShardCore:
        return ShardCore(self.contract, self.title, 1)

    @property
    def chain(self) -> bytes:
        return self.entries[-1].chain if self.entries else b""

    def tick(self, inputs: TickInputs | None = None, epoch: int = 1) -> None:
        inputs = TickInputs() if inputs is None else inputs
        outcome = self.core.step(inputs)
        made = records.pending(
            self.core, inputs, outcome, epoch=epoch, chain=self.chain, wall_ms=0, digest=self.core.tick % EVERY == 0
        )
        self.entries.append(JournalEntry(made.tick, epoch, made.chain, made.payload))
        self.digests[self.core.tick] = self.core.digest()

    def snapshot(self) -> None:
        data = snapshot.encode(snapshot.freeze(self.core), self.core, epoch=1, chain=self.chain, wall_ms=0)
        self.starts.append(Start(f"tick {self.core.tick}", self.core.tick, 1, self.chain, data))

    def live(self, ticks: int, snapshots_at: tuple[int, ...] = ()) -> History:
        """Players come, walk and go."""
        for _ in range(ticks):
            tick = self.core.tick + 1
            events: list[tuple[SessionEvent, int, int]] = []
            if tick % 7 == 1:
                events.append((SessionEvent.JOIN, 100 + tick, 10 + tick % 3))
            if tick % 11 == 3:
                events.append((SessionEvent.LOST, 100 + tick - 2, 10 + (tick - 2) % 3))
            self.tick(TickInputs(events=tuple(events)))
            if tick in snapshots_at:
                self.snapshot()
        return self

    async def recover(self, *, floor: int = 0, head: tuple[int, bytes] | None = None) -> tuple[Recovered, MemoryShelf]:
        """As a new owner does."""
        redis, shelf = MemoryRedis(), MemoryShelf()
        ownership = MemoryOwnership(redis, "test")
        grant = await ownership.acquire(1, None, "w:1", 0, b"n" * 16)
        assert isinstance(grant, Grant)
        previous = b""
        for entry in self.entries:
            request = AppendRequest(entry.tick - 1, previous, entry.tick, entry.chain, entry.tick - 1, entry.payload)
            assert (await ownership.append(grant, request)).appended
            previous = entry.chain
        if floor:
            await ownership.trim(grant, floor)
        shelf.kept[1] = list(self.starts)
        seen = await ownership.look(1)
        assert seen is not None
        if head is not None:
            seen = replace(seen, tick=head[0], chain=head[1])
        return await recover(self.new_core, 1, seen, ownership, shelf), shelf


def tampered(history: History, tick: int, **changes: object) -> None:
    """Rewrite one record, and the chain from there on, as a forger with all the tools would."""
    chain = history.entries[tick - 2].chain if tick > 1 else b""
    for at in range(tick - 1, len(history.entries)):
        entry = history.entries[at]
        decoded = replace(record.decode(entry.payload), previous=chain or record.GENESIS)
        if at == tick - 1:
            decoded = replace(decoded, **changes)  # type: ignore[arg-type]
        payload = record.encode(decoded)
        chain = record.chain(chain or record.GENESIS, payload)
        history.entries[at] = JournalEntry(entry.tick, entry.epoch, chain, payload)


# ---------------------------------------------------------------- the follower


@settings(max_examples=25)
@given(ticks=st.integers(1, 40), at=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_from_any_snapshot_the_replay_gives_the_same_state(ticks: int, at: int, seed: int) -> None:
    history = History(seed).live(ticks, (at,))
    core = history.new_core()
    if history.starts:
        start = history.starts[0]
        snapshot.restore(core, start.data)
        follower = Follower(core, start.chain, start.epoch)
    else:
        core.setup()
        follower = Follower(core, b"")
    for entry in history.entries[core.tick :]:
        follower.apply(entry)
        assert core.digest() == history.digests[entry.tick]
    assert follower.chain == history.chain


def follower_of(history: History) -> Follower:
    core = history.new_core()
    core.setup()
    return Follower(core, b"")


def feed(history: History, follower: Follower) -> None:
    for entry in history.entries:
        follower.apply(entry)


def test_a_flipped_byte_is_found_before_anything_is_run() -> None:
    history = History().live(6)
    entry = history.entries[3]
    payload = bytearray(entry.payload)
    payload[len(payload) // 2] ^= 1
    history.entries[3] = replace(entry, payload=bytes(payload))
    follower = follower_of(history)
    with pytest.raises(RecordCorrupt, match="tick 4"):
        feed(history, follower)
    assert follower.tick == 3


def test_a_missing_record_is_a_gap() -> None:
    history = History().live(6)
    del history.entries[2]
    with pytest.raises(JournalGap, match="tick 4"):
        feed(history, follower_of(history))


def test_a_record_of_another_branch_is_refused() -> None:
    history, other = History().live(6), History()
    other.tick(TickInputs(events=((SessionEvent.JOIN, 9, 9),)))
    history.entries[0] = other.entries[0]
    with pytest.raises(RecordCorrupt, match="tick 2: not in the chain"):
        feed(history, follower_of(history))


def test_an_epoch_never_goes_back() -> None:
    history = History()
    history.tick(epoch=5)
    history.tick(epoch=4)
    with pytest.raises(RecordCorrupt, match="epoch 4 after epoch 5"):
        feed(history, follower_of(history))


def test_ticks_of_another_version_of_the_title_are_not_replayed() -> None:
    history = History().live(6)
    tampered(history, 4, title_version="2")
    with pytest.raises(FormatTooNew, match="version 2 of meadow"):
        feed(history, follower_of(history))


def test_a_divergence_names_the_tick_and_the_first_column_that_differs() -> None:
    history = History().live(4)
    truth = history.core.shard.tables[0]
    truth.wool[0] += 1  # something that the inputs do not explain
    history.live(2)
    with pytest.raises(DivergenceError, match=r"tick 5: .* first in Sheep.wool; they were equal at tick 0"):
        feed(history, follower_of(history))


def test_other_messages_than_journaled_are_a_divergence() -> None:
    history = History().live(6)
    tampered(history, 3, outbox_digest=b"x" * 16)
    with pytest.raises(DivergenceError, match="tick 3: the replay sends other messages"):
        feed(history, follower_of(history))


# ---------------------------------------------------------------- recovery


@pytest.mark.asyncio
async def test_recovery_takes_the_newest_snapshot_and_the_journal_after_it() -> None:
    history = History().live(30, (8, 20))
    found, _ = await history.recover()
    assert (found.tick, found.source, found.replayed_ticks, found.notes) == (30, "tick 20", 10, [])
    assert found.core.digest() == history.digests[30]
    assert found.chain == history.chain


@pytest.mark.asyncio
async def test_without_a_snapshot_the_title_sets_up_again() -> None:
    history = History().live(12)
    found, _ = await history.recover()
    assert (found.source, found.replayed_ticks) == ("setup", 12)
    assert found.core.digest() == history.digests[12]


@pytest.mark.asyncio
async def test_a_new_shard_is_set_up() -> None:
    found, _ = await History().recover()
    assert (found.tick, found.chain, found.source) == (0, b"", "setup")
    assert len(found.core.shard.tables[0]) == 12


@pytest.mark.asyncio
async def test_a_corrupt_newest_snapshot_is_said_and_the_one_before_is_used() -> None:
    history = History().live(30, (8, 20))
    data = bytearray(history.starts[1].data)
    data[-3] ^= 0xFF
    history.starts[1] = replace(history.starts[1], data=bytes(data))
    found, _ = await history.recover(floor=8)
    assert (found.source, found.tick) == ("tick 8", 30)
    assert found.core.digest() == history.digests[30]
    assert len(found.notes) == 1
    assert found.notes[0].startswith("tick 20: ")


@pytest.mark.asyncio
async def test_a_snapshot_of_another_lineage_is_not_used() -> None:
    history = History().live(30, (8, 20))
    history.starts[1] = replace(history.starts[1], chain=b"x" * 16)
    found, _ = await history.recover()
    assert found.source == "tick 8"


@pytest.mark.asyncio
async def test_a_snapshot_newer_than_the_journal_is_where_the_journal_must_begin() -> None:
    history = History().live(30, (20,))
    found, _ = await history.recover(head=(0, b""))
    assert (found.tick, found.beyond_head, found.core.digest()) == (20, True, history.digests[20])


@pytest.mark.asyncio
async def test_where_nothing_verifies_the_shard_stays_down() -> None:
    history = History().live(30, (20,))
    history.starts = []
    with pytest.raises(SnapshotCorrupt, match="journal begins after tick 9"):
        await history.recover(floor=9)


@pytest.mark.asyncio
async def test_a_divergence_keeps_the_replays_state_and_tries_the_older_snapshot() -> None:
    history = History().live(30, (8, 20))
    wrong = history.new_core()
    snapshot.restore(wrong, history.starts[1].data)
    wrong.shard.tables[0].wool[:] = 7
    forged = snapshot.encode(snapshot.freeze(wrong), wrong, epoch=1, chain=history.starts[1].chain, wall_ms=0)
    history.starts[1] = replace(history.starts[1], data=forged)
    found, shelf = await history.recover()
    assert found.source == "tick 8"
    assert found.core.digest() == history.digests[30]
    assert "Sheep.wool" in found.notes[0]
    (name,) = shelf.evidence
    assert name == "diverged/test/1/000000000025-1"
    kept = history.new_core()
    assert snapshot.restore(kept, shelf.evidence[name]).tick == 25


@pytest.mark.asyncio
async def test_a_divergence_from_every_start_is_told_as_one() -> None:
    history = History().live(30, (8,))
    tampered(history, 15, state_digest=b"x" * 16)
    with pytest.raises(DivergenceError, match="tick 15"):
        await history.recover()


@pytest.mark.asyncio
async def test_a_head_that_the_journal_does_not_reach_is_not_believed() -> None:
    history = History().live(10)
    with pytest.raises(Corrupt, match="ends at tick 10"):
        await history.recover(head=(15, b"y" * 16))


def test_chains_begin_at_genesis() -> None:
    history = History()
    history.tick()
    assert record.decode(history.entries[0].payload).previous == record.GENESIS
    assert np.array_equal(history.core.shard.players.ids, np.zeros(0, np.int64))
