"""The server's fast encoder and the reference model: from the same states, mirrors that agree."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from overworld.client.mirror import Mirror
from overworld.shard.replication import Replication
from overworld.wire.v1 import client_pb2 as pb
from overworld.world.fields import Angle, Int32, Motion
from overworld.world.grid import Grid
from overworld.world.schema import Column, Kind
from overworld.world.table import Table
from tests.client.worlds import CELL_SIZE, NOTE, ROCK, SHIP, Truth, Turn, scripts, welcome
from tests.reference_encoder import ReferenceShard, ReferenceViewer

GRID = Grid(width=4 * CELL_SIZE, height=3 * CELL_SIZE, cell=CELL_SIZE, shards=(2, 1), units_per_one=1)


def kinds(tolerance: int) -> list[Kind]:
    """The kinds of tests.client.worlds as a title's declarations compile to."""
    motion = Motion(units_per_one=1, tolerance=tolerance)
    return [
        Kind("Ship", motion, (Column("heading", Angle()), Column("hp", Int32())), (), ()),
        Kind("Rock", motion, (), (), ()),
        Kind("Note", None, (Column("colour", Int32()), Column("score", Int32())), (), ()),
    ]


class FastShard:
    """The server's tables and encoder, brought to a given state before each tick."""

    def __init__(self, shard: int, tolerance: int) -> None:
        self.shard = shard
        self.tables = [Table(kind, "at" if kind.motion else None, 1, 1) for kind in kinds(tolerance)]
        self.replication = Replication(GRID, shard, self.tables)

    def take_over(self, truth: dict[int, dict[int, list[int]]]) -> None:
        """A new owner, who replays the state and forgets what the old one told."""
        for number, table in enumerate(self.tables):
            ids, columns = _columns(truth[number], len(table.kind.names))
            table.load(ids, columns, table.next_id)
        self.replication = Replication(GRID, self.shard, self.tables)
        self.replication.updates()

    def advance(self, truth: dict[int, dict[int, list[int]]]) -> bytes:
        """The bytes of all cells' updates after the tables became the truth."""
        for number, table in enumerate(self.tables):
            ids, columns = _columns(truth[number], len(table.kind.names))
            table.remove(~np.isin(table.ids, ids))
            new = ~np.isin(ids, table.ids)
            if new.any():
                table.admit(ids[new], columns[:, new])
            table.columns[...] = columns
        return self.replication.updates().data

    def keyframes(self, cells: list[int]) -> bytes:
        """Of these cells, as watchers know them."""
        return self.replication.keyframes(np.array(cells, np.int64)).data


def _columns(rows: dict[int, list[int]], width: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array(sorted(rows), np.int64)
    columns = np.array([rows[i] for i in ids.tolist()], np.int64).reshape(len(ids), width).T
    return ids, columns


@given(scripts, st.sampled_from([0, 0, 1, 20]))
def test_mirrors_of_both_encoders_agree(script: list[Turn], tolerance: int) -> None:
    told = welcome()
    for kind in told.kinds:
        kind.ClearField("owner_columns")
    truth = Truth(told)
    fast = [FastShard(i, tolerance) for i in range(2)]
    slow = [ReferenceShard(told, i, {SHIP: tolerance, ROCK: tolerance, NOTE: 0}) for i in range(2)]
    viewer, view = ReferenceViewer(slow), frozenset(range(12))
    mirrors = Mirror(), Mirror()
    for mirror in mirrors:
        mirror.apply(pb.Frame(welcomes=[told]))
    for turn in script:
        again: frozenset[int] = frozenset()
        if turn.takeover:
            slow[turn.shard].take_over(truth.shards[turn.shard])
            fast[turn.shard].take_over(truth.shards[turn.shard])
            again = frozenset(range(12))
        truth.step(turn.shard, turn.deeds)
        view = view if turn.view is None else turn.view
        reference = viewer.frame(slow[turn.shard], slow[turn.shard].advance(truth.of(turn.shard)), view, again)
        updates = fast[turn.shard].advance(truth.shards[turn.shard])
        head = pb.Frame(heads=reference.heads, views=reference.views)
        # As for the reference: no updates of cells whose basis the player does not have.
        wanted = {piece.cell for piece in reference.updates}
        kept = [piece for piece in pb.Frame.FromString(updates).updates if piece.cell in wanted]
        entered = [cell for v in reference.views for cell in v.entered]
        frame = head.SerializeToString() + pb.Frame(updates=kept).SerializeToString()
        frame += fast[turn.shard].keyframes(entered) if entered else b""
        assert mirrors[0].apply(mirrors[0].parse(reference.SerializeToString()))
        assert mirrors[1].apply(mirrors[1].parse(frame))
        assert mirrors[0].picture() == mirrors[1].picture() == viewer.known()
