"""Snapshots hold the whole state: a shard goes on from one as if it had never stopped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.errors import SnapshotCorrupt
from overworld.game import Int32, Title, UInt8, contract_of
from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.shard.digest import column_digests
from overworld.shard.inputs import SessionEvent, TickInputs
from tests.shard.meadow import Cloud, Meadow, Sheep, Weather, meadow_core

JOIN = TickInputs(events=((SessionEvent.JOIN, 100, 1), (SessionEvent.JOIN, 200, 2)))


def encoded(core: ShardCore) -> bytes:
    return snapshot.encode(snapshot.freeze(core), core, epoch=4, chain=b"c" * 16, wall_ms=5)


def restored(core: ShardCore, title: Title | None = None) -> ShardCore:
    title = title or core.title
    fresh = ShardCore(contract_of(title, "test", seed=core.contract.seed), title, core.index)
    snapshot.restore(fresh, encoded(core))
    return fresh


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 25), st.integers(1, 25))
def test_running_on_from_a_snapshot_is_running_on(seed: int, before: int, after: int) -> None:
    core = meadow_core(seed=seed)
    core.step(JOIN)
    for _ in range(before):
        core.step(TickInputs())
    twin = restored(core)
    assert twin.tick == core.tick
    for _ in range(after):
        core.step(TickInputs())
        twin.step(TickInputs())
        assert twin.digest() == core.digest()


def test_a_frozen_state_is_not_touched_by_later_ticks() -> None:
    core = meadow_core()
    frozen = snapshot.freeze(core)
    first = snapshot.encode(frozen, core, epoch=1, chain=b"", wall_ms=0)
    for _ in range(5):
        core.step(TickInputs())
    assert snapshot.encode(frozen, core, epoch=1, chain=b"", wall_ms=0) == first


@pytest.mark.parametrize("cut", [0, 3, 7, 100, -1])
def test_torn_snapshots_are_refused(cut: int) -> None:
    core = meadow_core()
    with pytest.raises(SnapshotCorrupt):
        snapshot.restore(meadow_core(), encoded(core)[:cut])


def test_a_changed_value_disagrees_with_the_digest() -> None:
    core = meadow_core()
    data = bytearray(encoded(core))
    data[-1] ^= 1
    with pytest.raises(SnapshotCorrupt, match="digest"):
        snapshot.restore(meadow_core(), bytes(data))


def test_another_shards_snapshot_is_refused() -> None:
    with pytest.raises(SnapshotCorrupt, match="shard 1"):
        snapshot.restore(meadow_core(0), encoded(meadow_core(1)))


def test_a_newer_format_is_refused_by_name() -> None:
    data = bytearray(encoded(meadow_core()))
    data[9] = 9
    with pytest.raises(SnapshotCorrupt, match="format 9"):
        snapshot.restore(meadow_core(), bytes(data))


class Sheep2(Sheep):
    mood = UInt8(default=50)
    debt = Int32(default=-3)


Sheep2.__name__ = "Sheep"


class Meadow2(Meadow):
    version = 2
    entities = (Sheep2, Cloud, Weather)

    def migrate(self, table: str, from_version: int, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if table == "Sheep" and from_version == 1:
            columns["debt"] = columns["wool"] * 2
        return columns


def test_a_newer_title_fills_new_fields_and_migrates() -> None:
    core = meadow_core()
    newer = restored(core, Meadow2())
    sheep = newer.shard[Sheep2]
    assert sheep.ids.tolist() == core.shard[Sheep].ids.tolist()
    assert set(sheep.mood.tolist()) == {50}
    assert sheep.debt.tolist() == (core.shard[Sheep].wool * 2).tolist()


def test_digests_name_the_column_that_differs() -> None:
    one, two = meadow_core(), meadow_core()
    assert one.digest() == two.digest()
    two.shard[Sheep].wool[3] += 1
    assert one.digest() != two.digest()
    a, b = column_digests(one.shard), column_digests(two.shard)
    assert [name for name in a if a[name] != b[name]] == ["Sheep.wool"]
