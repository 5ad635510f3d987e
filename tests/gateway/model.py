"""A worker's shard and a client, reduced to what the gateway must get right between them.

The model shard sends for every watched cell, every tick, an update that carries the tick's number, and keyframes that
carry it too. So a client can tell of each cell it holds whether it missed an update, and a keyframe that does not fit
the updates before and after it is seen at once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from overworld.wire.v1 import client_pb2 as pb
from overworld.wire.v1.link_pb2 import TickOutput, Watch
from overworld.world.grid import Grid


@dataclass
class ModelShard:
    """One shard of a world, as one gateway link sees it: watched cells, and what it has to say at the next tick."""

    grid: Grid
    shard: int
    epoch: int = 1
    tick: int = 0
    watched: set[int] = field(default_factory=set)
    wanted: set[int] = field(default_factory=set)
    joins: list[tuple[int, int]] = field(default_factory=list)
    views: list[tuple[int, int]] = field(default_factory=list)
    acks: list[tuple[int, int]] = field(default_factory=list)
    owns: list[tuple[int, int]] = field(default_factory=list)
    closed: list[tuple[int, int]] = field(default_factory=list)
    moved: list[tuple[int, int, int]] = field(default_factory=list)

    def watch(self, watch: Watch) -> None:
        """What a gateway asks for. Cells of other shards are a mistake."""
        begin, end = (np.frombuffer(column, "<u4").tolist() for column in (watch.begin_u32, watch.end_u32))
        assert all(self.grid.shard_of_cell(cell) == self.shard for cell in begin + end)
        self.watched.difference_update(end)
        self.wanted.difference_update(end)
        self.wanted.update(begin)

    def forget_gateway(self) -> None:
        """The link is lost."""
        self.watched.clear()
        self.wanted.clear()

    def run(self) -> TickOutput:
        """One tick: its output for the gateway. Empty cells have no bytes in their keyframe: one cell in five."""
        self.tick += 1
        updated = sorted(self.watched)
        keyed = sorted(self.wanted)
        updates = [_cell_piece(cell, self.tick, keyframe=False) for cell in updated]
        keyframes = [_cell_piece(cell, self.tick, keyframe=True) if cell % 5 else b"" for cell in keyed]
        self.watched |= self.wanted
        self.wanted.clear()
        owns = [(s, pb.Frame(owns=[pb.Own(entity=v)]).SerializeToString()) for s, v in self.owns]
        output = TickOutput(
            shard=self.shard,
            epoch=self.epoch,
            tick=self.tick,
            update_cells_u32=u32(updated),
            update_sizes_u32=u32([len(piece) for piece in updates]),
            updates=b"".join(updates),
            keyframe_cells_u32=u32(keyed),
            keyframe_sizes_u32=u32([len(piece) for piece in keyframes]),
            keyframes=b"".join(keyframes),
            ack_sessions_i64=i64([s for s, _ in self.acks]),
            ack_seqs_u32=u32([seq for _, seq in self.acks]),
            view_sessions_i64=i64([s for s, _ in self.views]),
            view_cells_u32=u32([cell for _, cell in self.views]),
            own_sessions_i64=i64([s for s, _ in owns]),
            own_sizes_u32=u32([len(piece) for _, piece in owns]),
            owns=b"".join(piece for _, piece in owns),
            closed_sessions_i64=i64([s for s, _ in self.closed]),
            closed_codes_u32=u32([code for _, code in self.closed]),
            joined_sessions_i64=i64([s for s, _ in self.joins]),
            joined_seqs_u32=u32([seq for _, seq in self.joins]),
            moved_sessions_i64=i64([s for s, _, _ in self.moved]),
            moved_shards_u32=u32([shard for _, shard, _ in self.moved]),
            moved_numbers_i64=i64([number for _, _, number in self.moved]),
        )
        for told in (self.joins, self.views, self.acks, self.owns, self.closed, self.moved):
            told.clear()
        return output


def _cell_piece(cell: int, tick: int, *, keyframe: bool) -> bytes:
    if keyframe:
        return pb.Frame(keyframes=[pb.Cell(cell=cell, added=[1], columns=[tick])]).SerializeToString()
    return pb.Frame(updates=[pb.Cell(cell=cell, changed=[tick])]).SerializeToString()


def u32(numbers: list[int]) -> bytes:
    """A column."""
    return np.array(numbers, "<u4").tobytes()


def i64(numbers: list[int]) -> bytes:
    """A column."""
    return np.array(numbers, "<i8").tobytes()


@dataclass
class ModelClient:
    """What a client makes of its frames. Breaks with an AssertionError where a rule of the protocol is broken."""

    grid: Grid
    held: dict[int, int] = field(default_factory=dict)
    """The tick of each cell's picture."""
    marks: dict[int, tuple[int, int]] = field(default_factory=dict)
    frames: int = 0
    acked: int = 0
    own: int = 0
    notices: list[int] = field(default_factory=list)
    pongs: list[int] = field(default_factory=list)
    welcomes: list[pb.Welcome] = field(default_factory=list)
    seen: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, data: bytes) -> None:
        """One message of the server."""
        frame = pb.Frame.FromString(data)
        self.frames += 1
        self.welcomes += frame.welcomes
        ticks = self._heads(frame)
        for cell in frame.updates:
            if cell.cell in self.held:
                tick = ticks[self.grid.shard_of_cell(cell.cell)]
                assert list(cell.changed) == [tick], f"an update of tick {list(cell.changed)} in a frame of {tick}"
                before = self.held[cell.cell]
                assert tick == before + 1, f"cell {cell.cell}: tick {before}, then {tick}"
                self.held[cell.cell] = tick
        entered = self._views(frame)
        self._keyframes(frame, ticks, entered)
        self._check_complete(ticks)
        for own in frame.owns:
            self.own = own.entity
        for ack in frame.acks:
            assert ack.seq >= self.acked
            self.acked = ack.seq
        self.pongs += [pong.nonce for pong in frame.pongs]
        self.notices += [notice.code for notice in frame.notices]

    def _heads(self, frame: pb.Frame) -> dict[int, int]:
        ticks: dict[int, int] = {}
        for head in frame.heads:
            assert head.shard not in ticks, "two heads of one shard"
            mark = (head.epoch, head.tick)
            assert mark > self.marks.get(head.shard, (0, -1)), f"{mark} after {self.marks[head.shard]}"
            self.marks[head.shard] = mark
            ticks[head.shard] = head.tick
        return ticks

    def _views(self, frame: pb.Frame) -> set[int]:
        entered: set[int] = set()
        for view in frame.views:
            for cell in view.left:
                assert cell in self.held, f"cell {cell} left, and was never held"
                del self.held[cell]
            entered.update(view.entered)
        return entered

    def _keyframes(self, frame: pb.Frame, ticks: dict[int, int], entered: set[int]) -> None:
        pictures = {cell.cell: cell for cell in frame.keyframes}
        assert pictures.keys() <= entered
        for cell in entered:
            assert cell not in self.held, f"cell {cell} entered twice"
            tick = ticks[self.grid.shard_of_cell(cell)]
            if cell % 5:
                assert list(pictures[cell].columns) == [tick]
            self.held[cell] = tick
            self.seen[cell] += 1

    def _check_complete(self, ticks: dict[int, int]) -> None:
        """A frame with a shard's head holds that tick of every held cell of the shard."""
        for cell, tick in self.held.items():
            now = ticks.get(self.grid.shard_of_cell(cell))
            assert now is None or tick == now, f"cell {cell} is of tick {tick} in a frame of tick {now}"
