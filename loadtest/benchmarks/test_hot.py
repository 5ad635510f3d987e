"""The functions that every tick or every message goes through, each alone: `make bench`, and `make bench-compare`.

Each also checks what came out: a benchmark of a function that does nothing is a fast one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from loadtest import arenas, fanout_cost
from loadtest.titles import crowded_grid
from overworld.client.mirror import Mirror
from overworld.game import Grid, contract_of
from overworld.gateway import pieces
from overworld.gateway.inputs import Forward, InputColumns, InputRules
from overworld.gateway.welcome import Welcomes
from overworld.settings import GatewaySettings, load
from overworld.shard import record as records
from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.shard.inbox import Inbox, InputColumnsIn
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.shard.record import GENESIS, Record
from overworld.titles.roam import Roam, Wanderer
from overworld.wire.v1 import client_pb2 as pb

ENTITIES = 10_000
PLAYERS = 500
ROUNDS = 100
NOTHING = TickInputs()


T = TypeVar("T")


def pedantic(
    benchmark: BenchmarkFixture, run: Callable[..., T], arguments: Callable[[], tuple[Any, ...]], rounds: int = ROUNDS
) -> T:
    """Time single calls, each with arguments made for it outside of the time."""
    found: T = benchmark.pedantic(run, setup=lambda: (arguments(), {}), rounds=rounds)  # type: ignore[no-untyped-call]
    return found


def roaming(count: int, grid: Grid | None = None) -> ShardCore:
    """A shard of wanderers that has begun."""
    title = Roam(wanderers=count)
    core = ShardCore(contract_of(title, "bench", 1, grid or crowded_grid(count)), title, 0)
    core.setup()
    core.encode()
    core.step(NOTHING)
    return core


def playing(count: int) -> ShardCore:
    """A shard of so many players."""
    core = roaming(0, crowded_grid(count))
    core.step(TickInputs(tuple((SessionEvent.JOIN, number, number) for number in range(1, count + 1))))
    return core


def headings(count: int, seq: int) -> TickInputs:
    """One input of each player."""
    who = np.arange(1, count + 1)
    same = np.zeros(count, np.int64)
    values = np.stack((who * 37 % 256, same + 1), axis=1).ravel()
    return TickInputs((), who, same + seq, same, same, same + 2, values)


def test_tick_step(benchmark: BenchmarkFixture) -> None:
    core = roaming(ENTITIES)
    before = core.shard[Wanderer].at.x.copy()
    benchmark(core.step, NOTHING)
    assert (core.shard[Wanderer].at.x != before).any()


def test_tick_step_with_inputs(benchmark: BenchmarkFixture) -> None:
    core, seqs = playing(PLAYERS), iter(range(1, 1000))
    outcome = pedantic(benchmark, core.step, lambda: (headings(PLAYERS, next(seqs)),))
    assert len(outcome.acks[0]) == PLAYERS


def test_encode_cells(benchmark: BenchmarkFixture) -> None:
    core = roaming(ENTITIES)

    def stepped() -> tuple[()]:
        core.step(NOTHING)
        return ()

    updates = pedantic(benchmark, core.encode, stepped)
    assert len(updates.data) > 0


def test_keyframes(benchmark: BenchmarkFixture) -> None:
    core = roaming(ENTITIES)
    core.encode()
    cells = np.arange(core.contract.grid.cells_x * core.contract.grid.cells_y)
    found = benchmark(core.keyframes, cells)
    assert len(found.data) > ENTITIES


def _delivers(benchmark: BenchmarkFixture, case: fanout_cost.Case) -> None:
    stage = fanout_cost.staged(case, ROUNDS)
    outputs: Iterator[bytes] = iter(stage.outputs)
    pedantic(benchmark, stage.deliver, lambda: (next(outputs),))
    assert not stage.fanout.newer(0, 1, 1)


def test_frame_assembly(benchmark: BenchmarkFixture) -> None:
    """Hardly two viewers look from the same cell: a frame is joined for almost each."""
    _delivers(benchmark, fanout_cost.Case(PLAYERS, side=32, shards=(1, 1), moving=0.015, acked=0.2))


def test_fan_out(benchmark: BenchmarkFixture) -> None:
    """All look from one cell: one frame, many sends."""
    _delivers(benchmark, fanout_cost.Case(PLAYERS, side=1, shards=(1, 1), moving=0.0, acked=0.2))


def test_input_decode_in_the_gateway(benchmark: BenchmarkFixture) -> None:
    rules = InputRules(contract_of(Roam(), "bench"))
    messages = [
        pb.ClientMessage(input=pb.Input(seq=i + 1, kind=0, values=[i % 256, 1])).SerializeToString()
        for i in range(PLAYERS)
    ]

    def decode() -> bytes:
        columns = InputColumns(0)
        for session, data in enumerate(messages):
            message = pb.ClientMessage.FromString(data).input
            values = rules.check(message.kind, message.values)
            columns.append(session, Forward(message.seq, message.kind, message.seen_tick, values))
        return columns.take().SerializeToString()

    assert len(benchmark(decode)) > 20 * PLAYERS


def test_input_decode_in_the_worker(benchmark: BenchmarkFixture) -> None:
    core, batch = playing(PLAYERS), headings(PLAYERS, 1)
    inbox = Inbox(core.contract)
    arrived = InputColumnsIn(batch.sessions, batch.seqs, batch.kinds, batch.seen_ticks, batch.counts, batch.values)

    def take() -> TickInputs:
        inbox.inputs(arrived)
        return inbox.take(core.shard, core.sessions)[0]

    assert len(benchmark(take)) == PLAYERS


def test_journal_record_encode(benchmark: BenchmarkFixture) -> None:
    record = Record(0, 1, 7, 0, "1", headings(PLAYERS, 1), b"", b"", GENESIS)

    def written() -> bytes:
        data = records.encode(record)
        records.chain(GENESIS, data)
        return data

    data = benchmark(written)
    assert len(records.decode(data).inputs) == PLAYERS


def test_journal_record_decode(benchmark: BenchmarkFixture) -> None:
    data = records.encode(Record(0, 1, 7, 0, "1", headings(PLAYERS, 1), b"", b"", GENESIS))
    assert len(benchmark(records.decode, data).inputs) == PLAYERS


def test_snapshot_encode(benchmark: BenchmarkFixture) -> None:
    core = roaming(ENTITIES)

    def encoded() -> bytes:
        return snapshot.encode(snapshot.freeze(core), core, epoch=1, chain=GENESIS, wall_ms=0)

    data = benchmark(encoded)
    assert snapshot.read_head(data).tick == core.tick


def test_snapshot_decode(benchmark: BenchmarkFixture) -> None:
    core, other = roaming(ENTITIES), roaming(ENTITIES)
    core.step(NOTHING)
    data = snapshot.encode(snapshot.freeze(core), core, epoch=1, chain=GENESIS, wall_ms=0)
    benchmark(snapshot.restore, other, data)
    assert other.digest() == core.digest()


def test_state_digest(benchmark: BenchmarkFixture) -> None:
    core = roaming(ENTITIES)
    assert len(benchmark(core.digest)) == 16


def test_arenas_with_inputs(benchmark: BenchmarkFixture) -> None:
    cost = pedantic(benchmark, arenas.measure, lambda: (20, 20), rounds=3)
    assert cost.same_again


def test_mirror_apply(benchmark: BenchmarkFixture) -> None:
    """A client's frame with the updates of 40 in view."""
    core = roaming(40, Grid(width=96, height=96, cell=32, view=64))
    welcome = Welcomes(core.contract, load(GatewaySettings)).piece(1, b"", 0)
    core.encode()
    cells = list(range(9))
    keyframes = core.keyframes(np.array(cells)).data
    mirror = Mirror()
    entered = b"".join(pieces.entered(cell) for cell in cells)
    for data in (welcome, pieces.head(0, 1, core.tick, 0) + entered + keyframes):
        assert mirror.apply(mirror.parse(data))

    def tick() -> tuple[bytes]:
        core.step(NOTHING)
        return (pieces.head(0, 1, core.tick, 0) + core.encode().data,)

    def apply(data: bytes) -> None:
        assert mirror.apply(mirror.parse(data))

    pedantic(benchmark, apply, tick)
    assert sum(1 for _ in mirror.entities(1)) == 40
