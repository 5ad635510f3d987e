"""Views and fan-out together: whatever happens, a client's picture of the cells it holds has no gap."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from overworld.errors import LinkError
from overworld.gateway.fanout import Fanout
from overworld.gateway.lane import Lane
from overworld.gateway.outbox import HEADROOM_BYTES
from overworld.gateway.ticks import decode
from overworld.gateway.views import Viewer, Views
from overworld.wire.v1.link_pb2 import TickOutput, Watch
from overworld.world.grid import Grid
from tests.gateway.model import ModelClient, ModelShard, i64, u32

GRID = Grid(width=256, height=192, cell=32, shards=(2, 2), view=40)
CELLS = GRID.cells_x * GRID.cells_y
SHARDS = range(GRID.shard_count)


class Seat:
    """A client with its viewer."""

    def __init__(self, session: int) -> None:
        self.client = ModelClient(GRID)
        self.acked: list[int] = []
        self.viewer = Viewer(session, self._send, self.acked.append)

    def _send(self, frame: bytearray, offset: int) -> None:
        assert offset == HEADROOM_BYTES
        self.client.take(bytes(frame[offset:]))


@dataclass
class Deployment:
    """Model shards behind a fan-out, with outputs and watches that may be on their way."""

    def __init__(self, lane: Lane | None = None) -> None:
        self.views = Views(GRID)
        self.fanout = Fanout(self.views, lane=lane)
        self.shards = [ModelShard(GRID, shard) for shard in SHARDS]
        self.outputs: list[deque[TickOutput]] = [deque() for _ in SHARDS]
        self.watches: list[deque[Watch]] = [deque() for _ in SHARDS]
        self.routed = [False for _ in SHARDS]

    def find(self, shard: int) -> None:
        self.routed[shard] = True
        self.views.found(shard)
        self.flush()

    def lose(self, shard: int) -> None:
        self.routed[shard] = False
        self.views.lost(shard)
        self.outputs[shard].clear()
        self.watches[shard].clear()
        self.shards[shard].forget_gateway()
        self.flush()

    def flush(self) -> None:
        for shard, begin, end in self.views.take_watches():
            assert self.routed[shard]
            self.watches[shard].append(Watch(shard=shard, begin_u32=u32(begin), end_u32=u32(end)))

    def hear(self, shard: int) -> None:
        """The shard takes what the gateway has sent it."""
        while self.watches[shard]:
            self.shards[shard].watch(self.watches[shard].popleft())

    def tick(self, shard: int) -> None:
        self.outputs[shard].append(self.shards[shard].run())

    def deliver(self, shard: int) -> None:
        output = self.outputs[shard].popleft()
        assert self.fanout.newer(output.shard, output.epoch, output.tick)
        self.fanout.deliver(decode(output, GRID))
        self.flush()

    def turn(self, shard: int) -> None:
        """Everything in order, nothing on its way."""
        self.hear(shard)
        self.tick(shard)
        while self.outputs[shard]:
            self.deliver(shard)


def deployment(*centers: int) -> tuple[Deployment, list[Seat]]:
    """All shards found; one seat for each centre, and its picture complete."""
    world = Deployment()
    for shard in SHARDS:
        world.find(shard)
    seats = []
    for session, center in enumerate(centers, 1):
        seat = Seat(session)
        seats.append(seat)
        world.fanout.viewers[session] = seat.viewer
        world.shards[GRID.shard_of_cell(center)].views.append((session, center))
    for _ in range(3):
        for shard in SHARDS:
            world.turn(shard)
    for seat, center in zip(seats, centers, strict=True):
        assert set(seat.client.held) == set(GRID.view_of(center))
    return world, seats


class TestPieces:
    def test_viewers_of_one_cell_get_the_same_bytes(self) -> None:
        world, (a, b) = deployment(9, 9)
        for shard in SHARDS:
            world.turn(shard)
        assert a.client.held == b.client.held
        assert a.client.frames == b.client.frames

    def test_a_view_across_shards_is_complete(self) -> None:
        corner = GRID.cells_x * 2 + 3  # where four shards meet
        assert len({GRID.shard_of_cell(cell) for cell in GRID.view_of(corner)}) == 4
        _world, (seat,) = deployment(corner)
        assert set(seat.client.marks) == set(SHARDS)

    def test_acks_and_owners_values_are_for_one(self) -> None:
        world, (a, b) = deployment(9, 9)
        shard = world.shards[0]
        shard.acks.append((1, 7))
        shard.owns.append((2, 99))
        world.turn(0)
        assert (a.client.acked, a.client.own, a.acked) == (7, 0, [7])
        assert (b.client.acked, b.client.own, b.acked) == (0, 99, [])

    def test_acks_reach_who_sees_nothing(self) -> None:
        world, _ = deployment(9)
        seat = Seat(5)
        world.fanout.viewers[5] = seat.viewer
        world.shards[0].acks.append((5, 3))
        world.turn(0)
        assert seat.client.acked == 3

    def test_sessions_of_nobody_here_are_ignored(self) -> None:
        world, (seat,) = deployment(9)
        shard = world.shards[0]
        for told in (shard.acks, shard.owns, shard.views):
            told.append((77, 1))
        world.turn(0)
        assert seat.client.acked == 0

    def test_old_ticks_are_not_newer(self) -> None:
        world, _ = deployment()
        assert world.fanout.newer(0, 2, 5)
        assert not world.fanout.newer(0, 2, 5)
        assert not world.fanout.newer(0, 2, 4)
        assert not world.fanout.newer(0, 1, 900)
        assert world.fanout.newer(0, 3, 1)
        assert world.fanout.newer(1, 1, 100)


class TestKeyframesOnTheirWay:
    def test_one_asked_for_by_somebody_who_left_serves_who_came_since(self) -> None:
        world, _ = deployment()
        first, second = Seat(1), Seat(2)
        world.views.place(first.viewer, 9)
        world.flush()
        world.hear(0)
        world.tick(0)  # has the keyframes, and is on its way
        world.views.remove(first.viewer)
        world.flush()
        world.views.place(second.viewer, 9)
        world.flush()
        world.turn(0)
        assert second.client.held.keys() >= {0, 1, 2, 8, 9, 10}
        world.turn(0)
        assert first.client.held == {}

    def test_a_cell_nobody_wants_any_more_is_let_go_when_its_keyframe_comes(self) -> None:
        world, _ = deployment()
        seat = Seat(1)
        world.views.place(seat.viewer, 9)
        world.flush()
        world.hear(0)
        world.views.remove(seat.viewer)
        world.flush()
        world.turn(0)
        world.hear(0)
        assert world.shards[0].watched == set()


class TestSlowReaders:
    def test_nothing_is_sent_to_who_is_behind(self) -> None:
        world, (seat, other) = deployment(9, 9)
        seat.viewer.behind = True
        world.fanout.pause(seat.viewer)
        frames = seat.client.frames
        world.shards[0].acks.append((1, 4))
        world.shards[0].owns.append((1, 42))
        for _ in range(5):
            world.turn(0)
        assert seat.client.frames == frames
        assert other.client.frames > frames
        world.fanout.resume(seat.viewer)
        world.flush()
        assert (seat.client.acked, seat.client.own, seat.client.held) == (4, 42, {})
        for shard in (*SHARDS, *SHARDS):
            world.turn(shard)
        assert seat.client.held == other.client.held

    def test_a_view_that_moved_meanwhile_is_the_one_shown(self) -> None:
        world, (seat,) = deployment(9)
        seat.viewer.behind = True
        world.fanout.pause(seat.viewer)
        world.shards[0].views.append((1, 10))
        world.turn(0)
        world.fanout.resume(seat.viewer)
        world.flush()
        for _ in range(2):
            for shard in SHARDS:
                world.turn(shard)
        assert set(seat.client.held) == set(GRID.view_of(10))


class TestTakeover:
    def test_pictures_stay_until_the_next_owner_speaks(self) -> None:
        world, (seat,) = deployment(9)
        held = dict(seat.client.held)
        world.lose(0)
        assert seat.client.held == held
        world.shards[0] = ModelShard(GRID, 0, epoch=2, tick=1)
        world.find(0)
        for _ in range(2):
            world.turn(0)
        assert set(seat.client.held) == set(held)
        assert seat.client.marks[0] == (2, 3)

    def test_the_same_owner_over_a_new_link(self) -> None:
        world, (seat,) = deployment(9)
        world.lose(0)
        world.shards[0].run()  # ticks this gateway never hears of
        world.find(0)
        for _ in range(2):
            world.turn(0)
        assert set(seat.client.held) == set(GRID.view_of(9))


def _moved(sessions: list[int], shards: list[int], numbers: list[int]) -> dict[str, bytes]:
    columns = i64(sessions), u32(shards), i64(numbers)
    return dict(zip(("moved_sessions_i64", "moved_shards_u32", "moved_numbers_i64"), columns, strict=True))


def test_moves_are_read() -> None:
    output = TickOutput(shard=0, epoch=1, tick=1, **_moved([7, -(2**63)], [1, 3], [2**62, 1]))  # type: ignore[arg-type]
    assert decode(output, GRID).moved == [(7, 1, 2**62), (-(2**63), 3, 1)]


class TestBrokenOutputs:
    @pytest.mark.parametrize(
        "fields",
        [
            {"update_cells_u32": u32([1])},
            {"update_cells_u32": u32([1]), "update_sizes_u32": u32([3]), "updates": b"xx"},
            {"update_cells_u32": u32([2, 1]), "update_sizes_u32": u32([1, 1]), "updates": b"xx"},
            {"update_cells_u32": b"abc"},
            {"keyframe_cells_u32": u32([CELLS]), "keyframe_sizes_u32": u32([0])},
            {"keyframe_cells_u32": u32([1]), "keyframe_sizes_u32": u32([1])},
            {"keyframes": b"x"},
            {"view_sessions_i64": i64([1]), "view_cells_u32": u32([CELLS])},
            {"view_sessions_i64": i64([1])},
            {"ack_seqs_u32": u32([1])},
            {"own_sessions_i64": b"1234567", "own_sizes_u32": u32([0])},
            {"own_sessions_i64": i64([1, 2]), "own_sizes_u32": u32([1]), "owns": b"x"},
            {"joined_sessions_i64": i64([1]), "joined_seqs_u32": u32([1, 2])},
            _moved([7], [1], []),
            _moved([7], [1], [1, 2]),
            _moved([7, 8], [1], [1]),
            _moved([], [], [1]),
            _moved([7], [SHARDS[-1] + 1], [1]),
            _moved([7], [0], [1]),
            _moved([7], [1], [0]),
            _moved([7], [1], [-1]),
            {**_moved([7], [1], [1]), "moved_numbers_i64": b"1234567"},
        ],
    )
    def test_columns_that_do_not_fit_together_are_refused(self, fields: dict[str, bytes]) -> None:
        with pytest.raises(LinkError):
            decode(TickOutput(shard=0, epoch=1, tick=1, **fields), GRID)  # type: ignore[arg-type]


class AnyOrder(RuleBasedStateMachine):
    """Players move, come, go and stall; messages overlap; shards change hands. No picture has a gap."""

    world: Deployment

    @initialize()
    def begin(self) -> None:
        self.world = Deployment()
        self.seats: dict[int, Seat] = {}
        self.centers: dict[int, int] = {}
        self.sessions = 0
        for shard in SHARDS:
            self.world.find(shard)

    shard = st.integers(0, GRID.shard_count - 1)
    pick = st.integers(0, 50)

    def seat(self, pick: int) -> Seat | None:
        sessions = sorted(self.seats)
        return self.seats[sessions[pick % len(sessions)]] if sessions else None

    @rule(center=st.integers(0, CELLS - 1))
    def join(self, center: int) -> None:
        self.sessions += 1
        seat = self.seats[self.sessions] = Seat(self.sessions)
        self.world.fanout.viewers[self.sessions] = seat.viewer
        self.centers[self.sessions] = center
        self.world.shards[GRID.shard_of_cell(center)].views.append((self.sessions, center))

    @rule(pick=pick, step=st.sampled_from([-1, 1, -GRID.cells_x, GRID.cells_x]))
    def move(self, pick: int, step: int) -> None:
        seat = self.seat(pick)
        if seat is None:
            return
        session = seat.viewer.session
        center = self.centers[session] + step
        if 0 <= center < CELLS and GRID.shard_of_cell(center) == GRID.shard_of_cell(self.centers[session]):
            self.centers[session] = center
            self.world.shards[GRID.shard_of_cell(center)].views.append((session, center))

    @rule(pick=pick)
    def leave(self, pick: int) -> None:
        seat = self.seat(pick)
        if seat is not None:
            self.world.views.remove(seat.viewer)
            del self.world.fanout.viewers[seat.viewer.session]
            del self.seats[seat.viewer.session]
            self.world.flush()

    @rule(pick=pick)
    def stall(self, pick: int) -> None:
        seat = self.seat(pick)
        if seat is not None and not seat.viewer.behind:
            seat.viewer.behind = True
            self.world.fanout.pause(seat.viewer)
            self.world.flush()

    @rule(pick=pick)
    def read_again(self, pick: int) -> None:
        seat = self.seat(pick)
        if seat is not None and seat.viewer.behind:
            self.world.fanout.resume(seat.viewer)
            self.world.flush()

    @rule(shard=shard)
    def hear(self, shard: int) -> None:
        self.world.hear(shard)

    @rule(shard=shard)
    def tick(self, shard: int) -> None:
        if self.world.routed[shard]:
            self.world.tick(shard)

    @rule(shard=shard)
    def deliver(self, shard: int) -> None:
        if self.world.outputs[shard]:
            self.world.deliver(shard)

    @rule(shard=shard)
    def lose(self, shard: int) -> None:
        if self.world.routed[shard]:
            self.world.lose(shard)

    @rule(shard=shard, new_owner=st.booleans())
    def find(self, shard: int, new_owner: bool) -> None:
        if self.world.routed[shard]:
            return
        model = self.world.shards[shard]
        if new_owner:
            self.world.shards[shard] = ModelShard(GRID, shard, model.epoch + 1, model.tick // 2)
        else:
            model.run()
        # A worker tells of its sessions' views when they attach.
        for session, center in self.centers.items():
            if GRID.shard_of_cell(center) == shard:
                self.world.shards[shard].views.append((session, center))
        self.world.find(shard)

    @precondition(lambda self: self.seats)
    @rule()
    def settle(self) -> None:
        """When nothing is on its way any more, everybody sees exactly the cells around it."""
        for shard in SHARDS:
            self.find(shard, new_owner=False)
        for _ in range(4):
            for shard in SHARDS:
                self.world.turn(shard)
        for session, seat in self.seats.items():
            if not seat.viewer.behind:
                assert set(seat.client.held) == set(GRID.view_of(self.centers[session]))
        for shard in SHARDS:
            looked_at = {
                cell
                for session, seat in self.seats.items()
                if not seat.viewer.behind
                for cell in GRID.view_of(self.centers[session])
                if GRID.shard_of_cell(cell) == shard
            }
            assert self.world.shards[shard].watched == looked_at

    @invariant()
    def viewers_know_what_their_clients_hold(self) -> None:
        for seat in getattr(self, "seats", {}).values():
            if not seat.viewer.behind:
                assert seat.viewer.held <= set(seat.client.held)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=60)
