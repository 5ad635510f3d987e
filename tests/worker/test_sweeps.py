"""When a shard reads which outbox, what it makes of what it finds, and what it acks and forgets."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.errors import StoreUnavailable
from overworld.game import contract_of
from overworld.shard.core import ShardCore
from overworld.shard.inputs import ShardMessage, TickInputs
from overworld.store.memory import MemoryOwnership, MemoryRedis, NoFaults
from overworld.store.ports import Grant, OutboxMessage
from overworld.wire.v1 import record_pb2
from overworld.worker.post import message_of
from overworld.worker.receipts import OutboxCopy, Receipts, mend, mended
from overworld.worker.reception import Reception, ReceptionLimits
from overworld.worker.sweeps import SweepBook, Sweeper, SweepLimits, neighbours
from overworld.world.grid import Grid
from tests.store.writer import Writer, take
from tests.worker.cluster import until
from tests.worker.ferry import Ferry

GRID = Grid(width=32 * 5, height=32 * 3, cell=32, shards=(5, 3), view=32)
TITLE = Ferry()
CONTRACT = contract_of(TITLE, "test")


# ---------------------------------------------------------------- the book


def test_a_shards_neighbours_are_those_around_it() -> None:
    assert neighbours(GRID, 7) == [1, 2, 3, 6, 8, 11, 12, 13]
    assert neighbours(GRID, 0) == [1, 5, 6]
    assert neighbours(Grid(width=32, height=32, cell=32), 0) == []


def book(**limits: float) -> SweepBook:
    return SweepBook(7, GRID, SweepLimits(**{"at_once_max": 100, "near_s": 1.0, "young_s": 0.0, **limits}), 0.0)  # type: ignore[arg-type]


def read_all(b: SweepBook, indices: list[int], now_s: float, known: tuple[int, ...] = ()) -> None:
    for index in indices:
        b.read(index, now_s, known=index in known, full=False)


def test_at_takeover_all_are_read_then_the_near_every_second_and_the_far_now_and_then() -> None:
    b = book()
    first = b.due(0.0, ())
    assert sorted(first) == list(range(15))
    assert b.due(0.0, ()) == [], "they are being read"
    near = [1, 2, 3, 6, 7, 8, 11, 12, 13]
    assert sorted(first[:9]) == near, "the near come first"
    read_all(b, first, 0.5, known=(0,))
    assert b.due(1.49, ()) == []
    assert sorted(b.due(1.5, ())) == [0, *near]
    read_all(b, [0, *near], 1.6, known=(0,))
    assert sorted(b.due(30.49, ())) == [0, *near]
    assert sorted(b.due(30.5, ())) == [4, 5, 9, 10, 14]


def test_a_young_owner_reads_the_near_more_often() -> None:
    b = book(young_s=2.0)
    read_all(b, b.due(0.0, ()), 0.0)
    times = []
    for step in range(1, 50):
        near = b.due(step / 10, ())
        times += [step] if near else []
        read_all(b, near, step / 10)
    assert times == [3, 6, 9, 12, 15, 18, 21, 31, 41]


def test_a_gap_is_read_at_once_but_not_all_the_time() -> None:
    b = book()
    read_all(b, b.due(0.0, ()), 0.0)
    assert b.due(0.05, (4,)) == []
    assert b.due(0.1, (4,)) == [4]
    assert b.due(0.2, (4,)) == [], "it is being read"
    b.read(4, 0.25, known=True, full=False)
    assert b.due(0.3, (4,)) == []
    assert b.due(0.36, (4,)) == [4]


def test_reads_on_their_way_are_bounded_and_a_failed_one_is_tried_again() -> None:
    b = book(at_once_max=2)
    first = b.due(0.0, ())
    assert len(first) == 2
    assert b.due(0.0, (14,)) == []
    b.failed(first[0], 0.1)
    assert b.due(0.1, (14,)) == [14], "a gap before all others"
    seen = {first[1], 14}
    for index in (first[1], 14):
        b.read(index, 0.2, known=False, full=False)
    while len(seen) < 14:
        chosen = b.due(0.2, ())
        assert 0 < len(chosen) <= 2
        seen |= set(chosen)
        read_all(b, chosen, 0.2)
    assert b.due(1.0, ()) == []
    assert first[0] in b.due(1.1, ())


def test_a_full_page_is_followed_by_the_next() -> None:
    b = book()
    read_all(b, [i for i in b.due(0.0, ()) if i != 4], 0.0)
    b.read(4, 0.0, known=True, full=True)
    assert b.due(0.1, ()) == [4]


@given(
    gaps=st.lists(st.sets(st.integers(0, 14), max_size=1), min_size=201, max_size=201),
    chance=st.randoms(use_true_random=False),
)
def test_every_sender_is_read_again_in_time_whatever_fails(gaps: list[set[int]], chance: random.Random) -> None:
    b = book(at_once_max=3)
    last = dict.fromkeys(range(15), 0.0)
    now_s = 0.0
    for _ in range(200):
        for index in b.due(now_s, gaps[round(now_s * 20)]):
            last[index] = now_s
            if chance.random() < 0.5:
                b.read(index, now_s, known=True, full=False)
            else:
                b.failed(index, now_s)
        assert b.reading == 0
        now_s += 0.05
        assert min(last.values()) > now_s - 3.0


# ---------------------------------------------------------------- the reads


@dataclass
class Weather(NoFaults):
    """Calls named in `down` are not answered."""

    down: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)

    async def before(self, call: str, subject: int | str | None) -> None:
        if call in self.stuck:
            await asyncio.sleep(3600)
        if call in self.down:
            raise StoreUnavailable("down")


@dataclass
class Pair:
    """Shard 0, which sends, and shard 1, which sweeps."""

    weather: Weather = field(default_factory=Weather)
    redis: MemoryRedis = field(default_factory=MemoryRedis)
    sent: int = 0

    async def begin(self) -> Pair:
        self.ownership = MemoryOwnership(self.redis, "test", faults=self.weather)
        self.sender: Writer = await take(self.ownership, 0)
        self.receiver: Writer = await take(self.ownership, 1)
        self.core = ShardCore(CONTRACT, TITLE, 1)
        self.reception = Reception(CONTRACT, 1, ReceptionLimits())
        limits = SweepLimits(near_s=0.0, again_s=0.0, pause_s=0.0, timeout_s=0.2, page_messages=4)
        self.sweeper = Sweeper(self.ownership, 1, CONTRACT.grid, self.reception, limits)
        return self

    async def send(self, count: int) -> None:
        await self.sender.write(outbox=[letter(self.sent + n + 1) for n in range(count)])
        self.sent += count
        await self.ownership.beat(self.sender.grant, committed=self.sender.tick)

    def tick(self) -> tuple[ShardMessage, ...]:
        now_s = asyncio.get_running_loop().time()
        inputs, _ = self.reception.take(self.core, now_s)
        assert self.core.step(TickInputs(messages=inputs.messages)).alarms == ()
        self.sweeper.after_tick(self.core, now_s)
        return inputs.messages

    async def until_received(self, number: int) -> None:
        def there() -> bool:
            self.tick()
            return self.core.received(0) >= number

        await until(there, f"message {number} was applied")


def letter(number: int) -> OutboxMessage:
    return OutboxMessage(1, number, record_pb2.ShardMessage(to_shard=1, number=number).SerializeToString())


@pytest.mark.asyncio
async def test_everything_in_an_outbox_is_read_page_by_page() -> None:
    pair = await Pair().begin()
    await pair.send(23)
    await pair.until_received(23)
    await pair.send(1)
    await pair.until_received(24)


@pytest.mark.asyncio
async def test_a_store_that_fails_or_hangs_is_asked_again() -> None:
    pair = await Pair().begin()
    await pair.send(3)
    pair.weather.stuck = {"read_outbox"}
    pair.tick()
    pair.weather.stuck, pair.weather.down = set(), {"read_outbox"}
    for _ in range(20):
        pair.tick()
        await asyncio.sleep(0.02)
    assert pair.core.received(0) == 0
    pair.weather.down.clear()
    await pair.until_received(3)
    pair.sweeper.close()


@pytest.mark.asyncio
async def test_an_outbox_that_lost_messages_for_good_does_not_hold_up_what_comes_after() -> None:
    pair = await Pair().begin()
    await pair.send(3)
    await pair.until_received(3)
    await pair.send(4)
    await pair.ownership.put_outbox(pair.sender.grant, 1, [OutboxMessage(1, 7, letter(7).body, 2)])
    await pair.until_received(7)


# ---------------------------------------------------------------- what is acked, forgotten and mended


def stepped(core: ShardCore, *numbers: int) -> None:
    core.step(TickInputs(messages=tuple(ShardMessage(0, 1, n, 0, b"") for n in numbers)))


@pytest.mark.asyncio
async def test_only_what_the_older_snapshot_covers_is_acked() -> None:
    pair = await Pair().begin()
    receipts = Receipts(pair.ownership, pair.receiver.grant, OutboxCopy())

    async def acked() -> int:
        return (await pair.ownership.outbox_acks(0, [1]))[1]

    stepped(pair.core, 1, 2)
    receipts.note(pair.core)
    await receipts.settle(0)
    assert await acked() == 0, "there is only one snapshot"
    stepped(pair.core, 3, 4)
    receipts.note(pair.core)
    await receipts.settle(1)
    assert await acked() == 2
    pair.weather.down = {"ack_outbox"}
    stepped(pair.core, 5)
    receipts.note(pair.core)
    await receipts.settle(2)
    assert await acked() == 2
    pair.weather.down.clear()
    receipts.note(pair.core)
    await receipts.settle(3)
    assert await acked() == 5, "what failed is tried again with the next snapshot"


@pytest.mark.asyncio
async def test_a_sender_forgets_what_was_acked_and_never_more() -> None:
    redis = MemoryRedis()
    ownership = MemoryOwnership(redis, "test")
    sender, receiver = await take(ownership, 0), await take(ownership, 1)
    core, copy = ShardCore(CONTRACT, TITLE, 0), OutboxCopy()
    core.setup()
    receipts = Receipts(ownership, sender.grant, copy)
    number = await sent_by(core, sender, copy)
    await ownership.ack_outbox(receiver.grant, 0, 3)
    receipts.note(core)
    await receipts.settle(0)
    assert [m.number for m in await ownership.read_outbox(0, 1, 0)] == list(range(4, number + 1))
    assert [m.number for m in copy.of(1)] == list(range(4, number + 1))
    assert receipts.waiting(core) == number - 3 + own(core)
    await ownership.ack_outbox(receiver.grant, 0, number + 50)
    await receipts.settle(0)
    assert len(await ownership.read_outbox(0, 1, 0)) == number - 3, "an ack of what was never sent is no ack"


def own(core: ShardCore) -> int:
    """Messages of a shard to itself."""
    neighbours = core.shard.neighbours
    return int(neighbours.sent[neighbours.rows_of(neighbours.ids[neighbours.ids == core.index])].sum())


async def sent_by(core: ShardCore, sender: Writer, copy: OutboxCopy, ticks: int = 60) -> int:
    """Let shard 0 run and send. Returns the number of its last message to shard 1."""
    number = 0
    for _ in range(ticks):
        outcome = core.step(TickInputs())
        bodies = [
            OutboxMessage(m.to_shard, m.number, record_pb2.ShardMessage(number=m.number).SerializeToString())
            for m in outcome.outbox
        ]
        await sender.write(outbox=bodies)
        copy.add(bodies, core.tick)
        number = max([number, *(m.number for m in outcome.outbox if m.to_shard == 1)])
    await sender.write()
    assert number > 5
    return number


@pytest.mark.asyncio
async def test_outboxes_that_redis_lost_are_mended_from_memory() -> None:
    redis = MemoryRedis()
    ownership = MemoryOwnership(redis, "test")
    sender = await take(ownership, 0)
    core, copy = ShardCore(CONTRACT, TITLE, 0), OutboxCopy()
    core.setup()
    number = await sent_by(core, sender, copy)
    before = [(m.number, m.body) for m in await ownership.read_outbox(0, 1, 0)]
    redis.wipe()
    grant = await ownership.acquire(0, None, "a:1", 1, b"n" * 16)
    assert isinstance(grant, Grant)
    for remembered in (copy, OutboxCopy()):
        assert await mend(ownership, grant, 0, core, remembered) == 0
    await ownership.restart(grant, 0, b"", core.tick, b"chain")
    assert [(m.number, m.body) for m in await ownership.read_outbox(0, 1, 0)] == before
    assert before[-1][0] == number


@pytest.mark.asyncio
async def test_a_new_owner_remembers_what_the_outbox_holds() -> None:
    pair = await Pair().begin()
    await pair.send(7)
    copy = OutboxCopy()
    copy.add([letter(8)], 9)
    for _ in range(2):
        await copy.load(pair.ownership, 0, [1])
        assert [m.number for m in copy.of(1)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_copy_that_grows_too_large_forgets_its_oldest() -> None:
    copy = OutboxCopy(bytes_max=100)
    for number in range(1, 20):
        copy.add([OutboxMessage(number % 2, number // 2 + 1, bytes(10))], number)
    assert sum(len(m.body) for to in (0, 1) for m in copy.of(to)) == 100
    assert copy.of(1)[-1].number == 10


def test_what_nobody_remembers_is_replaced_by_messages_that_only_count() -> None:
    found = {n: letter(n) for n in (3, 4, 7, 12)}
    messages, lost = mended(found, 0, 1, last=9, tick=50)
    assert [m.number for m in messages] == [3, 4, 5, 6, 7, 8, 9]
    assert lost == 4
    assert message_of(messages[2].body) == ShardMessage(0, 1, 5, 0, b"")
    assert mended({}, 0, 1, last=9, tick=50) == ([], 0)
    assert mended(found, 0, 1, last=2, tick=50) == ([], 0), "messages that this state never sent"
