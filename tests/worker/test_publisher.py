"""Outputs for gateway links: each gets what it asked for and nothing else, as an ordinary LinkMessage."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from overworld.shard.inputs import TickOutcome, no_ints
from overworld.wire.cells import NOTHING, CellUpdates
from overworld.wire.v1 import link_pb2
from overworld.worker.publisher import TickStamp, Watches, outputs
from overworld.worker.routes import Routes
from overworld.world.grid import Grid

Ints = npt.NDArray[np.int64]

GRID = Grid(width=256, height=128, cell=32, shards=(2, 1), view=64)
"""8 x 4 cells; shard 1 is the right half: cells with cx 4..7."""
SHARD = 1
CELLS = [cy * 8 + cx for cy in range(4) for cx in range(4, 8)]


def ints(*values: int) -> Ints:
    return np.array(values, np.int64)


def updates_of(cells: list[int], tag: bytes = b"u") -> CellUpdates:
    pieces = [tag * (1 + cell % 5) + b"%d;" % cell for cell in cells]
    offsets = np.cumsum([0, *map(len, pieces)])
    return CellUpdates(np.array(cells, np.uint32), offsets, b"".join(pieces)) if cells else NOTHING


def outcome(**given: tuple[Ints, Ints]) -> TickOutcome:
    empty = (no_ints(), no_ints())
    return TickOutcome(
        tick=9,
        acks=given.get("acks", empty),
        joined=given.get("joined", empty),
        views=given.get("views", empty),
        closed=given.get("closed", empty),
        owns=(no_ints(), no_ints(), b""),
    )


@dataclass
class Seen:
    """One link's output as a gateway reads it."""

    out: link_pb2.TickOutput

    def pieces(self, what: str) -> dict[int, bytes]:
        cells = np.frombuffer(getattr(self.out, f"{what}_cells_u32"), "<u4").tolist()
        sizes = np.frombuffer(getattr(self.out, f"{what}_sizes_u32"), "<u4").tolist()
        data = self.out.updates if what == "update" else self.out.keyframes
        found, at = {}, 0
        for cell, size in zip(cells, sizes, strict=True):
            found[cell] = data[at : at + size]
            at += size
        assert at == len(data)
        return found

    def pairs(self, what: str, value: str, dtype: str = "u4") -> list[tuple[int, int]]:
        sessions = np.frombuffer(getattr(self.out, f"{what}_sessions_i64"), "<i8").tolist()
        suffix = "i64" if dtype == "i8" else "u32"
        values = np.frombuffer(getattr(self.out, f"{what}_{value}_{suffix}"), f"<{dtype}").tolist()
        return list(zip(sessions, values, strict=True))


def tick(
    watches: Watches[str],
    routes: Routes[str],
    updates: CellUpdates = NOTHING,
    keyframes: CellUpdates = NOTHING,
    what: TickOutcome | None = None,
    refused: Ints | None = None,
) -> dict[str, Seen]:
    refused = np.zeros((2, 0), np.int64) if refused is None else refused
    messages = outputs(TickStamp(SHARD, 3, 9), what or outcome(), refused, updates, keyframes, watches, routes)
    seen = {}
    for link, data in messages:
        message = link_pb2.LinkMessage.FromString(data)
        assert message.WhichOneof("message") == "output"
        assert (message.output.shard, message.output.epoch, message.output.tick) == (SHARD, 3, 9)
        seen[link] = Seen(message.output)
    return seen


def test_the_output_tag_is_the_schemas() -> None:
    assert link_pb2.LinkMessage.OUTPUT_FIELD_NUMBER == 20


def test_a_link_with_neither_sessions_nor_cells_gets_nothing() -> None:
    watches: Watches[str] = Watches(GRID, SHARD)
    watches.change("a", ints(), ints())
    assert tick(watches, Routes(), updates_of(CELLS)) == {}


def test_a_begun_cell_is_answered_with_a_keyframe_and_then_with_updates() -> None:
    watches: Watches[str] = Watches(GRID, SHARD)
    watches.change("a", ints(12, 13), ints())
    first = tick(watches, Routes(), updates_of(CELLS), updates_of([12], b"k"))["a"]
    assert first.pieces("update") == {}
    assert first.pieces("keyframe") == {12: updates_of([12], b"k").data, 13: b""}
    second = tick(watches, Routes(), updates_of(CELLS))["a"]
    assert sorted(second.pieces("update")) == [12, 13]
    assert second.pieces("keyframe") == {}


def test_a_cell_begun_again_gets_update_and_keyframe() -> None:
    watches: Watches[str] = Watches(GRID, SHARD)
    watches.change("a", ints(12), ints())
    tick(watches, Routes())
    watches.change("a", ints(12), ints())
    seen = tick(watches, Routes(), updates_of([12]), updates_of([12], b"k"))["a"]
    assert list(seen.pieces("update")) == list(seen.pieces("keyframe")) == [12]


def test_an_ended_cell_stops() -> None:
    watches: Watches[str] = Watches(GRID, SHARD)
    watches.change("a", ints(12, 13), ints())
    tick(watches, Routes())
    watches.change("a", ints(), ints(12))
    assert list(tick(watches, Routes(), updates_of(CELLS))["a"].pieces("update")) == [13]


def test_cells_of_another_shard_are_counted_and_ignored() -> None:
    watches: Watches[str] = Watches(GRID, SHARD)
    assert watches.change("a", ints(0, 3, 12, 4_000_000_000), ints(1)) == 4
    assert list(tick(watches, Routes(), keyframes=updates_of([12], b"k"))["a"].pieces("keyframe")) == [12]


def test_acks_views_joins_and_closes_reach_the_link_of_their_session() -> None:
    routes: Routes[str] = Routes()
    for session, link in ((1, "a"), (2, "b"), (3, "a")):
        routes.attach(session, session * 10, link)
    what = outcome(
        acks=(ints(1, 2, 3, 99), ints(5, 6, 7, 8)),
        views=(ints(2), ints(12)),
        joined=(ints(3), ints(0)),
        closed=(ints(1), ints(4001)),
    )
    seen = tick(Watches(GRID, SHARD), routes, what=what, refused=np.array([[2], [4006]]))
    assert seen["a"].pairs("ack", "seqs") == [(1, 5), (3, 7)]
    assert seen["b"].pairs("ack", "seqs") == [(2, 6)]
    assert seen["b"].pairs("view", "cells") == [(2, 12)]
    assert seen["a"].pairs("joined", "seqs") == [(3, 0)]
    assert seen["a"].pairs("closed", "codes") == [(1, 4001)]
    assert seen["b"].pairs("closed", "codes") == [(2, 4006)]
    assert (1 in routes, 2 in routes, 3 in routes) == (False, False, True)


def test_sessions_that_moved_are_told_where_to_and_belong_here_no_more() -> None:
    routes: Routes[str] = Routes()
    for session, link in ((1, "a"), (2, "b"), (3, "a"), (4, "a")):
        routes.attach(session, session * 10, link)
    routes.lose_link("b", until_s=9.0)
    what = outcome(acks=(ints(1), ints(5)))
    what = replace(what, moved=(ints(1, 2, 3, 77), ints(4, 5, 6, 7), ints(1 << 40, 8, 9, 10)))
    seen = tick(Watches(GRID, SHARD), routes, what=what)
    assert list(seen) == ["a"]
    assert seen["a"].pairs("moved", "shards", "u4") == [(1, 4), (3, 6)]
    assert seen["a"].pairs("moved", "numbers", "i8") == [(1, 1 << 40), (3, 9)]
    assert seen["a"].pairs("ack", "seqs") == [(1, 5)], "its last acks come with it"
    assert [session in routes for session in (1, 2, 3, 4)] == [False, False, False, True]


def test_own_pieces_reach_their_session_only() -> None:
    routes: Routes[str] = Routes()
    for session, link in ((1, "a"), (2, "b"), (3, "a")):
        routes.attach(session, session * 10, link)
    what = TickOutcome(
        tick=9,
        acks=(no_ints(), no_ints()),
        joined=(no_ints(), no_ints()),
        views=(no_ints(), no_ints()),
        closed=(no_ints(), no_ints()),
        owns=(ints(1, 2, 3), ints(2, 3, 1), b"11222" + b"3"),
    )
    seen = tick(Watches(GRID, SHARD), routes, what=what)
    assert (seen["a"].out.owns, seen["b"].out.owns) == (b"113", b"222")
    assert np.frombuffer(seen["a"].out.own_sizes_u32, "<u4").tolist() == [2, 1]


@given(
    changed=st.sets(st.sampled_from(CELLS)),
    watched=st.dictionaries(st.sampled_from("abc"), st.sets(st.sampled_from(CELLS)), min_size=1),
)
def test_every_link_gets_exactly_the_changed_cells_it_watches(changed: set[int], watched: dict[str, set[int]]) -> None:
    watches: Watches[str] = Watches(GRID, SHARD)
    routes: Routes[str] = Routes()
    for link, cells in watched.items():
        watches.change(link, np.array(sorted(cells), np.int64), ints())
        routes.attach(ord(link), 1, link)
    tick(watches, routes)
    updates = updates_of(sorted(changed))
    for link, seen in tick(watches, routes, updates).items():
        wanted = sorted(changed & watched[link])
        assert seen.pieces("update") == {c: updates_of([c]).data for c in wanted}
