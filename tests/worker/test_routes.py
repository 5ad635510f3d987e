"""Sessions and their links: attach, detach, lost streams and waits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from overworld.worker.routes import NO_LINK, Routes


def test_a_session_is_found_on_the_link_that_attached_it() -> None:
    routes: Routes[str] = Routes()
    routes.attach(7, 70, "east")
    routes.attach(3, 30, "west")
    assert routes.link_of(7) == "east"
    slots = routes.slots(np.array([3, 7, 9]))
    assert [routes.links[s] if s != NO_LINK else None for s in slots] == ["west", "east", None]


def test_the_newest_attach_wins_and_the_old_links_detach_is_void() -> None:
    routes: Routes[str] = Routes()
    routes.attach(7, 70, "old")
    routes.attach(7, 70, "new")
    assert routes.detach(7, "old") is None
    assert routes.link_of(7) == "new"
    assert routes.detach(7, "new") == 70
    assert 7 not in routes


def test_sessions_of_a_lost_link_wait_and_then_expire() -> None:
    routes: Routes[str] = Routes()
    routes.attach(1, 10, "a")
    routes.attach(2, 20, "a")
    routes.attach(3, 30, "b")
    assert routes.lose_link("a", 5.0) == 2
    routes.attach(2, 20, "b")
    assert routes.expired(4.9) == []
    assert routes.expired(5.0) == [(1, 10)]
    assert routes.expired(99.0) == []
    assert sorted(s for s in (1, 2, 3) if s in routes) == [2, 3]


def test_recovered_sessions_that_attached_already_are_not_waited_for() -> None:
    routes: Routes[str] = Routes()
    routes.attach(1, 10, "a")
    routes.adopt([(1, 10), (2, 20)], 5.0)
    assert routes.expired(5.0) == [(2, 20)]


@given(st.lists(st.tuples(st.sampled_from(["attach", "lose", "drop", "expire"]), st.integers(0, 9), st.integers(0, 2))))
def test_slots_agree_with_single_look_ups(events: list[tuple[str, int, int]]) -> None:
    routes: Routes[str] = Routes()
    for now, (what, session, link) in enumerate(events):
        match what:
            case "attach":
                routes.attach(session, session * 10, f"link{link}")
            case "lose":
                routes.lose_link(f"link{link}", now + 3.0)
            case "drop":
                routes.drop([session])
            case _:
                routes.expired(float(now))
        everyone = np.arange(10)
        found = [routes.links[s] if s != NO_LINK else None for s in routes.slots(everyone)]
        assert found == [routes.link_of(int(s)) for s in everyone]
