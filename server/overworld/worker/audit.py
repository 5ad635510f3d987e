"""The last ticks' replicated state, for whoever compares what clients see with the truth. Off unless asked for: it
copies every replicated column at every tick.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from overworld.shard.core import ShardCore
from overworld.worker.cell_checks import CellChecks
from overworld.world.grid import Grid
from overworld.world.schema import Kind

Ints = npt.NDArray[np.int64]


class AuditRing:
    """The last `ticks` ticks of one shard; only committed ones are shown. With 0 it keeps nothing and costs
    nothing.
    """

    def __init__(self, ticks: int) -> None:
        self.checks = CellChecks()
        """Questions about single ticks to come: those need no ring."""
        self._ticks = ticks
        self._committed = -1
        self._kept: OrderedDict[int, list[tuple[Kind, Ints, Ints]]] = OrderedDict()

    def keep(self, core: ShardCore) -> None:
        """Copy the state after a step."""
        if self.checks.waiting:
            self.checks.look(core)
        if not self._ticks:
            return
        self._kept[core.tick] = [(t.kind, t.ids.copy(), t.public.copy()) for t in core.shard.tables]
        while len(self._kept) > self._ticks:
            self._kept.popitem(last=False)

    def commit(self, tick: int) -> None:
        """Everything up to this tick may be shown."""
        self._committed = max(self._committed, tick)
        if self.checks.waiting:
            self.checks.commit(tick)

    @property
    def ticks(self) -> list[int]:
        """The ticks that can be shown, ascending."""
        return [tick for tick in self._kept if tick <= self._committed]

    def state(self, grid: Grid, shard: int, tick: int) -> dict[str, Any] | None:
        """One tick as plain data: by kind the ids, world cells and replicated columns. None where it is not kept."""
        if tick > self._committed or tick not in self._kept:
            return None
        kinds = []
        for number, (kind, ids, public) in enumerate(self._kept[tick]):
            if kind.motion is not None:
                cells = grid.cells_of(public[0], public[1])
            else:
                x0, y0, _, _ = grid.bounds(shard)
                cells = np.full(len(ids), grid.cells_of(np.array([x0]), np.array([y0]))[0])
            kinds.append(
                {
                    "kind": number,
                    "name": kind.name,
                    "ids": ids.tolist(),
                    "cells": cells.tolist(),
                    "columns": {name: public[i].tolist() for i, name in enumerate(kind.replicated)},
                }
            )
        return {"shard": shard, "tick": tick, "kinds": kinds}
