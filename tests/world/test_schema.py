"""Declarations that cannot work are refused with a reason, before anything runs on them."""

from __future__ import annotations

from typing import Any

import pytest

from overworld.errors import TitleError
from overworld.game import Title, contract_of
from overworld.world.fields import (
    OWNER,
    TEAM,
    WIRE_MAX,
    Angle,
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Moment,
    Motion,
    UInt8,
    UInt16,
)
from overworld.world.grid import Grid
from overworld.world.schema import (
    FIELDS_MAX,
    Entity,
    Input,
    Message,
    Player,
    check_teams,
    compile_entity,
    compile_input,
    compile_message,
    compile_player,
)


def declare(base: type, **fields: Any) -> Any:
    return type("Thing", (base,), fields)


def test_columns_stand_motion_first_then_near_owner_server() -> None:
    thing = declare(Entity, a=Int32(), secret=Int64(), at=Motion(), ammo=UInt8(audience=OWNER), hp=UInt8())
    kind = compile_entity(thing)
    assert kind.replicated == ("x", "y", "vx", "vy", "a", "hp")
    assert kind.names == ("x", "y", "vx", "vy", "a", "hp", "ammo", "secret")


def test_team_columns_stand_between_the_owners_and_the_servers() -> None:
    fields = {"secret": Int64(), "fuel": UInt8(audience=TEAM), "ammo": UInt8(audience=OWNER), "squad": UInt8()}
    kind = compile_entity(declare(Entity, team="squad", **fields))
    assert kind.names == ("squad", "ammo", "fuel", "secret")
    assert (kind.team_column, kind.team_first, kind.replicated) == ("squad", 2, ("squad",))
    assert compile_entity(declare(Entity, team=UInt16(audience=OWNER))).team_column == "team", "a column of that name"
    assert compile_entity(declare(Entity, hp=UInt8())).team_column == ""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "declare a column `team = "),
        ({"team": "squad"}, "'squad', which is none of its columns"),
        ({"team": "fuel"}, "cannot have the audience TEAM"),
        ({"team": UInt8(audience=TEAM)}, "cannot have the audience TEAM"),
        ({"team": Int8()}, "teams are numbers within 0.."),
        ({"team": Int32(0, WIRE_MAX)}, "teams are numbers within 0.."),
        ({"team": Angle()}, "an angle or a moment is no team"),
        ({"team": "born", "born": Moment()}, "an angle or a moment is no team"),
        ({"team": Motion()}, "neither a column nor the name of one"),
        ({"team": 3}, "neither a column nor the name of one"),
    ],
)
def test_a_team_that_nobody_could_be_of_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        compile_entity(declare(Entity, fuel=UInt8(audience=TEAM), **fields))


def test_only_entities_have_fields_for_their_team() -> None:
    for base, compiled in ((Player, compile_player), (Input, compile_input), (Message, compile_message)):
        with pytest.raises(ValueError, match="only an entity's fields have the audience TEAM"):
            compiled(declare(base, fuel=UInt8(audience=TEAM)))
    with pytest.raises(ValueError, match="audience must be SERVER"):
        Int64(audience=TEAM)


def test_a_column_called_team_is_any_column_until_a_title_has_something_for_teams() -> None:
    odd, fuelled = declare(Entity, team=Int8()), declare(Entity, team=UInt8(), fuel=UInt8(audience=TEAM))
    check_teams((compile_entity(odd),))
    check_teams((compile_entity(fuelled),))
    with pytest.raises(ValueError, match="teams are numbers within"):
        check_teams((compile_entity(fuelled), compile_entity(odd)))


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
