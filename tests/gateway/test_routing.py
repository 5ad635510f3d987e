"""Finding workers: what a gateway asks of the directory and of workers, and how often, when things are gone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping

import pytest
import pytest_asyncio

from overworld.errors import StoreUnavailable
from overworld.gateway import routing
from overworld.gateway.routing import Backoff, Routing
from overworld.link import Link, LinkCredentials
from overworld.store.memory import MemoryDirectory
from overworld.store.ports import Member, Owner, Role
from overworld.wire.v1 import link_pb2
from overworld.wire.v1.link_pb2 import LinkMessage
from tests.gateway.arena import KEY, Arena, until
from tests.gateway.fake_worker import FakeWorker

pytestmark = pytest.mark.asyncio


class Listed:
    """The world's directory, counted, and down when the test says so."""

    def __init__(self, arena: Arena) -> None:
        self._directory = MemoryDirectory(arena.redis)
        self.asked = self.looked = 0
        self.down = False

    async def owners(self, world: str, shards: Iterable[int]) -> Mapping[int, Owner]:
        self.asked += 1
        if self.down:
            raise StoreUnavailable("down")
        return await self._directory.owners(world, shards)

    async def workers(self, now_s: float) -> list[Member]:
        self.looked += 1
        if self.down:
            raise StoreUnavailable("down")
        return await self._directory.workers(now_s)

    async def announce(self, worker: FakeWorker) -> None:
        await self._directory.announce(Role.WORKER, worker.address, worker.address, {})


class Heard:
    """What routing tells."""

    def __init__(self) -> None:
        self.found: Counter[int] = Counter()
        self.lost: Counter[int] = Counter()
        self.messages: list[str | None] = []

    def route_found(self, shard: int) -> None:
        self.found[shard] += 1

    def route_lost(self, shard: int) -> None:
        self.lost[shard] += 1

    def on_message(self, link: Link, message: LinkMessage) -> None:
        self.messages.append(message.WhichOneof("message"))


class Searching:
    """Routing at work."""

    def __init__(self, arena: Arena) -> None:
        self.directory = Listed(arena)
        self.heard = Heard()
        self.wanted: set[int] = set()
        self.routing = Routing(
            self.directory,
            arena.contract.world,
            LinkCredentials(KEY, arena.contract.play_fingerprint, "gateway"),
            self.heard,
            lambda: self.wanted,
            link_timeout_s=1.0,
            chance=random.Random(1),
        )
        self._running = asyncio.get_running_loop().create_task(self.routing.run())

    def want(self, *shards: int) -> None:
        self.wanted = set(shards)
        self.routing.wake()

    async def close(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.routing.close()


@pytest_asyncio.fixture
async def searching(arena: Arena) -> AsyncIterator[Searching]:
    made = Searching(arena)
    yield made
    await made.close()


async def test_links_are_opened_for_what_is_wanted_only(arena: Arena, searching: Searching) -> None:
    first, second = await arena.worker(0, 1), await arena.worker(2, 3)
    searching.want(0, 1)
    await until(lambda: searching.heard.found == {0: 1, 1: 1}, "two routes")
    assert searching.routing.link_of(0) is searching.routing.link_of(1)
    assert searching.routing.link_of(2) is None
    assert (len(first.links), len(second.links)) == (1, 0)
    searching.want(0, 3)
    await until(lambda: searching.heard.found[3] == 1, "a third route")
    assert len(second.links) == 1


async def test_who_takes_over_is_linked_before_anything_of_its_is_wanted(arena: Arena, searching: Searching) -> None:
    first, second = await arena.worker(0), await arena.worker(2)
    await searching.directory.announce(first)
    await searching.directory.announce(second)
    searching.want(0)
    await until(lambda: len(second.links) == 1 and searching.heard.found[0] == 1, "a link that nobody needs yet")
    assert (len(first.links), searching.routing.link_of(2)) == (1, None)
    searching.directory.down = True
    here = link_pb2.ShardHere(shard=0, epoch=9, address=second.address)
    second.links[0].send(LinkMessage(here=here))
    await until(lambda: searching.heard.found[0] == 2, "a route to the new owner, without the directory or a new link")
    assert searching.routing.link_of(0) is not None
    assert (len(first.links), len(second.links)) == (1, 1)


async def test_links_are_kept_to_a_bounded_number_of_workers(
    arena: Arena, searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "WARM_LINKS_MAX", 2)
    monkeypatch.setattr(routing, "WARM_POLL_S", 0.02)
    workers = [await arena.worker(shard) for shard in range(4)]
    for worker in workers:
        await searching.directory.announce(worker)
    polls = searching.directory.looked
    await until(lambda: searching.directory.looked > polls + 3, "some looks at the directory")
    await until(lambda: sum(len(worker.links) for worker in workers) == 2, "two links")


async def test_a_lost_link_loses_all_its_shards_and_is_opened_again(arena: Arena, searching: Searching) -> None:
    worker = await arena.worker()
    searching.want(*arena.shards)
    await until(lambda: len(searching.heard.found) == 4, "routes")
    worker.links[0].close("test")
    await until(lambda: all(searching.heard.found[shard] == 2 for shard in arena.shards), "routes again")
    assert all(searching.heard.lost[shard] == 1 for shard in arena.shards)


async def test_routes_stay_while_the_directory_is_down(arena: Arena, searching: Searching) -> None:
    await arena.worker()
    searching.want(0)
    await until(lambda: searching.heard.found[0] == 1, "a route")
    searching.directory.down = True
    asked = searching.directory.asked
    searching.routing.wake()
    await until(lambda: searching.directory.asked > asked, "a look")
    assert searching.routing.link_of(0) is not None
    searching.want(0, 1)
    searching.directory.down = False
    searching.routing.wake()
    await until(lambda: searching.heard.found[1] == 1, "a second route")
    assert not searching.heard.lost


async def test_a_shard_that_is_not_there_is_not_asked_for_in_a_storm(arena: Arena, searching: Searching) -> None:
    worker = await arena.worker()
    for shard in arena.shards:
        worker.disown(shard)
    tries = 0

    def count() -> None:
        # What a gateway with sessions does when it finds a route.
        nonlocal tries
        while sum(searching.heard.found.values()) > tries:
            tries += 1
            attach = link_pb2.Attach(shard=0, session=tries, player=1)
            link = searching.routing.link_of(0)
            if link is not None:
                link.send(LinkMessage(attach=attach))

    searching.want(0)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while loop.time() < began_s + 1.5:
        count()
        await asyncio.sleep(0.002)
    # Pauses double from 50 ms: within 1.5 s there is room for at most 0, 25, 75, 175, 375, 775, ... ms.
    assert 2 <= tries <= 8


async def test_however_many_ask_the_directory_is_asked_now_and_then(arena: Arena, searching: Searching) -> None:
    loop = asyncio.get_running_loop()
    searching.want(0)
    began_s = loop.time()
    while loop.time() < began_s + 0.5:
        searching.routing.wake()
        await asyncio.sleep(0)
    assert searching.directory.asked <= 0.5 / routing.LOOK_S_MIN + 2


async def test_a_worker_that_cannot_be_reached_is_tried_again(arena: Arena, searching: Searching) -> None:
    worker = await arena.worker()
    address = worker.address
    await worker.kill()
    searching.want(0)
    await until(lambda: searching.directory.asked >= 3, "some looks")
    assert searching.routing.link_of(0) is None
    second = await arena.worker()
    assert second.address != address
    await until(lambda: searching.heard.found[0] == 1, "a route")


async def test_an_address_that_is_none_harms_nobody(arena: Arena, searching: Searching) -> None:
    worker = await arena.worker()
    node, key = arena.redis.primary, (arena.contract.world, 1)
    node.acquire(key, node.head(key), "nonsense", 0, b"n" * 16)
    searching.want(0, 1)
    await until(lambda: searching.heard.found[0] == 1, "the other route")
    asked = searching.directory.asked
    await until(lambda: searching.directory.asked > asked + 2, "some looks")
    assert searching.routing.link_of(1) is None
    assert len(worker.links) == 1


async def test_pauses_grow_to_a_bound() -> None:
    backoff = Backoff(random.Random(7))
    pauses = []
    for _ in range(30):
        backoff.failed(100.0)
        pauses.append(backoff.until_s - 100.0)
    assert routing.RETRY_S_MIN / 2 <= pauses[0] <= routing.RETRY_S_MIN
    assert max(pauses) <= routing.RETRY_S_MAX
    assert min(pauses[10:]) >= routing.RETRY_S_MAX / 2


async def test_a_shard_that_was_moved_is_found_at_once_and_the_directory_is_not_asked_first(
    arena: Arena, searching: Searching
) -> None:
    first, second = await arena.worker(0, 1), await arena.worker(2, 3)
    searching.want(*arena.shards)
    await until(lambda: len(searching.heard.found) == 4, "routes")
    await until(lambda: not searching.routing._wake.is_set(), "routing rests")
    second.own(1)
    searching.directory.down = True
    first.disown(1, second.address, epoch=2)
    await until(lambda: searching.heard.found[1] == 2, "found again")
    assert searching.heard.lost == {1: 1}
    assert searching.routing.link_of(1) is searching.routing.link_of(2)


async def test_a_shard_moved_to_a_worker_that_is_not_known_yet_is_found_there(
    arena: Arena, searching: Searching
) -> None:
    first, second = await arena.worker(0, 1, 2), await arena.worker(3)
    searching.want(0)
    await until(lambda: searching.heard.found[0] == 1, "a route")
    second.own(0)
    first.disown(0, second.address, epoch=2)
    await until(lambda: searching.heard.found[0] == 2, "found again")
    assert [link.remote for link in second.links] == ["gateway"]


async def test_a_wrong_word_of_where_a_shard_is_does_no_harm(arena: Arena, searching: Searching) -> None:
    first, second = await arena.worker(0, 1), await arena.worker(2, 3)
    searching.want(0)
    await until(lambda: searching.heard.found[0] == 1, "a route")
    second.own(0)
    first.disown(0, "nowhere", epoch=2)
    await until(lambda: searching.heard.found[0] == 2, "found where the directory says")


async def test_a_worker_that_says_a_shard_is_its_own_now_is_believed_at_once(
    arena: Arena, searching: Searching
) -> None:
    first, second = await arena.worker(0, 1), await arena.worker(2, 3)
    searching.want(*arena.shards)
    await until(lambda: len(searching.heard.found) == 4, "routes")
    searching.directory.down = True
    second.own(1)
    second.tell_here(1, epoch=2)
    await until(lambda: searching.heard.found[1] == 2, "found again")
    assert searching.routing.link_of(1) is searching.routing.link_of(2)
    first.tell_here(1, epoch=1)
    first.tell_here(3, epoch=1)
    first.tell_here(0, epoch=2)
    await until(lambda: searching.heard.found[0] == 2, "what came after older words is heard")
    assert searching.routing.link_of(1) is searching.routing.link_of(3) is searching.routing.link_of(2)
    assert searching.heard.lost == {0: 1, 1: 1}
