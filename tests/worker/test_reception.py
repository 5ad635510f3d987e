"""What gateways bring to a shard: bounds, refusals, and the order of a session's life."""

from __future__ import annotations

import numpy as np
import pytest

from overworld.errors import LinkError
from overworld.game import contract_of
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent
from overworld.wire.v1 import link_pb2
from overworld.worker.reception import TRY_LATER, Reception, ReceptionLimits
from tests.shard.meadow import Meadow


class Line:
    """A link that only exists."""

    def send_serialized(self, body: bytes) -> None:
        """Nothing listens."""


TITLE = Meadow(sheep=3)
CONTRACT = contract_of(TITLE, "test")


def reception(sessions_max: int = 100) -> Reception:
    return Reception(CONTRACT, 0, ReceptionLimits(sessions_max, attach_wait_s=5.0))


def core() -> ShardCore:
    made = ShardCore(CONTRACT, TITLE, 0)
    made.setup()
    return made


def attach(session: int, player: int = 1, *, resume: bool = False) -> link_pb2.Attach:
    return link_pb2.Attach(shard=0, session=session, player=player, resume=resume)


def events(r: Reception, c: ShardCore, now_s: float = 0.0) -> list[tuple[SessionEvent, int, int]]:
    inputs, _ = r.take(c, now_s)
    c.step(inputs)
    return list(inputs.events)


def test_a_login_is_a_join_and_a_new_socket_a_resume() -> None:
    r, c, line = reception(), core(), Line()
    assert r.attach(line, attach(5, 50)) == 0
    assert r.attach(line, attach(6, 60, resume=True)) == 0
    assert events(r, c) == [(SessionEvent.JOIN, 5, 50), (SessionEvent.RESUME, 6, 60)]


def test_a_lost_socket_and_a_goodbye_are_told_apart() -> None:
    r, c, line = reception(), core(), Line()
    r.attach(line, attach(5, 50))
    r.attach(line, attach(6, 60))
    events(r, c)
    r.detach(line, link_pb2.Detach(session=5, leaving=False))
    r.detach(line, link_pb2.Detach(session=6, leaving=True))
    assert events(r, c) == [(SessionEvent.LOST, 5, 50), (SessionEvent.BYE, 6, 60)]


def test_a_detach_of_a_session_that_moved_on_is_void() -> None:
    r, c, old, new = reception(), core(), Line(), Line()
    r.attach(old, attach(5, 50))
    r.attach(new, attach(5, 50, resume=True))
    events(r, c)
    r.detach(old, link_pb2.Detach(session=5))
    assert events(r, c) == []


def test_more_sessions_than_allowed_are_told_to_try_later() -> None:
    r, line = reception(sessions_max=2), Line()
    assert [r.attach(line, attach(s, s)) for s in (1, 2, 3)] == [0, 0, TRY_LATER]
    assert r.attach(line, attach(2, 2, resume=True)) == 0


def test_a_shard_that_stands_still_takes_back_its_own_and_nobody_new() -> None:
    r, line = reception(), Line()
    r.stalled = True
    assert r.attach(line, attach(1)) == TRY_LATER
    assert r.attach(line, attach(2, resume=True)) == 0


def test_a_lost_links_sessions_are_lost_after_the_wait_and_no_sooner() -> None:
    r, c, line = reception(), core(), Line()
    r.attach(line, attach(5, 50))
    events(r, c)
    assert r.lost(line, now_s=10.0) == 1
    assert events(r, c, 14.9) == []
    assert events(r, c, 15.0) == [(SessionEvent.LOST, 5, 50)]


def test_recovered_players_have_the_wait_to_come_back() -> None:
    r, c, line = reception(), core(), Line()
    first = reception()
    first.attach(line, attach(5, 50))
    first.attach(line, attach(6, 60))
    events(first, c)
    r.recovered(c, now_s=100.0)
    r.attach(line, attach(5, 50, resume=True))
    assert events(r, c, 101.0) == [(SessionEvent.RESUME, 5, 50)]
    assert events(r, c, 105.0) == [(SessionEvent.LOST, 6, 60)]


def test_a_refused_sessions_player_counts_as_lost_at_the_next_tick() -> None:
    r, c, line = reception(), core(), Line()
    r.attach(line, attach(5, 50))
    events(r, c)
    r.inputs(batch([5], [9]))
    inputs, refused = r.take(c, 0.0)
    assert refused.tolist() == [[5], [4007]]
    c.step(inputs)
    assert events(r, c) == [(SessionEvent.LOST, 5, 50)]


def batch(sessions: list[int], seqs: list[int]) -> link_pb2.InputBatch:
    n = len(sessions)
    return link_pb2.InputBatch(
        sessions_i64=np.array(sessions, "<i8").tobytes(),
        seqs_u32=np.array(seqs, "<u4").tobytes(),
        kinds_u32=bytes(4 * n),
        seen_ticks_u32=bytes(4 * n),
        counts_u32=np.full(n, 2, "<u4").tobytes(),
        values_i32=bytes(8 * n),
    )


@pytest.mark.parametrize(
    "broken",
    [
        link_pb2.InputBatch(sessions_i64=b"123"),
        link_pb2.InputBatch(sessions_i64=bytes(8)),
        link_pb2.InputBatch(
            sessions_i64=bytes(8),
            seqs_u32=bytes(4),
            kinds_u32=bytes(4),
            seen_ticks_u32=bytes(4),
            counts_u32=b"\xff" * 4,
        ),
    ],
)
def test_columns_that_do_not_fit_are_a_broken_rule(broken: link_pb2.InputBatch) -> None:
    with pytest.raises(LinkError, match="inputs"):
        reception().inputs(broken)


def test_a_watch_that_is_no_column_is_a_broken_rule() -> None:
    with pytest.raises(LinkError, match="watch"):
        reception().watch(Line(), link_pb2.Watch(begin_u32=b"123"))
