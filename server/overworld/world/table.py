"""Tables: the entities of one kind in one shard, one row an entity, one int64 column a field.

Rows are always sorted by entity id. That one rule gives the canonical order which snapshots, digests and replay rest
on, and lets replication sort by cell alone (a stable sort keeps ids ascending within a cell).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from overworld.world.schema import Kind

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_FIRST_CAPACITY = 16


class MotionColumns:
    """The four motion columns of a table: x, y (position units), vx, vy (position units per tick), int64[rows] each."""

    __slots__ = ("vx", "vy", "x", "y")
    x: Ints
    y: Ints
    vx: Ints
    vy: Ints

    def __init__(self, x: Ints, y: Ints, vx: Ints, vy: Ints) -> None:
        for name, column in (("x", x), ("y", y), ("vx", vx), ("vy", vy)):
            object.__setattr__(self, name, column)

    def __setattr__(self, name: str, value: Any) -> None:
        # Writes go into the table's own memory: another array in its place would be forgotten at the next spawn.
        column = getattr(self, name)
        if value is not column:
            column[...] = value

    def advance(self) -> None:
        """Move every row by its velocity: one tick. Set velocities first; then watchers' predictions stay exact."""
        self.x += self.vx
        self.y += self.vy

    def bounce(self, bounds: tuple[int, int, int, int]) -> Bools:
        """Reflect what went through the walls of `bounds` (x0, y0, x1, y1, position units, upper ones exclusive).

        Call after `advance`. Returns bool[rows]: which did. Afterwards every row lies within the bounds.
        """
        x0, y0, x1, y1 = bounds
        hit = (self.x < x0) | (self.x >= x1) | (self.y < y0) | (self.y >= y1)
        if hit.any():
            rows = np.flatnonzero(hit)
            self.x[rows], self.vx[rows] = _reflect(self.x[rows], self.vx[rows], x0, x1)
            self.y[rows], self.vy[rows] = _reflect(self.y[rows], self.vy[rows], y0, y1)
        return hit


def _reflect(position: Ints, velocity: Ints, low: int, high: int) -> tuple[Ints, Ints]:
    """One axis of `bounce`. What is further out than the room is wide ends at the wall."""
    below, above = position < low, position >= high
    inside = np.where(below, 2 * low - position, np.where(above, 2 * (high - 1) - position, position))
    away = np.where(below, np.abs(velocity), np.where(above, -np.abs(velocity), velocity))
    return np.clip(inside, low, high - 1), away


class Shadow:
    """What replication last told about each row. Not state: neither in snapshots nor in digests.

    `sent` is int64[replicated columns, rows]; `cell` int64[rows] the shard-local cell the row was last told in, -1
    for a row not told yet; `rank` int64[rows] its index within that cell. `departed` collects (cell, rank) of told
    rows that were removed since. `past` is int64[what, rows] while any cell of the shard is split, and belongs to
    `shard.streams`; new rows have -1 there.
    """

    __slots__ = ("cell", "departed", "past", "rank", "sent")

    def __init__(self, columns: int) -> None:
        self.sent: Ints = np.zeros((columns, 0), np.int64)
        self.cell: Ints = np.zeros(0, np.int64)
        self.rank: Ints = np.zeros(0, np.int64)
        self.departed: list[tuple[Ints, Ints]] = []
        self.past: Ints | None = None

    def insert(self, at: Ints) -> None:
        """Make room for new rows before the old rows `at` (as numpy.insert)."""
        self.sent = np.insert(self.sent, at, 0, axis=1)
        self.cell = np.insert(self.cell, at, -1)
        self.rank = np.insert(self.rank, at, 0)
        if self.past is not None:
            self.past = np.insert(self.past, at, -1, axis=1)

    def append(self, rows: int) -> None:
        """Make room for new rows at the end."""
        columns = self.sent.shape[0]
        self.sent = np.concatenate((self.sent, np.zeros((columns, rows), np.int64)), axis=1)
        self.cell = np.concatenate((self.cell, np.full(rows, -1, np.int64)))
        self.rank = np.concatenate((self.rank, np.zeros(rows, np.int64)))
        if self.past is not None:
            self.past = np.concatenate((self.past, np.full((len(self.past), rows), -1, np.int64)), axis=1)

    def keep(self, kept: Bools) -> None:
        """Drop the rows that are not kept, remembering where those already told stood."""
        gone = ~kept & (self.cell >= 0)
        if gone.any():
            self.departed.append((self.cell[gone], self.rank[gone]))
        self.sent = self.sent[:, kept]
        self.cell = self.cell[kept]
        self.rank = self.rank[kept]
        if self.past is not None:
            self.past = self.past[:, kept]


class Table:
    """Entities of one kind. Columns are attributes: `table.hp`, `table.at.vx`; each is int64[rows] and may be written
    in place.

    `spawn` and `remove` change the rows: take columns anew from the table afterwards, arrays held from before are
    stale.
    """

    def __init__(self, kind: Kind, motion_name: str | None, first_id: int, id_step: int) -> None:
        self._kind = kind
        self._motion_name = motion_name
        self._next_id = first_id
        self._id_step = id_step
        self._rows = 0
        self._ids: Ints = np.zeros(_FIRST_CAPACITY, np.int64)
        self._data: Ints = np.zeros((len(kind.names), _FIRST_CAPACITY), np.int64)
        declared = kind.near + kind.owner + kind.server
        self._defaults = [(kind.names.index(c.name), c.field.default) for c in declared if c.field.default]
        self.shadow = Shadow(len(kind.replicated))
        self._bind()

    # ------------------------------------------------------------ for titles

    def __len__(self) -> int:
        return self._rows

    @property
    def ids(self) -> Ints:
        """Entity ids, int64[rows], ascending. Read only."""
        return self._ids[: self._rows]

    def spawn(self, count: int) -> Ints:
        """Add `count` entities with default values. Returns their rows, int64[count]; ids are fresh and never used
        again.
        """
        count = int(count)
        if count < 0:
            raise ValueError(f"cannot spawn {count} entities")
        ids = self._next_id + np.arange(count, dtype=np.int64) * self._id_step
        self._next_id += count * self._id_step
        return self._append(ids)

    def remove(self, mask: npt.NDArray[Any]) -> None:
        """Remove rows: `mask` is bool[rows], or their indices (repeats allowed). Raises IndexError for an index
        that is no row.
        """
        if mask.dtype == np.bool_:
            kept = ~mask
        else:
            # numpy would take -1, which `rows_of` gives for an id that is not here, for the last row.
            if len(mask) and int(mask.min()) < 0:
                raise IndexError(f"row {int(mask.min())} of {self._kind.name} cannot be removed")
            kept = np.ones(self._rows, np.bool_)
            kept[mask] = False
        left = int(np.count_nonzero(kept))
        if left == self._rows:
            return
        self._data[:, :left] = self._data[:, : self._rows][:, kept]
        self._ids[:left] = self._ids[: self._rows][kept]
        self._rows = left
        self.shadow.keep(kept)
        self._bind()

    def rows_of(self, ids: Ints) -> Ints:
        """Rows of entity ids, int64 like `ids`; -1 for an id that is not here."""
        here = self.ids
        if not len(here):
            return np.full(len(ids), -1, np.int64)
        rows = np.minimum(np.searchsorted(here, ids), len(here) - 1)
        return np.where(here[rows] == ids, rows, -1)

    # ------------------------------------------------------------ for the shard

    @property
    def kind(self) -> Kind:
        """What the columns mean."""
        return self._kind

    @property
    def next_id(self) -> int:
        """The id that the next spawned entity gets: part of the state."""
        return self._next_id

    @property
    def public(self) -> Ints:
        """Replicated columns in wire order, int64[columns, rows], a view."""
        return self._data[: len(self._kind.replicated), : self._rows]

    @property
    def private(self) -> Ints:
        """Owner columns in wire order, int64[columns, rows], a view."""
        start = len(self._kind.replicated)
        return self._data[start : start + len(self._kind.owner), : self._rows]

    @property
    def columns(self) -> Ints:
        """All columns in the order of `kind.names`, int64[columns, rows], a view."""
        return self._data[:, : self._rows]

    def load(self, ids: Ints, columns: Ints, next_id: int) -> None:
        """Replace everything by what a snapshot holds. `ids` int64[n] ascending, `columns` int64[len(kind.names),
        n].
        """
        assert columns.shape == (len(self._kind.names), len(ids))
        assert len(ids) < 2 or bool((np.diff(ids) > 0).all())
        self._ids = np.array(ids, np.int64)
        self._data = np.array(columns, np.int64, order="C")
        self._rows = len(ids)
        self._next_id = next_id
        self.shadow = Shadow(len(self._kind.replicated))
        self.shadow.append(self._rows)
        self._bind()

    def admit(self, ids: Ints, columns: Ints) -> Ints:
        """Take in entities that have ids already (from another shard), keeping rows sorted. Returns their rows.

        Nothing here may have one of these ids.
        """
        order = np.argsort(ids, kind="stable")
        ids, columns = ids[order], columns[:, order]
        assert (np.diff(ids) > 0).all(), "an id comes twice"
        assert (self.rows_of(ids) < 0).all(), "an id is here already"
        at = np.searchsorted(self.ids, ids)
        self._data = np.insert(self.columns, at, columns, axis=1)
        self._ids = np.insert(self.ids, at, ids)
        self._rows += len(ids)
        self.shadow.insert(at)
        self._bind()
        rows = np.zeros(len(ids), np.int64)
        rows[order] = at + np.arange(len(ids))
        return rows

    def _append(self, ids: Ints) -> Ints:
        first, count = self._rows, len(ids)
        if first and count and ids[0] <= self._ids[first - 1]:
            # An entity from another shard has a higher id than our own counter: insert in order instead.
            columns = np.zeros((len(self._data), count), np.int64)
            for index, value in self._defaults:
                columns[index] = value
            return self.admit(ids, columns)
        if first + count > len(self._ids):
            self._grow(first + count)
        self._ids[first : first + count] = ids
        self._data[:, first : first + count] = 0
        for index, value in self._defaults:
            self._data[index, first : first + count] = value
        self._rows += count
        self.shadow.append(count)
        self._bind()
        return np.arange(first, first + count, dtype=np.int64)

    def _grow(self, rows: int) -> None:
        capacity = max(_FIRST_CAPACITY, len(self._ids))
        while capacity < rows:
            capacity *= 2
        data = np.zeros((len(self._data), capacity), np.int64)
        data[:, : self._rows] = self.columns
        ids = np.zeros(capacity, np.int64)
        ids[: self._rows] = self.ids
        self._data, self._ids = data, ids

    def _bind(self) -> None:
        """Point the column attributes at the rows as they are now."""
        bound: dict[str, Any] = {}
        rows = self._rows
        for index, name in enumerate(self._kind.names):
            bound[name] = self._data[index, :rows]
        if self._motion_name is not None:
            bound[self._motion_name] = MotionColumns(*(bound.pop(name) for name in ("x", "y", "vx", "vy")))
        self.__dict__.update(bound)

    def __getattr__(self, name: str) -> Any:
        kind = self.__dict__.get("_kind")
        if kind is None:
            raise AttributeError(name)
        raise AttributeError(f"{kind.name} has no column {name!r}; it has {', '.join(kind.names)}")

    def __setattr__(self, name: str, value: Any) -> None:
        kind = self.__dict__.get("_kind")
        if kind is not None and name in kind.names:
            column = self.__dict__[name]
            if value is not column:
                column[...] = value
        elif name.startswith("_") or name == "shadow":
            object.__setattr__(self, name, value)
        else:
            # A misspelt column would otherwise swallow what is assigned to it.
            raise AttributeError(f"{name!r} of a table cannot be assigned")
