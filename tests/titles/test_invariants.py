"""Whatever players send, every title keeps its world whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from overworld.game import Shard
from overworld.titles.duel import Arena, Fighter, Shot
from overworld.titles.duel.islands import islands_of
from overworld.titles.duel.rounds import SEATS
from overworld.titles.frontier import Crystal, Drone, Ship
from overworld.titles.frontier.kinds import DEAD, ENERGY_MAX, HP_MAX, PROTECTED, THRUSTING
from overworld.world.fields import WIRE_MAX, Field
from tests.titles.play import Play
from tests.titles.storm import TITLES, Storm


def check_all_titles(shard: Shard) -> None:
    """What the server asks of any title after a step."""
    x0, y0, x1, y1 = shard.bounds
    for table in shard.tables:
        assert bool((np.diff(table.ids) > 0).all())
        assert not len(table) or int(np.abs(table.public).max()) <= WIRE_MAX
        columns = dict(zip(table.kind.names, table.columns, strict=True))
        for column in table.kind.near + table.kind.owner + table.kind.server:
            check_range(table.kind.name, column.name, column.field, columns[column.name])
        if table.kind.motion is not None and len(table):
            x, y = columns["x"], columns["y"]
            assert x0 <= x.min(), table.kind.name
            assert x.max() < x1, table.kind.name
            assert y0 <= y.min(), table.kind.name
            assert y.max() < y1, table.kind.name
    for column in shard.contract.player_columns:
        check_range("Player", column.name, column.field, getattr(shard.players, column.name))


def check_range(kind: str, name: str, field: Field, values: np.typing.NDArray[np.int64]) -> None:
    if len(values):
        assert field.minimum <= values.min(), f"{kind}.{name}"
        assert values.max() <= field.maximum, f"{kind}.{name}"


def check_avatars(play: Play) -> None:
    """Everybody inside has exactly one avatar, and nobody else has one."""
    accounts = play.shard.players
    inside = accounts.inside > 0
    assert bool(((accounts.avatar_kind >= 0) == inside).all())
    assert len(set(accounts.avatar[inside].tolist())) == int(inside.sum())


def check_frontier(play: Play, before: dict[str, int]) -> None:
    assert len(play[Crystal]) == before["crystals"]
    assert len(play[Drone]) == before["drones"]
    ships, accounts = play[Ship], play.shard.players
    assert len(ships) == int((accounts.inside > 0).sum())
    dead = (ships.flags & DEAD) > 0
    assert bool(((ships.hp == 0) == dead).all())
    assert bool((ships.flags[dead] == DEAD).all())
    assert bool((ships.flags & ~(PROTECTED | THRUSTING | DEAD) == 0).all())
    assert bool((ships.at.vx[dead] == 0).all())
    assert not len(ships) or ships.hp.max() <= HP_MAX
    assert not len(ships) or ships.energy.max() <= ENERGY_MAX
    assert not len(ships) or ships.score.min() >= 0
    # The dead come back in time.
    assert bool((ships.respawn_tick[dead] > play.core.tick).all())


def check_duel(play: Play, before: dict[str, int]) -> None:
    fighters, shots, islands = play[Fighter], play[Shot], islands_of(play.shard.grid, play.shard.bounds)
    assert len(play[Arena]) == before["arenas"] == len(islands)
    assert int(np.bincount(fighters.arena, minlength=1).max(initial=0)) <= SEATS
    for table in (fighters, shots):
        for place, corner in ((table.at.x, islands.x0), (table.at.y, islands.y0)):
            assert bool((place >= corner[table.arena]).all())
            assert bool((place < corner[table.arena] + islands.side).all())


def counts(play: Play) -> dict[str, int]:
    if play.title.name == "frontier":
        return {"crystals": len(play[Crystal]), "drones": len(play[Drone])}
    return {"arenas": len(play[Arena])} if play.title.name == "duel" else {}


@pytest.mark.parametrize("title", sorted(TITLES))
def test_any_inputs_leave_the_world_whole(title: str) -> None:
    @given(st.integers(0, 2**32), st.integers(0, 1), st.integers(0, 20))
    @settings(max_examples=12, deadline=None)
    def check(seed: int, index: int, players: int) -> None:
        note(f"seed {seed}")
        storm = Storm(title, seed, players, index)
        before = counts(storm.play)
        for _ in range(150):
            storm.step()
            check_all_titles(storm.play.shard)
            check_avatars(storm.play)
            if title == "frontier":
                check_frontier(storm.play, before)
            elif title == "duel":
                check_duel(storm.play, before)
            storm.play.core.encode()

    check()
