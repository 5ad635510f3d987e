"""How busy a process is: what it ran, what it waited for a core, and nothing made up where neither is known."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from overworld.link.busy import BusyMeter


class Clocks:
    """What a process is told: seconds on the wall, of CPU, and of waiting for it."""

    def __init__(self) -> None:
        self.now_s = self.ran_s = self.waited_s = 100.0

    def meter(self) -> BusyMeter:
        return BusyMeter(lambda: self.now_s, lambda: self.ran_s, lambda: self.waited_s)

    def go(self, now_s: float, ran_s: float, waited_s: float = 0.0) -> None:
        self.now_s += now_s
        self.ran_s += ran_s
        self.waited_s += waited_s


def test_it_is_busy_while_it_runs_and_while_it_waits_for_a_core() -> None:
    clocks = Clocks()
    meter = clocks.meter()
    clocks.go(2.0, 0.5, 0.25)
    assert meter.take() == 0.375
    clocks.go(1.0, 0.0)
    assert meter.take() == 0.0


def test_many_threads_are_no_busier_than_all_of_the_time() -> None:
    clocks = Clocks()
    meter = clocks.meter()
    clocks.go(1.0, 3.0)
    assert meter.take() == 1.0


def test_of_a_moment_nothing_is_told_but_what_was_before() -> None:
    clocks = Clocks()
    meter = clocks.meter()
    clocks.go(1.0, 0.5)
    assert meter.take() == 0.5
    clocks.go(0.01, 0.01)
    assert meter.take() == 0.5
    clocks.go(0.99, 0.09)
    assert meter.take() == pytest.approx(0.1)


def until(over: Callable[[], bool]) -> None:
    began_s = time.monotonic()
    while not over():
        assert time.monotonic() - began_s < 30, "nothing happened for half a minute"


def test_this_process_is_busier_when_it_works_than_when_it_sleeps() -> None:
    meter, ran_s = BusyMeter(), time.process_time()
    until(lambda: time.process_time() - ran_s > 0.3)
    works = meter.take()
    time.sleep(0.5)
    assert works > 0.5 > meter.take()


def test_a_process_that_shares_its_core_waits_for_it() -> None:
    cores = os.sched_getaffinity(0)
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        os.sched_setaffinity(other.pid, {min(cores)})
        os.sched_setaffinity(0, {min(cores)})
        meter, ran_s = BusyMeter(ran_s=lambda: 0.0), time.process_time()
        until(lambda: time.process_time() - ran_s > 0.3)
        assert meter.take() > 0.1
    finally:
        os.sched_setaffinity(0, cores)
        other.kill()
        other.wait()
