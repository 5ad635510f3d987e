"""The tick clock: no drift, no spiral of death."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overworld.worker.clock import CATCH_UP_TICKS_MAX, TickClock

INTERVAL_US = 50_000
INTERVAL_NS = INTERVAL_US * 1000


def test_ticks_stand_at_origin_plus_n_intervals_whatever_the_delays() -> None:
    clock = TickClock(INTERVAL_US, 0.0, 0)
    for n in range(1000):
        assert clock.due_ns == n * INTERVAL_NS
        late_ns = clock.begin_tick(clock.due_ns + n % 7 * 1_000_000)
        assert late_ns == n % 7 * 1_000_000


@given(now_ns=st.integers(0, 10**15), phase=st.floats(0, 0.999), interval_us=st.integers(1_000, 1_000_000))
def test_the_first_tick_is_due_within_one_interval(now_ns: int, phase: float, interval_us: int) -> None:
    clock = TickClock(interval_us, phase, now_ns)
    assert 0 <= clock.due_ns - now_ns <= interval_us * 1000


@given(now_ns=st.integers(0, 10**15), phase=st.floats(0, 0.999))
def test_an_overdue_first_tick_is_due_at_once_and_those_after_it_by_the_phase(now_ns: int, phase: float) -> None:
    clock, usual = TickClock(INTERVAL_US, phase, now_ns, overdue=True), TickClock(INTERVAL_US, phase, now_ns)
    assert clock.wait_ns(now_ns) == 0
    assert clock.begin_tick(now_ns) == 0
    assert clock.due_ns == usual.due_ns
    assert clock.begin_tick(clock.due_ns + 5) == 5


def test_phases_of_two_shards_stand_apart() -> None:
    a, b = TickClock(INTERVAL_US, 0.0, 12345), TickClock(INTERVAL_US, 0.5, 12345)
    assert abs(a.due_ns - b.due_ns) == INTERVAL_NS // 2


def test_a_short_delay_is_caught_up() -> None:
    clock = TickClock(INTERVAL_US, 0.0, 0)
    now_ns = CATCH_UP_TICKS_MAX * INTERVAL_NS
    ran = 0
    while clock.wait_ns(now_ns) == 0:
        clock.begin_tick(now_ns)
        ran += 1
    assert (ran, clock.skipped_ticks) == (CATCH_UP_TICKS_MAX + 1, 0)


def test_a_long_delay_shifts_the_origin_and_is_counted() -> None:
    clock = TickClock(INTERVAL_US, 0.0, 0)
    now_ns = 100 * INTERVAL_NS + 7
    assert clock.begin_tick(now_ns) == now_ns
    assert clock.skipped_ticks == 100
    assert clock.due_ns == 101 * INTERVAL_NS


@given(jumps_ns=st.lists(st.integers(0, 20 * INTERVAL_NS), max_size=60))
def test_never_more_than_the_allowed_ticks_run_back_to_back(jumps_ns: list[int]) -> None:
    clock, now_ns = TickClock(INTERVAL_US, 0.25, 0), 0
    for jump_ns in jumps_ns:
        now_ns += jump_ns
        ran = 0
        while clock.wait_ns(now_ns) == 0:
            clock.begin_tick(now_ns)
            ran += 1
        assert ran <= CATCH_UP_TICKS_MAX + 1


def test_skip_after_a_pause_leaves_the_next_tick_within_one_interval() -> None:
    clock = TickClock(INTERVAL_US, 0.0, 0)
    now_ns = 7 * INTERVAL_NS + 1
    assert clock.skip(now_ns) == 7
    assert now_ns - INTERVAL_NS < clock.due_ns <= now_ns
