"""Declarations that cannot work are refused with a reason, before anything runs on them."""

from __future__ import annotations

from typing import Any

import pytest

from overworld.errors import TitleError
from overworld.game import Title, contract_of
from overworld.world.fields import (
    OWNER,
    WIRE_MAX,
    Angle,
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Motion,
    UInt8,
    UInt16,
)
from overworld.world.grid import Grid
from overworld.world.schema import FIELDS_MAX, Entity, Input, Player, compile_entity, compile_input, compile_player


def declare(base: type, **fields: Any) -> Any:
    return type("Thing", (base,), fields)


def test_columns_stand_motion_first_then_near_owner_server() -> None:
    thing = declare(Entity, a=Int32(), secret=Int64(), at=Motion(), ammo=UInt8(audience=OWNER), hp=UInt8())
    kind = compile_entity(thing)
    assert kind.replicated == ("x", "y", "vx", "vy", "a", "hp")
    assert kind.names == ("x", "y", "vx", "vy", "a", "hp", "ammo", "secret")


def test_a_subclass_inherits_and_may_change_fields() -> None:
    base = declare(Entity, at=Motion(), hp=UInt8(default=1))
    heir = type("Heir", (base,), {"hp": UInt8(default=9), "name": Int8()})
    kind = compile_entity(heir)
    assert kind.names == ("x", "y", "vx", "vy", "hp", "name")
    assert kind.near[0].field.default == 9


@pytest.mark.parametrize("name", ["x", "vy", "ids", "kind", "columns", "shadow", "spawn", "rows_of", "_hidden"])
def test_names_that_tables_need_for_themselves_are_refused(name: str) -> None:
    for field in (UInt8(), Motion()):
        with pytest.raises(ValueError, match="reserved field names"):
            compile_entity(declare(Entity, **{name: field}))
    with pytest.raises(ValueError, match="reserved field names"):
        compile_player(declare(Player, **{name: UInt8()}))


@pytest.mark.parametrize("name", ["last", "player", "row", "seen_tick"])
def test_names_that_inputs_need_for_themselves_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="reserved field names"):
        compile_input(declare(Input, **{name: UInt8()}))


def test_every_attribute_of_a_table_is_reserved() -> None:
    from overworld.world.table import Table

    table = Table(compile_entity(declare(Entity, hp=UInt8())), None, 0, 1)
    for name in dir(table):
        if not name.startswith("_") and name != "hp":
            with pytest.raises(ValueError, match="reserved field names"):
                compile_entity(declare(Entity, **{name: UInt8()}))


def test_what_the_wire_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="at most one Motion"):
        compile_entity(declare(Entity, a=Motion(), b=Motion()))
    with pytest.raises(ValueError, match="25 replicated fields"):
        compile_entity(declare(Entity, **{f"f{i}": Bool() for i in range(FIELDS_MAX + 1)}))
    with pytest.raises(ValueError, match="an input has no Motion"):
        compile_input(declare(Input, at=Motion()))
    with pytest.raises(ValueError, match="a player has no Motion"):
        compile_player(declare(Player, at=Motion()))
    with pytest.raises(ValueError, match="do not fit the wire"):
        compile_input(declare(Input, big=Int64()))
    with pytest.raises(ValueError, match="audience must be SERVER"):
        Int64(audience=OWNER)


@pytest.mark.parametrize(
    ("constructor", "arguments"),
    [
        (Int8, {"minimum": -129}),
        (Int8, {"maximum": 128}),
        (Int8, {"minimum": 3, "maximum": 2}),
        (UInt8, {"minimum": -1}),
        (UInt8, {"default": 256}),
        (Int16, {"maximum": 32_768}),
        (UInt16, {"maximum": 65_536}),
        (Int32, {"maximum": WIRE_MAX + 1}),
        (Int8, {"minimum": 1, "maximum": 5}),
        (Angle, {"steps": 1}),
        (Angle, {"steps": WIRE_MAX + 1}),
        (Angle, {"default": 256}),
    ],
)
def test_bounds_that_cannot_be_are_refused(constructor: Any, arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"do(es)? not lie within"):
        constructor(**arguments)


class Rock(Entity):
    at = Motion()


class Quarry(Title):
    name = "quarry"
    world = Grid(width=64, height=64, cell=32)
    entities = (Rock,)


def test_a_title_that_cannot_work_says_so_with_its_name() -> None:
    contract_of(Quarry(), "q")
    for wrong in (
        {"player": declare(Player, session=UInt8())},
        {"entities": (declare(Entity, ids=UInt8()),)},
        {"inputs": (declare(Input, row=UInt8()),)},
        {"world": Grid(width=64, height=64, cell=32, units_per_one=16)},
    ):
        with pytest.raises(TitleError, match="title Broken cannot be used"):
            contract_of(type("Broken", (Quarry,), wrong)(), "q")


def test_motion_in_other_units_than_the_grids_is_refused() -> None:
    with pytest.raises(TitleError, match="Rock: its Motion has 256 units to one, its grid 16"):
        contract_of(Quarry(), "q", grid=Grid(width=64, height=64, cell=32, units_per_one=16))
