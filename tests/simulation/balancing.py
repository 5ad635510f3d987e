"""Watches what the balancer decides: never more moves at once than it may, and no shard moved back and forth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from overworld.worker.balance import Balance, Move, ShardState, WorkerState
from tests.simulation.deployment import BALANCE_MOVES_MAX, BALANCE_REST_S
from tests.simulation.lineage import require


@contextmanager
def balance_watched(checks: Counter[str]) -> Iterator[None]:
    """Within it every decision of every balancer is checked, and counted in `checks`."""
    look = Balance.look
    # By what one leader remembers: the next one begins without knowing when a shard was last moved.
    begun_s: dict[tuple[Balance, int], float] = {}

    def watched(
        self: Balance, workers: Iterable[WorkerState], shards: Iterable[ShardState], now_s: float
    ) -> list[Move]:
        moves = look(self, workers, shards, now_s)
        checks["balance looks"] += 1
        checks["balance moves"] += len(moves)
        at_once = len(self.under_way)
        require(at_once <= BALANCE_MOVES_MAX, "balance", f"{at_once} shards are moved at once to even out loads")
        for move in moves:
            require(move.source != move.target, "balance", f"shard {move.shard} is moved to where it is")
            before_s = begun_s.get((self, move.shard), -BALANCE_REST_S)
            rested = now_s - before_s >= BALANCE_REST_S
            require(rested, "balance", f"shard {move.shard} is moved again after {now_s - before_s:.2f} s")
            begun_s[self, move.shard] = now_s
        return moves

    with patch.object(Balance, "look", watched):
        yield
