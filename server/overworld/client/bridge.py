"""Entities on their way from one shard to another: gone from a cell of the one, not yet in a cell of the other. Shards
tick each by themselves, so between the two frames that tell of it lie a tick or two in which nobody has the entity. The
bridge keeps it in the picture for that long, going on by its velocity. Pure: its time is the ticks frames complete.

The same rule as in `clients/js/src/bridge.js`, and the same price: what truly ends within a step of a border is shown
for `BRIDGE_TICKS` longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from overworld.client.contract import ClientContract
from overworld.client.mirror import Seen

BRIDGE_TICKS = 4
"""An entity that has not come up again after so many ticks of any one shard is gone."""
_SLACK_CELLS = 1 / 64
"""Besides its velocity, an entity may be off by this part of a cell: it was turned or pushed in the tick that took it
over."""
_PUSH = 1 / 8
"""And by this part of its velocity."""


@dataclass(frozen=True)
class Last:
    """An entity with its last values, and the shard it was seen in. `moves`: the first four are x, y, vx, vy."""

    seen: Seen
    shard: int
    moves: bool


@dataclass
class _Crossing:
    last: Last
    ticks: dict[int, int] = field(default_factory=dict)
    """How many each shard completed since."""
    now: int = 0
    """The most of them."""

    def ahead(self) -> Last:
        """As it must be by now."""
        if not self.last.moves or not self.now:
            return self.last
        x, y, vx, vy, *rest = self.last.seen.values
        values = (x + self.now * vx, y + self.now * vy, vx, vy, *rest)
        return replace(self.last, seen=replace(self.last.seen, values=values))


class Bridge:
    """See the module."""

    def __init__(self) -> None:
        self._crossings: dict[int, _Crossing] = {}

    def __len__(self) -> int:
        return len(self._crossings)

    def __contains__(self, entity: int) -> bool:
        return entity in self._crossings

    def get(self, entity: int) -> Last | None:
        """An entity as it must be by now; None where it is not here."""
        crossing = self._crossings.get(entity)
        return crossing.ahead() if crossing is not None else None

    def all(self) -> list[Last]:
        """All, as they must be by now."""
        return [crossing.ahead() for crossing in self._crossings.values()]

    def keep(self, last: Last) -> None:
        """An entity leaves its cell."""
        self._crossings[last.seen.entity] = _Crossing(last)

    def take(self, entity: int) -> bool:
        """It has come up again. False where it was not here."""
        return self._crossings.pop(entity, None) is not None

    def advance(self, ticks: Mapping[int, int]) -> None:
        """Time goes on by so many ticks of each shard."""
        for crossing in self._crossings.values():
            for shard, more in ticks.items():
                total = crossing.ticks.get(shard, 0) + more
                crossing.ticks[shard] = total
                crossing.now = max(crossing.now, total)

    def expire(self) -> list[Last]:
        """Let go of those who waited too long. Returns them as they must be by now."""
        late = [crossing.ahead() for crossing in self._crossings.values() if crossing.now >= BRIDGE_TICKS]
        for last in late:
            del self._crossings[last.seen.entity]
        return late

    def clear(self) -> None:
        """Nobody is on the way any more."""
        self._crossings.clear()


def may_cross(last: Last, contract: ClientContract, holds: Callable[[int], bool]) -> bool:
    """Whether an entity that left a cell of its shard may have gone to another shard: one of whose cells that we hold
    (`holds`) is near enough.
    """
    if not last.moves:
        return False
    x, y, vx, vy = last.seen.values[:4]
    if not vx and not vy:
        return False
    reach = contract.cell_size * _SLACK_CELLS + max(abs(vx), abs(vy)) * _PUSH
    for cy in {_cell(y - reach, contract.cells_y, contract), _cell(y + reach, contract.cells_y, contract)}:
        for cx in {_cell(x - reach, contract.cells_x, contract), _cell(x + reach, contract.cells_x, contract)}:
            cell = cy * contract.cells_x + cx
            if holds(cell) and contract.shard_of(cell) != last.shard:
                return True
    return False


def cell_at(x: int, y: int, contract: ClientContract) -> int:
    """The cell of a place; the nearest one where it lies outside the world."""
    cy, cx = _cell(y, contract.cells_y, contract), _cell(x, contract.cells_x, contract)
    return cy * contract.cells_x + cx


def _cell(v: float, cells: int, contract: ClientContract) -> int:
    return min(cells - 1, max(0, math.floor(v / contract.cell_size)))
