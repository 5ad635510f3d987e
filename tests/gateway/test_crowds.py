"""Short budgets: the nearest first while tokens last, everything in its turn, the same bytes for who looks alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from overworld.gateway.crowds import Budget, Crowds, Party
from overworld.gateway.fanout import Fanout
from overworld.gateway.outbox import HEADROOM_BYTES
from overworld.gateway.ticks import NO_ACKS, Tick
from overworld.gateway.views import Viewer, Views
from overworld.wire.cells import Streams
from overworld.world.grid import Grid
from overworld.world.interest import Interest, Places, Populations

GRID = Grid(width=96, height=96, cell=32, view=64, tick_hz=20)
INTEREST = Interest(rings=(16, 32, 48, 64), plots=4)
PLACES = Places(GRID, INTEREST)
MIDDLE = 4
FOCUS = MIDDLE * PLACES.of_cell + 5
BYTES = 40
"""Of each piece."""
CELLS = range(9)


def budget(bytes_per_s: int) -> Budget:
    return Budget(GRID, INTEREST, bytes_per_s)


def streams(levels: tuple[int, ...]) -> Streams:
    """A piece of every plot on these levels, and of the levels of whole cells."""
    places = [level * PLACES.of_level + i for level in levels for i in range(9 * PLACES.of_cell)]
    places += [level * PLACES.of_level + c * PLACES.of_cell for level in (PLACES.wide, PLACES.floor) for c in CELLS]
    offsets = np.arange(len(places) + 1) * BYTES
    data = b"".join(place.to_bytes(4, "little") * (BYTES // 4) for place in places)
    return Streams(np.array(places, np.int64), offsets, data)


def places_in(frame: bytes) -> list[int]:
    """The places of the pieces in a frame, all of which are BYTES long, from its end."""
    body = frame[len(frame) % BYTES :]
    return [int.from_bytes(body[at : at + 4], "little") for at in range(0, len(body), BYTES)]


def tick(number: int, told: Streams | None, focuses: list[tuple[int, int]] | None = None, size: int = 0) -> Tick:
    cells = np.array([MIDDLE], np.uint32)
    return Tick(
        0, 1, number, 0, cells, np.array([0, size]), bytes(size), [], NO_ACKS, [], [], [], [], [], told, focuses or []
    )  # fmt: skip


class Seats:
    """Viewers in the middle cell of a fan-out."""

    def __init__(self, count: int, bytes_per_s: int) -> None:
        self.views = Views(GRID, budget(bytes_per_s))
        self.fanout = Fanout(self.views, budget(bytes_per_s))
        self.views.found(0)
        self.frames: dict[int, list[bytes]] = {session: [] for session in range(count)}
        for session in range(count):
            viewer = Viewer(session, self._keeper(session), lambda _: None)
            self.fanout.viewers[session] = viewer
            self.views.place(viewer, MIDDLE)

    def _keeper(self, session: int):  # type: ignore[no-untyped-def]
        return lambda frame, offset: self.frames[session].append(bytes(frame[offset:]))


def test_a_group_above_its_budget_has_its_cells_split_and_one_below_it_not_any_more() -> None:
    seats = Seats(2, 1000)
    for number in range(1, 21):
        seats.fanout.deliver(tick(number, None, size=100), number / 20)
    seats.views.weigh(1.0)
    seats.views.weigh(1.0) if not seats.views.short else None
    assert seats.views.short == 1
    assert seats.views.short_viewers == 2
    assert seats.views.take_splits() == [(0, list(CELLS), [], 1)]
    for _ in range(8):
        seats.views.weigh(1.0)
    assert seats.views.short == 0
    assert seats.views.take_splits() == [(0, [], list(CELLS), 2)]
    assert all(viewer.party is None for viewer in seats.fanout.viewers.values())


def test_a_new_owner_of_the_shard_is_asked_again() -> None:
    seats = Seats(1, 1000)
    seats.views.shorten(next(iter(seats.views.groups(0))))
    seats.views.take_splits()
    seats.views.lost(0)
    assert seats.views.take_splits() == []
    seats.views.found(0)
    assert seats.views.take_splits() == [(0, list(CELLS), [], 1)]


def test_who_is_not_short_gets_everything_of_split_cells_in_one_piece_each() -> None:
    seats = Seats(1, 10**9)
    seats.fanout.deliver(tick(1, streams((0, 1, 2, 3))), 1.0)
    (frame,) = seats.frames[0]
    levels = [place // PLACES.of_level for place in places_in(frame)]
    assert sorted(levels) == [PLACES.wide] * 9 + [PLACES.floor] * 9


def test_viewers_of_one_plot_share_bytes_and_others_have_their_own_nearest() -> None:
    seats = Seats(3, 40_000)
    seats.views.shorten(next(iter(seats.views.groups(0))))
    elsewhere = 8 * PLACES.of_cell + 15
    focuses = [(0, FOCUS), (1, FOCUS), (2, elsewhere)]
    for number in (1, 2):
        seats.fanout.deliver(tick(number, streams((0, PLACES.whole)), focuses), number)
    near, same, other = (places_in(seats.frames[session][1]) for session in range(3))
    assert near == same
    assert near.count(FOCUS) == 1
    assert other.count(elsewhere) == 1
    assert FOCUS not in other
    for told in (near, other):
        assert {place for place in told if place // PLACES.of_level == PLACES.floor} == {
            PLACES.floor * PLACES.of_level + cell * PLACES.of_cell for cell in CELLS
        }


@pytest.mark.parametrize("bytes_per_s", [20_000, 40_000, 80_000])
def test_the_budget_holds_however_much_there_is_to_tell(bytes_per_s: int) -> None:
    seats = Seats(1, bytes_per_s)
    seats.views.shorten(next(iter(seats.views.groups(0))))
    ticks = 100
    for number in range(ticks):
        seats.fanout.deliver(tick(number + 1, streams((0, 1, 2, 3)), [(0, FOCUS)]), number / 20)
    sizes = [len(frame) for frame in seats.frames[0]]
    assert len(sizes) == ticks
    for begin in range(20, ticks - 20):
        assert sum(sizes[begin : begin + 20]) <= bytes_per_s * 1.05
    assert sum(sizes[20:]) >= bytes_per_s * 4 * 0.8
    # What touches the viewer's own plot is in every frame.
    touching = {MIDDLE * PLACES.of_cell + plot for plot in (0, 1, 2, 4, 5, 6, 8, 9, 10)}
    assert all(touching <= set(places_in(frame)) for frame in seats.frames[0][20:])


def test_who_comes_near_is_told_what_it_missed_once() -> None:
    seats = Seats(1, 60_000)
    seats.views.shorten(next(iter(seats.views.groups(0))))
    whole = PLACES.whole
    told = streams((0, whole))
    seats.fanout.deliver(tick(1, told, [(0, FOCUS)]), 1.0)
    for number, focus in ((2, FOCUS), (3, FOCUS + 1), (4, FOCUS + 1)):
        seats.fanout.deliver(tick(number, told, [(0, focus)]), 1.0 + number)
    levels = [[p // PLACES.of_level for p in places_in(frame)].count(whole) for frame in seats.frames[0]]
    assert levels[1] == 0
    assert levels[2] > 0
    assert levels[3] == 0


def test_what_was_near_and_found_no_credit_is_told_as_a_whole_at_the_next_tick_that_has_some() -> None:
    seats = Seats(1, 20_000)
    seats.views.shorten(next(iter(seats.views.groups(0))))
    told = streams((0, PLACES.whole))
    for number, size in ((1, 0), (2, 0), (3, 6000), (4, 0), (5, 0)):
        seats.fanout.deliver(tick(number, told, [(0, FOCUS)], size), float(number))
    whole = PLACES.whole * PLACES.of_level + FOCUS
    seen = [(FOCUS in places, whole in places) for places in map(places_in, seats.frames[0])]
    assert seen == [(False, True), (True, False), (False, False), (False, True), (True, False)]


def test_the_nearest_rows_are_told_on_credit_however_far_they_are() -> None:
    far = 8 * PLACES.of_cell + 15
    told, rows = streams((0, PLACES.whole)), np.zeros((9, PLACES.of_cell), np.uint8)
    rows[8, 15] = INTEREST.nearest
    for count, reached in ((0, True), (INTEREST.nearest, False)):
        # With as many in the viewer's own plot, nothing further away is among the nearest.
        rows[MIDDLE, FOCUS % PLACES.of_cell] = count + 1
        seats = Seats(1, 25_000)
        seats.views.shorten(next(iter(seats.views.groups(0))))
        crowd = Populations(np.arange(9), rows.reshape(-1))
        for number in (1, 2):
            seats.fanout.deliver(replace(tick(number, told, [(0, FOCUS)]), populations=crowd), float(number))
        assert (far in places_in(seats.frames[0][1])) == reached


def test_a_party_that_is_joined_has_no_more_than_who_joins() -> None:
    rich, poor = Party(budget(10_000), MIDDLE, FOCUS), Party(budget(10_000), MIDDLE, FOCUS + 1)
    for party in (rich, poor):
        party.fill(1.0)
    poor.pay(10**6)
    rich.inherit(poor)
    assert rich.tokens == poor.tokens < 0


def test_a_place_outside_the_world_is_not_taken() -> None:
    crowds = Crowds(budget(1000))
    outside = Streams(np.array([PLACES.end]), np.array([0, 1]), b"x")
    assert crowds.lanes(outside, np.array([0, 9])) is None
    assert HEADROOM_BYTES == 14
