"""Who may take which shard, and when."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from overworld.store.ports import Head
from overworld.worker.leases import LeaseBook, LeaseRules, Vacancy

RULES = LeaseRules(ttl_s=1.0, shards_max=100)
A, B, C = "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"


def head(address: str, beat: int = 0, epoch: int = 1) -> Head:
    return Head(epoch, b"n" * 16, address, 5, b"c", 5, 0, beat)


def book(shards: int, me: str = A, rules: LeaseRules = RULES) -> LeaseBook:
    return LeaseBook(shards, me, rules)


def taken(b: LeaseBook, now_s: float, live: tuple[str, ...] = (A, B), mine: tuple[int, ...] = ()) -> list[int]:
    return [c.shard for c in b.candidates(now_s, live, mine)]


def look_for(b: LeaseBook, heads: dict[int, Head | None], from_s: float, to_s: float, step_s: float = 0.2) -> float:
    now_s = from_s
    while now_s < to_s:
        b.looked(heads, now_s)
        now_s += step_s
    b.looked(heads, to_s)
    return to_s


# ---------------------------------------------------------------- when a shard is vacant


def test_an_owner_whose_head_moves_is_left_alone() -> None:
    b = book(1)
    for step in range(50):
        b.looked({0: head(B, beat=step)}, step * 0.2)
        assert not b.vacancies(step * 0.2, ())


def test_a_head_that_stands_still_for_a_full_ttl_is_silent() -> None:
    b = book(1)
    look_for(b, {0: head(B)}, 0.0, 0.9)
    assert not b.vacancies(0.9, ())
    b.looked({0: head(B)}, 1.0)
    assert [c.why for c in b.vacancies(1.0, ())] == [Vacancy.SILENT]


def test_nothing_is_dealt_to_an_owner_that_fell_silent() -> None:
    b = book(4)
    now_s = look_for(b, dict.fromkeys(range(4), head(B)), 0.0, 1.0)
    assert taken(b, now_s) == [0, 1, 2, 3]


def test_a_failed_look_starts_the_wait_anew() -> None:
    b = book(1)
    look_for(b, {0: head(B)}, 0.0, 0.8)
    b.look_failed()
    look_for(b, {0: head(B)}, 1.0, 1.8)
    assert not b.vacancies(1.8, ())
    look_for(b, {0: head(B)}, 2.0, 2.0)
    assert b.vacancies(2.0, ())


def test_a_candidate_that_slept_itself_waits_anew() -> None:
    b = book(1)
    look_for(b, {0: head(B)}, 0.0, 0.2)
    b.looked({0: head(B)}, 10.0)
    assert not b.vacancies(10.0, ())


def test_a_released_shard_is_vacant_at_once() -> None:
    b = book(1)
    b.looked({0: head("")}, 0.0)
    assert [c.why for c in b.vacancies(0.0, ())] == [Vacancy.RELEASED]


def test_a_shard_without_a_head_is_new() -> None:
    b = book(1)
    b.looked({0: None}, 0.0)
    assert [(c.why, c.seen) for c in b.vacancies(0.0, ())] == [(Vacancy.NEW, None)]


def test_a_suspects_shards_are_vacant_after_one_look_and_not_after_it_answers_again() -> None:
    b = book(2)
    b.looked({0: head(B), 1: head(C)}, 0.0)
    b.suspect(B)
    assert not b.vacancies(0.0, ())
    b.looked({0: head(B, beat=1), 1: head(C)}, 0.1)
    assert [(c.shard, c.why) for c in b.vacancies(0.0, ())] == [(0, Vacancy.SUSPECT)]
    b.trust(B)
    assert not b.vacancies(0.0, ())


def test_a_suspect_whose_head_goes_on_moving_lives() -> None:
    b = book(1)
    b.looked({0: head(B)}, 0.0)
    b.suspect(B)
    b.looked({0: head(B, beat=1)}, 0.1)
    b.looked({0: head(B, beat=2)}, 0.2)
    assert not b.vacancies(0.2, ())


def test_a_suspect_whose_head_went_back_in_a_failover_stays_one() -> None:
    b = book(1)
    b.looked({0: replace(head(B, beat=2), tick=9)}, 0.0)
    b.suspect(B)
    b.looked({0: replace(head(B, beat=2), tick=9)}, 0.1)
    b.looked({0: head(B, beat=1)}, 0.2)
    assert [c.why for c in b.vacancies(0.2, ())] == [Vacancy.SUSPECT]
    b.looked({0: head(B, beat=2)}, 0.3)
    assert not b.vacancies(0.3, ())


def test_an_owner_that_answers_on_its_link_is_given_longer_to_show_itself_in_the_store() -> None:
    b = book(1)
    for step in range(20):
        b.looked({0: head(B)}, step * 0.2)
        b.answered(B, step * 0.2)
        assert not b.vacancies(step * 0.2, ())
    b.looked({0: head(B)}, 4.0)
    assert [c.why for c in b.vacancies(4.0, ())] == [Vacancy.SILENT]


def test_an_owner_that_answers_no_more_is_silent_when_its_head_is() -> None:
    b = book(1)
    b.answered(B, 0.0)
    look_for(b, {0: head(B)}, 0.0, 1.0)
    assert [c.why for c in b.vacancies(1.0, ())] == [Vacancy.SILENT]


def test_a_suspect_that_acquires_anew_lives() -> None:
    b = book(1)
    b.looked({0: head(C)}, 0.0)
    b.suspect(B)
    b.looked({0: head(B, epoch=2)}, 0.1)
    assert not b.vacancies(0.1, ())


def test_what_an_earlier_process_at_our_address_left_behind_is_vacant() -> None:
    b = book(2)
    b.looked({0: head(A), 1: head(A)}, 0.0)
    assert [c.shard for c in b.vacancies(0.0, (1,))] == [0]


def test_the_compare_and_swap_is_shown_what_was_seen() -> None:
    b = book(1)
    seen = head("", beat=3)
    b.looked({0: seen}, 0.0)
    assert b.candidates(0.0, (A,), ())[0].seen == seen


# ---------------------------------------------------------------- who takes it


def test_two_new_workers_share_new_shards() -> None:
    heads: dict[int, Head | None] = dict.fromkeys(range(8))
    a, b = book(8, A), book(8, B)
    a.looked(heads, 0.0)
    b.looked(heads, 0.0)
    of_a, of_b = taken(a, 0.0), taken(b, 0.0)
    assert sorted(of_a + of_b) == list(range(8))
    assert len(of_a) == len(of_b) == 4


def test_a_shard_dealt_to_another_is_taken_when_the_other_does_not() -> None:
    b = book(2)
    b.looked(dict.fromkeys(range(2)), 0.0)
    assert taken(b, 0.0) == [0]
    assert taken(b, RULES.yield_s, mine=(0,)) == []
    assert taken(b, RULES.any_s, mine=(0,)) == [1]


def test_a_dead_workers_shards_are_dealt_to_those_with_fewest() -> None:
    heads: dict[int, Head | None] = {0: head(A), 1: head(A), 2: head(B), 3: head(C), 4: head(C)}
    of_a, of_b = book(5, A), book(5, B)
    for b in (of_a, of_b):
        b.suspect(C)
        b.looked(heads, 0.0)
    assert taken(of_a, 0.0, live=(A, B, C), mine=(0, 1)) == [4]
    assert taken(of_b, 0.0, live=(A, B, C), mine=(2,)) == [3]


def test_a_lone_worker_takes_everything() -> None:
    b = book(16)
    b.looked(dict.fromkeys(range(16)), 0.0)
    assert taken(b, 0.0, live=()) == list(range(16))


def test_the_limit_of_shards_holds_always() -> None:
    b = book(16, rules=replace(RULES, shards_max=3))
    b.looked(dict.fromkeys(range(16)), 0.0)
    assert taken(b, 50.0, live=()) == [0, 1, 2]
    assert taken(b, 99.0, live=(), mine=(0, 1, 2)) == []


def test_a_barred_shard_waits_longer_each_time() -> None:
    b = book(1)
    b.looked({0: None}, 0.0)
    assert [b.bar(0, 0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert taken(b, 59.9, live=()) == []
    assert taken(b, 60.0, live=()) == [0]
    b.unbar(0)
    assert b.bar(0, 0.0) == 1


@given(
    owners=st.lists(st.sampled_from(["", "new", A, B, C]), min_size=1, max_size=24),
    live=st.sets(st.sampled_from([A, B, C])),
    suspects=st.sets(st.sampled_from([B, C])),
)
def test_live_workers_together_take_every_vacant_shard_once(
    owners: list[str], live: set[str], suspects: set[str]
) -> None:
    """Everybody sees the same heads: nobody is contested, nothing is left, shares differ by one at most from fair."""
    heads = {i: None if o == "new" else head(o) for i, o in enumerate(owners)}
    workers = sorted((live | {A}) - suspects)
    claimed: list[int] = []
    vacant: set[int] = set()
    for me in workers:
        b = book(len(owners), me, replace(RULES, slack=len(owners)))
        for gone in suspects:
            b.suspect(gone)
        b.looked(heads, 0.0)
        mine = tuple(i for i, o in enumerate(owners) if o == me)
        vacant |= {c.shard for c in b.vacancies(0.0, mine)}
        claimed += taken(b, 0.0, tuple(workers), mine)
    assert len(claimed) == len(set(claimed))
    assert set(claimed) == vacant


# ---------------------------------------------------------------- standbys, and shards that come under one's address


@given(shards=st.integers(1, 30), mine=st.integers(0, 10))
def test_a_dead_owners_shards_go_to_their_standbys_at_once_whatever_the_balance(shards: int, mine: int) -> None:
    rules = LeaseRules(ttl_s=1.0, shards_max=100, standbys=1, followed_max=100)
    heads = dict.fromkeys(range(shards), head(B))
    own = range(shards, shards + mine)
    seen = {address: book(shards + mine, address, rules) for address in (A, C)}
    followed = {}
    for address, b in seen.items():
        b.looked(heads | dict.fromkeys(own, head(A)), 0.0)
        followed[address] = b.to_follow((A, B, C), own if address == A else ())
        b.suspect(B)
        b.looked(heads | dict.fromkeys(own, head(A)), 0.1)
    got = {A: taken(seen[A], 0.1, (A, C), tuple(own)), C: taken(seen[C], 0.1, (A, C))}
    assert sorted(got[A] + got[C]) == list(range(shards))
    for address, of_it in got.items():
        assert set(of_it) == followed[address] & set(range(shards))


def test_without_standbys_nothing_is_followed() -> None:
    b = book(3)
    b.looked(dict.fromkeys(range(3), head(B)), 0.0)
    assert not b.to_follow((A, B, C), ())


def test_a_shard_under_ones_own_address_is_taken_at_once_whatever_the_balance() -> None:
    b = book(4)
    b.looked({0: head(A), 1: head(B), 2: head(B), 3: head(A)}, 0.0)
    assert taken(b, 0.0, (A, B), (3,)) == [0]
    assert b.why_not(1, (0, 3), 0.0) == ""
    assert "only shards 0 to 3" in b.why_not(4, (), 0.0)
