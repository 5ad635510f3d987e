"""The session core: greetings, inputs through any disconnects, clocks, closes."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.client.closes import RULES, BackOff, Next, Wait, rule, told_s
from overworld.client.mirror import LightMirror, Mirror
from overworld.client.protocol import ClientSession, Pace, SessionLimits, State
from overworld.errors import WireError
from overworld.wire.v1 import client_pb2 as pb
from tests.client.session_server import SessionServer
from tests.client.worlds import welcome

UNPACED = SessionLimits(ping_interval_s=1e9, silence_s=1e9, welcome_timeout_s=1e9, give_up_s=1e9)


def new_session(limits: SessionLimits = UNPACED, now: float = 0.0) -> ClientSession:
    return ClientSession("demo", "a-token", LightMirror(), now=now, limits=limits)


def playing(limits: SessionLimits = UNPACED, *, last_seq: int = 0) -> ClientSession:
    """A session that has its Welcome, at time 0."""
    session = new_session(limits)
    session.opened(0.0)
    session.outgoing(0.0)
    session.received(pb.Frame(welcomes=[welcome(last_seq=last_seq)]).SerializeToString(), 0.0)
    return session


def messages(session: ClientSession, now: float = 0.0) -> list[pb.ClientMessage]:
    return [pb.ClientMessage.FromString(data) for data in session.outgoing(now)]


def steer(session: ClientSession, thrust: int = 1, now: float = 0.0) -> int | None:
    assert session.mirror.contract is not None
    return session.submit(session.mirror.contract.input("Steer"), [thrust, 0], now)


def test_the_hello_comes_first_and_once() -> None:
    session = new_session()
    session.opened(0.0)
    (hello,) = messages(session)
    assert (hello.hello.protocol, hello.hello.title, hello.hello.token) == (1, "demo", "a-token")
    assert hello.hello.resume == b""
    assert messages(session) == []
    assert session.state is State.GREETING


def test_after_the_welcome_inputs_are_numbered_from_the_last_one() -> None:
    session = playing(last_seq=5)
    assert session.state is State.PLAYING
    assert steer(session) == 6
    assert steer(session, -1) == 7
    sent = messages(session)
    assert [(m.input.seq, m.input.kind, list(m.input.values)) for m in sent] == [(6, 0, [1, 0]), (7, 0, [-1, 0])]


def test_inputs_are_checked_before_they_are_sent() -> None:
    session = playing()
    contract = session.mirror.contract
    assert contract is not None
    with pytest.raises(ValueError, match=r"Steer.thrust is 2, must lie within -1..1"):
        session.submit(contract.input("Steer"), [2, 0], 0.0)
    with pytest.raises(ValueError, match="has 2 fields"):
        session.submit(contract.input("Steer"), [1], 0.0)
    with pytest.raises(ValueError, match="no field"):
        contract.input("Steer").values({"speed": 1})
    with pytest.raises(ValueError, match="no input 'Jump'"):
        contract.input("Jump")
    with pytest.raises(ValueError, match="before the first Welcome"):
        new_session().submit(contract.input("Steer"), [0, 0], 0.0)
    assert contract.input("Fire").values({}) == [1]
    assert session.last_seq == 0


def test_too_many_unacknowledged_inputs_are_refused_and_counted() -> None:
    session = playing(replace(UNPACED, inputs_unacked_max=2))
    assert [steer(session), steer(session), steer(session)] == [1, 2, None]
    assert session.statistics.inputs_refused == 1
    session.received(pb.Frame(acks=[pb.Ack(seq=1)]).SerializeToString(), 0.2)
    assert steer(session) == 3
    assert session.statistics.ack.summary()["max_ms"] == 200


def test_inputs_made_while_lost_go_out_after_the_resume() -> None:
    session = playing()
    steer(session, 1)
    session.outgoing(0.0)
    session.closed(1006, "", 1.0, 0.5)
    steer(session, -1)
    assert messages(session) == []
    session.opened(2.0)
    (hello,) = messages(session, 2.0)
    assert hello.hello.resume == b"resume-1"
    session.received(pb.Frame(welcomes=[welcome(last_seq=0)]).SerializeToString(), 2.1)
    assert [(m.input.seq, m.input.values[0]) for m in messages(session, 2.1)] == [(1, 1), (2, -1)]
    assert session.statistics.resumes == 1
    assert session.statistics.lost.summary()["max_ms"] == pytest.approx(1100, abs=1)


def test_a_server_that_forgot_acknowledged_inputs_is_counted_and_followed() -> None:
    session = playing()
    for thrust in (1, 0, -1):
        steer(session, thrust)
    session.received(pb.Frame(acks=[pb.Ack(seq=2)]).SerializeToString(), 0.0)
    session.closed(1006, "", 1.0, 0.5)
    session.opened(1.0)
    session.outgoing(1.0)
    session.received(pb.Frame(welcomes=[welcome(last_seq=0)]).SerializeToString(), 1.0)
    assert session.statistics.acks_rolled_back == 2
    assert [(m.input.seq, m.input.values[0]) for m in messages(session, 1.0)] == [(1, -1)]
    assert steer(session) == 2


def test_another_contract_or_session_abandons_waiting_inputs() -> None:
    for change in ({"contract": "other"}, {"session": 8}):
        session = playing()
        steer(session)
        session.closed(1006, "", 1.0, 0.5)
        session.opened(1.0)
        session.outgoing(1.0)
        told = welcome(last_seq=40)
        told.MergeFrom(pb.Welcome(**change))
        if "contract" in change:
            told.last_seq = 0
        session.received(pb.Frame(welcomes=[told]).SerializeToString(), 1.0)
        assert session.statistics.inputs_abandoned == 1
        assert messages(session, 1.0) == []
        assert steer(session) == told.last_seq + 1


def test_an_ack_of_an_input_never_sent_is_refused() -> None:
    session = playing()
    steer(session)
    with pytest.raises(WireError, match="never sent"):
        session.received(pb.Frame(acks=[pb.Ack(seq=2)]).SerializeToString(), 0.0)
    assert session.statistics.broken == 1
    session = playing()
    session.closed(1006, "", 0.0, 0.0)
    steer(session)
    session.opened(0.0)
    with pytest.raises(WireError, match="never sent"):
        session.received(pb.Frame(welcomes=[welcome(last_seq=1)]).SerializeToString(), 0.0)


def test_one_welcome_a_socket() -> None:
    session = playing()
    with pytest.raises(WireError, match="more than one Welcome"):
        session.received(pb.Frame(welcomes=[welcome()]).SerializeToString(), 0.0)


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05", b"\x3a\x00"])
def test_garbage_is_refused_and_counted(data: bytes) -> None:
    session = new_session()
    session.opened(0.0)
    with pytest.raises(WireError):
        session.received(data, 0.0)
    assert session.statistics.broken == 1


def test_leaving_says_bye_and_takes_no_more_inputs() -> None:
    session = playing()
    session.bye()
    assert [m.WhichOneof("message") for m in messages(session)] == ["bye"]
    assert steer(session) is None
    assert session.closed(1006, "", 1.0, 0.5).next is Next.STOP
    assert session.state is State.OVER


def test_pings_tell_the_round_trip_and_the_servers_clock() -> None:
    session = playing(replace(UNPACED, ping_interval_s=5.0))
    for sent, back, server in ((0.0, 0.040, 100.021), (5.0, 5.2, 105.150), (10.0, 10.03, 110.015)):
        assert session.wake(sent) is None
        (ping,) = messages(session, sent)
        assert session.wake(sent + 1) is None
        assert messages(session, sent + 1) == []
        pong = pb.Pong(nonce=ping.ping.nonce, server_time_us=round(server * 1e6))
        session.received(pb.Frame(pongs=[pong]).SerializeToString(), back)
    assert session.clock.offset_s == pytest.approx(100.0, abs=1e-6)
    assert session.clock.error_s == pytest.approx(0.015)
    assert session.clock.server_time(20.0) == pytest.approx(120.0, abs=1e-6)
    assert len(session.statistics.round_trip) == 3
    session.received(pb.Frame(pongs=[pb.Pong(nonce=99)]).SerializeToString(), 11.0)
    assert len(session.statistics.round_trip) == 3


def test_pings_come_often_enough_for_the_servers_idle_limit() -> None:
    session = new_session(replace(UNPACED, ping_interval_s=50.0))
    session.opened(0.0)
    session.received(pb.Frame(welcomes=[welcome()]).SerializeToString(), 0.0)
    session.outgoing(0.0)
    pings = 0
    for second in range(20):
        session.wake(float(second))
        pings += len(messages(session, float(second)))
    assert pings == 3


def test_a_silent_or_unwelcoming_server_is_dropped() -> None:
    session = new_session(replace(UNPACED, welcome_timeout_s=3.0))
    session.opened(0.0)
    assert session.wake(3.0) is None
    assert session.wake(3.1) == "no Welcome within 3 s"
    session = playing(replace(UNPACED, silence_s=4.0))
    session.heard(2.0)
    assert session.wake(6.0) is None
    assert session.wake(6.1) == "no byte for 4 s"


def test_the_client_keeps_to_the_servers_message_rate() -> None:
    session = playing(replace(UNPACED, inputs_unacked_max=1000))
    for _ in range(400):
        steer(session)
    sent = 0
    for quarter in range(1, 41):
        sent += len(session.outgoing(quarter / 4))
        # The server's own bucket: 60 messages a second, two seconds' worth at once.
        assert sent <= 120 + 60 * quarter / 4
    assert sent == 400


@given(st.floats(1, 1000), st.lists(st.tuples(st.floats(0, 3), st.integers(0, 200)), max_size=50))
def test_pace_never_exceeds_the_rate(rate: float, wishes: list[tuple[float, int]]) -> None:
    pace, now, taken = Pace(rate, 0.0), 0.0, 0
    for pause, wanted in wishes:
        now += pause
        taken += pace.take(wanted, now)
        assert taken <= 2 * rate + rate * now


# ---------------------------------------------------------------- closes


def test_the_close_table_is_that_of_the_specification(specification: str) -> None:
    table: dict[int, str] = {}
    for line in specification.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].isdigit() and int(cells[0]) >= 1000:
            table[int(cells[0])] = cells[3]
    words = {
        "no": {(Next.STOP, Wait.NONE)},
        "later": {(Next.RESUME, Wait.BACK_OFF)},
        "at once, with `resume`": {(Next.RESUME, Wait.NONE)},
        "after the delay": {(Next.RESUME, Wait.TOLD)},
        "with a new token": {(Next.REAUTHORISE, Wait.BACK_OFF)},
        "with `resume`": {(Next.RESUME, Wait.NONE), (Next.RESUME, Wait.BACK_OFF)},
        "without `resume`": {(Next.FRESH, Wait.NONE)},
        "after a delay": {(Next.RESUME, Wait.BACK_OFF)},
    }
    assert set(table) == set(RULES)
    for code, said in table.items():
        assert RULES[code] in words[said], code


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *[(code, Next.RESUME) for code in (0, 429, 500, 503, 1001, 1006, 1011)],
        *[(code, Next.STOP) for code in (400, 403, 404, 4999)],
    ],
)
def test_codes_outside_the_table(code: int, expected: Next) -> None:
    assert rule(code)[0] is expected


def test_a_finished_session_is_not_resumed() -> None:
    session = playing()
    assert session.closed(4008, "over", 1.0, 0.5).next is Next.FRESH
    session.opened(1.0)
    (hello,) = messages(session, 1.0)
    assert hello.hello.resume == b""


def test_refused_tokens_stop_in_the_end() -> None:
    session = new_session()
    verdicts = []
    for _ in range(4):
        session.opened(0.0)
        verdicts.append(session.closed(4003, "not authorised", 0.0, 0.5).next)
    assert verdicts == [Next.REAUTHORISE] * 3 + [Next.STOP]


def test_failures_in_a_row_lengthen_the_delay_and_steady_play_forgets_them() -> None:
    session = new_session()
    delays = [session.closed(0, "refused", 0.0, 1.0).delay_s for _ in range(8)]
    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert session.statistics.connects_failed == 8
    session.opened(0.0)
    session.received(pb.Frame(welcomes=[welcome()]).SerializeToString(), 0.0)
    assert session.closed(1006, "", 10.0, 1.0).delay_s == 0
    session.opened(10.0)
    session.received(pb.Frame(welcomes=[welcome()]).SerializeToString(), 10.0)
    assert session.closed(1012, "", 10.5, 1.0).delay_s == 0.5
    assert session.statistics.closes == {1006: 1, 1012: 1}


def test_nobody_waits_for_ever() -> None:
    session = new_session(replace(UNPACED, give_up_s=100.0))
    assert session.closed(0, "refused", 100.0, 0.0).next is Next.RESUME
    verdict = session.closed(0, "refused", 100.1, 0.0)
    assert verdict.next is Next.STOP
    assert verdict.reason == "gave up after 100 s: refused"


@given(st.integers(1, 1000), st.floats(0, 1))
def test_back_off_stays_within_its_bounds(attempt: int, chance: float) -> None:
    delay_s = BackOff(0.25, 10.0).delay_s(attempt, chance)
    assert 0.125 <= delay_s <= 10.0


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [
        ("full; try again in 5 s", 5.0),
        ("retry in 2.5s", 2.5),
        ("full", 0.0),
        ("in 999999 s", 60.0),
        ("9" * 90 + "s", 60.0),
    ],
)
def test_a_full_server_says_when_to_come_back(reason: str, seconds: float) -> None:
    assert told_s(reason) == seconds
    if seconds:
        assert seconds <= playing().closed(1013, reason, 0.0, 1.0).delay_s <= seconds * 1.25


# ---------------------------------------------------------------- exactly once


class Wire:
    """A network that loses whatever is on its way when the socket goes."""

    def __init__(self, limits: SessionLimits = UNPACED) -> None:
        self.server = SessionServer()
        self.session = ClientSession("demo", "t", Mirror(), now=0.0, limits=limits)
        self.now = 0.0
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.submitted: list[tuple[int, ...]] = []

    def run(self, deed: tuple[str, int]) -> None:
        what, number = deed
        self.now += 0.05
        if self.session.state in (State.CONNECTING, State.LOST):
            self.session.opened(self.now)
        if what == "input" and self.session.mirror.contract is not None:
            values = [number % 3 - 1, len(self.submitted) % 3 - 1]
            if self.session.submit(self.session.mirror.contract.inputs[0], values, self.now) is not None:
                self.submitted.append(tuple(values))
        elif what == "up":
            for _ in range(min(number, len(self.up))):
                self.down.extend(self.server.take(self.up.popleft()))
        elif what == "tick" and self.session.state is State.PLAYING:
            self.down.append(self.server.next_frame())
        elif what == "down":
            for _ in range(min(number, len(self.down))):
                self.session.received(self.down.popleft(), self.now)
        elif what == "cut":
            self.up.clear()
            self.down.clear()
            self.session.closed(1006, "", self.now, 0.5)
            return
        self.up.extend(self.session.outgoing(self.now))

    def settle(self) -> None:
        """Let everything that is on its way arrive."""
        for _ in range(200):
            for deed in (("up", 100), ("tick", 1), ("down", 100)):
                self.run(deed)


deeds = st.one_of(
    st.tuples(st.just("input"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["up", "down"]), st.integers(1, 4)),
    st.tuples(st.just("tick"), st.just(1)),
    st.tuples(st.just("cut"), st.just(1)),
)


@given(st.lists(deeds, max_size=120), st.integers(1, 32))
def test_inputs_are_applied_and_acknowledged_exactly_once_over_any_disconnects(
    script: list[tuple[str, int]], unacked_max: int
) -> None:
    wire = Wire(replace(UNPACED, inputs_unacked_max=unacked_max))
    for deed in script:
        wire.run(deed)
        assert wire.session.unacked <= unacked_max
    wire.settle()
    assert wire.server.violations == []
    assert wire.server.applied == wire.submitted
    statistics = wire.session.statistics
    assert (statistics.inputs, statistics.inputs_acked) == (len(wire.submitted), len(wire.submitted))
    assert (statistics.inputs_abandoned, statistics.acks_rolled_back, statistics.broken) == (0, 0, 0)
    assert wire.session.unacked == 0


@given(st.lists(st.one_of(deeds, st.tuples(st.just("forget"), st.just(1))), max_size=120))
def test_inputs_of_a_session_that_ended_are_abandoned_and_never_sent_to_the_next(script: list[tuple[str, int]]) -> None:
    wire = Wire()
    for deed in script:
        if deed[0] == "forget":
            wire.run(("cut", 1))
            wire.session.opened(wire.now)
            wire.session.closed(4008, "session over", wire.now, 0.5)
        else:
            wire.run(deed)
    wire.settle()
    statistics = wire.session.statistics
    assert wire.server.violations == []
    assert statistics.inputs == statistics.inputs_acked + statistics.inputs_abandoned
    assert statistics.inputs_acked <= len(wire.server.applied) <= statistics.inputs
    assert wire.session.unacked == 0
