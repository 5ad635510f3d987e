"""Streams that no client of ours sends are counted by player, and the book stays small."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overworld.gateway.codes import CloseCode
from overworld.gateway.suspicion import REASONS, Suspicion


def test_what_says_nothing_of_the_client_is_not_counted() -> None:
    book = Suspicion()
    for code in set(CloseCode) - set(REASONS):
        assert book.note(7, code) is None
    assert book.note(0, CloseCode.BAD_INPUT) is None, "nobody knows whose socket it was"
    assert book.worst(10) == []


def test_the_worst_come_first_with_their_reasons() -> None:
    book = Suspicion()
    assert book.note(7, CloseCode.BAD_INPUT) == ("bad_input", True)
    assert book.note(8, CloseCode.INPUT_GAP) == ("input_gap", True)
    assert book.note(8, CloseCode.BAD_INPUT) == ("bad_input", False)
    assert book.worst(10) == [(8, {"input_gap": 1, "bad_input": 1}), (7, {"bad_input": 1})]
    assert len(book.worst(1)) == 1


@given(st.lists(st.tuples(st.integers(1, 12), st.sampled_from(sorted(CloseCode)))))
def test_the_book_is_bounded_and_forgets_the_oldest(closes: list[tuple[int, int]]) -> None:
    book = Suspicion(players_max=4)
    newest: list[int] = []
    for player, code in closes:
        if book.note(player, code) is not None:
            newest = [player, *(p for p in newest if p != player)][:4]
    assert {player for player, _ in book.worst(100)} == set(newest)
