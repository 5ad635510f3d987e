"""The journal's shell: retries, order, and what may be released when."""

from __future__ import annotations

import asyncio

import pytest

from overworld.errors import StoreUnavailable
from overworld.store.memory import MemoryOwnership, MemoryRedis, NoFaults
from overworld.store.ports import CommitLevel, CommitPolicy, Grant
from overworld.worker.journal import Journal, JournalLimits, Trouble
from overworld.worker.pulse import Pulse
from overworld.worker.ring import Pending
from tests.worker.cluster import until

pytestmark = pytest.mark.asyncio


class Faults(NoFaults):
    """`gate` holds appends back while it is not set; `refuse` and `lose` count appends that fail before or after."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.beats = asyncio.Event()
        self.beats.set()
        self.refuse = 0
        self.lose = 0
        self.appends = 0

    async def before(self, call: str, subject: int | str | None) -> None:
        if call == "beat":
            await self.beats.wait()
        if call == "append":
            self.appends += 1
            await self.gate.wait()
            if self.refuse:
                self.refuse -= 1
                raise StoreUnavailable("no answer")

    async def after(self, call: str, subject: int | str | None) -> None:
        if call == "append" and self.lose:
            self.lose -= 1
            raise StoreUnavailable("the answer was lost")


class Doubt(Pulse):
    """A pulse that can be told that the process has just stood still."""

    def __init__(self) -> None:
        super().__init__(60.0, asyncio.get_running_loop().time())

    def stood_still(self) -> None:
        self._doubt_before_s = asyncio.get_running_loop().time()


class Bench:
    """A journal on an in-memory Redis."""

    def __init__(self, level: CommitLevel = CommitLevel.L1) -> None:
        self.redis = MemoryRedis()
        self.faults = Faults()
        self.ownership = MemoryOwnership(self.redis, "test", CommitPolicy(level), self.faults)
        self.pulse = Doubt()
        self.changes = 0

    async def open(self, **limits: int) -> Journal:
        grant = await self.ownership.acquire(0, await self.ownership.look(0), "w:1", 0, b"n" * 16)
        assert isinstance(grant, Grant)
        self.journal = Journal(self.ownership, grant, 0, b"", JournalLimits(**limits), self.pulse, self._changed)
        return self.journal

    def _changed(self) -> None:
        self.changes += 1

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            tick = self.journal.tick + 1
            self.journal.append(Pending(tick, self.journal.chain, b"c%d" % tick, b"r%d" % tick))

    @property
    def written(self) -> list[int]:
        head = self.redis.primary.head(("test", 0))
        return [e.tick for e in self.redis.primary.read(("test", 0), 0, 500)] if head else []


async def test_what_is_committed_may_be_released() -> None:
    bench = Bench()
    journal = await bench.open()
    bench.tick(5)
    assert (journal.safe, journal.held) == (0, 5)
    await until(lambda: journal.safe == 5, "all five are committed")
    assert bench.written == [1, 2, 3, 4, 5]
    assert bench.changes >= 1


async def test_nothing_is_released_while_the_store_is_silent() -> None:
    bench = Bench()
    journal = await bench.open(in_flight_max=2)
    bench.faults.gate.clear()
    bench.tick(6)
    await until(lambda: bench.faults.appends >= 1, "an append is on its way")
    assert (journal.safe, journal.held) == (0, 6)
    bench.faults.gate.set()
    await until(lambda: journal.safe == 6, "all are committed")


async def test_at_level_0_results_do_not_wait() -> None:
    bench = Bench(CommitLevel.L0)
    journal = await bench.open()
    bench.faults.gate.clear()
    bench.tick(2)
    assert journal.safe == 0, "never from within append"
    await until(lambda: journal.safe == 2, "released without an answer")
    assert journal.committed == 0
    bench.faults.gate.set()
    await until(lambda: journal.committed == 2, "and journaled later")


@pytest.mark.parametrize("fault", ["refuse", "lose"])
async def test_failed_appends_are_repeated_until_they_stand(fault: str) -> None:
    bench = Bench()
    journal = await bench.open()
    setattr(bench.faults, fault, 7)
    bench.tick(6)
    await until(lambda: journal.safe == 6, "all are committed")
    assert bench.written == [1, 2, 3, 4, 5, 6]


async def test_another_owner_is_trouble_and_nothing_more_is_sent() -> None:
    bench = Bench()
    journal = await bench.open()
    bench.tick(1)
    await until(lambda: journal.safe == 1, "the first is committed")
    await bench.ownership.acquire(0, await bench.ownership.look(0), "thief:1", 0, b"t" * 16)
    bench.tick(3)
    await until(lambda: journal.trouble is Trouble.FENCED, "it is fenced")
    appends = bench.faults.appends
    bench.tick(1)
    await asyncio.sleep(0)
    assert (journal.safe, bench.faults.appends) == (1, appends)


async def test_a_beat_notices_another_owner_too() -> None:
    bench = Bench()
    journal = await bench.open()
    await bench.ownership.acquire(0, await bench.ownership.look(0), "thief:1", 0, b"t" * 16)
    await journal.beat()
    assert journal.trouble is Trouble.FENCED


async def test_a_wiped_store_asks_for_a_new_journal() -> None:
    bench = Bench()
    journal = await bench.open()
    bench.redis.wipe()
    bench.tick(1)
    await until(lambda: journal.trouble is Trouble.REBASE, "by an append")
    bench = Bench()
    journal = await bench.open()
    bench.redis.wipe()
    await journal.beat()
    assert journal.trouble is Trouble.REBASE


async def test_after_standing_still_an_old_answer_releases_nothing_until_a_newer_one_came() -> None:
    bench = Bench()
    journal = await bench.open()
    bench.faults.gate.clear()
    bench.tick(1)
    await until(lambda: bench.faults.appends == 1, "the append is on its way")
    bench.pulse.stood_still()
    bench.faults.beats.clear()
    bench.faults.gate.set()
    await until(lambda: journal.committed == 1, "the answer is in")
    assert journal.safe == 0
    bench.faults.beats.set()
    await until(lambda: journal.safe == 1, "a beat, sent after the standstill, has confirmed it")


async def test_after_standing_still_a_stolen_shard_releases_nothing() -> None:
    """The answer was true when it was given; meanwhile somebody took the shard."""
    bench = Bench()
    journal = await bench.open()
    bench.faults.gate.clear()
    bench.tick(1)
    await until(lambda: bench.faults.appends == 1, "the append is on its way")

    async def steal(call: str, subject: int | str | None) -> None:
        if call == "append":
            seen = bench.redis.primary.head(("test", 0))
            bench.redis.primary.acquire(("test", 0), seen, "thief:1", 0, b"t" * 16)
            bench.pulse.stood_still()

    vars(bench.faults)["after"] = steal
    bench.faults.gate.set()
    await until(lambda: journal.trouble is Trouble.FENCED, "the beat was refused")
    assert journal.safe == 0


async def test_a_closed_journal_says_nothing_more() -> None:
    bench = Bench()
    journal = await bench.open()
    bench.faults.gate.clear()
    bench.tick(2)
    await until(lambda: bench.faults.appends >= 1, "an append is on its way")
    journal.close()
    bench.faults.gate.set()
    await asyncio.sleep(0)
    assert (journal.safe, bench.changes) == (0, 0)
