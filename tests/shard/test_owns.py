"""What only its owner may see."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from overworld.shard import owns
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.wire.v1 import client_pb2
from tests.shard.meadow import Sheep, meadow_core


@given(
    st.lists(
        st.tuples(st.integers(0, 2**50), st.integers(-1, 9), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3)),
        min_size=1,
        max_size=6,
    )
)
def test_official_library_reads_each_piece(players: list[tuple[int, int, list[int]]]) -> None:
    rows = np.zeros((len(players), 5), np.int64)
    for i, (entity, kind, values) in enumerate(players):
        rows[i, :2] = entity, kind
        rows[i, 2 : 2 + len(values)] = values
    sizes, data = owns.encode(rows, np.array([len(p[2]) for p in players], np.int64))
    assert int(sizes.sum()) == len(data)
    at = 0
    for size, (entity, kind, values) in zip(sizes.tolist(), players, strict=True):
        (own,) = client_pb2.Frame.FromString(data[at : at + size]).owns
        assert (own.entity, own.kind, list(own.values)) == (entity, max(kind, 0), values)
        at += size


def test_a_piece_goes_out_when_something_changed_and_not_else() -> None:
    core = meadow_core()
    told = core.step(TickInputs(events=((SessionEvent.JOIN, 100, 1), (SessionEvent.JOIN, 200, 2)))).owns
    assert told[0].tolist() == [100, 200]
    assert len(core.step(TickInputs()).owns[0]) == 0
    row = core.shard[Sheep].rows_of(core.shard.players.avatar[1:2])
    core.shard[Sheep].hunger[row] = 12
    sessions, _, data = core.step(TickInputs()).owns
    assert sessions.tolist() == [200]
    assert list(client_pb2.Frame.FromString(data).owns[0].values) == [12]


def test_a_new_player_does_not_shift_what_others_were_told() -> None:
    core = meadow_core()
    core.step(TickInputs(events=((SessionEvent.JOIN, 100, 5),)))
    assert core.step(TickInputs(events=((SessionEvent.JOIN, 200, 3),))).owns[0].tolist() == [200]
