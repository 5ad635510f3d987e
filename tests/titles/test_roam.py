"""Roam: as plain as a title for measuring should be."""

from __future__ import annotations

import numpy as np

from overworld.game import Grid
from overworld.titles.roam import SPEED, Avatar, Heading, Roam, Wanderer
from tests.titles.play import Play

PER_TICK = SPEED * 256 // 20


def test_avatars_go_where_they_head_until_told_otherwise() -> None:
    play = Play(Roam())
    play.join(1)
    play.tick()
    avatars = play[Avatar]
    avatars.at.x, avatars.at.y = 100_000, 100_000
    play.tick([(1, Heading, (64, 1))])
    play.ticks(9)
    assert (avatars.at.x[0], avatars.at.y[0]) == (100_000, 100_000 + 10 * PER_TICK)
    play.tick([(1, Heading, (0, 1)), (1, Heading, (128, 0))])
    play.ticks(5)
    assert (avatars.at.vx[0], avatars.at.vy[0]) == (0, 0)


def test_going_straight_costs_no_bytes_and_turning_few() -> None:
    play = Play(Roam(), grid=Grid(width=1024, height=1024, cell=1024, view=64))
    players = range(1, 101)
    play.join(*players)
    play.tick()
    play.tick([(player, Heading, (player, 1)) for player in players])
    play[Avatar].at.x, play[Avatar].at.y = 512 * 256, 512 * 256
    play.core.encode()
    play.tick()
    assert play.core.encode().data == b""
    play.tick([(player, Heading, (player + 30, 1)) for player in players])
    assert len(play.core.encode().data) < 100 * 7


def test_wanderers_turn_every_half_to_whole_second_all_at_one_speed() -> None:
    play = Play(Roam(wanderers=200))
    wanderers = play[Wanderer]
    assert len(wanderers) == 200
    play.ticks(21)
    speed = np.hypot(wanderers.at.vx, wanderers.at.vy)
    assert abs(speed - PER_TICK).max() < 2
    turns = 0
    for _ in range(60):
        before = wanderers.turn_tick.copy()
        play.tick()
        turns += int((wanderers.turn_tick != before).sum())
    assert 200 * 3 * 0.9 < turns < 200 * 6 * 1.1


def test_shards_and_seeds_have_wanderers_in_places_of_their_own() -> None:
    places = []
    for seed, index in ((1, 0), (2, 0), (1, 1)):
        play = Play(Roam(wanderers=50), seed, index, Grid(width=256, height=128, cell=32, shards=(2, 1)))
        places.append(tuple((play[Wanderer].at.x - play.shard.bounds[0]).tolist()))
    assert len(set(places)) == 3


def test_leaving_takes_the_avatar_along() -> None:
    play = Play(Roam())
    play.join(1, 2)
    play.tick()
    play.leave(1)
    play.tick()
    assert len(play[Avatar]) == 1
    assert play.avatar(2, Avatar) == 0
