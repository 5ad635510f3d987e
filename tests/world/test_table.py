"""Tables: rows sorted by id whatever happens, values that stay with their entities, writes that are never lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from overworld.world.fields import OWNER, SERVER, Int32, Int64, Motion, UInt8
from overworld.world.schema import Entity, compile_entity
from overworld.world.table import MotionColumns, Table


class Ship(Entity):
    at = Motion()
    hp = UInt8(default=100)
    ammo = Int32(audience=OWNER, default=7)
    seen = Int64(audience=SERVER)


KIND = compile_entity(Ship)
FIRST_ID, ID_STEP = 10, 4
DEFAULTS = {"x": 0, "y": 0, "vx": 0, "vy": 0, "hp": 100, "ammo": 7, "seen": 0}


def empty() -> Table:
    return Table(KIND, "at", FIRST_ID, ID_STEP)


class TableAgainstDict(RuleBasedStateMachine):
    """A table beside a dict from id to row values: they must never part."""

    def __init__(self) -> None:
        super().__init__()
        self.table = empty()
        self.model: dict[int, dict[str, int]] = {}
        self.spawned_before: set[int] = set()
        self.told: set[int] = set()
        self.departed: set[int] = set()

    @rule(count=st.integers(0, 40))
    def spawn(self, count: int) -> None:
        rows = self.table.spawn(count)
        assert len(rows) == count
        ids = self.table.ids[rows].tolist()
        assert not self.spawned_before & set(ids), "an id came twice"
        self.spawned_before |= set(ids)
        self.model |= {entity: dict(DEFAULTS) for entity in ids}

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove_some(self, data: st.DataObject) -> None:
        gone = data.draw(st.lists(st.sampled_from(sorted(self.model))))
        rows = self.table.rows_of(np.array(gone, np.int64))
        if data.draw(st.booleans()):
            mask = np.zeros(len(self.table), np.bool_)
            mask[rows] = True
            self.table.remove(mask)
        else:
            self.table.remove(rows)
        for entity in set(gone):
            del self.model[entity]
        self.departed |= self.told & set(gone)
        self.told -= set(gone)

    @rule(ids=st.lists(st.integers(0, 400), max_size=12, unique=True), base=st.integers(-1000, 1000))
    def admit(self, ids: list[int], base: int) -> None:
        # Another shard's ids: those of no step of our own.
        ids = [entity * ID_STEP + FIRST_ID + 1 for entity in ids]
        ids = [entity for entity in ids if entity not in self.model]
        columns = base + np.arange(len(KIND.names) * len(ids), dtype=np.int64).reshape(len(KIND.names), len(ids))
        rows = self.table.admit(np.array(ids, np.int64), columns)
        assert self.table.ids[rows].tolist() == ids
        for k, entity in enumerate(ids):
            self.model[entity] = dict(zip(KIND.names, columns[:, k].tolist(), strict=True))

    @precondition(lambda self: self.model)
    @rule(data=st.data(), value=st.integers(-1000, 1000))
    def write(self, data: st.DataObject, value: int) -> None:
        entity = data.draw(st.sampled_from(sorted(self.model)))
        rows = self.table.rows_of(np.array([entity]))
        self.table.hp[rows] = value
        self.table.at.vx[rows] += value
        self.model[entity]["hp"] = value
        self.model[entity]["vx"] += value

    @rule()
    def advance(self) -> None:
        self.table.at.advance()
        for row in self.model.values():
            row["x"] += row["vx"]
            row["y"] += row["vy"]

    @rule()
    def reload(self) -> None:
        other = empty()
        other.load(self.table.ids, self.table.columns, self.table.next_id)
        self.table = other
        self.told, self.departed = set(), set()

    @rule()
    def tell(self) -> None:
        """As replication would: every row was told, and its rank is here its own id."""
        shadow = self.table.shadow
        shadow.cell[:], shadow.rank[:], shadow.sent[:] = 1, self.table.ids, self.table.ids
        shadow.departed = []
        self.told, self.departed = set(self.model), set()

    @invariant()
    def holds_what_the_model_holds_in_id_order(self) -> None:
        assert self.table.ids.tolist() == sorted(self.model)
        assert len(self.table) == len(self.model)
        for index, name in enumerate(KIND.names):
            expected = [self.model[entity][name] for entity in sorted(self.model)]
            assert self.table.columns[index].tolist() == expected, name
        assert self.table.public.shape == (5, len(self.model))
        assert self.table.private.shape == (1, len(self.model))

    @invariant()
    def shadows_know_what_was_told_of_each_row(self) -> None:
        shadow = self.table.shadow
        assert shadow.sent.shape[1] == len(shadow.cell) == len(shadow.rank) == len(self.table)
        expected = [entity if entity in self.told else 0 for entity in sorted(self.model)]
        assert shadow.rank.tolist() == expected
        assert shadow.sent.tolist() == [expected] * len(KIND.replicated)
        assert shadow.cell.tolist() == [1 if entity in self.told else -1 for entity in sorted(self.model)]
        assert sorted(rank for _, ranks in shadow.departed for rank in ranks.tolist()) == sorted(self.departed)


TestTableAgainstDict = TableAgainstDict.TestCase
TestTableAgainstDict.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_ids_of_unknown_entities_have_no_row() -> None:
    table = empty()
    assert table.rows_of(np.array([FIRST_ID, 0])).tolist() == [-1, -1]
    table.spawn(2)
    assert table.rows_of(np.array([FIRST_ID + ID_STEP, FIRST_ID, 11, 10**9])).tolist() == [1, 0, -1, -1]


def test_a_removed_id_is_never_used_again() -> None:
    table = empty()
    table.remove(table.spawn(3))
    rows = table.spawn(1)
    assert table.ids[rows].tolist() == [FIRST_ID + 3 * ID_STEP]


def test_the_next_id_stays_a_plain_number() -> None:
    table = empty()
    table.spawn(np.int64(3))  # type: ignore[arg-type]
    assert type(table.next_id) is int


def test_the_row_that_nobody_has_cannot_be_removed() -> None:
    table = empty()
    table.spawn(2)
    with pytest.raises(IndexError, match="row -1 of Ship"):
        table.remove(table.rows_of(np.array([999])))
    assert len(table) == 2


def test_a_negative_number_cannot_be_spawned() -> None:
    with pytest.raises(ValueError, match="cannot spawn -1"):
        empty().spawn(-1)


def test_an_entity_cannot_be_admitted_twice() -> None:
    table = empty()
    ids = np.array([11], np.int64)
    columns = np.zeros((len(KIND.names), 1), np.int64)
    table.admit(ids, columns)
    with pytest.raises(AssertionError, match="here already"):
        table.admit(ids, columns)
    with pytest.raises(AssertionError, match="comes twice"):
        table.admit(np.array([13, 13]), np.zeros((len(KIND.names), 2), np.int64))


def test_whole_columns_may_be_assigned_and_live_through_a_spawn() -> None:
    table = empty()
    table.spawn(2)
    table.hp = np.array([1, 2])
    table.at.vx = np.array([3, 4])
    table.at.x = 5
    table.at.y += 6
    table.spawn(100)
    assert table.hp[:2].tolist() == [1, 2]
    assert table.at.vx[:2].tolist() == [3, 4]
    assert table.at.x[:2].tolist() == [5, 5]
    assert table.at.y[:2].tolist() == [6, 6]


def test_misspelt_columns_are_errors_with_the_right_names_in_them() -> None:
    table = empty()
    with pytest.raises(AttributeError, match="Ship has no column 'healht'; it has x, y, vx, vy, hp, ammo, seen"):
        _ = table.healht
    with pytest.raises(AttributeError, match="'healht' of a table cannot be assigned"):
        table.healht = 5
    with pytest.raises(AttributeError, match="'at' of a table cannot be assigned"):
        table.at = 5
    table.spawn(1)
    with pytest.raises(AttributeError, match="vz"):
        table.at.vz = np.zeros(1)


# ---------------------------------------------------------------- walls

BOUNDS = (0, -50, 1_000, 50)


def body(x: int, y: int, vx: int, vy: int) -> MotionColumns:
    return MotionColumns(*(np.array([v], np.int64) for v in (x, y, vx, vy)))


@pytest.mark.parametrize(
    ("before", "after", "hit"),
    [
        ((500, 0, 9, 9), (500, 0, 9, 9), False),
        ((999, 49, 9, 9), (999, 49, 9, 9), False),
        ((1_000, 0, 9, 3), (998, 0, -9, 3), True),
        ((-4, 0, -9, 3), (4, 0, 9, 3), True),
        ((-4, 60, -9, 3), (4, 38, 9, -3), True),
        ((-4, 0, 9, 0), (4, 0, 9, 0), True),
        ((5_000, -900, 1, -1), (0, 49, -1, 1), True),
    ],
)
def test_walls_reflect(before: tuple[int, ...], after: tuple[int, ...], hit: bool) -> None:
    at = body(*before)
    assert at.bounce(BOUNDS).tolist() == [hit]
    assert (at.x[0], at.y[0], at.vx[0], at.vy[0]) == after
