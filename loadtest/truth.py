"""The server's state as a client would have to see it: rows by cell, at a tick of a shard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from overworld.shard.core import ShardCore
from overworld.world.contract import WorldContract
from overworld.world.grid import Grid

Ints = npt.NDArray[np.int64]
Row = tuple[int, ...]
"""(kind, entity id, cell, replicated columns in wire order), as `Mirror.picture` has them."""


@dataclass
class Truth:
    """The state of one shard at some of its ticks."""

    shard: int
    ticks: dict[int, dict[int, list[Row]]] = field(default_factory=dict)
    """Rows of each occupied cell, by tick and cell."""
    epochs: dict[int, int] = field(default_factory=dict)
    """The epoch that a tick was committed under, where it is known."""
    tolerances: dict[int, int] = field(default_factory=dict)
    """By kind: how far a client's position may be off, position units. Such a kind's velocities are not compared."""
    _views: dict[tuple[int, frozenset[int]], list[Row]] = field(default_factory=dict)

    def add(self, tick: int, rows: Iterable[Row], epoch: int | None = None) -> None:
        """Note the state at a tick."""
        cells: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            cells[row[2]].append(row)
        self.ticks[tick] = dict(cells)
        if epoch is not None:
            self.epochs[tick] = epoch

    def seen(self, tick: int, cells: frozenset[int]) -> list[Row]:
        """What somebody who holds exactly these cells of the shard must see at a tick: sorted rows."""
        known = self._views.get((tick, cells))
        if known is None:
            at = self.ticks[tick]
            known = self._views[(tick, cells)] = sorted(row for cell in cells for row in at.get(cell, ()))
        return known


def tolerances(contract: WorldContract) -> dict[int, int]:
    """`Truth.tolerances` of a world."""
    return {i: kind.motion.tolerance for i, kind in enumerate(contract.kinds) if kind.motion and kind.motion.tolerance}


def rows_of(grid: Grid, shard: int, kind: int, moves: bool, ids: Ints, columns: Ints) -> list[Row]:
    """Rows of one kind: `ids` int64[n], `columns` int64[replicated columns, n].

    What does not move is in the shard's first cell.
    """
    if not len(ids):
        return []
    if moves:
        cells = grid.cells_of(columns[0], columns[1])
    else:
        x0, y0, _, _ = grid.bounds(shard)
        cells = np.full(len(ids), grid.cells_of(np.array([x0]), np.array([y0]))[0])
    table = np.concatenate((np.full((1, len(ids)), kind), ids[None], cells[None], columns))
    return [tuple(row) for row in table.T.tolist()]


def rows_of_core(core: ShardCore) -> list[Row]:
    """Every row of a shard, now."""
    found: list[Row] = []
    for kind, table in enumerate(core.shard.tables):
        found += rows_of(core.contract.grid, core.index, kind, table.kind.motion is not None, table.ids, table.public)
    return found


def same_picture(seen: list[Row], wanted: list[Row], tolerances: Mapping[int, int]) -> bool:
    """Whether two sorted pictures are equal, with the tolerances of the kinds that have one."""
    if seen == wanted:
        return True
    if not tolerances or len(seen) != len(wanted):
        return False
    return all(a == b or _near(a, b, tolerances.get(a[0], 0)) for a, b in zip(seen, wanted, strict=True))


def _near(a: Row, b: Row, tolerance: int) -> bool:
    place, velocity = slice(3, 5), slice(5, 7)
    far = max(abs(p - q) for p, q in zip(a[place], b[place], strict=True))
    return tolerance > 0 and a[:3] == b[:3] and far <= tolerance and a[velocity.stop :] == b[velocity.stop :]


def differences(seen: list[Row], wanted: list[Row], names: Mapping[int, tuple[str, ...]], most: int = 5) -> list[str]:
    """The first differences of two pictures, in words. `names` holds each kind's columns."""
    told = []
    left = {row[:2]: row for row in seen}
    right = {row[:2]: row for row in wanted}
    for key in sorted(left.keys() | right.keys()):
        mine, theirs = left.get(key), right.get(key)
        if mine == theirs:
            continue
        what = f"kind {key[0]} entity {key[1]}"
        if mine is None or theirs is None:
            where = (mine or theirs or ())[2:3]
            told.append(f"{what}: only the {'server' if mine is None else 'client'} has it, in cell {where}")
        else:
            columns = ("cell", *names.get(key[0], ()))
            parts = [f"{n} {a} != {b}" for n, a, b in zip(columns, mine[2:], theirs[2:], strict=False) if a != b]
            told.append(f"{what}: {', '.join(parts)} (client != server)")
        if len(told) == most:
            break
    return told
