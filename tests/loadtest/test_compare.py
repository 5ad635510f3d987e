"""Pictures against the truth: what is right passes, and each thing that can be wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from loadtest.compare import Comparison, compare, endings
from loadtest.history import Event
from loadtest.truth import Ints
from overworld.wire.v1 import client_pb2 as pb
from tests.loadtest.watcher import Watched, note, watch

TICKS = 40


def compared(watched: Watched) -> Comparison:
    return compare([watched.history], {0: watched.truth})


def change_frame(watched: Watched, at: int, change: Callable[[pb.Frame], object]) -> None:
    """Alter the frame of a tick."""
    entry = watched.history.entries
    for i, e in enumerate(entry):
        if e.event is Event.FRAME:
            frame = pb.Frame.FromString(e.body)
            if frame.heads and frame.heads[0].tick == at:
                change(frame)
                entry[i] = replace(e, body=frame.SerializeToString())
                return
    raise AssertionError(f"no frame of tick {at}")


def seen_rows(watched: Watched, tick: int) -> Ints:
    """The sheep that the bot sees at a tick; both ends of the table among them."""
    rows = watched.truth.ticks[tick][0]
    rows = rows[[row in watched.cells for row in rows[:, 2].tolist()]].copy()
    assert len(rows) > 1
    watched.truth.ticks[tick][0] = rows
    return rows


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_bot_that_saw_the_truth_is_clean_and_much_was_compared(seed: int) -> None:
    found = compared(watch(TICKS, seed))
    assert found.clean, found.examples
    assert found.comparisons == found.heads == TICKS
    assert found.entities > TICKS
    assert found.fields > 5 * found.entities
    assert found.bots == {0}


def silent(ticks: range) -> Watched:
    """A bot that was told ticks and nothing else, and of these not even that."""
    watched, kept = watch(TICKS, 1), []
    for entry in watched.history.entries:
        frame = pb.Frame.FromString(entry.body) if entry.event is Event.FRAME else pb.Frame()
        if any(head.tick in ticks for head in frame.heads):
            continue
        for pieces in ("updates", "keyframes", "owns"):
            frame.ClearField(pieces)
        kept.append(replace(entry, body=frame.SerializeToString()) if entry.event is Event.FRAME else entry)
    watched.history.entries[:] = kept
    return watched


def test_a_shard_that_says_nothing_makes_a_gap_and_one_that_left_the_view_does_not() -> None:
    watched = silent(range(21, 31))
    assert max(compared(watched).gaps_ms) > 10
    change_frame(watched, 20, lambda frame: frame.views.add(left=watched.cells))
    assert max(compared(watched).gaps_ms) < 5


def test_a_lost_update_is_found() -> None:
    watched = watch(TICKS, 1)
    change_frame(watched, 20, lambda frame: frame.ClearField("updates"))
    found = compared(watched)
    assert found.mismatches + found.rule_broken > 0
    assert found.examples


def test_one_wrong_field_is_found_and_named() -> None:
    watched = watch(TICKS, 1)
    rows = seen_rows(watched, 20)
    rows[0, -1] += 1
    found = compared(watched)
    assert found.mismatches == 1
    assert "tick 20" in found.examples[0]
    assert "client != server" in found.examples[0]


def test_what_only_the_owner_may_see_is_compared_too() -> None:
    watched = watch(TICKS, 1)
    assert compared(watched).owns > 1
    change_frame(watched, 3, lambda frame: frame.owns[0].values.__setitem__(0, 77))
    found = compared(watched)
    assert found.mismatches == 1
    assert "owns (77,)" in found.examples[0]


def test_an_entity_that_only_the_server_has_is_found() -> None:
    watched = watch(TICKS, 1)
    rows = seen_rows(watched, 20)
    new = rows[-1:].copy()
    new[0, 1] = 123_456_789
    watched.truth.ticks[20][0] = np.concatenate((rows, new))
    found = compared(watched)
    assert found.mismatches == 1
    assert "only the server has it" in found.examples[0]


def test_a_tick_that_comes_twice_is_found() -> None:
    watched = watch(TICKS, 1)
    note(watched, Event.FRAME, watched.history.entries[-1].body)
    assert compared(watched).order_broken == 1


def test_a_tick_of_another_epoch_than_the_committed_one_is_found() -> None:
    watched = watch(TICKS, 1)
    watched.truth.epochs[20] = 4
    assert compared(watched).epoch_broken == 1


def test_a_tick_that_the_truth_does_not_have_is_named() -> None:
    watched = watch(TICKS, 1)
    del watched.truth.ticks[20]
    found = compared(watched)
    assert found.missing == {(0, 3, 20)}


def test_comparing_nothing_is_not_clean() -> None:
    assert not Comparison().clean


def test_bots_that_were_closed_are_told_apart_from_those_that_left() -> None:
    watched = watch(3, 1)
    note(watched, Event.CLOSED, b"4010 silent")
    note(watched, Event.LEFT, b"")
    assert endings([watched.history]) == {"closed 4010 silent": 1}
