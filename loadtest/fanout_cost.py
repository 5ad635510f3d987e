"""What the gateway's own work costs for a client and a tick, without the kernel's sends.

    python -m loadtest.fanout_cost

Builds the outputs of a worker beforehand, and times what the gateway does with them: parse, check, fan out to viewers
whose sends do nothing. Prints one line a case, and all of them as one JSON object at the end.
"""

from __future__ import annotations

import gc
import json
import random
import time
from dataclasses import asdict, dataclass

import numpy as np

from overworld.gateway.fanout import Fanout
from overworld.gateway.ticks import decode
from overworld.gateway.views import Viewer, Views
from overworld.wire.v1.link_pb2 import LinkMessage, TickOutput
from overworld.world.grid import Grid

TICKS = 200
CELL = 32
UPDATE_BYTES, KEYFRAME_BYTES = 14, 60
SEED = 1


@dataclass(frozen=True)
class Case:
    """`side`: cells across the world. `moving`, `acked`: share of clients that enter another cell, or get an ack, in a
    tick.
    """

    clients: int
    side: int
    shards: tuple[int, int]
    moving: float
    acked: float


@dataclass(frozen=True)
class Cost:
    """CPU time of one case. `groups`: cells that clients look from."""

    case: Case
    groups: int
    us_per_client_tick: float
    us_per_client_tick_median: float


CASES = [
    Case(clients, side, shards, moving, acked)
    for clients in (500, 1000)
    for side, shards, moving, acked in (
        (16, (1, 1), 0.0, 0.0),
        (32, (1, 1), 0.0, 0.0),
        (32, (1, 1), 0.015, 0.2),
        (32, (2, 2), 0.015, 0.2),
        (4, (1, 1), 0.015, 0.2),
    )
]


@dataclass(frozen=True)
class Stage:
    """A gateway's fan-out with all viewers in place, and what a worker sends it, serialised, in order."""

    grid: Grid
    views: Views
    fanout: Fanout
    outputs: list[bytes]

    def deliver(self, data: bytes) -> None:
        """What the gateway does with one output."""
        output = LinkMessage.FromString(data).output
        assert self.fanout.newer(output.shard, output.epoch, output.tick)
        self.fanout.deliver(decode(output, self.grid))
        self.views.take_watches()


def staged(case: Case, ticks: int = TICKS) -> Stage:
    """One case, ready to run."""
    grid = Grid(width=case.side * CELL, height=case.side * CELL, cell=CELL, shards=case.shards, view=2 * CELL)
    chance = random.Random(SEED)
    views = Views(grid)
    fanout = Fanout(views)
    for shard in range(grid.shard_count):
        views.found(shard)
    centers = {session: chance.randrange(case.side**2) for session in range(1, case.clients + 1)}
    for session, center in centers.items():
        viewer = fanout.viewers[session] = Viewer(session, _send, _acked)
        views.place(viewer, center)
    outputs = [
        _output(grid, shard, tick, centers, case, chance) for tick in range(ticks) for shard in range(grid.shard_count)
    ]
    return Stage(grid, views, fanout, outputs)


def measure(case: Case) -> Cost:
    """Run one case."""
    stage, took_s = staged(case), []
    gc.collect()
    gc.freeze()
    for data in stage.outputs:
        began_s = time.process_time()
        stage.deliver(data)
        took_s.append(time.process_time() - began_s)
    ticks_s = np.array(took_s).reshape(TICKS, stage.grid.shard_count).sum(axis=1)
    groups = {id(viewer.group) for viewer in stage.fanout.viewers.values()}
    per_client = 1e6 / case.clients
    return Cost(case, len(groups), float(ticks_s.mean()) * per_client, float(np.median(ticks_s)) * per_client)


def _send(frame: bytearray, offset: int) -> None:
    """Stands for the kernel."""


def _acked(seq: int) -> None:
    """Stands for the session."""


def _output(grid: Grid, shard: int, tick: int, centers: dict[int, int], case: Case, chance: random.Random) -> bytes:
    """A tick in which every cell of the shard changed."""
    cells = np.array([c for c in range(grid.cells_x * grid.cells_y) if grid.shard_of_cell(c) == shard], np.uint32)
    here = [session for session, center in centers.items() if grid.shard_of_cell(center) == shard]
    moved = [session for session in here if chance.random() < case.moving]
    for session in moved:
        center = min(max(centers[session] + chance.choice((-1, 1)), 0), case.side**2 - 1)
        if grid.shard_of_cell(center) == shard:
            centers[session] = center
    acked = [session for session in here if chance.random() < case.acked]
    seen = {cell for session in moved for cell in grid.view_of(centers[session]) if chance.random() < 0.3}
    keyed = sorted(cell for cell in seen if grid.shard_of_cell(cell) == shard)
    output = TickOutput(
        shard=shard,
        epoch=1,
        tick=tick + 1,
        update_cells_u32=cells.tobytes(),
        update_sizes_u32=np.full(len(cells), UPDATE_BYTES, np.uint32).tobytes(),
        updates=bytes(UPDATE_BYTES * len(cells)),
        keyframe_cells_u32=np.array(keyed, np.uint32).tobytes(),
        keyframe_sizes_u32=np.full(len(keyed), KEYFRAME_BYTES, np.uint32).tobytes(),
        keyframes=bytes(KEYFRAME_BYTES * len(keyed)),
        view_sessions_i64=np.array(moved, np.int64).tobytes(),
        view_cells_u32=np.array([centers[session] for session in moved], np.uint32).tobytes(),
        ack_sessions_i64=np.array(acked, np.int64).tobytes(),
        ack_seqs_u32=np.full(len(acked), 3 * tick + 1, np.uint32).tobytes(),
    )
    return LinkMessage(output=output).SerializeToString()


def main() -> None:
    """All cases."""
    costs = []
    for case in CASES:
        cost = measure(case)
        costs.append(asdict(cost))
        print(
            f"{case.clients} clients in {cost.groups} cells, {case.shards[0] * case.shards[1]} shards, "
            f"{case.moving:.1%} move, {case.acked:.0%} acked: "
            f"{cost.us_per_client_tick_median:.2f} us a client and tick, {cost.us_per_client_tick:.2f} on average"
        )
    print(json.dumps({"seed": SEED, "ticks": TICKS, "costs": costs}))


if __name__ == "__main__":
    main()
