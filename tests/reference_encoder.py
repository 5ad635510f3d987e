"""A reference model of the server's replication: slow, obvious, and written from proto/README.md alone.

`ReferenceShard` is given a shard's whole state at every tick and works out what its watchers must be told;
`ReferenceViewer` makes the Frames of one of them, with the official protobuf library. No numpy, no code shared with the
server: where the fast encoder and this one give mirrors that disagree, one of them reads the specification wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from overworld.wire.v1 import client_pb2 as pb

Entities = Mapping[int, Mapping[int, Sequence[int]]]
"""A shard's state: kind -> entity id -> replicated columns (x and y in world coordinates)."""


class ReferenceShard:
    """What the watchers of one shard know, cell by cell. `tolerances`: kind -> position units (0 where not given)."""

    def __init__(self, welcome: pb.Welcome, shard: int, tolerances: Mapping[int, int] | None = None) -> None:
        self.welcome = welcome
        self.shard = shard
        self.tolerances = dict(tolerances or {})
        self.epoch = 1
        self.tick = 0
        self.told: dict[int, dict[int, dict[int, list[int]]]] = {cell: {} for cell in self.cells}

    @property
    def cells(self) -> list[int]:
        """The shard's cells, ascending."""
        grid = self.welcome.grid
        return [cell for cell in range(grid.cells_x * grid.cells_y) if shard_of(grid, cell) == self.shard]

    def advance(self, entities: Entities) -> list[pb.Cell]:
        """The next tick: the updates of all cells, whoever looks at them."""
        self.tick += 1
        for cell in self.cells:
            for kind, rows in self.told[cell].items():
                if self.welcome.kinds[kind].moves:
                    for row in rows.values():
                        row[0] += row[2]
                        row[1] += row[3]
        truth = self._by_cell(entities)
        updates = []
        for cell in self.cells:
            for kind in range(len(self.welcome.kinds)):
                update = self._update(cell, kind, truth[cell].get(kind, {}))
                if update is not None:
                    updates.append(update)
        return updates

    def take_over(self, entities: Entities) -> None:
        """A new owner, who knows the state and not what watchers were told: they must all enter their cells anew."""
        self.epoch += 1
        self.told = self._by_cell(entities)

    def keyframe(self, cell: int) -> list[pb.Cell]:
        """The whole of a cell, as watchers who held it all along know it."""
        pieces = []
        for kind, rows in sorted(self.told[cell].items()):
            if rows:
                piece = pb.Cell(cell=cell, kind=kind)
                self._add(piece, {entity: rows[entity] for entity in sorted(rows)})
                pieces.append(piece)
        return pieces

    def head(self) -> pb.TickHead:
        """The head of this tick."""
        return pb.TickHead(shard=self.shard, epoch=self.epoch, tick=self.tick)

    def known(self, cells: Iterable[int]) -> list[tuple[int, ...]]:
        """What a watcher of these cells must have: sorted (kind, id, cell, columns...), as in `Mirror.picture`."""
        return sorted(
            (kind, entity, cell, *row)
            for cell in cells
            if cell in self.told
            for kind, rows in self.told[cell].items()
            for entity, row in rows.items()
        )

    # ------------------------------------------------------------ one cell

    def _update(self, cell: int, kind: int, truth: dict[int, list[int]]) -> pb.Cell | None:
        told = self.told[cell].setdefault(kind, {})
        piece = pb.Cell(cell=cell, kind=kind)
        before = sorted(told)
        piece.removed.extend(gap_coded([i for i, entity in enumerate(before) if entity not in truth]))
        new = {entity: truth[entity] for entity in sorted(truth) if entity not in told}
        if new:
            self._add(piece, new)
        gaps = iter(gap_coded([i for i, entity in enumerate(sorted(truth)) if self._record(kind, told, truth, entity)]))
        for entity in sorted(truth):
            record = self._record(kind, told, truth, entity)
            if record:
                piece.changed.extend([next(gaps), *record])
        for entity, row in truth.items():
            if entity not in told or self._record(kind, told, truth, entity):
                told[entity] = self._after(kind, told.get(entity), row)
        for entity in before:
            if entity not in truth:
                del told[entity]
        return piece if piece.removed or piece.added or piece.changed else None

    def _record(self, kind: int, told: dict[int, list[int]], truth: dict[int, list[int]], entity: int) -> list[int]:
        """Mask and differences of a row that stays, or nothing."""
        if entity not in told:
            return []
        known, row = told[entity], truth[entity]
        columns = self.welcome.kinds[kind].columns
        groups: list[list[int]] = []
        first = 0
        if self.welcome.kinds[kind].moves:
            first = 4
            dvx, dvy = row[2] - known[2], row[3] - known[3]
            if not self._far(kind, known, row):
                dvx = dvy = jump_x = jump_y = 0
            else:
                jump_x, jump_y = row[0] - known[0] - dvx, row[1] - known[1] - dvy
            groups += [[dvx, dvy], [jump_x, jump_y]]
        for column in range(first, len(columns)):
            difference = row[column] - known[column]
            modulo = columns[column].modulo
            if modulo:
                difference = (difference + modulo // 2) % modulo - modulo // 2
            groups.append([difference])
        present = [bit for bit, group in enumerate(groups) if any(group)]
        return [sum(1 << bit for bit in present), *(v for bit in present for v in groups[bit])] if present else []

    def _far(self, kind: int, known: list[int], row: list[int]) -> bool:
        tolerance = self.tolerances.get(kind, 0)
        error = max(abs(row[0] - known[0]), abs(row[1] - known[1]))
        return error > tolerance or (tolerance == 0 and row[:4] != known[:4])

    def _after(self, kind: int, known: list[int] | None, row: list[int]) -> list[int]:
        """What watchers know of a row once they were told."""
        if known is None or not self.welcome.kinds[kind].moves or self._far(kind, known, row):
            return list(row)
        return [*known[:4], *row[4:]]

    def _add(self, piece: pb.Cell, rows: Mapping[int, Sequence[int]]) -> None:
        grid = self.welcome.grid
        ids = list(rows)
        piece.added.extend(b - a for a, b in zip([0, *ids], ids, strict=False))
        corner = [(piece.cell % grid.cells_x) * grid.cell_size, (piece.cell // grid.cells_x) * grid.cell_size]
        moves = self.welcome.kinds[piece.kind].moves
        for column in range(len(self.welcome.kinds[piece.kind].columns)):
            start = corner[column] if moves and column < 2 else 0
            piece.columns.extend(rows[entity][column] - start for entity in ids)

    def _by_cell(self, entities: Entities) -> dict[int, dict[int, dict[int, list[int]]]]:
        found: dict[int, dict[int, dict[int, list[int]]]] = {cell: {} for cell in self.cells}
        for kind, rows in entities.items():
            for entity, row in rows.items():
                cell = self._cell_of(row) if self.welcome.kinds[kind].moves else self.cells[0]
                found[cell].setdefault(kind, {})[entity] = list(row)
        return found

    def _cell_of(self, row: Sequence[int]) -> int:
        """The cell of the shard that is nearest to a place."""
        grid = self.welcome.grid
        across = sorted({cell % grid.cells_x for cell in self.cells})
        down = sorted({cell // grid.cells_x for cell in self.cells})
        cx = min(max(row[0] // grid.cell_size, across[0]), across[-1])
        cy = min(max(row[1] // grid.cell_size, down[0]), down[-1])
        return cy * grid.cells_x + cx


class ReferenceViewer:
    """One player's Frames. `held` are the cells the player holds."""

    def __init__(self, shards: Sequence[ReferenceShard]) -> None:
        self.shards = shards
        self.held: set[int] = set()

    def frame(
        self, shard: ReferenceShard, updates: Sequence[pb.Cell], view: Iterable[int], again: Iterable[int] = ()
    ) -> pb.Frame:
        """One tick of one shard. Of the shard's cells the player now sees those of `view`; those of `again` are entered
        anew though already held, as after a gap. Cells of other shards stay as they are."""
        mine, seen = set(shard.cells), set(view)
        left = sorted((self.held - seen) & mine)
        entered = sorted(((seen - self.held) | (seen & set(again))) & mine)
        # Updates of cells not held are in the bag too: a client must ignore them. Those of cells held and entered anew
        # are not, for the player has not what they build on.
        stale = self.held & (set(entered) | set(again))
        wanted = [u for u in updates if u.cell not in stale]
        frame = pb.Frame(heads=[shard.head()], updates=wanted)
        if left or entered:
            frame.views.add(left=left, entered=entered)
        for cell in entered:
            frame.keyframes.extend(shard.keyframe(cell))
        self.held = (self.held - set(left)) | set(entered)
        return frame

    def known(self) -> list[tuple[int, ...]]:
        """What the player's picture must be now."""
        return sorted(row for shard in self.shards for row in shard.known(self.held))


def gap_coded(indices: Sequence[int]) -> list[int]:
    """Ascending indices as the wire has them: the first, then each one's difference to the one before minus 1."""
    return [b - a - 1 for a, b in zip([-1, *indices], indices, strict=False)]


def shard_of(grid: pb.Grid, cell: int) -> int:
    """The shard that holds a cell."""
    cx, cy = cell % grid.cells_x, cell // grid.cells_x
    return (cy // (grid.cells_y // grid.shards_y)) * grid.shards_x + cx // (grid.cells_x // grid.shards_x)
