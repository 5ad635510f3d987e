"""What a bot sees of an entity that crosses a border, from the times of its frames."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.census import Hop
from loadtest.crossings import Blink, blinks
from loadtest.history import BotHistory, Entry, Event
from loadtest.truth import Truth
from overworld.game import contract_of
from overworld.wire.v1 import client_pb2 as pb
from tests.simulation.pasture import Pasture

HORSE, LEFT, CAME = 9, 11, 31
FROM_CELL, TO_CELL = 1, 2
HOP = Hop(HORSE, 0, LEFT, 1, CAME, 40)
TICK_MS = 50


def truths() -> dict[int, Truth]:
    """The horse is in shard 0 up to tick 10, and in shard 1 from tick 31 on."""
    contract = contract_of(Pasture(), "test", seed=1)
    here = {0: Truth(0, contract), 1: Truth(1, contract)}
    here[0].add(LEFT - 1, [np.array([[0, HORSE, FROM_CELL, 0, 0]])])
    here[1].add(CAME, [np.array([[0, HORSE, TO_CELL, 0, 0]])])
    return here


def bot(*frames: tuple[int, int, int], entered: tuple[int, ...] = (FROM_CELL, TO_CELL), avatar: int = 0) -> BotHistory:
    """A bot that gets (milliseconds, shard, tick); its view is there from the first of them on."""
    history = BotHistory(3, [Entry(Event.CONNECT, 3, 0, b"")])
    for at, (ms, shard, tick) in enumerate(frames):
        frame = pb.Frame(heads=[pb.TickHead(shard=shard, epoch=1, tick=tick)])
        if at == 0:
            frame.views.add(entered=entered)
            frame.owns.add(entity=avatar)
        history.entries.append(Entry(Event.FRAME, 3, ms * 1000, frame.SerializeToString()))
    return history


def seen(history: BotHistory) -> list[Blink]:
    return blinks([history], [HOP], truths())


def test_the_time_between_the_two_frames_and_the_pictures_without_it() -> None:
    [blink] = seen(bot((100, 0, 10), (110, 1, 29), (150, 0, 11), (160, 1, 30), (200, 0, 12), (210, 1, 31)))
    assert blink.ms == pytest.approx(60)
    assert blink.ticks == 2
    assert not blink.own


def test_what_came_before_it_left_was_never_missing() -> None:
    [blink] = seen(bot((100, 0, 10), (140, 1, 31), (150, 0, 11), (190, 1, 32)))
    assert (blink.ms, blink.ticks) == (0, 0)


def test_ticks_that_were_jumped_over_are_those_of_the_next_frame() -> None:
    [blink] = seen(bot((100, 0, 10), (110, 1, 29), (250, 0, 14), (310, 1, 33)))
    assert blink.ms == pytest.approx(60)
    assert blink.ticks == 1


def test_the_own_avatar_is_told_apart() -> None:
    [blink] = seen(bot((100, 0, 10), (150, 0, 11), (160, 1, 31), avatar=HORSE))
    assert blink.own


@pytest.mark.parametrize("entered", [(FROM_CELL,), (TO_CELL,)])
def test_who_held_one_of_the_two_cells_only_does_not_count(entered: tuple[int, ...]) -> None:
    assert seen(bot((100, 0, 10), (150, 0, 11), (160, 1, 31), entered=entered)) == []


def test_a_cell_that_leaves_the_view_in_between_does_not_count() -> None:
    history = bot((100, 0, 10), (150, 0, 11), (170, 1, 30), (200, 1, 31))
    frame = pb.Frame.FromString(history.entries[3].body)
    frame.views.add(left=[TO_CELL])
    history.entries[3] = Entry(Event.FRAME, 3, 170_000, frame.SerializeToString())
    assert seen(history) == []


def test_another_socket_begins_anew() -> None:
    history = bot((100, 0, 10), (150, 0, 11))
    history.entries.append(Entry(Event.CONNECT, 3, 160_000, b""))
    history.entries += bot((180, 1, 31)).entries[1:]
    assert seen(history) == []
