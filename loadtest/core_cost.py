"""What a tick of one shard costs without any I/O: its step, its encoding, its bytes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from loadtest.titles import moving_title
from overworld.game import contract_of
from overworld.shard.core import ShardCore
from overworld.shard.inputs import TickInputs

T = TypeVar("T")
WARM_TICKS = 20


@dataclass(frozen=True)
class CoreCost:
    """Medians over the ticks measured. Times in milliseconds; bytes are of all cells, each counted once."""

    motion: str
    entities: int
    cells: int
    step_ms: float
    encode_ms: float
    tick_ms_p99: float
    bytes_per_entity: float
    changed_bytes_per_tick: int

    @property
    def tick_ms(self) -> float:
        """Step and encoding together."""
        return self.step_ms + self.encode_ms


def measure(motion: str, entities: int, ticks: int) -> CoreCost:
    """Run a world of movers for some ticks, flat out."""
    title = moving_title(motion, entities)
    contract = contract_of(title, "costs", seed=1)
    core = ShardCore(contract, title, 0)
    core.setup()
    core.encode()
    steps, encodes, sizes = [], [], []
    for tick in range(WARM_TICKS + ticks):
        step_s, _ = _timed(lambda: core.step(TickInputs()))
        encode_s, updates = _timed(core.encode)
        if tick >= WARM_TICKS:
            steps.append(step_s * 1e3)
            encodes.append(encode_s * 1e3)
            sizes.append(len(updates.data))
    assert sum(map(len, core.shard.tables)) == entities
    whole = sorted(a + b for a, b in zip(steps, encodes, strict=True))
    return CoreCost(
        motion,
        entities,
        contract.grid.cells_x * contract.grid.cells_y,
        statistics.median(steps),
        statistics.median(encodes),
        whole[min(len(whole) - 1, len(whole) * 99 // 100)],
        statistics.fmean(sizes) / entities,
        round(statistics.fmean(sizes)),
    )


def _timed(run: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result
