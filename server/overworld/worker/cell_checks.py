"""Questions about a shard's cells at a tick to come: for load tests, which compare what players see with the truth
while the world runs. Costs nothing while nobody asks.

Who asks names a tick ahead, so that both sides note the same tick, and nothing has to be remembered for questions that
nobody asks. Answered only once the tick is committed: as a player would be.

| bound | beyond it |
|---|---|
| `CELLS_MAX` cells a question, `TICKS_AHEAD_MAX` ticks ahead | refused with 400 or 409 |
| `WAITING_MAX` questions of a shard | refused with 409 |
| `ROWS_MAX` rows an answer | digests and counts only |
| `ANSWER_S` | 409: the shard sleeps, stands still, or has gone elsewhere |
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from overworld import telemetry
from overworld.admin.node import flag_of, number_of
from overworld.errors import AdminError
from overworld.shard.core import ShardCore
from overworld.shard.digest import cell_digest
from overworld.world.schema import Kind

Ints = npt.NDArray[np.int64]

CELLS_MAX = 128
TICKS_AHEAD_MAX = 200
WAITING_MAX = 64
ROWS_MAX = 4096
ANSWER_S = 12.0
MOTION_COLUMNS = 4
"""x, y, vx, vy come first in the replicated columns of what moves."""


@dataclass(slots=True)
class _Question:
    tick: int
    cells: Ints
    with_rows: bool
    answer: asyncio.Future[dict[str, Any]]
    found: dict[str, Any] | None = None


class CellChecks:
    """The questions about one shard."""

    def __init__(self) -> None:
        self.waiting: list[_Question] = []

    def ask(self, tick: int, now_tick: int, cells: list[int], *, with_rows: bool) -> asyncio.Future[dict[str, Any]]:
        """What will stand in these cells at a tick. Raises AdminError 409 where that is past, too far ahead, or too
        many ask.
        """
        if not now_tick < tick <= now_tick + TICKS_AHEAD_MAX:
            raise AdminError(409, f"tick {tick} is not within the {TICKS_AHEAD_MAX} after {now_tick}")
        self.waiting = [question for question in self.waiting if not question.answer.done()]
        if len(self.waiting) >= WAITING_MAX:
            raise AdminError(409, f"{WAITING_MAX} questions wait already")
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.waiting.append(_Question(tick, np.array(sorted(set(cells)), np.int64), with_rows, answer))
        return answer

    def look(self, core: ShardCore) -> None:
        """After a step: note what was asked about this tick."""
        asked = [question for question in self.waiting if question.tick == core.tick]
        if not asked:
            return
        grid = core.contract.grid
        x0, y0, _, _ = grid.bounds(core.index)
        first = int(grid.cells_of(np.array([x0]), np.array([y0]))[0])
        tables = [
            (
                table.kind,
                grid.cells_of(table.public[0], table.public[1])
                if table.kind.motion is not None
                else np.full(len(table), first),
                table.ids,
                table.public,
            )
            for table in core.shard.tables
        ]
        for question in asked:
            question.found = _found(question, tables)

    def commit(self, tick: int) -> None:
        """Everything up to this tick may be told."""
        kept = []
        for question in self.waiting:
            if question.found is None or question.tick > tick:
                kept.append(question)
            elif not question.answer.done():
                question.answer.set_result(question.found)
        self.waiting = kept


def exact_columns(kind_tolerance: int, columns: Ints) -> Ints:
    """The replicated columns, int64[columns, n], in which a client must agree to the last bit: all of them, or those
    behind the motion where a client may be a little off in place.
    """
    return columns[MOTION_COLUMNS:] if kind_tolerance else columns


def _found(question: _Question, tables: list[tuple[Kind, Ints, Ints, Ints]]) -> dict[str, Any]:
    chosen = [
        (kind, cells, np.flatnonzero(np.isin(cells, question.cells)), ids, public)
        for kind, cells, ids, public in tables
    ]
    tolerances = [kind.motion.tolerance if kind.motion is not None else 0 for kind, _, _, _, _ in chosen]
    cells = []
    for cell in question.cells.tolist():
        kinds = []
        for number, (_, of_row, rows, ids, public) in enumerate(chosen):
            mine = rows[of_row[rows] == cell]
            if len(mine):
                kinds.append((number, ids[mine], exact_columns(tolerances[number], public[:, mine])))
        count = sum(len(ids) for _, ids, _ in kinds)
        cells.append({"cell": cell, "entities": count, "digest": cell_digest(kinds)})
    found: dict[str, Any] = {"tick": question.tick, "tolerances": tolerances, "cells": cells}
    if question.with_rows and sum(len(rows) for _, _, rows, _, _ in chosen) <= ROWS_MAX:
        found["rows"] = [
            [number, int(ids[row]), int(of_row[row]), *public[:, row].tolist()]
            for number, (_, of_row, rows, ids, public) in enumerate(chosen)
            for row in rows.tolist()
        ]
    return found


# ---------------------------------------------------------------- over the admin API


class Holder(Protocol):
    """What keeps a shard's questions."""

    checks: CellChecks


class Checked(Protocol):
    """What a question needs of a shard's host."""

    @property
    def audit(self) -> Holder:
        """Where the questions are kept."""

    @property
    def core(self) -> ShardCore | None:
        """Its state; None before it is recovered and while it is away."""

    @property
    def epoch(self) -> int:
        """Under which it is run."""


async def answered(host: Checked | None, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to {"shard", "tick", "cells": [...], "rows": bool}. Raises AdminError."""
    try:
        found = await _answered(host, body)
    except AdminError as error:
        telemetry.cell_checks_total.labels(str(error.status)).inc()
        raise
    telemetry.cell_checks_total.labels("200").inc()
    return found


async def _answered(host: Checked | None, body: Mapping[str, Any]) -> dict[str, Any]:
    shard, tick, with_rows = number_of(body, "shard"), number_of(body, "tick"), flag_of(body, "rows")
    if host is None or host.core is None:
        raise AdminError(409, f"shard {shard} does not run here")
    grid = host.core.contract.grid
    cells = body.get("cells")
    if not isinstance(cells, list) or not 0 < len(cells) <= CELLS_MAX or not all(type(c) is int for c in cells):
        raise AdminError(400, f"cells: a list of 1 to {CELLS_MAX} whole numbers")
    if not all(0 <= cell < grid.cells_x * grid.cells_y for cell in cells):
        raise AdminError(400, "cells: there are no such cells")
    epoch, audit = host.epoch, host.audit
    answer = audit.checks.ask(tick, host.core.tick, cells, with_rows=with_rows)
    try:
        async with asyncio.timeout(ANSWER_S):
            found: dict[str, Any] = await answer
    except TimeoutError:
        raise AdminError(409, f"tick {tick} of shard {shard} was not committed within {ANSWER_S:.0f} s") from None
    return {"shard": shard, "epoch": epoch, **found}
