"""A shard, and a bot that watches it through a perfect gateway."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from loadtest.history import BotHistory, Entry, Event
from loadtest.truth import Truth, owns_of_core, rows_of_core
from overworld.game import contract_of
from overworld.shard import record as records
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.shard.record import GENESIS, Record
from overworld.wire.v1 import client_pb2 as pb
from tests.shard.meadow import Meadow

SESSION, PLAYER = 77, 5


@dataclass
class Watched:
    """One shard of a meadow that was watched for a while: the bot's history, the truth, and the journal."""

    core: ShardCore
    history: BotHistory
    truth: Truth
    journal: list[tuple[bytes, bytes]] = field(default_factory=list)
    """(record bytes, chain after it), by tick."""
    cells: list[int] = field(default_factory=list)
    """What the bot looks at."""


def welcome(core: ShardCore) -> pb.Welcome:
    """What a gateway would tell of this world."""
    grid = core.contract.grid
    kinds = [
        pb.Kind(
            name=kind.name,
            moves=kind.motion is not None,
            columns=[
                *([pb.Column(name=n) for n in ("x", "y", "vx", "vy")] if kind.motion else []),
                *(pb.Column(name=c.name, modulo=c.field.modulo) for c in kind.near),
            ],
            owner_columns=[pb.Column(name=c.name) for c in kind.owner],
        )
        for kind in core.contract.kinds
    ]
    return pb.Welcome(
        protocol=1, world="test", title="meadow", session=SESSION, tick_interval_us=50_000, kinds=kinds,
        grid=pb.Grid(
            cells_x=grid.cells_x, cells_y=grid.cells_y, cell_size=grid.cell_size,
            shards_x=grid.shards[0], shards_y=grid.shards[1], view=grid.view,
        ),
        inputs=[
            pb.InputKind(name=i.name, fields=[pb.InputField(name=f.name, min=-1, max=1) for f in i.fields])
            for i in core.contract.inputs
        ],
    )  # fmt: skip


def watch(ticks: int, seed: int) -> Watched:
    """Let a bot look at the shard's middle, send an input every third tick, and see every tick."""
    title = Meadow(sheep=40)
    core = ShardCore(contract_of(title, "test", seed=seed), title, 0)
    core.setup()
    core.encode()
    watched = Watched(core, BotHistory(0, []), Truth(0, core.contract))
    note(watched, Event.CONNECT, b"")
    note(watched, Event.FRAME, pb.Frame(welcomes=[welcome(core)]).SerializeToString())
    grid = core.contract.grid
    x0, y0, x1, y1 = grid.bounds(0)
    centre = int(grid.cells_of(np.array([(x0 + x1) // 2]), np.array([(y0 + y1) // 2]))[0])
    watched.cells = cells = [c for c in grid.view_of(centre) if grid.shard_of_cell(c) == 0]
    chain = GENESIS
    for tick in range(1, ticks + 1):
        inputs = _inputs(watched, tick)
        outcome = core.step(inputs)
        frame = _frame(core, tick, cells, first=tick == 1)
        frame.MergeFromString(outcome.owns[2])
        frame.acks.extend(pb.Ack(seq=seq, shard=0, tick=tick) for seq in outcome.acks[1].tolist())
        note(watched, Event.FRAME, frame.SerializeToString())
        watched.truth.add(tick, rows_of_core(core), epoch=3)
        watched.truth.owns[tick] = owns_of_core(core)
        digest = core.digest() if tick % 5 == 0 else b""
        record = records.encode(Record(0, 3, tick, 0, "1", inputs, b"", digest, chain))
        chain = records.chain(chain, record)
        watched.journal.append((record, chain))
    return watched


def note(watched: Watched, event: Event, body: bytes) -> None:
    """The next entry of the bot's history."""
    watched.history.entries.append(Entry(event, 0, len(watched.history.entries) * 1000, body))


def _inputs(watched: Watched, tick: int) -> TickInputs:
    if tick == 1:
        return TickInputs(events=((SessionEvent.JOIN, SESSION, PLAYER),))
    if tick % 3:
        return TickInputs()
    turn = tick % 2
    message = pb.Input(seq=tick // 3, kind=0, values=[turn, 1])
    note(watched, Event.SENT, pb.ClientMessage(input=message).SerializeToString())
    one = np.ones(1, np.int64)
    return TickInputs(
        sessions=one * SESSION,
        seqs=one * message.seq,
        kinds=one * 0,
        seen_ticks=one * 0,
        counts=one * 2,
        values=np.array([turn, 1], np.int64),
    )


def _frame(core: ShardCore, tick: int, cells: list[int], *, first: bool) -> pb.Frame:
    """The bag of one tick, as a gateway would join it."""
    updates = core.encode()
    held = [updates.piece(i) for i, cell in enumerate(updates.cells.tolist()) if cell in cells and not first]
    frame = pb.Frame.FromString(b"".join(held))
    frame.heads.append(pb.TickHead(shard=0, epoch=3, tick=tick))
    if first:
        frame.views.append(pb.View(entered=cells))
        frame.keyframes.extend(pb.Frame.FromString(core.keyframes(np.array(cells)).data).keyframes)
    return frame
