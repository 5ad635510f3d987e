"""The session's state machine: examples of each rule, and a machine that tries everything in any order."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from overworld.errors import WireError
from overworld.game import contract_of
from overworld.gateway.inputs import Forward, InputRules
from overworld.gateway.session import (
    Answer,
    Attach,
    Close,
    Detach,
    Effects,
    Greet,
    Seek,
    Session,
    SessionRules,
    SessionState,
    Tell,
    UseToken,
)
from overworld.gateway.tokens import GuestTokens, ResumeTokens, audience_of
from overworld.wire.v1 import client_pb2 as pb
from tests.shard.meadow import Meadow

KEY = b"k" * 32
WALL = 1_800_000_000.0
AUDIENCE = audience_of("main", "meadow")
GUESTS = GuestTokens(KEY, AUDIENCE, 60)
RESUMES = ResumeTokens(KEY, AUDIENCE, 3600)
RULES = SessionRules(
    title="meadow",
    inputs=InputRules(contract_of(Meadow(), "main")),
    verifier=GUESTS,
    resumes=RESUMES,
    home_of=lambda player: player % 4,
    inputs_waiting_max=8,
    hello_s=5.0,
    world_wait_s=20.0,
)
FRESH = 4711


def hello(**changes: object) -> pb.ClientMessage:
    given = {"protocol": 1, "title": "meadow", "token": GUESTS.issue("anna", WALL), **changes}
    return pb.ClientMessage(hello=pb.Hello(**given))  # type: ignore[arg-type]


def command(seq: int, *values: int) -> pb.ClientMessage:
    return pb.ClientMessage(input=pb.Input(seq=seq, kind=0, values=values or (1, 0)))


def playing(last_seq: int = 0) -> Session:
    session = Session(RULES, FRESH, 0.0)
    session.received(hello(), 0.0, WALL)
    session.token_used(True, 0.0)
    session.attach()
    assert session.joined(last_seq) == [Greet(last_seq)]
    return session


def code_of(session: Session, message: pb.ClientMessage) -> int:
    with pytest.raises(WireError) as caught:
        session.received(message, 0.0, WALL)
    return caught.value.close_code


def test_who_plays_is_told_once_that_the_worker_is_silent_and_once_that_it_is_back() -> None:
    session = playing()
    assert session.hears_worker(True) == ()
    assert session.hears_worker(False) == (Tell(pb.Notice.CODE_STALLED),)
    assert session.hears_worker(False) == ()
    assert session.hears_worker(True) == (Tell(pb.Notice.CODE_RESUMED),)
    assert session.hears_worker(True) == ()


def test_who_was_told_by_a_worker_that_its_shard_stands_is_told_by_the_next_one_that_it_goes_on() -> None:
    session = playing()
    session.shard_stands(True)
    assert session.hears_worker(True) == (), "it answers, and stands all the same"
    session.lost(10.0)
    session.attach()
    assert list(session.joined(0)) == [Tell(pb.Notice.CODE_RESUMED)]
    session.lost(20.0)
    session.attach()
    assert list(session.joined(0)) == []


def test_who_was_told_so_already_is_not_told_again_when_the_worker_falls_silent() -> None:
    session = playing()
    session.shard_stands(True)
    assert session.hears_worker(False) == ()
    assert session.hears_worker(True) == ()
    session.shard_stands(False)
    assert session.hears_worker(True) == ()
    assert session.hears_worker(False) == (Tell(pb.Notice.CODE_STALLED),)
    session.shard_stands(False)
    assert session.hears_worker(True) == ()


def test_who_is_not_served_yet_is_not_told_of_a_silent_worker() -> None:
    session = Session(RULES, FRESH, 0.0)
    assert session.hears_worker(False) == ()


class TestHello:
    def test_a_new_session(self) -> None:
        session = Session(RULES, FRESH, 0.0)
        (use,) = session.received(hello(), 0.0, WALL)
        assert isinstance(use, UseToken)
        assert session.token_used(True, 0.1) == (Seek(session.player % 4),)
        assert session.attach() == (Attach(session.shard, False),)
        assert session.joined(0) == [Greet(0)]
        assert (session.state, session.session) == (SessionState.PLAYING, FRESH)

    def test_a_resumed_one_keeps_its_number_and_needs_no_login_token(self) -> None:
        session = Session(RULES, FRESH, 0.0)
        (seek,) = session.received(hello(token="", resume=RESUMES.issue(99, 6, WALL)), 0.0, WALL)
        assert (seek, session.session, session.player) == (Seek(2), 99, 6)
        assert session.attach() == (Attach(2, True),)
        assert session.joined(17) == [Greet(17)]
        assert session.received(command(18), 0.0, WALL) == (Forward(18, 0, 0, (1, 0)),)

    @pytest.mark.parametrize(
        ("message", "code"),
        [
            (hello(protocol=2), 4005),
            (hello(title="chess"), 4004),
            (hello(title=""), 4004),
            (hello(token="nonsense"), 4003),
            (hello(resume=b"nonsense"), 4008),
            (command(1), 4002),
            (pb.ClientMessage(ping=pb.Ping(nonce=1)), 4002),
            (pb.ClientMessage(bye=pb.Bye()), 4002),
            (pb.ClientMessage(), 1007),
        ],
        ids=str,
    )
    def test_first_messages_that_close(self, message: pb.ClientMessage, code: int) -> None:
        assert code_of(Session(RULES, FRESH, 0.0), message) == code

    def test_a_second_hello(self) -> None:
        assert code_of(playing(), hello()) == 4002

    def test_a_used_token(self) -> None:
        session = Session(RULES, FRESH, 0.0)
        session.received(hello(), 0.0, WALL)
        with pytest.raises(WireError, match="4003"):
            session.token_used(False, 0.0)

    def test_a_ledger_that_does_not_answer(self) -> None:
        session = Session(RULES, FRESH, 0.0)
        session.received(hello(), 0.0, WALL)
        with pytest.raises(WireError, match="1013"):
            session.token_used(None, 0.0)

    def test_without_room_it_waits_its_turn(self) -> None:
        session = Session(RULES, FRESH, 0.0)
        session.received(hello(), 1.0, WALL)
        assert session.token_used(True, 1.0, room=False) == (Tell(pb.Notice.CODE_QUEUED),)
        assert session.state is SessionState.QUEUED
        assert session.attach() == ()
        assert session.let_in(9.0) == (Seek(session.shard),)
        assert session.let_in(9.0) == ()

    def test_but_not_for_ever(self) -> None:
        session = Session(RULES, FRESH, 0.0)
        session.received(hello(), 1.0, WALL)
        session.token_used(True, 1.0, room=False)
        assert session.check(25.9) == ()
        with pytest.raises(WireError) as refused:
            session.check(26.0)
        assert refused.value.close_code == 1013

    def test_inputs_before_the_welcome(self) -> None:
        session = Session(RULES, FRESH, 0.0)
        session.received(hello(), 0.0, WALL)
        assert code_of(session, command(1)) == 1008

    def test_no_hello_in_time(self) -> None:
        session = Session(RULES, FRESH, 100.0)
        assert session.check(104.9) == ()
        with pytest.raises(WireError, match="4002"):
            session.check(105.0)


class TestInputs:
    def test_in_order(self) -> None:
        session = playing(last_seq=5)
        assert session.received(command(6), 0.0, WALL) == (Forward(6, 0, 0, (1, 0)),)
        assert code_of(session, command(8)) == 4007

    def test_again(self) -> None:
        session = playing()
        session.received(command(1), 0.0, WALL)
        assert session.received(command(1), 0.0, WALL) == ()
        assert session.received(command(0), 0.0, WALL) == ()
        assert session.duplicates == 2

    def test_at_most_so_many_wait(self) -> None:
        session = playing()
        for seq in range(1, 9):
            session.received(command(seq), 0.0, WALL)
        assert code_of(session, command(9)) == 1008
        session.acked(3)
        assert session.inputs_waiting == 5
        session.received(command(9), 0.0, WALL)

    def test_values_are_checked(self) -> None:
        assert code_of(playing(), command(1, 9, 0)) == 4006

    def test_pings_are_answered(self) -> None:
        assert playing().received(pb.ClientMessage(ping=pb.Ping(nonce=5)), 0.0, WALL) == (Answer(5),)


class TestWorkerLost:
    def test_unacked_inputs_are_sent_again_in_order(self) -> None:
        session = playing()
        for seq in range(1, 5):
            session.received(command(seq), 0.0, WALL)
        session.acked(1)
        session.lost(10.0)
        assert session.received(command(5), 10.0, WALL) == ()
        assert session.attach() == (Attach(session.shard, True),)
        assert session.received(command(6), 10.0, WALL) == ()
        again = session.joined(2)
        assert [item.seq for item in again if isinstance(item, Forward)] == [3, 4, 5, 6]
        assert session.received(command(7), 10.0, WALL) == (Forward(7, 0, 0, (1, 0)),)

    def test_the_client_is_told_when_it_takes_long(self) -> None:
        session = playing()
        session.lost(10.0)
        assert session.check(10.4) == ()
        assert session.check(10.5) == (Tell(pb.Notice.CODE_SEARCHING),)
        assert session.check(10.6) == ()
        session.attach()
        assert list(session.joined(0)) == [Tell(pb.Notice.CODE_RESUMED)]
        assert session.deadline_s == math.inf

    def test_and_not_when_it_does_not(self) -> None:
        session = playing()
        session.lost(10.0)
        session.attach()
        assert list(session.joined(0)) == []

    def test_not_for_ever(self) -> None:
        session = playing()
        session.lost(10.0)
        session.check(11.0)
        assert session.check(29.9) == ()
        with pytest.raises(WireError, match="4009"):
            session.check(30.0)

    def test_a_world_that_went_back_ends_the_session(self) -> None:
        session = playing()
        for seq in (1, 2):
            session.received(command(seq), 0.0, WALL)
        session.acked(2)
        session.lost(10.0)
        session.attach()
        effects = session.joined(1)
        assert [type(effect) for effect in effects] == [Detach, Close]


class TestMoved:
    def test_unacked_inputs_wait_and_go_to_the_next_shard(self) -> None:
        session = playing()
        home = session.shard
        for seq in (1, 2, 3):
            session.received(command(seq), 0.0, WALL)
        session.acked(1)
        assert session.moved(home, home + 1, 9, 10.0) == (Seek(home + 1),)
        assert session.received(command(4), 10.0, WALL) == ()
        assert session.attach() == (Attach(home + 1, True, home, 9),)
        assert session.received(command(5), 10.0, WALL) == ()
        assert [item.seq for item in session.joined(2) if isinstance(item, Forward)] == [3, 4, 5]
        assert session.received(command(6), 10.0, WALL) == (Forward(6, 0, 0, (1, 0)),)

    def test_the_client_is_told_only_when_it_takes_long(self) -> None:
        session = playing()
        session.moved(session.shard, 9, 1, 10.0)
        session.attach()
        assert session.check(10.4) == ()
        assert list(session.joined(0)) == []
        session.moved(9, 8, 1, 20.0)
        session.attach()
        assert session.check(20.5) == (Tell(pb.Notice.CODE_SEARCHING),)
        assert list(session.joined(0)) == [Tell(pb.Notice.CODE_RESUMED)]

    def test_it_asks_the_next_owner_the_same(self) -> None:
        session = playing()
        home = session.shard
        session.moved(home, 9, 3, 10.0)
        asked = session.attach()
        session.lost(10.1)
        assert session.attach() == asked == (Attach(9, True, home, 3),)
        session.joined(0)
        session.lost(11.0)
        assert session.attach() == (Attach(9, True),)

    def test_a_login_follows_its_player(self) -> None:
        session = Session(RULES, FRESH, 0.0)
        session.received(hello(), 0.0, WALL)
        session.token_used(True, 0.0)
        home = session.shard
        session.attach()
        assert session.moved(home, 8, 2, 0.1) == (Seek(8),)
        assert session.attach() == (Attach(8, False, home, 2),)
        assert session.moved(8, 9, 7, 0.2) == (Seek(9),)
        assert session.attach() == (Attach(9, False, 8, 7),)
        assert session.state is SessionState.ATTACHING
        assert session.joined(0) == [Greet(0)]

    def test_a_player_who_is_nowhere_is_not_followed_for_ever(self) -> None:
        session = playing()
        at = session.shard
        for hop in range(40):
            session.moved(at, 100 + hop, 1, 10.0 + hop)
            at = 100 + hop
            session.attach()
            if hop == 0:
                session.check(10.5)
            if hop < 20:
                assert session.check(10.0 + hop) == ()
        with pytest.raises(WireError, match="4009"):
            session.check(50.0)

    def test_only_the_shard_that_has_the_session_can_send_it_away(self) -> None:
        session = playing()
        home = session.shard
        assert session.moved(home + 1, home + 2, 5, 10.0) == ()
        session.lost(10.0)
        assert session.moved(home, home + 2, 5, 10.0) == ()
        assert (session.shard, session.attach()) == (home, (Attach(home, True),))

    def test_a_session_that_ends_between_shards_leaves_the_next(self) -> None:
        session = playing()
        session.moved(session.shard, 9, 1, 10.0)
        assert session.end(leaving=True) == (Detach(9, True),)
        assert session.end(leaving=True) == ()


class TestEnd:
    def test_bye(self) -> None:
        session = playing()
        effects = session.received(pb.ClientMessage(bye=pb.Bye()), 0.0, WALL)
        assert effects == (Detach(session.shard, True), Close(1000, "bye"))
        assert session.end(leaving=False) == ()

    def test_a_lost_socket(self) -> None:
        session = playing()
        assert session.end(leaving=False) == (Detach(session.shard, False),)

    def test_a_refusal(self) -> None:
        assert playing().refused(4012, "out") == (Detach(playing().shard, False), Close(4012, "out"))

    def test_nobody_is_told_of_a_session_that_never_attached(self) -> None:
        session = Session(RULES, FRESH, 0.0)
        session.received(hello(), 0.0, WALL)
        assert session.end(leaving=False) == ()
        assert session.token_used(True, 0.0) == ()


class AnyOrder(RuleBasedStateMachine):
    """A client that keeps to the protocol, a player who changes shards, workers that die and come back, and messages
    that cross.
    """

    @initialize()
    def begin(self) -> None:
        self.session = playing()
        self.now_s = 0.0
        self.sent = self.applied = 0
        self.link: list[int] = []
        self.joining = False
        self.up = True
        self.shard = self.session.shard
        self.after = (0, 0)

    def carry_out(self, effects: Effects) -> None:
        for effect in effects:
            assert not isinstance(effect, Greet | Close)
            if isinstance(effect, Forward):
                assert self.up
                self.link.append(effect.seq)

    @rule()
    def command(self) -> None:
        if self.sent - self.applied >= RULES.inputs_waiting_max or self.session.inputs_waiting >= 8:
            return
        self.sent += 1
        self.carry_out(self.session.received(command(self.sent), self.now_s, WALL))

    @rule(back=st.integers(0, 5))
    def command_again(self, back: int) -> None:
        if self.sent:
            self.carry_out(self.session.received(command(max(1, self.sent - back)), self.now_s, WALL))

    @rule()
    def tick(self) -> None:
        """The worker applies what has come, and says so."""
        if self.up and not self.joining:
            for seq in self.link:
                assert seq <= self.applied + 1
                self.applied = max(self.applied, seq)
            self.link.clear()
            self.session.acked(self.applied)

    @rule()
    def die(self) -> None:
        self.up = False
        self.joining = False
        self.link.clear()
        self.session.lost(self.now_s)

    @rule()
    def come_back(self) -> None:
        if not self.up:
            self.up = self.joining = True
            assert list(self.session.attach()) == [Attach(self.shard, True, *self.after)]

    @rule(to=st.integers(0, 3), reached=st.booleans())
    def cross(self, to: int, reached: bool) -> None:
        """The player goes to another shard, with some inputs on their way to the old one: they are lost."""
        if not self.up or to == self.shard:
            return
        self.link.clear()
        effects = self.session.moved(self.shard, to, self.sent + 1, self.now_s)
        assert list(effects) == [Seek(to)]
        self.after, self.shard = (self.shard, self.sent + 1), to
        self.up = self.joining = False
        if reached:
            self.come_back()

    @rule(shard=st.integers(0, 3))
    def hear_of_an_old_move(self, shard: int) -> None:
        if shard != self.shard or not self.up:
            assert self.session.moved(shard, 3 - shard, 1, self.now_s) == ()

    @rule()
    def join(self) -> None:
        if self.joining:
            self.joining, self.after = False, (0, 0)
            self.carry_out(self.session.joined(self.applied))

    @rule(pause_s=st.floats(0.0, 0.3))
    def wait(self, pause_s: float) -> None:
        self.now_s += pause_s
        if self.up and not self.joining:
            assert self.session.check(self.now_s) == ()

    @invariant()
    def nothing_unacked_is_forgotten(self) -> None:
        session = getattr(self, "session", None)
        if session is not None and self.up and not self.joining:
            on_the_way = set(self.link) | set(range(1, self.applied + 1))
            assert on_the_way >= set(range(1, self.sent + 1))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=60)
