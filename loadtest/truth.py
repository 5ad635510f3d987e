"""The server's state as a client would have to see it: rows with their cells, at a tick of a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from overworld.shard.core import ShardCore
from overworld.world.contract import WorldContract
from overworld.world.grid import Grid

Ints = npt.NDArray[np.int64]
Row = tuple[int, ...]
"""(kind, entity id, cell, replicated columns in wire order), as `Mirror.picture` has them."""

KIND, ENTITY, CELL, PLACE = 0, 1, 2, slice(3, 5)
MASKS_MAX = 4096


@dataclass
class Truth:
    """The state of one shard at some of its ticks. Rows of one kind are int64[n, 3 + columns], sorted by id."""

    shard: int
    contract: WorldContract
    ticks: dict[int, list[Ints]] = field(default_factory=dict)
    """All rows, by tick: an array for each kind, ascending."""
    epochs: dict[int, int] = field(default_factory=dict)
    """The epoch that a tick was committed under, where it is known."""
    owns: dict[int, dict[tuple[int, int], Row]] = field(default_factory=dict)
    """What only its owner may see of each avatar, by tick and (kind, entity id), where it is known."""
    _masks: dict[frozenset[int], npt.NDArray[np.bool_]] = field(default_factory=dict)

    def add(self, tick: int, rows: list[Ints], epoch: int | None = None) -> None:
        """Note the state at a tick."""
        self.ticks[tick] = rows
        if epoch is not None:
            self.epochs[tick] = epoch

    def forget_after(self, tick: int) -> None:
        """Drop what is known of later ticks."""
        for known in (self.ticks, self.epochs, self.owns):
            for later in [t for t in known if t > tick]:
                del known[later]

    def seen(self, tick: int, cells: frozenset[int]) -> list[Row]:
        """What somebody who holds exactly these cells of the shard must see at a tick: sorted rows."""
        mask = self._mask(cells)
        found: list[Row] = []
        for rows in self.ticks[tick]:
            found += map(tuple, rows[mask[rows[:, CELL]]].tolist())
        return found

    def tolerance(self, kind: int) -> int:
        """How far a client may place such an entity from the truth, position units."""
        motion = self.contract.kinds[kind].motion
        return motion.tolerance if motion else 0

    def same(self, seen: Sequence[Row], wanted: Sequence[Row]) -> bool:
        """Whether two pictures are equal. Kinds with a tolerance may differ by it in place, and freely in velocity."""
        if seen == wanted:
            return True
        return len(seen) == len(wanted) and all(a == b or self._near(a, b) for a, b in zip(seen, wanted, strict=True))

    def _near(self, a: Row, b: Row) -> bool:
        tolerance, after_motion = self.tolerance(a[KIND]), PLACE.stop + 2
        if not tolerance or a[: PLACE.start] != b[: PLACE.start] or a[after_motion:] != b[after_motion:]:
            return False
        return max(abs(p - q) for p, q in zip(a[PLACE], b[PLACE], strict=True)) <= tolerance

    def _mask(self, cells: frozenset[int]) -> npt.NDArray[np.bool_]:
        mask = self._masks.get(cells)
        if mask is None:
            if len(self._masks) >= MASKS_MAX:
                self._masks.clear()
            grid = self.contract.grid
            mask = self._masks[cells] = np.zeros(grid.cells_x * grid.cells_y, np.bool_)
            mask[list(cells)] = True
        return mask


def rows_of(grid: Grid, shard: int, kind: int, moves: bool, ids: Ints, columns: Ints) -> Ints:
    """Rows of one kind: `ids` int64[n], `columns` int64[replicated columns, n] to int64[n, 3 + columns].

    What does not move is in the shard's first cell.
    """
    if moves:
        cells = grid.cells_of(columns[0], columns[1])
    else:
        x0, y0, _, _ = grid.bounds(shard)
        cells = np.full(len(ids), grid.cells_of(np.array([x0]), np.array([y0]))[0])
    return np.concatenate((np.full((1, len(ids)), kind), ids[None], cells[None], columns)).T.copy()


def rows_of_core(core: ShardCore) -> list[Ints]:
    """Every row of a shard, now."""
    return [
        rows_of(core.contract.grid, core.index, kind, table.kind.motion is not None, table.ids, table.public)
        for kind, table in enumerate(core.shard.tables)
    ]


def owns_of_core(core: ShardCore) -> dict[tuple[int, int], Row]:
    """What only their owners may see of all avatars, now."""
    players = core.shard.players
    found: dict[tuple[int, int], Row] = {}
    for kind, table in enumerate(core.shard.tables):
        entities = players.avatar[players.avatar_kind == kind]
        rows = table.rows_of(entities)
        entities, rows = entities[rows >= 0], rows[rows >= 0]
        columns = table.private[:, rows].T.tolist()
        found.update({(kind, e): tuple(values) for e, values in zip(entities.tolist(), columns, strict=True)})
    return found


def differences(
    seen: Sequence[Row], wanted: Sequence[Row], names: Mapping[int, tuple[str, ...]], most: int = 5
) -> list[str]:
    """The first differences of two pictures, in words. `names` holds each kind's columns."""
    told: list[str] = []
    left = {row[:CELL]: row for row in seen}
    right = {row[:CELL]: row for row in wanted}
    for key in sorted(left.keys() | right.keys()):
        mine, theirs = left.get(key), right.get(key)
        if mine == theirs:
            continue
        what = f"kind {key[0]} entity {key[1]}"
        if mine is None or theirs is None:
            where = (mine or theirs or (0, 0, 0))[CELL]
            told.append(f"{what}: only the {'server' if mine is None else 'client'} has it, in cell {where}")
        else:
            columns = ("cell", *names.get(key[0], ()))
            pairs = zip(columns, mine[CELL:], theirs[CELL:], strict=False)
            told.append(f"{what}: {', '.join(f'{n} {a} != {b}' for n, a, b in pairs if a != b)} (client != server)")
        if len(told) == most:
            break
    return told
