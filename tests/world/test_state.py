"""A shard as titles see it: ids, avatars, chance and lengths."""

from __future__ import annotations

import numpy as np
import pytest

from overworld.game import Entity, Grid, Motion, Player, Shard, Title, UInt8, contract_of
from overworld.world.fields import SERVER, Int32


class Cat(Entity):
    at = Motion()


class Dog(Entity):
    at = Motion()
    age = UInt8()


class Owner(Player):
    treats = Int32(audience=SERVER)


class Park(Title):
    name = "park"
    world = Grid(width=128, height=64, cell=32, shards=(2, 1))
    entities = (Cat, Dog)
    player = Owner


def park(index: int = 0, seed: int = 5) -> Shard:
    return Shard(contract_of(Park(), "p", seed=seed), index, Park.entities)


def people(shard: Shard, ids: list[int]) -> None:
    columns = np.zeros((len(shard.players.kind.names), len(ids)), np.int64)
    columns[shard.players.kind.names.index("avatar_kind")] = -1
    shard.players.admit(np.array(ids, np.int64), columns)


def test_ids_are_unique_over_shards_and_kinds_and_never_0() -> None:
    found: list[int] = []
    for index in range(2):
        shard = park(index)
        for kind in (Cat, Dog):
            shard[kind].spawn(50)
            found += shard[kind].ids.tolist()
    assert len(set(found)) == len(found) == 200
    assert min(found) > 0
    assert max(found) < 51 * 4 + 4


def test_streams_go_on_within_a_tick_and_start_anew_with_the_next() -> None:
    shard = park()
    shard.begin_tick(1)
    first, second = shard.random("a", 10, 0, 1000), shard.random("a", 10, 0, 1000)
    other = shard.random("b", 10, 0, 1000)
    assert first.tolist() != second.tolist()
    assert first.tolist() != other.tolist()
    shard.begin_tick(2)
    assert shard.random("a", 10, 0, 1000).tolist() != first.tolist()
    shard.begin_tick(1)
    assert shard.random("a", 20, 0, 1000).tolist() == first.tolist() + second.tolist()


def test_chance_differs_by_shard_and_by_seed() -> None:
    draws = [park(index, seed).random("a", 5, 0, 2**32) for index, seed in [(0, 5), (1, 5), (0, 6)]]
    assert len({tuple(d.tolist()) for d in draws}) == 3


def test_avatars_are_found_from_both_sides() -> None:
    shard = park()
    people(shard, [7, 3, 9])
    dogs, cats = shard[Dog], shard[Cat]
    dogs.spawn(3)
    cats.spawn(1)
    rows = shard.players.rows_of(np.array([9, 3, 7]))
    shard.give_avatar(rows[:2], dogs, np.array([0, 2]))
    shard.give_avatar(rows[2:], cats, np.array([0]))
    assert shard.avatar_rows(rows, Dog).tolist() == [0, 2, -1]
    assert shard.avatar_rows(rows, Cat).tolist() == [-1, -1, 0]
    assert shard.player_rows(dogs, np.array([2, 1, 0, 2])).tolist() == [rows[1], -1, rows[0], rows[1]]
    dogs.remove(np.array([0]))
    assert shard.avatar_rows(rows, Dog).tolist() == [-1, 1, -1]
    shard.take_avatar(rows[1:2])
    assert shard.avatar_rows(rows, Dog).tolist() == [-1, -1, -1]
    assert shard.player_rows(dogs, np.array([0, 1])).tolist() == [-1, -1]


def test_lengths_round_to_the_nearest_unit() -> None:
    assert [park().units(v) for v in (1, 0.5, 2.001, 0)] == [256, 128, 512, 0]


def test_queries_take_columns_points_and_paths() -> None:
    shard = park()
    cats, dogs = shard[Cat], shard[Dog]
    cats.spawn(2)
    dogs.spawn(1)
    cats.at.x[:] = [0, 1_000]
    dogs.at.x[:] = 600
    i, j = shard.near(cats.at, dogs.at, 500)
    assert (i.tolist(), j.tolist()) == ([1], [0])
    i, j = shard.near_points(np.array([590]), np.array([0]), cats.at, 500)
    assert (i.tolist(), j.tolist()) == ([0], [1])
    dogs.at.vx[:] = 600
    i, j = shard.near_swept(cats.at, dogs.at, 10)
    assert (i.tolist(), j.tolist()) == ([0], [0])


def test_a_kick_is_noted_for_the_end_of_the_tick() -> None:
    shard = park()
    people(shard, [1, 2])
    shard.kick(np.array([1]))
    assert shard.players.kick_code.tolist() == [0, 4012]


def test_a_table_of_a_kind_that_is_not_declared_is_an_error() -> None:
    with pytest.raises(KeyError):
        _ = park()[type("Bird", (Entity,), {})]
