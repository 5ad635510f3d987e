"""Split cells: whoever reads the floor knows every row once a second, whatever else he reads or misses."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.client.mirror import Mirror
from overworld.game import Angle, Entity, Grid, Inputs, Interest, Ints, Motion, Shard, Title, UInt8, contract_of
from overworld.gateway.welcome import Welcomes
from overworld.settings import GatewaySettings, load
from overworld.shard.core import ShardCore
from overworld.shard.inputs import TickInputs
from overworld.wire.cells import Streams
from overworld.wire.v1 import client_pb2 as pb

HZ = 8
CELLS = np.arange(4)


class Gnat(Entity):
    """Turns when chance has it."""

    at = Motion(units_per_one=4)
    heading = Angle()
    hp = UInt8()


class Stone(Entity):
    """Has no place; told every 4th tick at most."""

    pace = 4
    colour = UInt8()


class Swarm(Title):
    """Few and busy, so that every way of changing comes up within some ticks."""

    name = "swarm"
    world = Grid(width=64, height=64, cell=32, view=64, tick_hz=HZ, units_per_one=4)
    entities = (Gnat, Stone)
    interest = Interest(rings=(8, 16), plots=2)

    def setup(self, shard: Shard) -> None:
        shard[Gnat].spawn(12)
        shard[Stone].spawn(3)
        gnats = shard[Gnat]
        gnats.at.x[:] = shard.random("x", len(gnats), 0, 256)
        gnats.at.y[:] = shard.random("y", len(gnats), 0, 256)

    def step(self, shard: Shard, inputs: Inputs) -> None:
        gnats, stones = shard[Gnat], shard[Stone]
        turning = np.flatnonzero(shard.random("turn", len(gnats), 0, 6) == 0)
        gnats.at.vx[turning] = shard.random("vx", len(turning), -9, 10)
        gnats.at.vy[turning] = shard.random("vy", len(turning), -9, 10)
        gnats.heading[turning] = shard.random("heading", len(turning), 0, 256)
        hurt = np.flatnonzero(shard.random("hurt", len(gnats), 0, 9) == 0)
        gnats.hp[hurt] = shard.random("hp", len(hurt), 0, 256)
        stones.colour[:] = np.where(shard.random("paint", len(stones), 0, 5) == 0, shard.tick % 256, stones.colour)
        gnats.at.advance()
        gnats.at.bounce(shard.bounds)
        if shard.tick % 7 == 0:
            gnats.remove(shard.random("gone", len(gnats), 0, 9) == 0)
            gnats.spawn(1)


class Reader:
    """A client that reads what is always sent, and of the streams those a test picks."""

    def __init__(self, core: ShardCore) -> None:
        self.mirror = Mirror()
        self.core = core
        self.mirror.apply(self.mirror.parse(Welcomes(core.contract, load(GatewaySettings)).piece(1, b"r", 0)))
        self.held = False
        self.known: dict[tuple[int, int], int] = {}

    def take(self, updates: bytes, streams: bytes) -> None:
        head = pb.Frame(heads=[pb.TickHead(shard=0, epoch=1, tick=self.core.tick)]).SerializeToString()
        whole = b""
        if not self.held:
            self.held = True
            whole = pb.Frame(views=[pb.View(entered=CELLS.tolist())]).SerializeToString()
            whole += self.core.keyframes(CELLS).data
        before = {(row[0], row[1]): row for row in self.mirror.picture()}
        assert self.mirror.apply(self.mirror.parse(head + updates + streams + whole))
        truth = truth_of(self.core)
        picture = {(row[0], row[1]): row for row in self.mirror.picture()}
        assert picture.keys() == truth.keys()
        for key, row in picture.items():
            if row == truth[key]:
                self.known[key] = self.core.tick
            else:
                # Never told in part: exact, or moved on from what it was.
                assert row == moved_on(before[key], self.core), key


def moved_on(row: tuple[int, ...], core: ShardCore) -> tuple[int, ...]:
    if core.contract.kinds[row[0]].motion is None:
        return row
    kind, entity, cell, x, y, vx, vy, *rest = row
    return (kind, entity, cell, x + vx, y + vy, vx, vy, *rest)


def truth_of(core: ShardCore) -> dict[tuple[int, int], tuple[int, ...]]:
    found = {}
    for kind, table in enumerate(core.shard.tables):
        columns: Ints = table.public
        moves = table.kind.motion is not None
        cells = core.contract.grid.cells_of(columns[0], columns[1]) if moves else np.zeros(len(table), np.int64)
        for i, entity in enumerate(table.ids.tolist()):
            found[kind, entity] = (kind, entity, int(cells[i]), *columns[:, i].tolist())
    return found


def pieces(streams: Streams | None, core: ShardCore, wanted: object) -> bytes:
    """The floor, and what `wanted(level, place)` says."""
    if streams is None:
        return b""
    places = core.places
    chosen = []
    for i, place in enumerate(streams.places.tolist()):
        level = place // places.of_level
        if level == places.floor or wanted(level, place):  # type: ignore[operator]
            chosen.append(streams.data[int(streams.offsets[i]) : int(streams.offsets[i + 1])])
    return b"".join(chosen)


def check_populations(core: ShardCore, split: set[int]) -> None:
    """Each split cell's gnats are counted by plot, and nothing else is. Cells that end are counted once more."""
    told = core.populations
    assert (told is not None) or not split
    if told is None:
        return
    assert split <= set(told.cells.tolist())
    rows = told.rows.reshape(len(told.cells), core.places.of_cell)
    gnats = core.shard[Gnat]
    cells = core.contract.grid.cells_of(gnats.at.x, gnats.at.y)
    plots = core.places.plots_of(gnats.at.x, gnats.at.y, cells)
    for cell, counts in zip(told.cells.tolist(), rows, strict=True):
        assert counts.tolist() == np.bincount(plots[cells == cell], minlength=core.places.of_cell).tolist()


@settings(max_examples=60)
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.sets(st.integers(0, 3)), st.integers(0, 2**16 - 1)), min_size=10, max_size=70),
)
def test_every_record_is_exact_and_every_row_has_its_turn(seed: int, script: list[tuple[set[int], int]]) -> None:
    core = ShardCore(contract_of(Swarm(), "w", seed), Swarm(), 0)
    core.setup()
    core.encode()
    everything, nothing, anything = Reader(core), Reader(core), Reader(core)
    split: set[int] = set()
    for turn, (cells, mask) in enumerate(script):
        if turn % 9 == 3:
            split = cells
            core.split(np.array(sorted(split), np.int64))
        core.step(TickInputs())
        updates, streams = core.encode().data, core.streams
        everything.take(updates, pieces(streams, core, lambda level, _: level == 0))
        nothing.take(updates, pieces(streams, core, lambda *_: False))
        anything.take(updates, pieces(streams, core, lambda level, place, m=mask: m >> (level * 4 + place % 4) & 1))
        truth = truth_of(core)
        check_populations(core, split if turn >= 3 else set())
        gnats = {key: row for key, row in truth.items() if key[0] == 0}
        assert {(row[0], row[1]): row for row in everything.mirror.picture() if row[0] == 0} == gnats
        for reader in (everything, nothing, anything):
            assert all(core.tick - reader.known[key] < HZ for key in truth), (turn, split)


def test_what_nobody_wants_split_is_told_as_ever() -> None:
    plain, once = (ShardCore(contract_of(Swarm(), "w", 3), Swarm(), 0) for _ in range(2))
    for core in (plain, once):
        core.setup()
        core.encode()
    once.split(np.array([1, 2]))
    told = []
    for tick in range(40):
        if tick == 20:
            once.split(np.array([], np.int64))
        for core in (plain, once):
            core.step(TickInputs())
        told.append((plain.encode().data, once.encode().data, once.streams))
    assert any(streams is not None for _, _, streams in told[:21])
    assert all(a == b and streams is None for a, b, streams in told[21:])
    assert plain.digest() == once.digest()
