"""The mirror against the reference model: whatever happens, the picture is what watchers of its cells must know."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.client.mirror import Avatar, LightMirror, Mirror
from overworld.errors import WireError
from overworld.wire.v1 import client_pb2 as pb
from tests.client.worlds import CELL_SIZE, NOTE, ROCK, SHIP, Truth, Turn, scripts, welcome
from tests.reference_encoder import ReferenceShard, ReferenceViewer

ALL_CELLS = frozenset(range(12))


class Watched:
    """A world, its encoders, and a mirror that is given every frame as bytes."""

    def __init__(self, tolerances: dict[int, int] | None = None) -> None:
        self.welcome = welcome()
        self.truth = Truth(self.welcome)
        self.shards = [ReferenceShard(self.welcome, i, tolerances) for i in range(2)]
        self.viewer = ReferenceViewer(self.shards)
        self.view = ALL_CELLS
        self.mirror = Mirror()
        self.take(pb.Frame(welcomes=[self.welcome]))

    def take(self, frame: pb.Frame) -> bool:
        """Give the mirror a frame as it comes over the wire."""
        return self.mirror.apply(self.mirror.parse(frame.SerializeToString()))

    def play(self, turn: Turn) -> pb.Frame:
        """One tick of one shard, from the truth to the frame (which the mirror has not had yet)."""
        shard = self.shards[turn.shard]
        again: frozenset[int] = frozenset()
        if turn.takeover:
            shard.take_over(self.truth.of(turn.shard))
            again = ALL_CELLS
        self.truth.step(turn.shard, turn.deeds)
        updates = shard.advance(self.truth.of(turn.shard))
        self.view = self.view if turn.view is None else turn.view
        return self.viewer.frame(shard, updates, self.view, again)


@given(scripts)
def test_the_picture_is_the_state_of_the_held_cells(script: list[Turn]) -> None:
    world = Watched()
    for turn in script:
        assert world.take(world.play(turn))
        assert world.mirror.cells == world.viewer.held
        assert world.mirror.picture() == world.viewer.known()
        # Without tolerance, what watchers know is the truth itself.
        picture = world.mirror.picture(turn.shard)
        truth = world.truth.of(turn.shard)
        assert all(list(row) == truth[kind][entity] for kind, entity, _, *row in picture)
        if world.view == ALL_CELLS:
            assert len(picture) == sum(len(rows) for rows in truth.values())


@given(scripts)
def test_queries_agree_with_the_picture(script: list[Turn]) -> None:
    world = Watched()
    for turn in script:
        world.take(world.play(turn))
    mirror = world.mirror
    picture = mirror.picture()
    for kind, entity, cell, *values in picture:
        if len([row for row in picture if row[:2] == (kind, entity)]) == 1:
            seen = mirror.entity(kind, entity)
            assert seen is not None
            assert (seen.cell, seen.values) == (cell, tuple(values))
    assert mirror.entity(SHIP, 10**9) is None
    assert sorted((s.kind, s.entity, s.cell, *s.values) for k in range(3) for s in mirror.entities(k)) == picture
    columns = []
    for cell in mirror.cells:
        for kind in range(3):
            ids, table = mirror.rows(cell, kind)
            assert ids.dtype == table.dtype == np.int64
            columns += [(kind, int(i), cell, *map(int, row)) for i, row in zip(ids, table.T, strict=True)]
    assert sorted(columns) == picture
    assert sorted(mirror.picture(0) + mirror.picture(1)) == picture


@given(scripts, st.integers(1, 50))
def test_with_tolerance_the_picture_stays_near_the_truth(script: list[Turn], tolerance: int) -> None:
    world = Watched({SHIP: tolerance, ROCK: tolerance})
    for turn in script:
        world.take(world.play(turn))
        assert world.mirror.picture() == world.viewer.known()
        for kind, entity, _, x, y, *rest in world.mirror.picture(turn.shard):
            if kind != NOTE:
                true = world.truth.of(turn.shard)[kind][entity]
                assert max(abs(true[0] - x), abs(true[1] - y)) <= tolerance
                assert list(true[4:]) == rest[2:]


@given(scripts)
def test_frames_may_be_left_out_where_nothing_changed(script: list[Turn]) -> None:
    world = Watched()
    for turn in script:
        frame = world.play(turn)
        if any(piece.cell in world.viewer.held for piece in frame.updates) or frame.views or turn is script[-1]:
            world.take(frame)
    last = world.shards[script[-1].shard]
    assert world.mirror.picture(last.shard) == last.known(world.viewer.held)


@given(scripts)
def test_old_bags_are_dropped_whole(script: list[Turn]) -> None:
    world = Watched()
    sent: list[pb.Frame] = []
    for turn in script:
        frame = world.play(turn)
        assert world.take(frame)
        sent.append(frame)
        for old in sent[-3:]:
            before, dropped = world.mirror.picture(), world.mirror.dropped
            assert not world.take(old)
            assert world.mirror.picture() == before
            assert world.mirror.dropped == dropped + 1
    assert world.mirror.picture() == world.viewer.known()


def test_a_lower_epoch_is_old_even_at_a_higher_tick() -> None:
    world = Watched()
    assert world.take(pb.Frame(heads=[pb.TickHead(shard=0, epoch=2, tick=10)]))
    assert not world.take(pb.Frame(heads=[pb.TickHead(shard=0, epoch=1, tick=11)]))
    assert world.take(pb.Frame(heads=[pb.TickHead(shard=0, epoch=3, tick=10)]))
    assert world.mirror.ticks == {0: (3, 10)}


def test_an_entity_keeps_its_id_and_place_across_cells() -> None:
    world = Watched()
    ship = [CELL_SIZE - 3, 5, 2, 0, 9, 100]
    world.truth.shards[0][SHIP][41] = ship
    cells = []
    for _ in range(4):
        world.take(world.play(Turn(0, [], None, False)))
        seen = world.mirror.entity(SHIP, 41)
        assert seen is not None
        assert seen.values == tuple(ship)
        cells.append(seen.cell)
    assert cells == [0, 1, 1, 1]


BORDER = 2 * CELL_SIZE
"""Cells 0 and 1 are shard 0's, cells 2 and 3 shard 1's."""


def _crossing() -> tuple[Watched, pb.Frame, pb.Frame]:
    """A ship that is the player's goes from shard 0 to shard 1: the frames of both shards that tell of it."""
    world = Watched()
    world.truth.shards[0][SHIP][41] = [BORDER - 3, 5, 2, 0, 9, 100]
    for shard in (0, 1):
        world.take(world.play(Turn(shard, [], None, False)))
    world.take(pb.Frame(owns=[pb.Own(entity=41, kind=SHIP, values=[30])]))
    world.take(world.play(Turn(1, [], None, False)))
    leaving = world.play(Turn(0, [], None, False))
    return world, leaving, world.play(Turn(1, [], None, False))


def test_an_entity_goes_to_another_shard() -> None:
    world, leaving, arriving = _crossing()
    mirror = world.mirror
    world.take(leaving)
    assert mirror.own() is mirror.entity(SHIP, 41) is None
    assert mirror.avatar is not None
    world.take(arriving)
    own = mirror.own()
    assert own is not None
    assert own == mirror.entity(SHIP, 41)
    assert (own.cell, own.values[0]) == (2, BORDER + 3)


def test_an_entity_may_arrive_before_it_has_left() -> None:
    world, leaving, arriving = _crossing()
    mirror = world.mirror
    assert mirror.own() is not None
    world.take(arriving)
    assert [row[2] for row in mirror.picture()] == [1, 2]
    for _ in range(2):
        own = mirror.own()
        assert own is not None
        assert own == mirror.entity(SHIP, 41)
        assert own.cell == 2
        world.take(leaving)
    assert [row[2] for row in mirror.picture()] == [2]


def test_an_entity_that_went_and_came_back_is_where_it_was_added_last() -> None:
    world, leaving, arriving = _crossing()
    mirror = world.mirror
    world.take(arriving)
    world.take(leaving)
    world.truth.shards[1][SHIP][41][2] = -6
    back = world.play(Turn(1, [], None, False))
    world.take(world.play(Turn(0, [], None, False)))
    own = mirror.own()
    assert own is not None
    assert own.cell == 1
    world.take(back)
    assert mirror.own() == mirror.entity(SHIP, 41) is not None


def test_a_welcome_starts_the_picture_anew() -> None:
    world = Watched()
    world.truth.shards[0][ROCK][5] = [1, 1, 0, 0]
    world.take(world.play(Turn(0, [], None, False)))
    assert world.mirror.picture()
    world.take(pb.Frame(welcomes=[welcome(last_seq=12)]))
    assert world.mirror.picture() == []
    assert (world.mirror.cells, world.mirror.ticks, world.mirror.acked) == (set(), {}, 12)


def test_avatar_and_acks() -> None:
    world = Watched()
    world.truth.shards[0][SHIP][41] = [10, 10, 1, 1, 0, 100]
    frame = world.play(Turn(0, [], None, False))
    frame.owns.add(entity=41, kind=SHIP, values=[30])
    frame.acks.add(seq=3, shard=0, tick=1)
    world.take(frame)
    assert world.mirror.avatar == Avatar(41, SHIP, (30,))
    own = world.mirror.own()
    assert own is not None
    assert own.values == (11, 11, 1, 1, 0, 100)
    assert (world.mirror.acked, world.mirror.acked_at, world.mirror.home_tick()) == (3, (0, 1), 1)
    world.take(pb.Frame(acks=[pb.Ack(seq=2, shard=0, tick=1)]))
    assert world.mirror.acked == 3


def test_entity_0_is_no_avatar() -> None:
    world = Watched()
    world.take(pb.Frame(owns=[pb.Own(entity=41, kind=SHIP, values=[30])]))
    world.take(pb.Frame(owns=[pb.Own()]))
    assert world.mirror.avatar is None
    assert world.mirror.own() is None


def test_time_dilation_is_told_and_forgotten() -> None:
    world = Watched()
    world.take(pb.Frame(heads=[pb.TickHead(shard=1, epoch=1, tick=1, tick_interval_us=80_000)]))
    assert world.mirror.tick_intervals_us == {1: 80_000}
    world.take(pb.Frame(heads=[pb.TickHead(shard=1, epoch=1, tick=2)]))
    assert world.mirror.tick_intervals_us == {}


@given(scripts)
def test_the_light_mirror_knows_the_same_ticks_and_acks(script: list[Turn]) -> None:
    world, light = Watched(), LightMirror()
    light.apply(light.parse(pb.Frame(welcomes=[world.welcome]).SerializeToString()))
    for number, turn in enumerate(script, 1):
        frame = world.play(turn)
        frame.acks.add(seq=number, shard=turn.shard, tick=world.shards[turn.shard].tick)
        frame.owns.add(entity=number, kind=SHIP, values=[number])
        assert world.take(frame)
        assert light.apply(light.parse(frame.SerializeToString()))
        assert not light.apply(light.parse(frame.SerializeToString()))
    for name in ("ticks", "acked", "acked_at", "avatar"):
        assert getattr(light, name) == getattr(world.mirror, name)


HEAD = pb.TickHead(shard=0, epoch=1, tick=2)
SHIP_ROW = [1, 2, 3, 4, 5, 6]


def test_restated_rows_are_what_they_are_told_to_be() -> None:
    world = Watched()
    world.truth.shards[0][SHIP] |= {3: [5, 5, 1, 2, 3, 4], 9: [6, 6, 0, 0, 7, 8]}
    world.take(world.play(Turn(0, [], None, False)))
    before = world.mirror.picture(0)
    told = pb.Cell(cell=0, restated=[1, 1 | 8, 7, 9, -1, -2, 55])
    assert world.take(pb.Frame(heads=[pb.TickHead(shard=0, epoch=1, tick=4)], updates=[told]))
    (x, y), other = before[0][3:5], world.mirror.picture(0)[1]
    assert world.mirror.picture(0)[0][3:] == (x + 3, y + 6, 1, 2, 3, 4)
    half = CELL_SIZE // 2
    assert other[3:] == (half + 7, half + 9, -1, -2, 7, 55)
    assert world.take(pb.Frame(heads=[pb.TickHead(shard=0, epoch=1, tick=5)]))
    assert world.mirror.picture(0)[1][3:] == (half + 6, half + 7, -1, -2, 7, 55)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (pb.Frame(heads=[HEAD, HEAD]), "two heads"),
        (pb.Frame(heads=[pb.TickHead(shard=2, epoch=1, tick=1)]), "unknown"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=12)]), "does not exist"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, kind=3, added=[9], columns=[1])]), "unknown kind"),
        (pb.Frame(updates=[pb.Cell(cell=0, changed=[0, 2, 1, 1])]), "without a head"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, removed=[1])]), "removed row"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, added=[7], columns=SHIP_ROW[:-1])]), "values for 1"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, columns=SHIP_ROW)]), "without added"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, added=[8, 0], columns=SHIP_ROW * 2)]), "ascend"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, added=[2**63], columns=SHIP_ROW)]), "ascend"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, added=[3], columns=SHIP_ROW)]), "already is"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, changed=[1, 2, 1, 1])]), "not there"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, changed=[-1, 2, 1, 1])]), "gaps"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, changed=[0, 0])]), "mask"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, changed=[0, -1, 1])]), "mask"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, changed=[0, 16, 1])]), "mask"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, changed=[0, 1, 1])]), "cut short"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, changed=[0, 12, 1])]), "cut short"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, changed=[0])]), "cut short"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, restated=[1, 4, 1])]), "not there"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, restated=[-1, 4, 1])]), "gaps"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, restated=[0, 1, 1, 1, 1])]), "cut short"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, restated=[0, 2, 1, 1])]), "its place"),
        (pb.Frame(heads=[HEAD], updates=[pb.Cell(cell=0, restated=[0, 0])]), "mask"),
        (pb.Frame(heads=[HEAD], views=[pb.View(entered=[12])]), "does not exist"),
        (pb.Frame(heads=[HEAD], keyframes=[pb.Cell(cell=0, added=[9], columns=SHIP_ROW)]), "does not enter"),
        (
            pb.Frame(heads=[HEAD], views=[pb.View(entered=[1])], keyframes=[pb.Cell(cell=1, removed=[0])]),
            "only adds",
        ),
        (
            pb.Frame(
                heads=[HEAD],
                views=[pb.View(entered=[1])],
                keyframes=[pb.Cell(cell=1, added=[9], columns=SHIP_ROW)] * 2,
            ),
            "two keyframes",
        ),
        (
            pb.Frame(views=[pb.View(entered=[1])], keyframes=[pb.Cell(cell=1, added=[9], columns=SHIP_ROW)]),
            "without a head",
        ),
        (pb.Frame(owns=[pb.Own(entity=3, kind=3)]), "unknown kind"),
        (pb.Frame(owns=[pb.Own(entity=3, kind=SHIP)]), "owner values"),
        (pb.Frame(heads=[HEAD, pb.TickHead(shard=1, epoch=1, tick=1)]), "old and new"),
    ],
)
def test_a_frame_that_breaks_a_rule_is_refused(frame: pb.Frame, reason: str) -> None:
    world = Watched()
    world.take(pb.Frame(heads=[pb.TickHead(shard=1, epoch=1, tick=1)]))
    world.truth.shards[0][SHIP][3] = [5, 5, 0, 0, 0, 0]
    world.take(world.play(Turn(0, [], None, False)))
    with pytest.raises(WireError, match=reason):
        world.take(frame)


@pytest.mark.parametrize(
    "frame",
    [
        pb.Frame(heads=[HEAD]),
        pb.Frame(acks=[pb.Ack(seq=1)]),
        pb.Frame(owns=[pb.Own(entity=1)]),
        pb.Frame(views=[pb.View(entered=[1])]),
        pb.Frame(updates=[pb.Cell()]),
        pb.Frame(keyframes=[pb.Cell()]),
    ],
)
def test_nothing_of_the_world_comes_before_the_welcome(frame: pb.Frame) -> None:
    with pytest.raises(WireError, match="before a Welcome"):
        Mirror().apply(frame)


def test_a_notice_may_come_before_the_welcome() -> None:
    assert Mirror().apply(pb.Frame(notices=[pb.Notice(code=pb.Notice.CODE_SEARCHING)]))


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": 2},
        {"grid": pb.Grid(cells_x=4, cells_y=3, cell_size=64, shards_x=3, shards_y=1)},
        {"grid": pb.Grid()},
        {"tick_interval_us": 0},
        {"kinds": [pb.Kind(name="Short", moves=True, columns=[pb.Column(name="x")])]},
        {"inputs": [pb.InputKind(name="No", fields=[pb.InputField(name="way", min=1, max=0)])]},
        {"kinds": [pb.Kind(name="K")] * 257},
        {"kinds": [pb.Kind(name="Wide", columns=[pb.Column(name="c")] * 65)]},
    ],
)
def test_a_welcome_that_cannot_be_true_is_refused(change: dict[str, object]) -> None:
    told = welcome()
    for name in change:
        told.ClearField(name)  # type: ignore[arg-type]
    told.MergeFrom(pb.Welcome(**change))  # type: ignore[arg-type]
    with pytest.raises(WireError):
        Mirror().apply(pb.Frame(welcomes=[told]))


small = st.integers(0, 6)
any_number = st.one_of(st.integers(-3, 12), st.integers(-(2**31), 2**31 - 1))
cells = st.builds(
    pb.Cell,
    cell=st.one_of(small, st.integers(0, 2**32 - 1)),
    kind=small,
    removed=st.lists(small, max_size=4),
    added=st.lists(st.one_of(small, st.integers(0, 2**64 - 1)), max_size=3),
    columns=st.lists(any_number, max_size=18),
    changed=st.lists(any_number, max_size=12),
)
frames = st.builds(
    pb.Frame,
    heads=st.lists(st.builds(pb.TickHead, shard=small, epoch=small, tick=small), max_size=2),
    updates=st.lists(cells, max_size=3),
    keyframes=st.lists(cells, max_size=2),
    views=st.lists(
        st.builds(pb.View, entered=st.lists(small, max_size=3), left=st.lists(small, max_size=3)), max_size=2
    ),
    acks=st.lists(st.builds(pb.Ack, seq=small), max_size=2),
    owns=st.lists(st.builds(pb.Own, entity=small, kind=small, values=st.lists(any_number, max_size=2)), max_size=2),
)


@settings(max_examples=300)
@given(st.lists(frames, max_size=4), st.booleans())
def test_whatever_a_server_sends_the_only_error_is_a_wire_error(bags: list[pb.Frame], filled: bool) -> None:
    world = Watched()
    if filled:
        world.truth.shards[0][SHIP] = {3: [5, 5, 1, 0, 0, 0], 4: [6, 5, 0, 1, 0, 0]}
        world.take(world.play(Turn(0, [], None, False)))
    with contextlib.suppress(WireError):
        for bag in bags:
            world.take(bag)
            world.mirror.picture()
            for cell in world.mirror.cells:
                world.mirror.rows(cell, SHIP)


@given(st.binary(max_size=80))
def test_bytes_that_are_no_frame_are_refused(data: bytes) -> None:
    for mirror in (Mirror(), LightMirror()):
        with contextlib.suppress(WireError):
            mirror.apply(mirror.parse(data))
