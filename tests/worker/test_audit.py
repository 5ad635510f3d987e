"""The audit ring shows committed ticks, as they were."""

from __future__ import annotations

from overworld.shard.inputs import TickInputs
from overworld.worker.audit import AuditRing
from tests.shard.meadow import Sheep, meadow_core


def test_only_committed_ticks_are_shown_and_only_the_last_ones_kept() -> None:
    core, ring = meadow_core(), AuditRing(3)
    sheep_at: dict[int, list[int]] = {}
    for _ in range(6):
        core.step(TickInputs())
        sheep_at[core.tick] = core.shard[Sheep].at.x.tolist()
        ring.keep(core)
    assert ring.ticks == []
    ring.commit(5)
    assert ring.ticks == [4, 5]
    grid = core.contract.grid
    state = ring.state(grid, 0, 5)
    assert state is not None
    assert state["kinds"][0]["columns"]["x"] == sheep_at[5]
    assert "secret" not in state["kinds"][0]["columns"]
    assert ring.state(grid, 0, 6) is None
    assert ring.state(grid, 0, 3) is None


def test_cells_are_where_clients_hold_the_entities() -> None:
    core, ring = meadow_core(shard=3), AuditRing(1)
    core.step(TickInputs())
    ring.keep(core)
    ring.commit(core.tick)
    grid = core.contract.grid
    state = ring.state(grid, 3, core.tick)
    assert state is not None
    sheep, _, weather = state["kinds"]
    at = core.shard[Sheep].at
    assert sheep["cells"] == grid.cells_of(at.x, at.y).tolist()
    assert weather["cells"] == [4 * 8 + 4], "what does not move is in its shard's first cell"


def test_without_ticks_it_keeps_nothing() -> None:
    core, ring = meadow_core(), AuditRing(0)
    core.step(TickInputs())
    ring.keep(core)
    ring.commit(core.tick)
    assert ring.ticks == []
