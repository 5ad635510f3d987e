"""Questions about cells at a tick to come: answered with the truth of that tick, once it is committed, and bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from overworld.errors import AdminError
from overworld.shard.core import ShardCore
from overworld.shard.digest import cell_digest
from overworld.shard.inputs import TickInputs
from overworld.worker import cell_checks
from overworld.worker.audit import AuditRing
from overworld.worker.cell_checks import CELLS_MAX, TICKS_AHEAD_MAX, WAITING_MAX, CellChecks, answered
from tests.shard.meadow import Sheep, meadow_core

pytestmark = pytest.mark.asyncio


class Host:
    """A shard that ticks when it is told to."""

    epoch = 7

    def __init__(self, core: ShardCore | None = None) -> None:
        self.core = core or meadow_core()
        self.audit = AuditRing(0)

    def tick(self) -> None:
        self.core.step(TickInputs())
        self.audit.keep(self.core)

    def every_cell(self) -> list[int]:
        at = self.core.shard[Sheep].at
        return sorted(set(self.core.contract.grid.cells_of(at.x, at.y).tolist()))


async def asked(host: Host, **body: Any) -> asyncio.Task[dict[str, Any]]:
    task = asyncio.create_task(answered(host, {"shard": 0, **body}))
    await asyncio.sleep(0)
    return task


async def test_the_answer_is_the_truth_of_that_tick_and_comes_with_its_commit() -> None:
    host = Host()
    host.tick()
    cells = host.every_cell()
    task = await asked(host, tick=host.core.tick + 2, cells=cells, rows=True)
    host.tick()
    host.tick()
    sheep = host.core.shard[Sheep]
    ids, public, tick = sheep.ids.copy(), sheep.public.copy(), host.core.tick
    host.tick()
    await asyncio.sleep(0)
    assert not task.done(), "it is not committed"
    host.audit.commit(tick - 1)
    await asyncio.sleep(0)
    assert not task.done()
    host.audit.commit(tick)
    found = await task
    assert (found["shard"], found["epoch"], found["tick"]) == (0, 7, tick)
    grid = host.core.contract.grid
    of_row = grid.cells_of(public[0], public[1])
    rows = [row for row in found["rows"] if row[0] == 0]
    for cell in found["cells"]:
        mine = np.flatnonzero(of_row == cell["cell"])
        wanted = [[0, int(ids[i]), cell["cell"], *public[:, i].tolist()] for i in mine]
        assert [row for row in rows if row[2] == cell["cell"]] == wanted
        kinds = {row[0] for row in found["rows"] if row[2] == cell["cell"]}
        if kinds <= {0}:
            parts = [(0, ids[mine], public[:, mine])] if len(mine) else []
            assert cell["digest"] == cell_digest(parts)
            assert cell["entities"] == len(mine)
    assert host.audit.checks.waiting == []


async def test_a_digest_changes_with_any_value_id_or_row() -> None:
    ids, columns = np.array([3, 9]), np.array([[1, 2], [5, 6]])
    right = cell_digest([(0, ids, columns)])
    assert right == cell_digest([(0, ids.copy(), np.asfortranarray(columns))])
    moved = columns.copy()
    moved[1, 1] += 1
    others = [
        [(0, ids, moved)],
        [(0, np.array([3, 10]), columns)],
        [(1, ids, columns)],
        [(0, ids[:1], columns[:, :1])],
        [(0, ids, columns), (1, ids, columns)],
        [],
    ]
    assert right not in {cell_digest(other) for other in others}
    assert len({cell_digest(other) for other in others}) == len(others)


async def test_what_is_past_too_far_or_nowhere_is_refused() -> None:
    host = Host()
    host.tick()
    now = host.core.tick
    for body, status in (
        ({"tick": now, "cells": [0]}, 409),
        ({"tick": now + TICKS_AHEAD_MAX + 1, "cells": [0]}, 409),
        ({"tick": now + 1, "cells": []}, 400),
        ({"tick": now + 1, "cells": list(range(CELLS_MAX + 1))}, 400),
        ({"tick": now + 1, "cells": [-1]}, 400),
        ({"tick": now + 1, "cells": [10**9]}, 400),
        ({"tick": now + 1, "cells": ["1"]}, 400),
        ({"tick": now + 1, "cells": 1}, 400),
        ({"tick": -1, "cells": [0]}, 400),
        ({"cells": [0]}, 400),
    ):
        with pytest.raises(AdminError) as refused:
            await answered(host, {"shard": 0, **body})
        assert (body, refused.value.status) == (body, status)
    with pytest.raises(AdminError) as refused:
        await answered(None, {"shard": 0, "tick": now + 1, "cells": [0]})
    assert refused.value.status == 409
    assert host.audit.checks.waiting == []


async def test_questions_are_bounded_and_those_nobody_waits_for_make_room() -> None:
    checks = CellChecks()
    answers = [checks.ask(5, 0, [0], with_rows=False) for _ in range(WAITING_MAX)]
    with pytest.raises(AdminError, match="wait already"):
        _ = checks.ask(5, 0, [0], with_rows=False)
    answers[0].cancel()
    _ = checks.ask(5, 0, [0], with_rows=False)
    assert len(checks.waiting) == WAITING_MAX


async def test_a_tick_that_does_not_come_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_checks, "ANSWER_S", 0.05)
    host = Host()
    host.tick()
    with pytest.raises(AdminError, match="was not committed") as refused:
        await answered(host, {"shard": 0, "tick": host.core.tick + 1, "cells": [0]})
    assert refused.value.status == 409
    assert all(question.answer.done() for question in host.audit.checks.waiting)
