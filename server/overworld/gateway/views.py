"""Who looks at which cells, and what that asks of the shards. Pure.

Viewers that look from the same cell see the same cells: they form a `Group`, and share the bytes of a tick. A cell that
somebody here looks at is watched at its shard. A viewer that comes to see a cell waits for a keyframe of it; when one
arrives the viewer *holds* the cell, and updates of it mean something to the client.

A keyframe is asked for with `Watch.begin`, for a cell already watched too. While one is on its way (`asked`), it serves
everyone who comes to wait, and the watch is not ended: so between a `begin` and its `end` the shard's updates come
without a gap, and any keyframe that arrives is a good start for whoever waits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from overworld.gateway.crowds import SHORT_ABOVE, SHORT_BELOW, Budget, Party
from overworld.world.grid import Grid
from overworld.world.interest import Interest

Ints = npt.NDArray[np.int64]


class Viewer:
    """One session as the fan-out sees it."""

    __slots__ = (
        "acked",
        "behind",
        "center",
        "extra",
        "focus",
        "group",
        "held",
        "kept_ack",
        "kept_own",
        "owed",
        "party",
        "send",
        "session",
        "slot",
    )

    def __init__(self, session: int, send: Callable[[bytearray, int], None], acked: Callable[[int], None]) -> None:
        self.session = session
        self.slot = -1
        """Its place in the lane; -1 while it is not in it."""
        self.send = send
        """Sends a buffer from an offset on, as one message; what stands before the offset is room for a header."""
        self.acked = acked
        """Is told the last input applied."""
        self.group: Group | None = None
        self.party: Party | None = None
        """Whom it shares bytes with where its group is short."""
        self.center = -1
        """The cell it looks from; -1 before the first."""
        self.focus = -1
        """The plot it looks from, as a place; -1 where that is not known."""
        self.held: set[int] = set()
        """Cells the client holds."""
        self.extra = b""
        """Its own pieces of the frame being made."""
        self.behind = False
        """True while it gets nothing because it does not read."""
        self.owed: frozenset[int] = frozenset()
        """Cells the client holds wrongly, to be forgotten when it reads again."""
        self.kept_ack = self.kept_own = b""


class Group:
    """Viewers who look from one cell. `runs`: for each shard in view its cells, int64 (first, end, first, end, ...).
    `bytes`: what they would each have got since the last weighing, all budgets being long enough; `bytes_per_s` the
    mean of it. `parties`, by place: where the budget is not long enough, else None.
    """

    __slots__ = ("bytes", "bytes_per_s", "cells", "center", "parties", "runs", "viewers")

    def __init__(self, grid: Grid, center: int) -> None:
        self.center = center
        self.cells = _cells(grid, center)
        self.runs = _runs(grid, center)
        self.viewers: dict[Viewer, None] = {}
        self.bytes = 0
        self.bytes_per_s = 0.0
        self.parties: dict[int, Party] | None = None


class _Cell:
    """A cell somebody looks at: how many do, whether a keyframe is on its way, who waits for one, and how many short
    groups see it.
    """

    __slots__ = ("asked", "awaiting", "short", "viewers")

    def __init__(self) -> None:
        self.viewers = 0
        self.short = 0
        self.asked = False
        self.awaiting: dict[Viewer, None] = {}


class Views:
    """All viewers of one gateway."""

    def __init__(self, grid: Grid, budget: Budget | None = None) -> None:
        self._grid = grid
        self._budget = budget or Budget(grid, Interest(), 0)
        self._plots = self._budget.interest.plots
        # `grid.shard_of_cell` in numbers at hand: it is asked for every cell that a view gains or loses.
        self._cells_x, self._shards_x = grid.cells_x, grid.shards[0]
        self._shard_cells_x, self._shard_cells_y = grid.shard_cells_x, grid.shard_cells_y
        self._groups: dict[int, Group] = {}
        self._shards: dict[int, dict[int, Group]] = {}
        self._cells: dict[int, _Cell] = {}
        self._routed: set[int] = set()
        self._begin: defaultdict[int, dict[int, None]] = defaultdict(dict)
        self._end: defaultdict[int, dict[int, None]] = defaultdict(dict)
        self._rekeying: set[int] = set()
        self._split: defaultdict[int, dict[int, bool]] = defaultdict(dict)
        self._focus: dict[int, bool] = {}
        self.short = 0
        """Groups whose viewers' budget does not cover all they see."""
        self.generation: defaultdict[int, int] = defaultdict(int)
        """Per shard a number that changes when the groups that see it do."""

    @property
    def shards(self) -> Iterable[int]:
        """Shards somebody looks at."""
        return self._shards.keys()

    @property
    def cells(self) -> int:
        """How many cells somebody looks at."""
        return len(self._cells)

    def groups(self, shard: int) -> Iterable[Group]:
        """Groups that see cells of a shard."""
        return self._shards.get(shard, {}).values()

    # ------------------------------------------------------------ viewers

    def place(self, viewer: Viewer, center: int) -> list[int]:
        """The viewer looks from this cell now. Returns the cells its client must forget, ascending."""
        old = viewer.group
        if old is not None and old.center == center:
            return []
        before = old.cells if old is not None else frozenset()
        group = self._group(center)
        group.viewers[viewer] = None
        viewer.group, viewer.center = group, center
        party = viewer.party
        if old is not None:
            self._leave(old, viewer)
        if group.parties is not None:
            self._seat(viewer, group, party)
        for cell in group.cells - before:
            self._look(viewer, cell)
        if party is not None and group.parties is None:
            # It comes out of a crowd: not everything is to be sent for as long as it takes to find that out again.
            viewer.party = party
            self.shorten(group)
        gone = before - group.cells
        for cell in gone:
            self._look_away(viewer, cell)
        forget = sorted(gone & viewer.held)
        viewer.held -= gone
        return forget

    def remove(self, viewer: Viewer) -> frozenset[int]:
        """The viewer looks at nothing any more. Returns what it held. Its centre stays."""
        group, viewer.group = viewer.group, None
        held, viewer.held = frozenset(viewer.held), set()
        if group is not None:
            self._leave(group, viewer)
            for cell in group.cells:
                self._look_away(viewer, cell)
        return held

    def keyframe(self, cell: int) -> Iterable[Viewer]:
        """A keyframe of a cell has come: whoever waited for it holds the cell from now on, and is returned."""
        entry = self._cells.get(cell)
        if entry is None:
            return ()
        entry.asked = False
        if not entry.viewers:
            self._forget(cell)
            return ()
        ready, entry.awaiting = entry.awaiting, {}
        for viewer in ready:
            viewer.held.add(cell)
        return ready

    # ------------------------------------------------------------ shards

    def found(self, shard: int) -> None:
        """The shard's owner can be reached, and knows nothing of us: watch everything anew."""
        self._routed.add(shard)
        self._drop_requests(shard)
        for group in self.groups(shard):
            for cell in _in_runs(group.runs[shard]):
                entry = self._cells[cell]
                entry.awaiting.update(group.viewers)
                entry.asked = True
                self._begin[shard][cell] = None
                if entry.short:
                    self._split[shard][cell] = True
        if self.short:
            self._focus[shard] = True

    def lost(self, shard: int) -> None:
        """The shard's owner cannot be reached: what clients hold of it is stale from its next output on."""
        self._routed.discard(shard)
        self._drop_requests(shard)
        self._rekeying.add(shard)
        for cell in [cell for cell in self._cells if self._shard_of(cell) == shard]:
            entry = self._cells[cell]
            entry.asked = False
            if not entry.viewers:
                del self._cells[cell]

    def rekey(self, shard: int) -> list[tuple[Viewer, list[int]]]:
        """Who holds stale cells of a shard, and which: once after it was lost, at its first output. They count as
        forgotten.
        """
        if shard not in self._rekeying:
            return []
        self._rekeying.discard(shard)
        stale: list[tuple[Viewer, list[int]]] = []
        for group in self.groups(shard):
            cells = set(_in_runs(group.runs[shard]))
            for viewer in group.viewers:
                held = sorted(viewer.held & cells)
                if held:
                    stale.append((viewer, held))
                    viewer.held -= cells
        return stale

    def take_watches(self) -> list[tuple[int, list[int], list[int]]]:
        """(shard, cells to begin, cells to end) since last asked; for shards that can be reached."""
        shards = self._begin.keys() | self._end.keys()
        taken = [(shard, sorted(self._begin.get(shard, ())), sorted(self._end.get(shard, ()))) for shard in shards]
        self._begin.clear()
        self._end.clear()
        return taken

    # ------------------------------------------------------------ budgets

    def weigh(self, passed_s: float) -> None:
        """So much time has passed since this was last asked: find out whose budget is short, and whose no longer is."""
        limit = self._budget.bytes_per_s
        for group in self._groups.values():
            group.bytes_per_s += (group.bytes / passed_s - group.bytes_per_s) / 2
            group.bytes = 0
            if not limit:
                continue
            if group.parties is None and group.bytes_per_s > limit * SHORT_ABOVE:
                self.shorten(group)
            elif group.parties is not None and group.bytes_per_s < limit * SHORT_BELOW:
                self._relieve(group)
                group.parties = None
                for viewer in group.viewers:
                    viewer.party = None

    def shorten(self, group: Group) -> None:
        """The budget of a group's viewers is short: have its cells split, and tell its viewers apart."""
        group.parties = {}
        for viewer in group.viewers:
            self._seat(viewer, group, viewer.party)
        self.short += 1
        if self.short == 1:
            self._focus = dict.fromkeys(self._routed, True)
        for cell in group.cells:
            entry = self._cells[cell]
            entry.short += 1
            if entry.short == 1:
                self._ask_split(cell, True)

    def refocus(self, viewer: Viewer, place: int) -> None:
        """The viewer looks from another plot."""
        viewer.focus = place
        group, party = viewer.group, viewer.party
        if group is None or group.parties is None or party is None or party.focus == place:
            return
        self._unseat(viewer, group)
        self._seat(viewer, group, party)

    def take_splits(self) -> list[tuple[int, list[int], list[int], int]]:
        """(shard, cells to split, cells not to split any more, focus as in `Watch.focus`) since last asked; for shards
        that can be reached.
        """
        taken = []
        for shard in sorted(self._split.keys() | self._focus.keys()):
            wishes = sorted(self._split.get(shard, {}).items())
            focus = 0 if shard not in self._focus else 1 if self._focus[shard] else 2
            taken.append((shard, [c for c, on in wishes if on], [c for c, on in wishes if not on], focus))
        self._split.clear()
        self._focus.clear()
        return taken

    @property
    def split_cells(self) -> int:
        """Cells that short groups see."""
        return sum(entry.short > 0 for entry in self._cells.values())

    @property
    def short_viewers(self) -> int:
        """Viewers of short groups."""
        return sum(len(group.viewers) for group in self._groups.values() if group.parties is not None)

    def _relieve(self, group: Group) -> None:
        self.short -= 1
        if not self.short:
            self._focus = dict.fromkeys(self._routed, False)
        for cell in group.cells:
            entry = self._cells[cell]
            entry.short -= 1
            if not entry.short:
                self._ask_split(cell, False)

    def _ask_split(self, cell: int, on: bool) -> None:
        shard = self._shard_of(cell)
        if shard in self._routed:
            self._split[shard][cell] = on

    def _seat(self, viewer: Viewer, group: Group, before: Party | None) -> None:
        assert group.parties is not None
        side = self._plots
        place = viewer.focus if viewer.focus >= 0 else group.center * side * side + (side // 2) * (side + 1)
        party = group.parties.get(place)
        if party is None:
            party = group.parties[place] = Party(self._budget, group.center, place)
        if before is not None:
            party.inherit(before)
        party.viewers[viewer] = None
        viewer.party = party

    def _unseat(self, viewer: Viewer, group: Group) -> None:
        party = viewer.party
        assert party is not None
        assert group.parties is not None
        viewer.party = None
        del party.viewers[viewer]
        if not party.viewers:
            del group.parties[party.focus]

    # ------------------------------------------------------------ inside

    def _group(self, center: int) -> Group:
        group = self._groups.get(center)
        if group is None:
            group = self._groups[center] = Group(self._grid, center)
            for shard in group.runs:
                self._shards.setdefault(shard, {})[center] = group
                self.generation[shard] += 1
        return group

    def _leave(self, group: Group, viewer: Viewer) -> None:
        del group.viewers[viewer]
        if group.parties is not None:
            self._unseat(viewer, group)
        if group.viewers:
            return
        if group.parties is not None:
            self._relieve(group)
        del self._groups[group.center]
        for shard in group.runs:
            of_shard = self._shards[shard]
            del of_shard[group.center]
            if not of_shard:
                del self._shards[shard]
            self.generation[shard] += 1

    def _look(self, viewer: Viewer, cell: int) -> None:
        entry = self._cells.get(cell)
        if entry is None:
            entry = self._cells[cell] = _Cell()
        entry.viewers += 1
        entry.awaiting[viewer] = None
        shard = self._shard_of(cell)
        if not entry.asked and shard in self._routed:
            entry.asked = True
            self._begin[shard][cell] = None
            self._end[shard].pop(cell, None)

    def _look_away(self, viewer: Viewer, cell: int) -> None:
        entry = self._cells[cell]
        entry.viewers -= 1
        entry.awaiting.pop(viewer, None)
        if not entry.viewers and not entry.asked:
            self._forget(cell)

    def _forget(self, cell: int) -> None:
        del self._cells[cell]
        shard = self._shard_of(cell)
        if shard in self._routed:
            self._end[shard][cell] = None
            self._split[shard].pop(cell, None)

    def _shard_of(self, cell: int) -> int:
        cy, cx = divmod(cell, self._cells_x)
        return cy // self._shard_cells_y * self._shards_x + cx // self._shard_cells_x

    def _drop_requests(self, shard: int) -> None:
        for requests in (self._begin, self._end, self._split, self._focus):
            requests.pop(shard, None)


@lru_cache(maxsize=65_536)
def _cells(grid: Grid, center: int) -> frozenset[int]:
    return frozenset(grid.view_of(center))


@lru_cache(maxsize=65_536)
def _runs(grid: Grid, center: int) -> dict[int, Ints]:
    """The view's cells by shard, as runs of consecutive numbers. Read only: it is shared."""
    by_shard: defaultdict[int, list[int]] = defaultdict(list)
    for cell in grid.view_of(center):
        by_shard[grid.shard_of_cell(cell)].append(cell)
    runs: dict[int, Ints] = {}
    for shard, cells in by_shard.items():
        bounds = [cells[0]]
        for before, after in pairwise(cells):
            if after != before + 1:
                bounds += (before + 1, after)
        runs[shard] = np.array([*bounds, cells[-1] + 1], np.int64)
    return runs


def _in_runs(runs: Ints) -> Iterable[int]:
    for first, end in runs.reshape(-1, 2).tolist():
        yield from range(first, end)
