"""A tree of journals, cut into segments that overlap and repeat: every branch is found again, record by record."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from overworld.store.archive import Archive, Segment
from overworld.store.blob_memory import MemoryBlobs
from overworld.store.branches import Branch, branch_to, other_branches
from overworld.store.ports import JournalEntry
from tests.store.writer import chained

GENESIS = bytes(16)


class Journals:
    """Journals of one shard that share a beginning, and the archive that owners made of them."""

    def __init__(self) -> None:
        self.archive = Archive(MemoryBlobs(), "w")
        self.segments: list[Segment] = []

    @staticmethod
    def grown(trunk: Sequence[JournalEntry], ticks: int, epoch: int) -> list[JournalEntry]:
        """A journal that goes on from a trunk."""
        journal = list(trunk)
        for _ in range(ticks):
            tick, previous = len(journal) + 1, journal[-1].chain if journal else GENESIS
            payload = b"%d of epoch %d" % (tick, epoch)
            journal.append(JournalEntry(tick, epoch, chained(previous, payload), payload))
        return journal

    async def keep(self, journal: Sequence[JournalEntry], first: int, last: int) -> None:
        """An owner archives ticks first..last of a journal as one segment."""
        previous = journal[first - 2].chain if first > 1 else GENESIS
        segment, _ = await self.archive.put(0, journal[first - 1 : last], previous, first, last)
        if segment not in self.segments:
            self.segments.append(segment)

    async def keep_all(self, journal: Sequence[JournalEntry], after: int, chance: random.Random) -> None:
        """Owners archive a journal from a tick on, in pieces of any size, now and then the same again."""
        while after < len(journal):
            last = min(len(journal), after + chance.randint(1, 12))
            await self.keep(journal, after + 1, last)
            if chance.random() < 0.25:
                again = chance.randint(max(1, after - 8), last)
                await self.keep(journal, again, chance.randint(again, last))
            after = last

    async def chain_at(self, segment: Segment, tick: int) -> bytes | None:
        return (await self.archive.read(segment))[tick - segment.first].chain

    async def records(self, branch: Branch) -> list[JournalEntry]:
        found: list[JournalEntry] = []
        for span in branch.spans:
            found += [entry for entry in await self.archive.read(span.segment) if entry.tick <= span.last]
        return found

    async def branch_of(self, journal: Sequence[JournalEntry]) -> Branch:
        return await branch_to(journal[-1].tick, journal[-1].chain, self.segments, self)


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(40))
async def test_every_journal_of_a_random_tree_is_found_whole(seed: int) -> None:
    chance, journals = random.Random(seed), Journals()
    grown = [journals.grown([], chance.randint(5, 60), epoch=1)]
    await journals.keep_all(grown[0], 0, chance)
    for epoch in range(2, chance.randint(3, 6)):
        trunk = chance.choice(grown)
        fork = chance.randint(1, len(trunk))
        journal = journals.grown(trunk[:fork], chance.randint(1, 40), epoch)
        await journals.keep_all(journal, chance.randint(0, fork), chance)
        grown.append(journal)
    chance.shuffle(journals.segments)
    current = await journals.branch_of(grown[-1])
    assert await journals.records(current) == grown[-1]
    others = await other_branches([current], journals.segments, journals)
    found = [await journals.records(branch) for branch in [current, *others]]
    # A journal that another one went on from at its very end is no tip of its own.
    tips = [j for j in grown if not any(j is not other and other[: len(j)] == j for other in grown)]
    assert sorted(map(len, found)) == sorted(map(len, tips)), f"seed {seed}"
    assert all(journal in found for journal in tips), f"seed {seed}"


@pytest.mark.asyncio
async def test_a_fork_within_a_segment_ends_that_segment_there() -> None:
    journals = Journals()
    old = journals.grown([], 30, epoch=1)
    await journals.keep(old, 1, 10)
    await journals.keep(old, 11, 30)
    new = journals.grown(old[:17], 20, epoch=2)
    await journals.keep(new, 18, 37)
    branch = await journals.branch_of(new)
    assert [(span.segment.first, span.last) for span in branch.spans] == [(1, 10), (11, 17), (18, 37)]
    assert await journals.records(branch) == new
    (other,) = await other_branches([branch], journals.segments, journals)
    assert await journals.records(other) == old


@pytest.mark.asyncio
async def test_what_lies_before_a_gap_is_a_branch_of_its_own() -> None:
    journals = Journals()
    journal = journals.grown([], 30, epoch=1)
    await journals.keep(journal, 1, 10)
    await journals.keep(journal, 16, 30)
    branch = await journals.branch_of(journal)
    assert (branch.after_tick, branch.tick) == (15, 30)
    (before,) = await other_branches([branch], journals.segments, journals)
    assert (before.after_tick, before.tick) == (0, 10)


@pytest.mark.asyncio
async def test_a_segment_that_cannot_be_read_is_gone_round() -> None:
    class Torn(Journals):
        async def chain_at(self, segment: Segment, tick: int) -> bytes | None:
            return None if segment.last == 30 else await super().chain_at(segment, tick)

    journals = Torn()
    old = journals.grown([], 40, epoch=1)
    for first, last in ((1, 10), (11, 30), (11, 20)):
        await journals.keep(old, first, last)
    new = journals.grown(old[:15], 5, epoch=2)
    await journals.keep(new, 16, 20)
    branch = await journals.branch_of(new)
    assert [(span.segment.first, span.segment.last) for span in branch.spans] == [(1, 10), (11, 20), (16, 20)]


@pytest.mark.asyncio
async def test_a_journal_that_is_not_archived_has_an_empty_branch() -> None:
    journals = Journals()
    branch = await journals.branch_of(journals.grown([], 7, epoch=1))
    assert (branch.spans, branch.after_tick, branch.tick, branch.span_of(7)) == ((), 7, 7, None)
    assert await other_branches([branch], [], journals) == []
