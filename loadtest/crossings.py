"""How long a crossing entity was in no cell of a view that held both cells beside the border.

A bot is shown that an entity left with the first tick it gets of the sender's shard at or above the one that sent it,
and that it came with the first of the receiver's shard at or above the one that received it. In between its picture
lacks the entity; where the second comes first, it has it twice, and lacks it never. Pictures equal the replay at every
tick (`compare`), so the ticks of the replay's hops and the times of the bots' frames say it exactly.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from loadtest.census import Hop
from loadtest.history import BotHistory, Event
from loadtest.truth import CELL, ENTITY, Truth
from overworld.wire.v1 import client_pb2 as pb


@dataclass(frozen=True)
class Blink:
    """One bot's view of one hop. `ticks`: pictures of the sender's shard that were shown without the entity before the
    receiver's had it. `own`: it was the bot's avatar.
    """

    at_s: float
    ms: float
    ticks: int
    own: bool


@dataclass
class Watching:
    """One socket of one bot: what it was shown, and when (seconds)."""

    bot: int
    ticks: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By shard, ascending."""
    times_s: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Of each of these ticks."""
    held: dict[int, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    """[from, to] of each time that a cell was in view, by cell."""
    avatars: set[int] = field(default_factory=set)

    def shown_s(self, shard: int, tick: int) -> tuple[float, int] | None:
        """When the first tick at or above this one came, and its place; None where none did."""
        at = bisect.bisect_left(self.ticks[shard], tick) if shard in self.ticks else 0
        return (self.times_s[shard][at], at) if at < len(self.times_s.get(shard, ())) else None

    def holds(self, cell: int, first_s: float, last_s: float) -> bool:
        """Whether a cell was in view from before one time to a later one, without a break."""
        return any(begin < first_s and last_s <= end for begin, end in self.held.get(cell, ()))


def watched(history: BotHistory) -> list[Watching]:
    """One for each of the bot's sockets."""
    found: list[Watching] = []
    now = Watching(history.bot)
    for entry in history.entries:
        if entry.event is Event.CONNECT:
            now = Watching(history.bot)
            found.append(now)
        if entry.event is not Event.FRAME:
            continue
        at_s, frame = entry.time_us / 1e6, pb.Frame.FromString(entry.body)
        for head in frame.heads:
            if not now.ticks[head.shard] or head.tick > now.ticks[head.shard][-1]:
                now.ticks[head.shard].append(head.tick)
                now.times_s[head.shard].append(at_s)
        for view in frame.views:
            for cell in view.left:
                if now.held[cell]:
                    now.held[cell][-1][1] = at_s
            for cell in view.entered:
                now.held[cell].append([at_s, math.inf])
        now.avatars.update(own.entity for own in frame.owns if own.entity)
    return found


def blinks(histories: Iterable[BotHistory], hops: Sequence[Hop], truths: Mapping[int, Truth]) -> list[Blink]:
    """Every hop as every bot saw it that had both cells in view all the while."""
    by_cell: dict[int, list[Watching]] = defaultdict(list)
    for history in histories:
        for watching in watched(history):
            for cell in watching.held:
                by_cell[cell].append(watching)
    cells = _Cells(truths)
    found = []
    for hop in hops:
        cell_from = cells.of(hop.from_shard, hop.left_tick - 1, hop.entity)
        cell_to = cells.of(hop.to_shard, hop.came_tick, hop.entity)
        if cell_from < 0 or cell_to < 0:
            # It went on at once, or had just come: it was in no picture there.
            continue
        for watching in by_cell.get(cell_from, ()):
            blink = _blink(watching, hop, cell_from, cell_to)
            if blink is not None:
                found.append(blink)
    return found


def _blink(watching: Watching, hop: Hop, cell_from: int, cell_to: int) -> Blink | None:
    left, came = watching.shown_s(hop.from_shard, hop.left_tick), watching.shown_s(hop.to_shard, hop.came_tick)
    if left is None or came is None:
        return None
    first_s, last_s = min(left[0], came[0]), max(left[0], came[0])
    if not (watching.holds(cell_from, first_s, last_s) and watching.holds(cell_to, first_s, last_s)):
        return None
    lacked_s = max(0.0, came[0] - left[0])
    times_s = watching.times_s[hop.from_shard]
    lacked = bisect.bisect_left(times_s, came[0]) - left[1] if lacked_s else 0
    return Blink(left[0], lacked_s * 1000, max(0, lacked), hop.entity in watching.avatars)


class _Cells:
    """In which cell an entity was at a tick, by the replay."""

    def __init__(self, truths: Mapping[int, Truth]) -> None:
        self._truths = truths
        self._known: dict[tuple[int, int], dict[int, int]] = {}

    def of(self, shard: int, tick: int, entity: int) -> int:
        """The cell; -1 where the shard did not have it."""
        known = self._known.get((shard, tick))
        if known is None:
            rows = self._truths[shard].ticks.get(tick, [])
            known = {e: c for of_kind in rows for e, c in of_kind[:, (ENTITY, CELL)].tolist()}
            self._known[shard, tick] = known
        return known.get(entity, -1)
