"""What watchers piece together from updates and keyframes is what the shard holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.errors import TitleError
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.wire.cells import CellUpdates
from overworld.wire.v1 import client_pb2
from tests.shard.meadow import Cloud, Meadow, Sheep, meadow_core

Rows = dict[tuple[int, int], list[list[int]]]


class Watcher:
    """The rules of proto/README.md, word by word, over the official protobuf library."""

    def __init__(self, core: ShardCore) -> None:
        self.contract = core.contract
        self.rows: Rows = {}

    def advance(self) -> None:
        for (_, kind), rows in self.rows.items():
            if self.contract.kinds[kind].motion:
                for row in rows:
                    row[1] += row[3]
                    row[2] += row[4]

    def take(self, written: CellUpdates) -> None:
        frame = client_pb2.Frame.FromString(written.data)
        for message in [*frame.updates, *frame.keyframes]:
            rows = self.rows.setdefault((message.cell, message.kind), [])
            self._remove(rows, message)
            self._add(rows, message)
            self._change(rows, message)
        self.rows = {place: rows for place, rows in self.rows.items() if rows}

    def everything(self, kind: int) -> list[list[int]]:
        return sorted(row for (_, k), rows in self.rows.items() if k == kind for row in rows)

    def _remove(self, rows: list[list[int]], message: client_pb2.Cell) -> None:
        at, index = [], -1
        for gap in message.removed:
            index += gap + 1
            at.append(index)
        for index in reversed(at):
            del rows[index]

    def _add(self, rows: list[list[int]], message: client_pb2.Cell) -> None:
        kind, grid = self.contract.kinds[message.kind], self.contract.grid
        count, entity = len(message.added), 0
        for i, gap in enumerate(message.added):
            entity += gap
            values = [message.columns[c * count + i] for c in range(len(kind.replicated))]
            if kind.motion:
                values[0] += message.cell % grid.cells_x * grid.cell_size
                values[1] += message.cell // grid.cells_x * grid.cell_size
            rows.append([entity, *values])
        rows.sort()

    def _change(self, rows: list[list[int]], message: client_pb2.Cell) -> None:
        kind = self.contract.kinds[message.kind]
        values, index = iter(message.changed), -1
        for gap in values:
            index += gap + 1
            row, mask = rows[index], next(values)
            first = 0
            if kind.motion:
                first = 2
                if mask & 1:
                    dvx, dvy = next(values), next(values)
                    row[1:5] = [row[1] + dvx, row[2] + dvy, row[3] + dvx, row[4] + dvy]
                if mask & 2:
                    row[1] += next(values)
                    row[2] += next(values)
            for i, column in enumerate(kind.near):
                if mask >> (first + i) & 1:
                    at = len(row) - len(kind.near) + i
                    row[at] += next(values)
                    if column.field.modulo:
                        row[at] %= column.field.modulo


def truth(core: ShardCore, kind: int) -> list[list[int]]:
    table = core.shard.tables[kind]
    rows: list[list[int]] = np.vstack([table.ids[None], table.public]).T.tolist()
    return rows


def cells_of(core: ShardCore) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    grid = core.contract.grid
    every = range(grid.cells_x * grid.cells_y)
    return np.array([c for c in every if grid.shard_of_cell(c) == core.index], np.int64)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(0, 80), st.integers(1, 30))
def test_a_watcher_of_every_tick_holds_the_truth(seed: int, shard: int, sheep: int, restless: int) -> None:
    core = meadow_core(shard, seed, Meadow(sheep, restless))
    watcher = Watcher(core)
    watcher.take(core.encode())
    for _ in range(30):
        core.step(TickInputs())
        watcher.advance()
        watcher.take(core.encode())
        assert watcher.everything(0) == truth(core, 0)
        assert watcher.everything(2) == truth(core, 2)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_a_watcher_from_a_keyframe_goes_on_like_one_from_the_start(seed: int, late: int) -> None:
    core = meadow_core(1, seed)
    first, second = Watcher(core), Watcher(core)
    first.take(core.encode())
    for tick in range(30):
        core.step(TickInputs())
        written = core.encode()
        for watcher in (first, second):
            watcher.advance()
            watcher.take(written) if tick > late or watcher is first else None
        if tick == late:
            second.take(core.keyframes(cells_of(core)))
        if tick >= late:
            assert second.rows == first.rows


def test_tolerance_bounds_the_error_and_saves_bytes() -> None:
    core = meadow_core()
    watcher = Watcher(core)
    watcher.take(core.encode())
    wrong = 0
    for _ in range(100):
        core.step(TickInputs())
        watcher.advance()
        watcher.take(core.encode())
        for seen, real in zip(watcher.everything(1), truth(core, 1), strict=True):
            assert seen[0] == real[0]
            assert max(abs(seen[1] - real[1]), abs(seen[2] - real[2])) <= 30
            wrong += seen != real
    assert wrong > 0, "a tolerance that is never used saves nothing"


def test_straight_movement_costs_no_bytes() -> None:
    core = meadow_core(title=Meadow(sheep=0))
    core.shard[Cloud].remove(np.arange(20))
    sheep = core.shard[Sheep]
    rows = sheep.spawn(5)
    sheep.at.x[rows], sheep.at.vx[rows] = 1000 + rows, 7
    core.encode()
    sheep.at.advance()
    assert len(core.encode()) == 0


def test_keyframes_of_empty_and_repeated_cells() -> None:
    core = meadow_core()
    core.encode()
    cells = cells_of(core)
    twice = core.keyframes(np.concatenate((cells, cells[::-1])))
    assert twice.data == core.keyframes(cells).data
    occupied = set(twice.cells.tolist())
    empty = [c for c in cells.tolist() if c not in occupied]
    assert len(core.keyframes(np.array(empty, np.int64))) == 0


def test_a_value_beyond_the_wire_is_the_titles_error() -> None:
    core = meadow_core()
    core.encode()
    core.shard[Sheep].at.x[0] = 2**31
    with pytest.raises(TitleError, match=r"Sheep\.x left the range"):
        core.encode()


def test_watchers_after_a_player_left_forget_the_avatar() -> None:
    core = meadow_core()
    watcher = Watcher(core)
    watcher.take(core.encode())
    for events in [((SessionEvent.JOIN, 9, 5),), (), ((SessionEvent.BYE, 9, 5),), ()]:
        core.step(TickInputs(events=events))
        watcher.advance()
        watcher.take(core.encode())
        assert watcher.everything(0) == truth(core, 0)
