"""What teams are told of a shard: the official library reads it, and it is exactly what changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.errors import TitleError
from overworld.game import Entity, Int32, contract_of
from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.shard.teams import ForTeams
from overworld.wire.cells import Streams
from overworld.wire.v1 import client_pb2 as pb
from overworld.world.fields import TEAM_MAX, WIRE_MAX
from overworld.world.table import Table
from tests.gateway.raid import Flag, Raid, Soldier

NOTHING = np.zeros(0, np.int64)
Told = dict[tuple[int, int, int], tuple[int, ...] | None]
"""By (team, kind, id) what was told; None for one that is gone."""


def raid_core() -> ShardCore:
    title = Raid()
    core = ShardCore(contract_of(title, "w", 1), title, 0)
    core.setup()
    return core


def read(core: ShardCore, pieces: Streams | None) -> Told:
    """The pieces, as the official library reads them and a client that holds every cell takes them."""
    found: Told = {}
    if pieces is None:
        return found
    cells = core.contract.grid.cells_x * core.contract.grid.cells_y
    for i, place in enumerate(pieces.places.tolist()):
        team, cell = divmod(place, cells)
        frame = pb.Frame.FromString(pieces.data[pieces.offsets[i] : pieces.offsets[i + 1]])
        for piece in frame.teams:
            assert piece.cell == cell
            table = core.shard.tables[piece.kind]
            ids = ids_in(core, table, cell)
            width = 1 + len(table.kind.team)
            at = -1
            for gap in piece.gone:
                at += gap + 1
                found[team, piece.kind, ids[at]] = None
            at = -1
            for record in range(0, len(piece.told), width):
                at += piece.told[record] + 1
                assert (team, piece.kind, ids[at]) not in found
                found[team, piece.kind, ids[at]] = tuple(piece.told[record + 1 : record + width])
    return found


def ids_in(core: ShardCore, table: Table, cell: int) -> list[int]:
    inside = core._replication._world(table.shadow.cell) == cell
    found: list[int] = table.ids[inside].tolist()
    return found


def truth(core: ShardCore) -> Told:
    """All that all teams may know."""
    found: Told = {}
    for kind, table in ((1, core.shard[Soldier]), (2, core.shard[Flag])):
        teams = table.squad if kind == 1 else table.team
        columns = (table.supply, table.aim) if kind == 1 else (table.held,)
        for row in np.flatnonzero(teams).tolist():
            found[int(teams[row]), kind, int(table.ids[row])] = tuple(int(column[row]) for column in columns)
    return found


def tick(core: ShardCore) -> ForTeams | None:
    core.step(TickInputs())
    core.encode()
    return core.for_teams(NOTHING)


def of_tick(core: ShardCore) -> Told:
    told = tick(core)
    return read(core, told.updates if told is not None else None)


NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-WIRE_MAX, WIRE_MAX))
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 0.999), st.one_of(st.integers(0, 3), st.sampled_from((127, 255))), NUMBERS, NUMBERS, st.booleans()
    ),
    max_size=6,
)


@given(history=st.lists(CHANGES, min_size=1, max_size=8))
def test_whoever_reads_all_that_is_told_knows_exactly_his_teams_truth(
    history: list[list[tuple[float, int, int, int, bool]]],
) -> None:
    core = raid_core()
    known = of_tick(core)
    for changes in history:
        soldiers = core.shard[Soldier]
        for at, squad, supply, aim, only_squad in changes:
            if not len(soldiers):
                break
            row = int(at * len(soldiers))
            soldiers.squad[row] = squad
            if not only_squad:
                soldiers.supply[row], soldiers.aim[row] = supply, aim
        if changes and changes[0][4] and len(soldiers):
            soldiers.remove(np.array([0]))
        stood = dict(zip(soldiers.ids.tolist(), core._replication._world(soldiers.shadow.cell).tolist(), strict=True))
        told = of_tick(core)
        moved = dict(zip(soldiers.ids.tolist(), core._replication._world(soldiers.shadow.cell).tolist(), strict=True))
        # A row that goes to another cell is another row to clients: they know nothing of it but what comes now.
        known = {
            key: values for key, values in known.items() if key[1] == 2 or stood.get(key[2]) == moved.get(key[2], -1)
        }
        known = {key: values for key, values in {**known, **told}.items() if values is not None}
        assert known == truth(core)


def test_a_keyframe_is_all_that_teams_know_of_its_cells() -> None:
    core = raid_core()
    tick(core)
    grid = core.contract.grid
    cells = np.array([c for c in range(grid.cells_x * grid.cells_y) if grid.shard_of_cell(c) == 0])
    told = core.for_teams(cells[::-1])
    assert told is not None
    assert read(core, told.keyframes) == truth(core)
    assert set(told.keyframe_cells.tolist()) <= set(cells.tolist())
    for cell in cells.tolist():
        one = core.for_teams(np.array([cell]))
        here = {int(i) for kind in (Soldier, Flag) for i in ids_in(core, core.shard[kind], cell)}
        told_of_it = read(core, one.keyframes if one is not None else None)
        assert told_of_it == {key: values for key, values in truth(core).items() if key[2] in here}


def test_nothing_is_told_while_nothing_changes_and_a_value_nobody_may_see_is_no_change() -> None:
    core = raid_core()
    for kind in (Soldier, core.shard.tables[0]):
        table = core.shard[kind] if isinstance(kind, type) else kind
        table.at.vx[:] = table.at.vy[:] = 0
    tick(core)
    assert tick(core) is None
    soldiers = core.shard[Soldier]
    soldiers.squad[:] = 0
    gone = of_tick(core)
    assert set(gone.values()) == {None}
    soldiers.supply[:] += 7
    assert tick(core) is None


def test_a_restored_shard_tells_everything_anew_and_its_state_is_the_same() -> None:
    core = raid_core()
    tick(core)
    heir = ShardCore(core.contract, core.title, 0)
    snapshot.restore(heir, snapshot.encode(snapshot.freeze(core), core, epoch=1, chain=b"", wall_ms=0))
    assert heir.digest() == core.digest()
    core.shard[Soldier].squad[0] = heir.shard[Soldier].squad[0] = 3
    tick(core)
    told = of_tick(heir)
    assert told == truth(heir) == truth(core)
    assert heir.digest() == core.digest()


@pytest.mark.parametrize(("column", "value"), [("squad", -1), ("squad", TEAM_MAX + 1), ("supply", WIRE_MAX + 1)])
def test_a_title_that_leaves_the_range_of_the_wire_is_stopped(column: str, value: int) -> None:
    core = raid_core()
    getattr(core.shard[Soldier], column)[:] = value
    with pytest.raises(TitleError, match=f"Soldier.{column} left the range"):
        tick(core)


def test_players_are_told_their_team_when_it_changes_and_when_they_come() -> None:
    core = raid_core()
    first = core.step(TickInputs(events=((SessionEvent.JOIN, 100, 1), (SessionEvent.JOIN, 200, 2))))
    assert [column.tolist() for column in first.sides] == [[100, 200], [0, 0]]
    assert core.step(TickInputs()).sides[0].tolist() == []
    row = core.shard.avatar_rows(np.array([1]), Soldier)
    core.shard[Soldier].squad[row] = 3
    outcome = core.step(TickInputs())
    assert [column.tolist() for column in outcome.sides] == [[200], [3]]
    (own,) = pb.Frame.FromString(outcome.owns[2]).owns
    assert own.team == 3
    core.shard[Soldier].orders[row] = 5
    assert core.step(TickInputs()).sides[0].tolist() == [], "what the owner is told changed, not the team"
    again = core.step(TickInputs(events=((SessionEvent.RESUME, 200, 2),)))
    assert [column.tolist() for column in again.sides] == [[200], [3]]
    core.shard.take_avatar(np.array([1]))
    assert [column.tolist() for column in core.step(TickInputs()).sides] == [[200], [0]]


def test_an_avatar_of_a_kind_without_a_team_is_of_none() -> None:
    class Ghost(Entity):
        seen = Int32()

    class Haunted(Raid):
        name = "haunted"
        entities = (*Raid.entities, Ghost)

    title = Haunted()
    core = ShardCore(contract_of(title, "w", 1), title, 0)
    core.setup()
    core.step(TickInputs(events=((SessionEvent.JOIN, 100, 1),)))
    core.shard[Soldier].squad[:] = 2
    assert core.step(TickInputs()).sides[1].tolist() == [2]
    core.shard.give_avatar(np.array([0]), core.shard[Ghost], core.shard[Ghost].spawn(1))
    assert core.step(TickInputs()).sides[1].tolist() == [0]
