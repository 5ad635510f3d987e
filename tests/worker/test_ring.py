"""The ring of un-acknowledged records, against a store that loses answers, forgets its newest records and goes away."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.store.ports import AppendAnswer, AppendRequest, Verdict
from overworld.worker.ring import Next, Pending, Ring


def record(tick: int) -> Pending:
    return Pending(tick, chain_of(tick - 1), chain_of(tick), b"r%d" % tick)


def chain_of(tick: int) -> bytes:
    return b"c%d" % tick if tick else b""


class Journal:
    """What the append script does, on a list."""

    def __init__(self) -> None:
        self.records: list[AppendRequest] = []

    @property
    def head(self) -> tuple[int, bytes]:
        return (self.records[-1].tick, self.records[-1].chain) if self.records else (0, b"")

    def append(self, request: AppendRequest) -> AppendAnswer:
        if self.head == (request.previous_tick, request.previous_chain):
            self.records.append(request)
            return AppendAnswer(Verdict.APPENDED, 1, request.tick, request.chain)
        verdict = Verdict.ALREADY if self.head == (request.tick, request.chain) else Verdict.OTHER_HEAD
        return AppendAnswer(verdict, 1, *self.head)


def ring(in_flight_max: int = 2, kept_max: int = 1000) -> Ring:
    return Ring(0, b"", in_flight_max=in_flight_max, kept_max=kept_max)


def test_records_go_out_in_order_and_no_more_than_allowed_at_once() -> None:
    r = ring()
    for tick in (1, 2, 3):
        r.push(record(tick))
    first, second = r.take(), r.take()
    assert first is not None
    assert second is not None
    assert (first.tick, second.tick, r.take()) == (1, 2, None)
    assert r.answered(1, AppendAnswer(Verdict.APPENDED, 1, 1, chain_of(1))) is Next.GO_ON
    third = r.take()
    assert third is not None
    assert (third.tick, third.committed, r.held) == (3, 1, 2)


def test_an_answer_commits_everything_before_it() -> None:
    r = ring()
    r.push(record(1))
    r.push(record(2))
    r.take()
    r.take()
    assert r.failed(1) is Next.RETRY
    assert r.answered(2, AppendAnswer(Verdict.APPENDED, 1, 2, chain_of(2))) is Next.GO_ON
    assert (r.committed, r.held) == (2, 0)


def test_nothing_is_sent_again_before_all_answers_are_in() -> None:
    r = ring()
    r.push(record(1))
    r.push(record(2))
    r.take()
    r.take()
    r.failed(1)
    assert r.take() is None
    r.failed(2)
    again = r.take()
    assert again is not None
    assert again.tick == 1
    assert r.resent == 2


def test_another_owner_means_stop() -> None:
    r = ring()
    r.push(record(1))
    r.take()
    assert r.answered(1, AppendAnswer(Verdict.FENCED, 2, 0, b"")) is Next.STOP


def test_a_wiped_store_means_rebase() -> None:
    r = ring()
    r.push(record(1))
    r.take()
    assert r.answered(1, AppendAnswer(Verdict.FENCED, 0, 0, b"")) is Next.REBASE


def test_a_head_with_a_foreign_chain_means_stop() -> None:
    r = ring()
    r.push(record(1))
    r.push(record(2))
    r.take()
    r.take()
    r.failed(1)
    assert r.answered(2, AppendAnswer(Verdict.OTHER_HEAD, 1, 1, b"foreign")) is Next.STOP


def test_a_head_ahead_of_the_ring_means_stop() -> None:
    r = ring()
    r.push(record(1))
    r.take()
    assert r.answered(1, AppendAnswer(Verdict.OTHER_HEAD, 1, 9, b"c9")) is Next.STOP


def test_a_head_older_than_the_ring_means_rebase() -> None:
    journal, r = Journal(), ring(kept_max=5)
    for tick in range(1, 21):
        r.push(record(tick))
        request = r.take()
        assert request is not None
        r.answered(tick, journal.append(request))
    del journal.records[3:]
    r.push(record(21))
    request = r.take()
    assert request is not None
    assert r.answered(21, journal.append(request)) is Next.REBASE


def test_what_is_kept_is_bounded() -> None:
    journal, r = Journal(), ring(kept_max=5)
    for tick in range(1, 101):
        r.push(record(tick))
        request = r.take()
        assert request is not None
        r.answered(tick, journal.append(request))
    assert len(r._records) == 5


@pytest.mark.parametrize("lost", [1, 3, 10])
def test_records_that_the_store_lost_are_written_again(lost: int) -> None:
    journal, r = Journal(), ring()
    for tick in range(1, 21):
        r.push(record(tick))
        request = r.take()
        assert request is not None
        r.answered(tick, journal.append(request))
    del journal.records[-lost:]
    r.push(record(21))
    drain(r, journal, lambda: False)
    assert [q.tick for q in journal.records] == list(range(1, 22))
    assert (r.committed, r.held) == (21, 0)


def drain(r: Ring, journal: Journal, loses_answer: object) -> None:
    assert callable(loses_answer)
    for _ in range(500):
        request = r.take()
        if request is None:
            return
        if loses_answer():
            r.failed(request.tick)
        else:
            assert r.answered(request.tick, journal.append(request)) in (Next.GO_ON, Next.RETRY)
    raise AssertionError("the ring does not come to rest")


@settings(max_examples=300)
@given(data=st.data())
def test_whatever_happens_the_journal_is_one_lineage_and_committed_means_written(data: st.DataObject) -> None:
    """Requests reach the store in order; answers may be lost, with or without the write; the store may go back."""
    journal, r = Journal(), ring(in_flight_max=data.draw(st.integers(1, 4)))
    flying: deque[AppendRequest] = deque()
    produced = 0
    for _ in range(data.draw(st.integers(1, 60))):
        match data.draw(st.sampled_from(["push", "send", "answer", "lose_answer", "lose_request", "go_back"])):
            case "push":
                produced += 1
                r.push(record(produced))
            case "send":
                request = r.take()
                if request is not None:
                    assert request.committed <= request.previous_tick
                    flying.append(request)
            case "answer" if flying:
                request = flying.popleft()
                assert r.answered(request.tick, journal.append(request)) in (Next.GO_ON, Next.RETRY)
                assert r.committed <= max(r.committed, journal.head[0])
            case "lose_answer" if flying:
                request = flying.popleft()
                journal.append(request)
                r.failed(request.tick)
            case "lose_request" if flying:
                r.failed(flying.popleft().tick)
            case "go_back" if journal.records:
                del journal.records[-data.draw(st.integers(1, 3)) :]
            case _:
                pass
    while flying:
        request = flying.popleft()
        r.answered(request.tick, journal.append(request))
    produced += 1
    r.push(record(produced))
    drain(r, journal, lambda: False)
    assert [q.tick for q in journal.records] == list(range(1, produced + 1))
    assert all(q.payload == b"r%d" % q.tick for q in journal.records)
    assert r.held == 0
