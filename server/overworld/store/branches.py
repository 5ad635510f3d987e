"""Which archived segments belong together: branches of a shard's journal.

Records form a chain, so a journal that was given up from some tick on (a restore, a Redis that lost its newest
records) and went on otherwise is a tree. A branch is named by its tip, the chain value of its newest record, and found
by walking back from there: to a segment that ends in that record or, where a branch was given up in the middle of a
segment, to one that has it inside. Segments that overlap (two owners archived the same records) do no harm.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from overworld.store.archive import Segment


@dataclass(frozen=True)
class Span:
    """The records of a segment that are on a branch: from its first up to `last`."""

    segment: Segment
    last: int


@dataclass(frozen=True)
class Branch:
    """Archived records that lead to (tick, chain) without a gap, oldest span first."""

    tick: int
    chain: bytes
    spans: tuple[Span, ...]

    @property
    def after_tick(self) -> int:
        """Its first record is of the tick after this one."""
        return self.spans[0].segment.first - 1 if self.spans else self.tick

    def span_of(self, tick: int) -> Span | None:
        """Where the record of a tick is; None where the branch has none."""
        at = bisect_left(self._lasts, tick)
        return self.spans[at] if at < len(self.spans) and self.spans[at].segment.first <= tick else None

    @cached_property
    def _lasts(self) -> list[int]:
        return [span.last for span in self.spans]


class Inside(Protocol):
    """Looks into segments."""

    async def chain_at(self, segment: Segment, tick: int) -> bytes | None:
        """The chain value of a record of the segment; None where the segment cannot be read."""


async def branch_to(tick: int, chain: bytes, segments: Sequence[Segment], inside: Inside) -> Branch:
    """The branch that ends in this record, as far back as it is archived."""
    ending: dict[tuple[int, bytes], list[Segment]] = defaultdict(list)
    for segment in segments:
        ending[segment.last, segment.chain].append(segment)
    spans: list[Span] = []
    at = (tick, chain)
    while at[0] > 0:
        # Of several that end alike, the longest.
        whole = min(ending.get(at, ()), default=None)
        found = Span(whole, at[0]) if whole is not None else await _within(*at, segments, inside)
        if found is None:
            break
        spans.append(found)
        at = (found.segment.first - 1, found.segment.previous)
    return Branch(tick, chain, tuple(reversed(spans)))


async def _within(tick: int, chain: bytes, segments: Sequence[Segment], inside: Inside) -> Span | None:
    for segment in segments:
        if segment.first <= tick < segment.last and await inside.chain_at(segment, tick) == chain:
            return Span(segment, tick)
    return None


async def other_branches(known: Sequence[Branch], segments: Sequence[Segment], inside: Inside) -> list[Branch]:
    """Every branch besides the known ones, the longest first: journals given up, and what lies before a gap."""
    branches = list(known)
    for segment in sorted(segments, key=lambda s: (s.last, s.epoch), reverse=True):
        if not any([await _has(branch, segment, inside) for branch in branches]):
            branches.append(await branch_to(segment.last, segment.chain, segments, inside))
    return branches[len(known) :]


async def _has(branch: Branch, segment: Segment, inside: Inside) -> bool:
    """Whether the segment's last record, and so all of it, is on the branch."""
    span = branch.span_of(segment.last)
    if span is None:
        return False
    if span.segment == segment:
        return True
    if span.segment.last == segment.last:
        return span.segment.chain == segment.chain
    return await inside.chain_at(span.segment, segment.last) == segment.chain
