"""What an operator asks first of a shard, as plain data."""

from __future__ import annotations

from typing import Any

from overworld.worker.gauges import entities_of, players_of
from overworld.worker.host import ShardHost
from overworld.worker.load import LoadBook


def shard_status(shard: int, host: ShardHost, loads: LoadBook) -> dict[str, Any]:
    """One row of a worker's status."""
    core = host.core
    return {
        "shard": shard,
        "epoch": host.epoch,
        "phase": host.phase.value,
        "tick": core.tick if core else 0,
        "held": host.held,
        "players": players_of(core) if core else 0,
        "entities": entities_of(core) if core else 0,
        "tick_ms": round(loads.tick_ms(shard), 3),
        "cpu_ms_per_s": round(loads.cost(shard) or 0.0, 2),
        "snapshot_age_s": round(host.snapshot_age_s, 1),
    }
