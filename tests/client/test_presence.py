"""What the callbacks tell, replayed, is the picture at every frame; and the JavaScript client's tell the very same."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.drawn import node
from overworld.client.bridge import BRIDGE_TICKS
from overworld.client.mirror import Avatar, Mirror, Seen
from overworld.client.presence import CARRIED_FRAMES_MAX, WHOLE, Presence, Reason
from overworld.errors import WireError
from overworld.wire.v1 import client_pb2 as pb
from tests.browser.test_js_mirror import recorded
from tests.client.test_mirror import BORDER, Watched
from tests.client.worlds import SHIP, Turn, scripts, welcome

TELL = Path(__file__).resolve().parents[2] / "clients" / "js" / "tools" / "tell.js"
SHIP_41 = [BORDER - 3, 5, 2, 0, 9, 100]


class Diary:
    """All that a mirror's presence tells, in the words of clients/js/tools/tell.js."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.presence = Presence(mirror)
        self.told: list[list[object]] = []
        self.presence.on_add(lambda seen: self.told.append(["add", *self._plain(seen)]))
        self.presence.on_change(self._change)
        self.presence.on_remove(self._remove)
        self.presence.on_own(self._own)

    def take(self) -> list[list[object]]:
        """What was told since the last time."""
        told, self.told = self.told, []
        return told

    def _name(self, kind: int) -> str:
        assert self.mirror.contract is not None
        return self.mirror.contract.kinds[kind].name

    def _plain(self, seen: Seen) -> list[object]:
        return [seen.entity, self._name(seen.kind), seen.cell, list(seen.values)]

    def _change(self, entity: int, kind: int, mask: int) -> None:
        self.told.append(["change", entity, self._name(kind), mask])

    def _remove(self, seen: Seen, reason: Reason) -> None:
        self.told.append(["remove", *self._plain(seen), reason])

    def _own(self, own: Avatar | None) -> None:
        self.told.append(["own", own.entity, list(own.values)] if own is not None else ["own", 0, []])


def standing(mirror: Mirror) -> dict[int, Seen]:
    """Who stands in a cell, by the mirror alone: each at its newest place."""
    found = {row[1]: mirror.entity(row[0], row[1]) for row in mirror.picture()}
    return {entity: seen for entity, seen in found.items() if seen is not None}


def moved_on(seen: Seen, ticks: int) -> Seen:
    """As it is so many ticks later, if nobody says otherwise."""
    x, y, vx, vy, *rest = seen.values
    return Seen(seen.entity, seen.kind, seen.cell, (x + vx * ticks, y + vy * ticks, vx, vy, *rest))


class Replayed:
    """A player's own list of what there is, kept by nothing but what is told."""

    def __init__(self, watched: Watched) -> None:
        self.mirror = watched.mirror
        self.diary = Diary(watched.mirror)
        self.known: dict[int, Seen] = {}
        self.absent: dict[int, dict[int, int]] = {}
        """Of those on the bridge, how many ticks each shard did since."""

    def check(self, shard: int, ticks: int) -> None:
        """After a frame of so many ticks of a shard. An entity that nobody spoke of went on by its velocity."""
        mirror, presence = self.mirror, self.diary.presence
        stands, untold = standing(mirror), set(self.known)
        for what, entity, *rest in self.diary.take():
            assert isinstance(entity, int)
            untold.discard(entity)
            if what == "add":
                assert entity not in self.known
                assert rest[2] == list(stands[entity].values)
            elif what == "change":
                assert entity in self.known
                assert entity in stands
            elif what == "remove":
                assert entity not in stands
                del self.known[entity]
                continue
            self.known[entity] = stands[entity]
        assert mirror.contract is not None
        for entity in untold & stands.keys():
            seen = self.known[entity]
            mine = mirror.contract.shard_of(seen.cell) == shard and mirror.contract.kinds[seen.kind].moves
            assert stands[entity] == (moved_on(seen, ticks) if mine else seen)
            self.known[entity] = stands[entity]
        assert self.known.keys() >= stands.keys()
        assert {seen.entity: seen for seen in presence.every() if presence.stands(seen.entity)} == stands
        assert sorted(seen.entity for seen in presence.every()) == sorted(self.known)
        assert len(presence) == len(self.known)
        self._check_bridge(self.known.keys() - stands.keys(), shard, ticks)

    def _check_bridge(self, between: set[int], shard: int, ticks: int) -> None:
        for entity in between:
            assert not self.diary.presence.stands(entity)
            waited = self.absent.get(entity)
            if waited is None:
                waited = self.absent[entity] = {}
            else:
                waited[shard] = waited.get(shard, 0) + ticks
            assert max(waited.values(), default=0) < BRIDGE_TICKS
        self.absent = {entity: waited for entity, waited in self.absent.items() if entity in between}


def resumed(world: Watched, *, contract: str = "c0ffee", session: int = 7) -> pb.Frame:
    """A new socket's first frame; whatever the player held must be sent again."""
    anew = welcome()
    anew.contract, anew.session = contract, session
    world.viewer.held.clear()
    return pb.Frame(welcomes=[anew])


@given(scripts)
def test_what_is_told_replayed_is_the_picture_at_every_frame(script: list[Turn]) -> None:
    world = Watched()
    replayed, ticked = Replayed(world), set()
    for turn in script:
        world.take(world.play(turn))
        replayed.check(turn.shard, turn.shard in ticked)
        ticked.add(turn.shard)


@given(scripts, st.integers(0, 29))
def test_who_begins_to_listen_later_hears_the_same_from_then_on(script: list[Turn], late: int) -> None:
    world, mirror = Watched(), Mirror()
    first, second = Diary(world.mirror), None
    mirror.apply(mirror.parse(pb.Frame(welcomes=[world.welcome]).SerializeToString()))
    for number, turn in enumerate(script):
        if second is None and number >= late and len(first.presence) == len(standing(world.mirror)):
            second = Diary(mirror)
        frame = world.play(turn)
        world.take(frame)
        mirror.apply(mirror.parse(frame.SerializeToString()))
        told = first.take()
        assert second is None or second.take() == told


def by_javascript(messages: list[bytes]) -> list[list[list[object]]]:
    """What the JavaScript mirror's listeners hear of each message."""
    stream = b"".join(struct.pack(">I", len(m)) + m for m in messages)
    done = subprocess.run([node(), str(TELL)], input=stream, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def by_python(messages: list[bytes]) -> list[list[list[object]]]:
    """The same of the Python one."""
    mirror = Mirror()
    diary, told = Diary(mirror), []
    for message in messages:
        mirror.apply(mirror.parse(message))
        told.append(diary.take())
    return told


some = st.sets(st.integers(0, 29), max_size=3)


@given(scripts, some, some, st.booleans())
@settings(max_examples=20)
def test_both_clients_tell_the_same(script: list[Turn], resumes: set[int], owns: set[int], moved: bool) -> None:
    world = Watched()
    frames = [pb.Frame(welcomes=[world.welcome])]
    for number, turn in enumerate(script):
        if number in resumes:
            frames.append(resumed(world, contract="beef" if moved else "c0ffee"))
        frame = world.play(turn)
        ships = [entity for shard in world.truth.shards for entity in shard[SHIP]]
        if ships and number in owns:
            frame.owns.add(entity=ships[number % len(ships)], kind=SHIP, values=[number])
        frames.append(frame)
    messages = [frame.SerializeToString() for frame in frames]
    assert by_python(messages) == by_javascript(messages)


def test_both_clients_tell_the_same_of_a_real_encoders_frames(seed: int) -> None:
    messages = asyncio.run(recorded(seed))
    ours, theirs = by_python(messages), by_javascript(messages)
    for number, (told, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert told == expected, f"message {number} of {len(messages)}"
    said = [event[0] for told in ours for event in told]
    assert {"add", "change", "remove", "own"} <= set(said)


def test_both_clients_tell_the_same_of_what_happens_seldom() -> None:
    """Restated rows, an own avatar that ends far from a border, and a cell sent anew without one at its border."""

    def tick(number: int, **more: object) -> pb.Frame:
        return pb.Frame(heads=[pb.TickHead(shard=0, epoch=1, tick=number)], **more)  # type: ignore[arg-type]

    whole = pb.Cell(cell=1, kind=SHIP, added=[5, 4], columns=[32, 62, 9, 9, 0, 2, 0, 0, 7, 8, 70, 80])
    restated = pb.Cell(cell=1, kind=SHIP, restated=[0, 1 | 8, 0, -2, 0, 0, 55, 0, 8, 44])
    frames = [
        pb.Frame(welcomes=[welcome()]),
        tick(10, views=[pb.View(entered=[1])], keyframes=[whole]),
        pb.Frame(heads=[pb.TickHead(shard=1, epoch=1, tick=3)], views=[pb.View(entered=[2])]),
        tick(11, updates=[restated], owns=[pb.Own(entity=5, kind=SHIP, values=[1])]),
        tick(12, updates=[pb.Cell(cell=1, kind=SHIP, removed=[0])]),
        *[tick(number) for number in range(13, 18)],
        tick(18, views=[pb.View(entered=[1])]),
    ]
    messages = [frame.SerializeToString() for frame in frames]
    told = by_python(messages)
    assert told == by_javascript(messages)
    assert told[3] == [["change", 5, "Ship", 9], ["change", 9, "Ship", 8], ["own", 5, [1]]]
    assert [[event[:2] for event in of_frame] for of_frame in told[4:]] == [
        [], [], [], [], [["remove", 5]], [], [["remove", 9]],
    ]  # fmt: skip


def crossing() -> tuple[Watched, Diary, pb.Frame, pb.Frame]:
    """A ship goes from shard 0 to shard 1: the frames of both shards that tell of it."""
    world = Watched()
    diary = Diary(world.mirror)
    world.truth.shards[0][SHIP][41] = list(SHIP_41)
    for shard in (0, 1, 1):
        world.take(world.play(Turn(shard, [], None, False)))
    assert diary.take() == [["add", 41, "Ship", 1, [BORDER - 1, 5, 2, 0, 9, 100]]]
    leaving = world.play(Turn(0, [], None, False))
    return world, diary, leaving, world.play(Turn(1, [], None, False))


def test_a_crossing_between_shards_is_neither_a_removal_nor_an_addition() -> None:
    world, diary, leaving, arriving = crossing()
    world.take(leaving)
    assert diary.take() == []
    assert world.mirror.entity(SHIP, 41) is None
    assert 41 in diary.presence
    assert not diary.presence.stands(41)
    assert diary.presence.get(41) == Seen(41, SHIP, 1, (BORDER + 1, 5, 2, 0, 9, 100))
    world.take(arriving)
    assert diary.take() == [["change", 41, "Ship", WHOLE]]
    assert diary.presence.get(41) == world.mirror.entity(SHIP, 41) == Seen(41, SHIP, 2, (BORDER + 3, 5, 2, 0, 9, 100))


def test_the_shards_may_tell_of_a_crossing_in_either_order() -> None:
    world, diary, leaving, arriving = crossing()
    world.take(arriving)
    assert diary.take() == [["change", 41, "Ship", WHOLE]]
    world.take(leaving)
    assert diary.take() == []
    assert [seen.cell for seen in diary.presence.every(SHIP)] == [2]


def test_who_does_not_come_up_is_gone_after_some_ticks_at_the_place_it_would_be() -> None:
    world, diary, leaving, _ = crossing()
    world.take(leaving)
    del world.truth.shards[1][SHIP][41]
    world.shards[1].told[2][SHIP].clear()
    for tick in range(1, BRIDGE_TICKS + 1):
        assert diary.take() == []
        seen = diary.presence.get(41)
        assert seen is not None
        assert seen.values[0] == BORDER + 1 + 2 * (tick - 1)
        world.take(world.play(Turn(0, [], None, False)))
    x = BORDER + 1 + 2 * BRIDGE_TICKS
    assert diary.take() == [["remove", 41, "Ship", 1, [x, 5, 2, 0, 9, 100], "gone"]]
    assert len(diary.presence) == 0


def test_a_resume_keeps_who_is_still_there_and_gives_up_the_rest() -> None:
    world = Watched()
    diary = Diary(world.mirror)
    world.truth.shards[0][SHIP] = {1: [5, 5, 0, 0, 9, 100], 2: [9, 9, 0, 0, 9, 100]}
    world.truth.shards[1][SHIP] = {3: [BORDER + 50, 9, 0, 0, 9, 100]}
    for shard in (0, 1):
        world.take(world.play(Turn(shard, [], None, False)))
    diary.take()
    world.take(resumed(world))
    assert (diary.take(), len(diary.presence)) == ([], 0)
    del world.truth.shards[0][SHIP][2]
    world.take(world.play(Turn(0, [], None, False)))
    told = diary.take()
    assert told == [["remove", 2, "Ship", 0, [9, 9, 0, 0, 9, 100], "gone"], ["change", 1, "Ship", WHOLE]]
    for _ in range(CARRIED_FRAMES_MAX - 1):
        world.take(world.play(Turn(0, [], None, False)))
        assert diary.take() == []
    world.take(world.play(Turn(0, [], None, False)))
    assert [event[:2] for event in diary.take()] == [["remove", 3]]


def test_nothing_of_a_broken_frame_is_told_and_a_resume_mends_it() -> None:
    world = Watched()
    diary = Diary(world.mirror)
    world.truth.shards[0][SHIP][1] = [5, 5, 0, 0, 9, 100]
    world.take(world.play(Turn(0, [], None, False)))
    diary.take()
    world.truth.shards[0][SHIP] = {2: [5, 5, 0, 0, 9, 100]}
    frame = world.play(Turn(0, [], None, False))
    frame.updates.add(cell=0, kind=SHIP, removed=[7])
    with pytest.raises(WireError):
        world.take(frame)
    assert diary.take() == []
    world.take(resumed(world))
    world.take(world.play(Turn(0, [], None, False)))
    assert [event[:2] for event in diary.take()] == [["remove", 1], ["add", 2]]


def test_a_listener_that_raises_stops_nobody_and_one_taken_off_hears_nothing() -> None:
    world = Watched()
    diary, calls = Diary(world.mirror), []

    def fail(seen: Seen) -> None:
        calls.append(seen.entity)
        raise RuntimeError("a listener's own")

    off = diary.presence.on_add(fail)
    diary.presence.on_add(lambda seen: calls.append(-seen.entity))
    world.truth.shards[0][SHIP][1] = [5, 5, 0, 0, 9, 100]
    assert world.take(world.play(Turn(0, [], None, False)))
    assert calls == [1, -1]
    off()
    off()
    world.truth.shards[0][SHIP][2] = [5, 5, 0, 0, 9, 100]
    assert world.take(world.play(Turn(0, [], None, False)))
    assert calls == [1, -1, -2]
