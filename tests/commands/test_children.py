"""Children of `overworld dev`: restarts, last words and orderly stops."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from overworld.commands.children import RESTARTS_MAX, STEADY_S, Child, Family, Program, Restarts
from tests.worker.cluster import until

pytestmark = pytest.mark.asyncio


class Nest:
    """A family whose words are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.family = Family(self.said.append)

    def add(self, code: str, name: str = "child") -> Child:
        argv = [sys.executable, "-c", code]
        return self.family.add(Program(name, argv, dict(os.environ), self.folder / f"{name}.log"))


@pytest.fixture
def nest(tmp_path: Path) -> Iterator[Nest]:
    made = Nest(tmp_path)
    yield made
    made.family.kill()


SLEEPER = "import sys; print('up', flush=True); sys.stdin.read()"


async def test_pauses_grow_and_end() -> None:
    restarts = Restarts()
    assert [restarts.died(float(n), 1.0) for n in range(RESTARTS_MAX + 1)] == [0.5, 1, 2, 4, 8, None]


async def test_a_steady_child_is_forgiven() -> None:
    restarts = Restarts()
    for n in range(RESTARTS_MAX):
        restarts.died(float(n), 1.0)
    assert restarts.died(100.0, STEADY_S) == 0.5


async def test_a_child_that_dies_is_told_and_started_again(nest: Nest) -> None:
    child = nest.add(SLEEPER)
    await until(lambda: child.last_words() == "up", "it runs")
    first = child.pid
    child.kill()
    now_s = time.monotonic()
    alive = []
    for later_s in (0.0, 0.4, 0.6):
        nest.family.look(now_s + later_s)
        alive.append(child.alive)
    assert alive == [False, False, True]
    assert child.pid != first
    assert nest.said[0] == "child ended with code -9: up -- starting it again in 0.5 s"
    assert nest.said[1].startswith("child runs again")


async def test_a_child_that_dies_too_often_is_given_up(nest: Nest) -> None:
    child = nest.add("raise SystemExit('no luck')")
    for look in range(2 * RESTARTS_MAX + 2):
        await until(lambda: not child.alive, "it has ended")
        nest.family.look(1000.0 * look)
    assert nest.said[-1] == f"child ended with code 1: no luck -- given up after {RESTARTS_MAX} restarts"


async def test_a_stopped_child_is_not_started_again(nest: Nest) -> None:
    child = nest.add(SLEEPER)
    await until(lambda: child.last_words() == "up", "it runs")
    assert await nest.family.stop([child], 10.0)
    nest.family.look(time.monotonic() + 1000)
    assert not child.alive
    assert nest.said == []


async def test_a_child_that_does_not_stop_is_killed_and_told(nest: Nest) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('no', flush=True); time.sleep(60)"
    )
    child = nest.add(stubborn)
    await until(lambda: child.last_words() == "no", "it runs")
    assert not await nest.family.stop([child], 0.2)
    assert not child.alive
    assert nest.said == ["child did not stop in order (code -9): no"]


async def test_one_that_ends_before_it_is_ready_is_told_with_its_last_words(nest: Nest) -> None:
    child = nest.add("raise SystemExit('overworld: no Redis')")
    trouble = await nest.family.until_ready([child], 10.0)
    assert trouble in ("", "child ended with code 1: overworld: no Redis")


async def test_a_childs_input_closes_with_its_parent(nest: Nest) -> None:
    child = nest.add(SLEEPER)
    await until(lambda: child.last_words() == "up", "it runs")
    assert child._process is not None
    assert child._process.stdin is not None
    child._process.stdin.close()
    await until(lambda: not child.alive, "it ended by itself")
    assert child.code == 0
