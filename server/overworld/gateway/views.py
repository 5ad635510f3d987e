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

from overworld.world.grid import Grid

Ints = npt.NDArray[np.int64]


class Viewer:
    """One session as the fan-out sees it."""

    __slots__ = (
        "acked",
        "behind",
        "center",
        "extra",
        "group",
        "held",
        "kept_ack",
        "kept_own",
        "owed",
        "send",
        "session",
    )

    def __init__(self, session: int, send: Callable[[bytearray, int], None], acked: Callable[[int], None]) -> None:
        self.session = session
        self.send = send
        """Sends a buffer from an offset on, as one message; what stands before the offset is room for a header."""
        self.acked = acked
        """Is told the last input applied."""
        self.group: Group | None = None
        self.center = -1
        """The cell it looks from; -1 before the first."""
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
    """Viewers who look from one cell. `runs`: for each shard in view its cells, int64 (first, end, first, end, ...)."""

    __slots__ = ("cells", "center", "runs", "viewers")

    def __init__(self, grid: Grid, center: int) -> None:
        self.center = center
        self.cells = _cells(grid, center)
        self.runs = _runs(grid, center)
        self.viewers: dict[Viewer, None] = {}


class _Cell:
    """A cell somebody looks at: how many do, whether a keyframe is on its way, and who waits for one."""

    __slots__ = ("asked", "awaiting", "viewers")

    def __init__(self) -> None:
        self.viewers = 0
        self.asked = False
        self.awaiting: dict[Viewer, None] = {}


class Views:
    """All viewers of one gateway."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
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
        before = old.cells if old is not None else frozenset()
        group = self._group(center)
        group.viewers[viewer] = None
        viewer.group, viewer.center = group, center
        if old is not None and old is not group:
            self._leave(old, viewer)
        for cell in group.cells - before:
            self._look(viewer, cell)
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
        if group.viewers:
            return
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

    def _shard_of(self, cell: int) -> int:
        cy, cx = divmod(cell, self._cells_x)
        return cy // self._shard_cells_y * self._shards_x + cx // self._shard_cells_x

    def _drop_requests(self, shard: int) -> None:
        self._begin.pop(shard, None)
        self._end.pop(shard, None)


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
