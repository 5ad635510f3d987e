"""Duel: matches in one shard, with nothing that an open world does not have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.game import Grid
from overworld.titles.duel import Act, Arena, Duel, Fighter, Shot
from overworld.titles.duel.fight import RADIUS
from overworld.titles.duel.islands import islands_of
from overworld.titles.duel.kinds import HP_MAX, OVER, RUNNING, WAITING
from overworld.titles.duel.rounds import PAUSE_SECONDS, ROUND_SECONDS, SEATS
from tests.titles.play import Play

ONE, HZ = 256, 20
FOUR_ARENAS = Grid(width=256, height=256, cell=64, view=64)
STILL, FIRE_RIGHT = (0, 0, 0, 0), (0, 0, 0, 1)


def arenas(*players: int, grid: Grid = FOUR_ARENAS) -> Play:
    play = Play(Duel(), grid=grid)
    play.join(*players)
    play.tick()
    return play


def seat_of(play: Play, player: int) -> int:
    return int(play[Fighter].arena[play.avatar(player, Fighter)])


def face_off(play: Play, shooter: int, victim: int) -> None:
    """Both in the middle of the arena of the shooter, the victim ten units to the right."""
    islands = islands_of(play.shard.grid, play.shard.bounds)
    fighters = play[Fighter]
    for player, offset in ((shooter, 0), (victim, 10 * ONE)):
        row = play.avatar(player, Fighter)
        fighters.at.x[row] = islands.x0[fighters.arena[row]] + islands.side // 2 + offset
        fighters.at.y[row] = islands.y0[fighters.arena[row]] + islands.side // 2


@given(
    st.integers(1, 64),
    st.integers(1, 200),
    st.integers(1, 13),
    st.integers(1, 13),
    st.sampled_from([(1, 1), (2, 1), (2, 3)]),
)
@settings(deadline=None)
def test_nobody_sees_from_one_arena_into_another(
    cell: int, view: int, wide: int, high: int, shards: tuple[int, int]
) -> None:
    grid = Grid(width=cell * wide * shards[0], height=cell * high * shards[1], cell=cell, shards=shards, view=view)
    cells: list[int] = []
    for shard in range(grid.shard_count):
        islands = islands_of(grid, grid.bounds(shard))
        cells += grid.cells_of(islands.x0, islands.y0).tolist()
        far = grid.cells_of(islands.x0 + islands.side - 1, islands.y0 + islands.side - 1)
        assert far.tolist() == grid.cells_of(islands.x0, islands.y0).tolist()
        assert all(grid.shard_of_cell(cell) == shard for cell in far.tolist())
    assert len(set(cells)) == len(cells)
    for home in cells:
        assert set(grid.view_of(home)) & set(cells) == {home}


def test_arenas_fill_up_one_after_another_and_the_last_guest_is_asked_to_try_later() -> None:
    everybody = range(1, 4 * SEATS + 3)
    play = Play(Duel(), grid=FOUR_ARENAS)
    assert len(play[Arena]) == 4
    play.join(*everybody)
    outcome = play.tick()
    assert np.bincount(play[Fighter].arena).tolist() == [SEATS] * 4
    sessions, codes = outcome.closed
    assert sessions.tolist() == [4 * SEATS + 1, 4 * SEATS + 2]
    assert codes.tolist() == [1013, 1013]
    play.leave(15)
    play.join(500)
    play.tick()
    assert seat_of(play, 500) == 1


def test_newcomers_go_where_most_wait() -> None:
    play = arenas(*range(1, 15))
    assert np.bincount(play[Fighter].arena, minlength=4).tolist() == [10, 4, 0, 0]
    play.leave(1, 2, 3)
    play.tick()
    play.join(50, 51, 52, 53)
    play.tick()
    assert np.bincount(play[Fighter].arena, minlength=4).tolist() == [10, 5, 0, 0]


def test_a_round_begins_with_two_ends_by_tick_and_begins_again() -> None:
    play = arenas(1)
    board = play[Arena]
    assert board.phase.tolist() == [WAITING] * 4
    play.join(2)
    play.tick()
    begun = play.core.tick
    assert board.phase.tolist() == [RUNNING, WAITING, WAITING, WAITING]
    assert (board.round[0], board.end_tick[0]) == (1, begun + ROUND_SECONDS * HZ)
    play[Fighter].score[play.avatar(2, Fighter)] = 3
    play.ticks(ROUND_SECONDS * HZ - 1)
    assert board.phase[0] == RUNNING
    play.tick()
    assert board.phase[0] == OVER
    assert board.winner[0] == play[Fighter].ids[play.avatar(2, Fighter)]
    assert (play.account(1, "wins"), play.account(2, "wins")) == (0, 1)
    play.ticks(PAUSE_SECONDS * HZ + 1)
    assert (board.phase[0], board.round[0]) == (RUNNING, 2)
    assert play[Fighter].score.tolist() == [0, 0]
    assert play.account(1, "rounds") == 2


def test_a_round_ends_when_one_is_left_and_equals_are_decided_by_age() -> None:
    play = arenas(1, 2, 3)
    play[Fighter].score = 2
    play.leave(3)
    play.tick()
    assert play[Arena].phase[0] == RUNNING
    play.leave(2)
    play.tick()
    assert play[Arena].phase[0] == OVER
    assert play[Arena].winner[0] == play[Fighter].ids[0]


def test_a_round_without_a_score_has_no_winner() -> None:
    play = arenas(1, 2)
    play.ticks(ROUND_SECONDS * HZ)
    assert play[Arena].phase[0] == OVER
    assert play[Arena].winner[0] == 0


def test_arenas_keep_time_by_themselves() -> None:
    play = arenas(*range(1, 11))
    play.ticks(50)
    play.join(*range(11, 14))
    play.tick()
    first, second = play[Arena].end_tick[:2].tolist()
    assert second - first == 51


def test_five_hits_fell_and_the_fallen_returns() -> None:
    play = arenas(1, 2)
    face_off(play, 1, 2)
    play.tick([(1, Act, FIRE_RIGHT), (2, Act, STILL)])
    victim = play.avatar(2, Fighter)
    for _ in range(60):
        if play[Fighter].hp[victim] == 0:
            break
        play.tick()
    assert play[Fighter].hp[victim] == 0
    assert play[Fighter].score[play.avatar(1, Fighter)] == 1
    play.tick([(2, Act, (1, 1, 0, 1))])
    where = (play[Fighter].at.x[victim], play[Fighter].at.y[victim])
    play.ticks(20)
    assert (play[Fighter].at.x[victim], play[Fighter].at.y[victim]) == where
    play.ticks(20)
    assert play[Fighter].hp[victim] > 0


def test_nobody_shoots_before_the_round() -> None:
    play = arenas(1)
    play.tick([(1, Act, FIRE_RIGHT)])
    play.ticks(10)
    assert len(play[Shot]) == 0


def test_shots_stay_in_their_arena() -> None:
    play = arenas(*range(1, 2 * SEATS + 1))
    face_off(play, 1, 2)
    play.tick([(player, Act, (0, 0, player * 12, 1)) for player in range(1, 2 * SEATS + 1)])
    for _ in range(100):
        play.tick()
        islands = islands_of(play.shard.grid, play.shard.bounds)
        shots = play[Shot]
        assert bool((shots.at.x >= islands.x0[shots.arena]).all())
        assert bool((shots.at.x < islands.x0[shots.arena] + islands.side).all())


@pytest.mark.parametrize("direction", [(1, 0), (0, -1), (1, 1), (-1, 1)])
def test_fighters_run_at_one_speed_and_stop_at_walls(direction: tuple[int, int]) -> None:
    play = arenas(1)
    fighters = play[Fighter]
    face_off(play, 1, 1)
    play.tick([(1, Act, (*direction, 0, 0))])
    speed2 = int(fighters.at.vx[0]) ** 2 + int(fighters.at.vy[0]) ** 2
    assert 23 * ONE / HZ <= speed2**0.5 <= 24 * ONE / HZ
    play.ticks(100)
    assert (fighters.at.vx[0], fighters.at.vy[0]) == (0, 0)
    assert fighters.hp[0] == HP_MAX
    play.core.encode()
    play.tick()
    assert play.core.encode().data == b"", "who stands at a wall costs no bytes"


def test_shots_are_not_flown_through() -> None:
    assert RADIUS > 0
    for offset in range(6, 16):
        play = arenas(1, 2)
        face_off(play, 1, 2)
        play[Fighter].at.x[play.avatar(2, Fighter)] += (offset - 10) * ONE
        play.tick([(1, Act, FIRE_RIGHT)])
        play.tick([(1, Act, STILL)])
        play.ticks(20)
        assert play[Fighter].hp[play.avatar(2, Fighter)] == HP_MAX - 1, offset
