"""Views follow avatars, and do not flicker on cell borders."""

from __future__ import annotations

import numpy as np

from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.shard.interest import view_cells
from tests.shard.meadow import Sheep, meadow_core


def core_with_avatar_at(x: int, y: int) -> ShardCore:
    core = meadow_core()
    core.step(TickInputs(events=((SessionEvent.JOIN, 100, 1),)))
    put(core, x, y)
    return core


def put(core: ShardCore, x: int, y: int) -> None:
    sheep = core.shard[Sheep]
    row = sheep.rows_of(core.shard.players.avatar)
    sheep.at.x[row], sheep.at.y[row] = x, y


def centre(core: ShardCore) -> int:
    cells = view_cells(core.contract.grid, core.index, core.shard.tables, core.shard.players)
    core.shard.players.view_cell[:] = cells
    return int(cells[0])


def test_the_view_is_centred_on_the_avatars_cell() -> None:
    size = meadow_core().contract.grid.cell_size
    core = core_with_avatar_at(2 * size + size // 2, size + size // 2)
    assert centre(core) == core.contract.grid.cells_x + 2


def test_the_centre_stays_until_the_avatar_is_well_beyond_the_border() -> None:
    size = meadow_core().contract.grid.cell_size
    core = core_with_avatar_at(size // 2, size // 2)
    assert centre(core) == 0
    put(core, size + size // 8 - 1, size // 2)
    assert centre(core) == 0
    put(core, size + size // 8, size // 2)
    assert centre(core) == 1
    put(core, size - 1, size // 2)
    assert centre(core) == 1, "and stays there on the way back"


def test_a_player_without_an_avatar_keeps_the_view() -> None:
    core = core_with_avatar_at(100, 100)
    assert centre(core) == 0
    core.shard.take_avatar(np.array([0]))
    assert centre(core) == 0
    core.shard.players.view_cell[:] = -1
    assert centre(core) == core.contract.grid.cells_x * 2 + 2, "or looks at the middle of the shard"
