"""The rows of one kind in one held cell, and how an update changes them.

A row that moves is kept by where it would have been at tick 0: `x0 = x - vx * tick`. Its place at any tick is then
`x0 + vx * tick`, so a tick in which nothing changed costs nothing, however many rows are held. Python's whole numbers
have no bound, so the detour through tick 0 is exact. The price: one multiplication whenever somebody asks for a place.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from overworld.client.contract import KindLayout, Plan, broken
from overworld.wire.v1 import client_pb2 as pb

Ints = npt.NDArray[np.int64]

ID_MAX = 2**63 - 1


class Rows:
    """Entities of one kind in one cell. `ids` ascend; `kept[i]` holds the columns of `ids[i]`, x and y as of tick 0;
    `since[i]` is the number of the bag that brought it.
    """

    __slots__ = ("ids", "kept", "kind", "since")

    def __init__(self, kind: KindLayout) -> None:
        self.kind = kind
        self.ids: list[int] = []
        self.kept: list[list[int]] = []
        self.since: list[int] = []

    def __len__(self) -> int:
        return len(self.ids)

    # ------------------------------------------------------------ changes

    def update(self, piece: pb.Cell, corner: tuple[int, int], half: int, tick: int, bag: int) -> None:
        """Take a `Cell` of `Frame.updates` that belongs to `tick` and came in that bag. `half`: of a cell's side.
        Raises WireError; the rows are then worthless.
        """
        removed = piece.removed
        if removed:
            self._remove(removed[:])
        added = piece.added
        if added:
            self._add(added[:], piece.columns[:], corner, tick, bag)
        elif piece.columns:
            raise broken("columns without added rows")
        changed = piece.changed
        if changed:
            try:
                self._change(changed[:], tick)
            except IndexError:
                raise broken("a change record is cut short or names a row that is not there") from None
        restated = piece.restated
        if restated:
            try:
                self._restate(restated[:], (corner[0] + half, corner[1] + half), tick)
            except (IndexError, ValueError):
                raise broken("a restated row is cut short or is not there") from None

    def fill(self, piece: pb.Cell, corner: tuple[int, int], tick: int, bag: int) -> None:
        """Take a `Cell` of `Frame.keyframes` that belongs to `tick` and came in that bag. Raises WireError."""
        if piece.removed or piece.changed or piece.restated:
            raise broken("a keyframe only adds")
        if self.ids:
            raise broken("two keyframes of the same kind in one cell")
        added = piece.added
        if added:
            self._add(added[:], piece.columns[:], corner, tick, bag)
        elif piece.columns:
            raise broken("columns without added rows")

    def _remove(self, gaps: list[int]) -> None:
        ids, kept, since = self.ids, self.kept, self.since
        at = -1
        rows = [at := at + gap + 1 for gap in gaps]
        if at >= len(ids):
            raise broken("a removed row is not there")
        for at in reversed(rows):
            del ids[at]
            del kept[at]
            del since[at]

    def _add(self, gaps: list[int], columns: list[int], corner: tuple[int, int], tick: int, bag: int) -> None:
        count = len(gaps)
        if len(columns) != count * self.kind.width:
            raise broken(f"{len(columns)} values for {count} added rows of {self.kind.width} columns")
        came = list(accumulate(gaps))
        if (count > 1 and min(gaps[1:]) == 0) or came[-1] > ID_MAX:
            raise broken("added ids do not ascend")
        rows = [columns[i::count] for i in range(count)]
        if self.kind.moves:
            x0, y0 = corner
            for row in rows:
                row[0] += x0 - row[2] * tick
                row[1] += y0 - row[3] * tick
        ids, kept, since = self.ids, self.kept, self.since
        if not ids or came[0] > ids[-1]:
            ids += came
            kept += rows
            since += [bag] * count
            return
        for entity, row in zip(came, rows, strict=True):
            at = bisect_left(ids, entity)
            if at < len(ids) and ids[at] == entity:
                raise broken(f"entity {entity} is added where it already is")
            ids.insert(at, entity)
            kept.insert(at, row)
            since.insert(at, bag)

    def _change(self, values: list[int], tick: int) -> None:
        kept, kind = self.kept, self.kind
        moves, end = kind.moves, len(values)
        # A new velocity held for the whole tick: x gains dvx now, which is dvx * (1 - tick) as of tick 0.
        back = 1 - tick
        at, i = -1, 0
        while i < end:
            gap = values[i]
            if gap < 0:
                raise broken("row gaps are not negative")
            at += gap + 1
            mask = values[i + 1]
            row = kept[at]
            if mask == 1 and moves:
                dvx, dvy = values[i + 2], values[i + 3]
                row[2] += dvx
                row[3] += dvy
                row[0] += dvx * back
                row[1] += dvy * back
                i += 4
            else:
                i = _apply(kind.plan(mask), row, values, i + 2, back)

    def _restate(self, values: list[int], middle: tuple[int, int], tick: int) -> None:
        kept, kind = self.kept, self.kind
        at, i, end = -1, 0, len(values)
        while i < end:
            gap = values[i]
            if gap < 0:
                raise broken("row gaps are not negative")
            at += gap + 1
            plan = kind.plan(values[i + 1])
            row = kept[at]
            i += 2
            if plan.position:
                raise broken("a restated row has its place with its velocity")
            if plan.velocity:
                x, y, vx, vy = values[i : i + 4]
                row[:4] = (x + middle[0] - vx * tick, y + middle[1] - vy * tick, vx, vy)
                i += 4
            for column, _ in plan.columns:
                row[column] = values[i]
                i += 1

    # ------------------------------------------------------------ queries

    def find(self, entity: int) -> int:
        """The row of an entity, -1 where it is not here."""
        at = bisect_left(self.ids, entity)
        return at if at < len(self.ids) and self.ids[at] == entity else -1

    def at(self, row: int, tick: int) -> tuple[int, ...]:
        """A row's columns at a tick."""
        kept = self.kept[row]
        if not self.kind.moves:
            return tuple(kept)
        return (kept[0] + kept[2] * tick, kept[1] + kept[3] * tick, *kept[2:])

    def columns(self, tick: int) -> Ints:
        """All rows at a tick, int64[columns, rows]. Raises WireError where the server's differences left 64 bits."""
        try:
            table = np.array([self.at(row, tick) for row in range(len(self.ids))], np.int64)
        except OverflowError:
            raise broken(f"a value of kind {self.kind.name!r} left 64 bits") from None
        return table.reshape(len(self.ids), self.kind.width).T


def _apply(plan: Plan, row: list[int], values: list[int], i: int, back: int) -> int:
    """Apply a change record's differences from `values[i]` on; returns the index behind. IndexError where cut short."""
    if plan.velocity:
        dvx, dvy = values[i], values[i + 1]
        row[2] += dvx
        row[3] += dvy
        row[0] += dvx * back
        row[1] += dvy * back
        i += 2
    if plan.position:
        row[0] += values[i]
        row[1] += values[i + 1]
        i += 2
    for column, modulo in plan.columns:
        value = row[column] + values[i]
        row[column] = value % modulo if modulo else value
        i += 1
    return i
