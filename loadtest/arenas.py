"""What many small matches cost one shard: arenas of ten in `duel`, played as people do, without any I/O.

Every player changes its sticks each half to whole second. What is timed is what a worker does with the tick itself:
step, encoding, the journal's record and its chain. Links, Redis and snapshots are not in it.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overworld.game import Grid, contract_of
from overworld.shard import record as records
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.shard.record import GENESIS, Record
from overworld.titles.duel import Duel, Fighter

Ints = npt.NDArray[np.int64]

SEATS = 10
CELL = 96
PITCH = 2
"""Cells from one arena to the next: a view is one cell long."""
TICK_MS = 50.0
JOINS_PER_TICK = 500
WARM_TICKS = 20
TURN_TICKS = (10, 20)
"""Ticks between two inputs of a player, at least and at most."""


@dataclass(frozen=True)
class ArenaCost:
    """Of one shard. `playing`: fighters at the end; `acked`: inputs applied, of `inputs` given. Times in milliseconds a
    tick, `tick_ms` the mean of step, encoding and record together.
    """

    arenas: int
    players: int
    playing: int
    inputs: int
    acked: int
    same_again: bool
    """The journal's records, read back and stepped once more, gave the same digest."""
    step_ms: float
    encode_ms: float
    record_ms: float
    tick_ms: float
    tick_ms_p99: float
    bytes_per_player_s: float
    """Of all cells' updates, each counted once for every one of the ten who see it."""

    @property
    def holds(self) -> bool:
        """Whether ticks of one core keep up at 20 Hz: p99 too."""
        return self.tick_ms_p99 < TICK_MS


class Players:
    """Ten in each arena, with a chance of their own."""

    def __init__(self, count: int, seed: int) -> None:
        self._chance = np.random.default_rng(seed)
        self._seqs = np.zeros(count, np.int64)
        self._due = self._chance.integers(1, TURN_TICKS[1] + 1, count)

    def inputs(self, tick: int) -> TickInputs:
        """What they send before this tick; players and sessions are numbered alike, from 1."""
        who = np.flatnonzero(self._due <= tick)
        self._due[who] = tick + self._chance.integers(TURN_TICKS[0], TURN_TICKS[1] + 1, len(who))
        self._seqs[who] += 1
        acts = self._chance.integers((-1, -1, 0, 0), (2, 2, 256, 2), (len(who), 4))
        none = np.zeros(len(who), np.int64)
        return TickInputs((), who + 1, self._seqs[who].copy(), none, none + tick - 1, none + 4, acts.ravel())


def measure(arenas: int, ticks: int, seed: int = 1) -> ArenaCost:
    """Seat ten in each of so many arenas, and run them flat out for some ticks."""
    core, again = _shard(arenas, seed), _shard(arenas, seed)
    count = arenas * SEATS
    ready = _seat(core, count)
    for inputs in ready:
        again.step(inputs)
    players, times = Players(count, seed), np.zeros((3, ticks))
    given = acked = size = 0
    data = b""
    for tick in range(-WARM_TICKS, ticks):
        inputs = players.inputs(core.tick + 1)
        began_s = time.perf_counter()
        outcome = core.step(inputs)
        stepped_s = time.perf_counter()
        updates = core.encode()
        encoded_s = time.perf_counter()
        data = records.encode(Record(0, 1, core.tick, 0, "1", inputs, b"", b"", GENESIS))
        records.chain(GENESIS, data)
        done_s = time.perf_counter()
        given, acked = given + len(inputs), acked + len(outcome.acks[0])
        if tick >= 0:
            times[:, tick] = stepped_s - began_s, encoded_s - stepped_s, done_s - encoded_s
            size += len(updates.data)
        again.step(records.decode(data).inputs)
    times *= 1e3
    whole = np.sort(times.sum(axis=0))
    step_ms, encode_ms, record_ms = (statistics.median(row.tolist()) for row in times)
    return ArenaCost(
        arenas, count, len(core.shard[Fighter]), given, acked, core.digest() == again.digest(), step_ms, encode_ms,
        record_ms, float(whole.mean()), float(whole[math.ceil(0.99 * ticks) - 1]),
        size * SEATS / count / ticks * core.contract.grid.tick_hz,
    )  # fmt: skip


def largest(sizes: list[ArenaCost]) -> int:
    """The largest number of arenas that holds with all smaller ones; 0 where none does."""
    found = 0
    for cost in sorted(sizes, key=lambda cost: cost.arenas):
        if not cost.holds:
            break
        found = cost.arenas
    return found


def _shard(arenas: int, seed: int) -> ShardCore:
    across = math.ceil(math.sqrt(arenas))
    side = across * PITCH * CELL
    contract = contract_of(Duel(), "arenas", seed, Grid(width=side, height=side, cell=CELL, view=CELL))
    core = ShardCore(contract, Duel(), 0)
    core.setup()
    core.encode()
    return core


def _seat(core: ShardCore, count: int) -> list[TickInputs]:
    """Join them all, some a tick. Returns what entered."""
    entered = []
    for first in range(1, count + 1, JOINS_PER_TICK):
        numbers = range(first, min(first + JOINS_PER_TICK, count + 1))
        entered.append(TickInputs(tuple((SessionEvent.JOIN, number, number) for number in numbers)))
        core.step(entered[-1])
        core.encode()
    return entered
