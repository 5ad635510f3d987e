"""The fingerprint of a world contract: the same for equal declarations everywhere, another for any change."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import pytest

from overworld.world.contract import WorldContract
from overworld.world.fields import OWNER, SERVER, Angle, Int8, Int32, Motion, UInt8
from overworld.world.grid import Grid
from overworld.world.interest import Interest
from overworld.world.schema import Column, Entity, Input, Kind, Player, compile_entity, compile_input, compile_player


class Ship(Entity):
    at = Motion()
    heading = Angle()
    hp = UInt8(default=100)
    ammo = UInt8(audience=OWNER)
    timer = Int32(audience=SERVER)


class Steer(Input):
    turn = Int8(-1, 1)


class Pilot(Player):
    best = Int32(audience=SERVER)


GRID = Grid(width=128, height=128, cell=32, shards=(2, 1))
CONTRACT = WorldContract(
    world="w",
    title="t",
    title_version=1,
    grid=GRID,
    kinds=(compile_entity(Ship),),
    player_columns=compile_player(Pilot),
    inputs=(compile_input(Steer),),
)
# Snapshots and handshakes of a running world carry it.
GOLDEN = "a78535979783e359b47e87e07b994412"


def test_the_fingerprint_is_the_one_running_worlds_have() -> None:
    assert CONTRACT.fingerprint == GOLDEN


def test_another_process_with_another_hash_seed_finds_the_same() -> None:
    program = "from tests.world.test_contract import CONTRACT; print(CONTRACT.fingerprint)"
    for seed in ("1", "2"):
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(p for p in sys.path if p) + ":."}
        found = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
        assert found.stdout.strip() == GOLDEN, found.stderr


KIND = CONTRACT.kinds[0]


def kind_with(**changes: Any) -> dict[str, Any]:
    return {"kinds": (replace(KIND, **changes),)}


def field_with(column: Column, **changes: Any) -> Column:
    return replace(column, field=replace(column.field, **changes))


GRIDS = {
    "width": replace(GRID, width=256),
    "height": replace(GRID, height=256),
    "cell": replace(GRID, cell=64),
    "shards": replace(GRID, shards=(1, 2)),
    "view": replace(GRID, view=65),
    "tick_hz": replace(GRID, tick_hz=21),
    "units_per_one": replace(GRID, units_per_one=255),
}
CHANGES: dict[str, dict[str, Any]] = {
    "world": {"world": "w2"},
    "title": {"title": "t2"},
    "version": {"title_version": 2},
    "seed": {"seed": 1},
    "grace": {"grace_ticks": 601},
    "inputs per tick": {"inputs_per_tick_max": 5},
    "commit level": {"commit_level": 2},
    **{f"grid {name}": {"grid": changed} for name, changed in GRIDS.items()},
    "kind name": kind_with(name="Ships"),
    "no motion": kind_with(motion=None),
    "tolerance": kind_with(motion=Motion(tolerance=1)),
    "order of columns": kind_with(near=KIND.near[::-1]),
    "audience": kind_with(near=KIND.near + KIND.owner, owner=()),
    "server column": kind_with(server=()),
    "column name": kind_with(near=(replace(KIND.near[0], name="course"), KIND.near[1])),
    **{
        f"field {name}": kind_with(near=(field_with(KIND.near[0], **{name: 7}), KIND.near[1]))
        for name in [
            "minimum",
            "maximum",
            "modulo",
            "units_per_one",
            "default",
            "moment",
        ]
    },
    "one kind more": {"kinds": (KIND, replace(KIND, name="Other"))},
    "player": {"player_columns": ()},
    "input field": {
        "inputs": (replace(CONTRACT.inputs[0], fields=(field_with(CONTRACT.inputs[0].fields[0], maximum=2),)),)
    },
    "message": {"messages": CONTRACT.inputs},
    "input name": {"inputs": (replace(CONTRACT.inputs[0], name="Row"),)},
    "rewind": {"rewind_ticks": 5},
    "interest rings": {"interest": Interest(rings=(5,))},
    "interest sure": {"interest": Interest(sure=5)},
    "interest nearest": {"interest": Interest(nearest=5)},
    "interest plots": {"interest": Interest(plots=5)},
    "pace": kind_with(pace=2),
    "what is rewound": {"rewind_ticks": 5, **kind_with(rewind=True)},
}


@pytest.mark.parametrize("name", CHANGES)
def test_any_change_changes_the_fingerprint(name: str) -> None:
    assert replace(CONTRACT, **CHANGES[name]).fingerprint != CONTRACT.fingerprint


RULES = {
    "interest rings",
    "interest sure",
    "interest nearest",
    "pace",
    "version",
    "grace",
    "inputs per tick",
    "server column",
    "player",
    "rewind",
    "what is rewound",
}
"""What an upgrade may change while gateways and clients go on."""


@pytest.mark.parametrize("name", CHANGES)
def test_what_players_see_has_a_fingerprint_of_its_own_that_rules_do_not_change(name: str) -> None:
    same = replace(CONTRACT, **CHANGES[name]).play_fingerprint == CONTRACT.play_fingerprint
    assert same == (name in RULES)


def test_every_part_of_the_contract_and_of_its_pieces_is_covered_above() -> None:
    changed = {key for change in CHANGES.values() for key in change}
    assert changed == {f.name for f in fields(WorldContract)}
    assert {name.removeprefix("grid ") for name in CHANGES if name.startswith("grid ")} == {
        f.name for f in fields(Grid)
    }
    assert {f.name for f in fields(Kind)} == {"name", "motion", "near", "owner", "server", "rewind", "pace"}


def test_all_the_changed_contracts_differ_from_each_other() -> None:
    found = {replace(CONTRACT, **change).fingerprint for change in CHANGES.values()}
    assert len(found) == len(CHANGES)


def test_definitions_are_what_clients_see_and_the_same_in_every_world() -> None:
    """Another world, seed, size or server-only field is none of a generated client's business."""
    ship = CONTRACT.kinds[0]
    elsewhere = replace(
        CONTRACT, world="other", seed=9, grid=Grid(width=256, height=256, cell=32), kinds=(replace(ship, server=()),)
    )
    assert elsewhere.definitions == CONTRACT.definitions
    assert elsewhere.fingerprint != CONTRACT.fingerprint
    assert replace(CONTRACT, title_version=2).definitions == CONTRACT.definitions, "an upgrade of the rules alone"
    changed = [
        replace(CONTRACT, title="u"),
        replace(CONTRACT, kinds=(replace(ship, near=ship.near[:-1]),)),
        replace(CONTRACT, kinds=(replace(ship, near=ship.near[::-1]),)),
        replace(CONTRACT, kinds=(replace(ship, owner=()),)),
        replace(CONTRACT, kinds=(replace(ship, motion=None),)),
        replace(CONTRACT, kinds=(replace(ship, owner=(Column("ammo", UInt8(0, 9, audience=OWNER)),)),)),
        replace(CONTRACT, inputs=()),
    ]
    assert len({c.definitions for c in (CONTRACT, *changed)}) == 1 + len(changed)
