"""Where things were: the motion of kinds that ask for it at each of the last few ticks, as part of the shard's state.

A player sees others a little in the past, and acts on what he sees. A title that judges an instant shot looks back to
the tick the shooter saw. Each kind has a ring of slots, one a tick; a slot is saved, digested and replayed like any
table, so a follower that takes over in between judges alike.

    tick      | 95  96  97  98  99 | 100 is being stepped
    slot      |  0   1   2   3   4 |  (tick % slots)

An entity that came from another shard has no past here before the tick it came with; one that left or ended still has
the past it had here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overworld.world.schema import MOTION_COLUMNS, Kind
from overworld.world.table import MotionColumns, Table

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PastRows:
    """Entities of one kind as they were: `ids` int64[n] ascending; `rows` int64[n], where they are in the table now, -1
    for those that are not here any more; `at`, their motion then. Not to be written to.
    """

    ids: Ints
    rows: Ints
    at: MotionColumns

    def __len__(self) -> int:
        return len(self.ids)


class Slot:
    """One kind at one tick. Read by snapshots and digests as a table is; `next_id` is its tick, -1 for none."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.ids: Ints = np.zeros(0, np.int64)
        self.columns: Ints = np.zeros((len(MOTION_COLUMNS), 0), np.int64)
        self.next_id = -1

    def __len__(self) -> int:
        return len(self.ids)

    def load(self, ids: Ints, columns: Ints, next_id: int) -> None:
        """Replace everything by what a snapshot holds."""
        self.ids, self.columns, self.next_id = ids, columns, next_id


class Ring:
    """The past of one table."""

    def __init__(self, table: Table, kinds: Iterable[Kind]) -> None:
        self._table = table
        self.slots = [Slot(kind) for kind in kinds]

    def keep(self, tick: int) -> None:
        """Note the table as it is at the end of a tick."""
        table = self._table
        self.slots[tick % len(self.slots)].load(
            table.ids.copy(), table.public[: len(MOTION_COLUMNS)].copy(), next_id=tick
        )

    def at(self, tick: int, now: int) -> PastRows:
        """The table at the end of a tick, or of the first one after it that is known. `now`: the tick being stepped."""
        for wanted in range(max(tick, 0), now):
            slot = self.slots[wanted % len(self.slots)]
            if slot.next_id == wanted:
                return PastRows(slot.ids, self._table.rows_of(slot.ids), MotionColumns(*slot.columns))
        return present(self._table)


def present(table: Table) -> PastRows:
    """A table as it is now."""
    at = table.at
    return PastRows(table.ids, np.arange(len(table), dtype=np.int64), MotionColumns(at.x, at.y, at.vx, at.vy))
