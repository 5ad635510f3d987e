"""Mail between shards, part by part: what is handed over to whom, and which sessions wait for it."""

from __future__ import annotations

import numpy as np
import pytest

from overworld.errors import LinkError
from overworld.game import contract_of
from overworld.shard.core import ShardCore
from overworld.shard.handover import HANDOVER
from overworld.shard.inputs import SessionEvent, ShardMessage, TickInputs
from overworld.store.ports import MESSAGE_BYTES_MAX, OutboxMessage
from overworld.wire.v1 import link_pb2, record_pb2
from overworld.worker.post import MAIL_BYTES_MAX, Post, message_of, opened
from overworld.worker.reception import TRY_LATER, Reception, ReceptionLimits
from overworld.worker.records import outbox_messages
from tests.worker.ferry import Ferry

TITLE = Ferry()
CONTRACT = contract_of(TITLE, "test")
WAIT_S = 5.0


def core(shard: int) -> ShardCore:
    made = ShardCore(CONTRACT, TITLE, shard)
    made.setup()
    return made


def nothing(number: int) -> ShardMessage:
    """A message from shard 0 to shard 1 that only counts."""
    return ShardMessage(0, 1, number, HANDOVER, b"")


class Line:
    """A link that remembers what was sent."""

    def __init__(self) -> None:
        self.heard: list[link_pb2.LinkMessage] = []

    def send_serialized(self, body: bytes) -> None:
        self.heard.append(link_pb2.LinkMessage.FromString(body))


# ---------------------------------------------------------------- the post


class Office:
    """Two workers: shards 0 and 1 are here, shard 2 is at `b:1`, shard 3 nowhere, shard 4 at a place without a link."""

    def __init__(self) -> None:
        self.here: list[ShardMessage] = []
        self.away: list[link_pb2.ShardMail] = []
        self.post = Post(self._here, {2: "b:1", 4: "c:1"}.get, self._there)  # type: ignore[arg-type]

    def _here(self, shard: int, messages: object) -> bool:
        if shard <= 1:
            self.here += messages  # type: ignore[arg-type]
        return shard <= 1

    def _there(self, address: str, body: bytes) -> bool:
        if address == "b:1":
            self.away.append(link_pb2.LinkMessage.FromString(body).mail)
        return address == "b:1"

    def send(self, *messages: ShardMessage) -> None:
        bodies = [OutboxMessage(m.to_shard, m.number, body_of(m)) for m in messages]
        self.post.send(messages, bodies)


def body_of(m: ShardMessage) -> bytes:
    return record_pb2.ShardMessage(
        from_shard=m.from_shard, to_shard=m.to_shard, number=m.number, kind=m.kind, body=m.body
    ).SerializeToString()


def test_mail_goes_where_its_receiver_is_run() -> None:
    office = Office()
    office.send(*(ShardMessage(0, to, 5, 1, b"x") for to in (4, 3, 2, 1)), ShardMessage(0, 2, 6, 1, b"y"))
    assert office.here == [ShardMessage(0, 1, 5, 1, b"x")]
    (mail,) = office.away
    assert (mail.from_shard, mail.to_shard, mail.first_number) == (0, 2, 5)
    assert opened(mail, 5) == [ShardMessage(0, 2, 5, 1, b"x"), ShardMessage(0, 2, 6, 1, b"y")]


def test_much_mail_goes_in_parts_that_fit_a_frame() -> None:
    office = Office()
    office.send(*(ShardMessage(0, 2, n, 1, bytes(MESSAGE_BYTES_MAX - 64)) for n in range(1, 41)))
    assert [mail.first_number for mail in office.away] == [1, 18, 35]
    assert all(sum(map(len, mail.bodies)) < MAIL_BYTES_MAX + MESSAGE_BYTES_MAX for mail in office.away)
    assert [m.number for mail in office.away for m in opened(mail, 5)] == list(range(1, 41))


def test_mail_that_is_not_what_it_says_is_a_broken_rule() -> None:
    good = body_of(ShardMessage(0, 1, 5, 1, b"x"))
    for mail in (
        link_pb2.ShardMail(from_shard=9, to_shard=1, first_number=5, bodies=[good]),
        link_pb2.ShardMail(from_shard=0, to_shard=2, first_number=5, bodies=[good]),
        link_pb2.ShardMail(from_shard=0, to_shard=1, first_number=6, bodies=[good]),
        link_pb2.ShardMail(from_shard=0, to_shard=1, first_number=5, bodies=[b"\xff\xff"]),
        link_pb2.ShardMail(from_shard=0, to_shard=1, first_number=5, bodies=[bytes(MESSAGE_BYTES_MAX + 1)]),
    ):
        with pytest.raises(LinkError):
            opened(mail, 5)


def test_what_is_handed_over_is_what_the_outbox_holds() -> None:
    sender, receiver = core(0), core(1)
    reception = Reception(CONTRACT, 1, ReceptionLimits())
    for tick in range(1, 200):
        outcome = sender.step(TickInputs())
        mine = [(m, o) for m, o in zip(outcome.outbox, outbox_messages(outcome), strict=True) if m.to_shard == 1]
        assert [message_of(o.body) for _, o in mine] == [m for m, _ in mine]
        reception.messages([m for m, _ in mine], tick)
        inputs, _ = reception.take(receiver, tick)
        assert inputs.messages == tuple(m for m, _ in mine)
        assert receiver.step(inputs).alarms == ()
    assert receiver.received(0) > 20


# ---------------------------------------------------------------- sessions that come before their players


def reception() -> Reception:
    return Reception(CONTRACT, 1, ReceptionLimits(sessions_max=2, attach_wait_s=WAIT_S))


def attach(session: int, number: int, *, resume: bool = True) -> link_pb2.Attach:
    return link_pb2.Attach(
        shard=1, session=session, player=session * 10, resume=resume, after_shard=0, after_number=number
    )


def events(r: Reception, c: ShardCore, now_s: float = 0.0) -> list[tuple[SessionEvent, int, int]]:
    inputs, _ = r.take(c, now_s)
    r.arrived(c.step(inputs), now_s)
    return list(inputs.events)


def test_an_attach_waits_for_the_message_its_player_travels_by_and_joins_in_the_same_tick() -> None:
    r, c, line = reception(), core(1), Line()
    assert r.attach(line, attach(5, 2)) == 0
    assert events(r, c) == []
    r.messages([nothing(1)], 0.0)
    assert events(r, c) == []
    r.messages([nothing(2)], 0.0)
    assert events(r, c) == [(SessionEvent.RESUME, 5, 50)]
    assert 5 in r.routes


def test_an_attach_after_a_message_that_was_applied_long_ago_joins_at_once() -> None:
    r, c, line = reception(), core(1), Line()
    r.messages([nothing(1)], 0.0)
    events(r, c)
    r.attach(line, attach(5, 1, resume=False))
    assert events(r, c) == [(SessionEvent.JOIN, 5, 50)]


def test_who_waits_too_long_or_finds_no_room_to_wait_is_told_to_try_later() -> None:
    r, c, line = reception(), core(1), Line()
    assert [r.attach(line, attach(s, 1), now_s=10.0) for s in (1, 2, 3)] == [0, 0, TRY_LATER]
    assert events(r, c, 10.0 + WAIT_S - 0.1) == []
    assert line.heard == []
    assert events(r, c, 10.0 + WAIT_S) == []
    assert [(m.refused.session, m.refused.close_code) for m in line.heard] == [(1, TRY_LATER), (2, TRY_LATER)]
    r.messages([nothing(1)], 0.0)
    assert events(r, c, 20.0) == [], "they are forgotten"


def test_a_socket_that_goes_while_its_session_waits_is_lost_when_the_player_is_there() -> None:
    for leaving, event in ((False, SessionEvent.LOST), (True, SessionEvent.BYE)):
        r, c, line, other = reception(), core(1), Line(), Line()
        r.attach(line, attach(5, 1))
        r.detach(other, link_pb2.Detach(session=5, leaving=not leaving))
        r.detach(line, link_pb2.Detach(session=5, leaving=leaving))
        r.messages([nothing(1)], 0.0)
        assert events(r, c) == [(event, 5, 50)]
        assert 5 not in r.routes


def test_a_later_attach_of_a_waiting_session_takes_its_place() -> None:
    r, c, old, new = reception(), core(1), Line(), Line()
    r.attach(old, attach(5, 1))
    r.attach(new, attach(5, 1))
    r.lost(old, 0.0)
    r.messages([nothing(1)], 0.0)
    assert events(r, c) == [(SessionEvent.RESUME, 5, 50)]
    assert r.routes.link_of(5) is new


def test_a_lost_links_waiting_sessions_are_for_somebody_else_to_bring() -> None:
    r, c, line = reception(), core(1), Line()
    r.attach(line, attach(5, 1))
    r.lost(line, 0.0)
    r.messages([nothing(1)], 0.0)
    assert events(r, c) == []


def test_a_player_who_came_over_and_whom_no_gateway_claims_is_lost_after_the_wait() -> None:
    sender, c, r = core(0), core(1), reception()
    sender.step(TickInputs(events=((SessionEvent.JOIN, 5, 50),)))
    sender.shard.tables[0].at.x[-1] = sender.shard.units(100)
    outcome = sender.step(TickInputs())
    assert [column.tolist() for column in outcome.moved] == [[5], [1], [outcome.outbox[0].number]]
    r.messages([m for m in outcome.outbox if m.to_shard == 1], 0.0)
    assert events(r, c, 100.0) == []
    assert (int(c.shard.players.online.sum()), 5 in r.routes) == (1, True)
    assert events(r, c, 100.0 + WAIT_S - 0.1) == []
    assert events(r, c, 100.0 + WAIT_S) == [(SessionEvent.LOST, 5, 50)]
    assert np.array_equal(c.shard.players.online, [0])
