"""Shards that move between workers while they are played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from overworld import telemetry
from overworld.errors import Fenced, LinkError, StoreUnavailable
from overworld.store.memory import MemoryOwnership, NoFaults
from overworld.store.ports import CommitPolicy, Grant, JournalEntry
from overworld.wire.v1 import link_pb2
from overworld.worker.migration import FAILED, MOVED, REFUSED
from overworld.worker.peers import Peers
from overworld.worker.service import Worker
from tests.worker.cluster import Cluster, Gateway, running, until
from tests.worker.test_service import ALL, playing, replayed

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster(snapshot_interval_s=60.0)
    yield made
    await made.close()


async def pair(cluster: Cluster) -> tuple[Worker, Worker]:
    """Two workers: the first runs everything, the second is linked to it and runs nothing."""
    a = await cluster.worker("a")
    await until(lambda: running(a) == ALL, "the first runs all shards")
    b = await cluster.worker("b")
    await until(lambda: linked(a, b) and linked(b, a), "they know each other")
    return a, b


def linked(a: Worker, b: Worker) -> bool:
    return a._peers is not None and b.address in a._peers.linked and b.address in a._roster.live


def one_lineage(entries: list[JournalEntry]) -> bool:
    """True where ticks follow each other without gaps, and epochs never go back."""
    ticks, epochs = [e.tick for e in entries], [e.epoch for e in entries]
    return ticks == list(range(ticks[0], ticks[0] + len(ticks))) and epochs == sorted(epochs)


class Gate(NoFaults):
    """Holds chosen calls of one worker until they are let go, or makes them fail."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.failing: set[str] = set()
        self.open = asyncio.Event()

    async def before(self, call: str, subject: int | str | None) -> None:
        if call in self.failing:
            raise StoreUnavailable(f"{call} fails")
        if call in self.held:
            await self.open.wait()


def gated(cluster: Cluster) -> tuple[Gate, MemoryOwnership]:
    gate = Gate()
    return gate, MemoryOwnership(cluster.redis, "test", CommitPolicy(), gate)


# ---------------------------------------------------------------- a shard that moves


async def test_a_shard_moves_while_it_is_played_and_nothing_of_it_is_missing(cluster: Cluster) -> None:
    a, b = await pair(cluster)
    gateway = await playing(cluster, a, 2)
    link = gateway.links[a.address]
    gateway.walk(link, 2, session=5, seq=1)
    await until(lambda: gateway.acked(2, 5) == 1, "an input was acked")
    await gateway.dial(b.address)
    outcome = await a.migrate(2, b.address)
    assert outcome.moved, outcome
    assert 2 in running(b)
    assert 2 not in running(a)
    await until(lambda: gateway.moved.get(2) == b.address, "its gateway was told where it is")
    assert (2, 2) in gateway.gone
    there = gateway.links[b.address]
    gateway.attach(there, 2, 5, player=50, resume=True)
    gateway.walk(there, 2, session=5, seq=2)
    await until(lambda: gateway.acked(2, 5) == 2, "the next input was acked by the new owner")
    entries = cluster.redis.primary.journal_of("test", 2)
    assert one_lineage(entries)
    assert {entry.epoch for entry in entries} == {1, 2}
    core = await replayed(cluster, 2)
    assert core.shard.players.ids.tolist() == [50]
    last_of_a = max(o.tick for o in gateway.of(2) if o.epoch == 1)
    assert last_of_a == max(e.tick for e in entries if e.epoch == 1), "all results of the old owner were sent"


async def test_no_snapshot_is_saved_on_the_way_and_the_new_owner_saves_one_soon_after(cluster: Cluster) -> None:
    a, b = await pair(cluster)
    before = len(cluster.shelf.kept[1])
    cluster.shelf.save_s = 0.0
    assert (await b.migrate(1, b.address)).moved
    await until(lambda: any(start.epoch == 2 for start in cluster.shelf.kept[1]), "the new owner saves")
    assert not [start for start in cluster.shelf.kept[1][before:] if start.epoch == 1]
    assert 1 in running(b)
    assert 1 not in running(a)


async def test_blob_storage_that_does_not_answer_keeps_nobody_waiting(cluster: Cluster) -> None:
    _, b = await pair(cluster)
    answers, claimed, claims = asyncio.Event(), asyncio.Event(), cluster.shelf.claim

    async def claim(grant: Grant) -> None:
        await answers.wait()
        await claims(grant)
        claimed.set()

    cluster.shelf.claim = claim  # type: ignore[method-assign]
    outcome = await b.migrate(1, b.address)
    assert outcome.moved, outcome
    here = b._hosts[1]
    assert here.core is not None
    tick = here.core.tick
    await until(lambda: here.core is not None and here.core.tick > tick + 3, "it is played meanwhile")
    assert await cluster.shelf.epoch(1) == 1
    answers.set()
    await claimed.wait()
    assert await cluster.shelf.epoch(1) == 2


async def test_a_claim_that_fails_is_made_again(cluster: Cluster) -> None:
    _, b = await pair(cluster)
    tries, claims = 0, cluster.shelf.claim

    async def claim(grant: Grant) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise StoreUnavailable("no blob storage")
        await claims(grant)

    cluster.shelf.claim = claim  # type: ignore[method-assign]
    before = telemetry.claims_failed_total._value.get()
    assert (await b.migrate(1, b.address)).moved
    await until(lambda: tries == 3, "it was tried again")
    assert await cluster.shelf.epoch(1) == 2
    assert telemetry.claims_failed_total._value.get() - before == 2
    assert 1 in running(b)


async def test_who_finds_a_later_claim_gives_the_shard_up(cluster: Cluster) -> None:
    _, b = await pair(cluster)
    claims = cluster.shelf.claim

    async def claim(grant: Grant) -> None:
        if grant.epoch == 2:
            raise Fenced("epoch 7 has claimed its snapshots")
        await claims(grant)

    cluster.shelf.claim = claim  # type: ignore[method-assign]
    await b.migrate(1, b.address)
    await until(lambda: cluster.redis.primary.journal_of("test", 1)[-1].epoch == 3, "the next owner ticks")
    assert one_lineage(cluster.redis.primary.journal_of("test", 1))
    await replayed(cluster, 1)


async def test_a_third_worker_may_ask_for_it(cluster: Cluster) -> None:
    a, b = await pair(cluster)
    c = await cluster.worker("c")
    await until(lambda: linked(c, b), "the third knows them")
    outcome = await c.migrate(3, b.address)
    assert outcome.moved, outcome
    assert outcome.pause_s > 0
    assert 3 in running(b)
    assert 3 not in running(a)


async def test_shards_go_back_and_forth_and_the_journal_stays_one(cluster: Cluster) -> None:
    a, b = await pair(cluster)
    places = [b, a]
    for turn in range(10):
        outcome = await a.migrate(0, places[turn % 2].address)
        assert outcome.moved, (turn, outcome)
    entries = cluster.redis.primary.journal_of("test", 0)
    assert one_lineage(entries)
    assert entries[-1].epoch == 11
    await replayed(cluster, 0)


# ---------------------------------------------------------------- what is refused


async def test_what_cannot_be_is_refused_and_the_shard_runs_on(cluster: Cluster) -> None:
    a, b = await pair(cluster)
    for worker, shard, to, what in (
        (a, 1, a.address, "here already"),
        (a, 99, b.address, "only shards 0 to 3"),
    ):
        outcome = await worker.migrate(shard, to)
        assert (outcome.result, what in outcome.reason) == (REFUSED, True), outcome
    assert (await a.migrate(1, "127.0.0.1:1")).result == FAILED
    seen = cluster.head_tick(1)
    await until(lambda: cluster.head_tick(1) > seen + 3, "it ticks on")
    assert running(a) == ALL


async def test_a_worker_that_is_full_refuses(cluster: Cluster) -> None:
    a = await cluster.worker("a")
    await until(lambda: running(a) == ALL, "the first runs all shards")
    b = await cluster.worker("b", shards_max=1)
    await until(lambda: linked(a, b) and linked(b, a), "they know each other")
    assert (await a.migrate(0, b.address)).moved
    outcome = await a.migrate(1, b.address)
    assert outcome.result == REFUSED
    assert "as many as it may" in outcome.reason


async def test_two_migrations_of_one_shard_at_once_end_with_one_owner(cluster: Cluster) -> None:
    a, b = await pair(cluster)
    c = await cluster.worker("c")
    await until(lambda: linked(c, a) and linked(a, c), "the third knows them")
    outcomes = await asyncio.gather(
        a.migrate(2, b.address), a.migrate(2, c.address), b.migrate(2, b.address), c.migrate(2, c.address)
    )
    assert [o.result for o in outcomes].count(MOVED) >= 1, outcomes
    await until(lambda: [2 in running(w) for w in (a, b, c)].count(True) == 1, "one of them runs it")
    seen = cluster.head_tick(2)
    await until(lambda: cluster.head_tick(2) > seen + 3, "it ticks on")
    assert one_lineage(cluster.redis.primary.journal_of("test", 2))
    await replayed(cluster, 2)


# ---------------------------------------------------------------- what goes wrong on the way


async def test_a_target_that_dies_while_it_follows_costs_nothing(cluster: Cluster) -> None:
    a = await cluster.worker("a")
    await until(lambda: running(a) == ALL, "the first runs all shards")
    gate, ownership = gated(cluster)
    b = await cluster.worker("b", ownership=ownership)
    await until(lambda: linked(a, b) and linked(b, a), "they know each other")
    gate.held = {"read"}
    moving = asyncio.create_task(a.migrate(1, b.address))
    await until(lambda: 1 in (b.status()["standbys"] or {}) or "1" in b.status()["standbys"], "it follows")
    await b.kill()
    outcome = await moving
    assert outcome.result == FAILED
    assert {entry.epoch for entry in cluster.redis.primary.journal_of("test", 1)} == {1}
    seen = cluster.head_tick(1)
    await until(lambda: cluster.head_tick(1) > seen + 3, "the old owner goes on")
    assert running(a) == ALL


async def test_a_target_that_dies_with_the_shard_in_its_hands_is_taken_over_from(cluster: Cluster) -> None:
    a = await cluster.worker("a")
    await until(lambda: running(a) == ALL, "the first runs all shards")
    gate, ownership = gated(cluster)
    b = await cluster.worker("b", ownership=ownership)
    await until(lambda: linked(a, b) and linked(b, a), "they know each other")
    gate.held = {"append"}
    moving = asyncio.create_task(a.migrate(1, b.address))

    def handed() -> bool:
        head = cluster.redis.primary.head(("test", 1))
        return head is not None and (head.epoch, head.address) == (2, b.address)

    await until(handed, "the shard is the other's")
    await b.kill()
    assert not (await moving).moved
    await until(lambda: running(a) == ALL, "the old owner takes it over again")
    assert one_lineage(cluster.redis.primary.journal_of("test", 1))
    await until(lambda: cluster.redis.primary.journal_of("test", 1)[-1].epoch == 3, "and ticks")


async def test_a_source_that_dies_before_it_yields_is_taken_over_from(cluster: Cluster) -> None:
    gate, ownership = gated(cluster)
    a = await cluster.worker("a", ownership=ownership)
    await until(lambda: running(a) == ALL, "the first runs all shards")
    b = await cluster.worker("b")
    await until(lambda: linked(a, b) and linked(b, a), "they know each other")
    gate.held = {"append"}
    moving = asyncio.create_task(b.migrate(1, b.address))
    await until(lambda: a._hosts[1]._yielding.wished, "the old owner was asked")
    await a.kill()
    await moving
    await until(lambda: running(b) == ALL, "the other takes all shards over")
    for shard in ALL:
        assert one_lineage(cluster.redis.primary.journal_of("test", shard))


async def test_a_source_that_cannot_commit_runs_on_and_says_why(cluster: Cluster) -> None:
    gate, ownership = gated(cluster)
    a = await cluster.worker("a", ownership=ownership, lease_ttl_s=5.0)
    await until(lambda: running(a) == ALL, "the first runs all shards")
    b = await cluster.worker("b", lease_ttl_s=5.0)
    await until(lambda: linked(a, b) and linked(b, a), "they know each other")
    gate.failing = {"append"}
    outcome = await b.migrate(1, b.address)
    assert outcome.result == REFUSED
    assert "could not be committed" in outcome.reason
    gate.failing = set()
    seen = cluster.head_tick(1)
    await until(lambda: cluster.head_tick(1) > seen + 3, "it goes on")
    assert running(a) == ALL
    assert {entry.epoch for entry in cluster.redis.primary.journal_of("test", 1)} == {1}


async def test_a_source_whose_head_cannot_be_changed_runs_on(cluster: Cluster) -> None:
    gate, ownership = gated(cluster)
    a = await cluster.worker("a", ownership=ownership)
    await until(lambda: running(a) == ALL, "the first runs all shards")
    b = await cluster.worker("b")
    await until(lambda: linked(a, b) and linked(b, a), "they know each other")
    gate.failing = {"acquire"}
    outcome = await b.migrate(1, b.address)
    assert outcome.result == REFUSED
    gate.failing = set()
    assert (await b.migrate(1, b.address)).moved


async def test_an_answer_that_is_lost_after_the_head_changed_hands_leaves_the_shard_with_its_new_owner(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, b = await pair(cluster)
    ask = Peers.ask

    async def deaf(
        self: Peers, address: str, question: Callable[[int], link_pb2.LinkMessage], timeout_s: float
    ) -> link_pb2.LinkMessage:
        await ask(self, address, question, timeout_s)
        raise LinkError("the answer is lost")

    monkeypatch.setattr(Peers, "ask", deaf)
    outcome = await b.migrate(1, b.address)
    assert outcome.result == FAILED
    await until(lambda: 1 in running(b), "it takes the shard that stands under its address")
    assert one_lineage(cluster.redis.primary.journal_of("test", 1))


# ---------------------------------------------------------------- standbys


async def test_a_standby_takes_over_with_hardly_anything_to_replay(cluster: Cluster) -> None:
    a = await cluster.worker("a", standbys=1)
    await until(lambda: running(a) == ALL, "the first runs all shards")
    b = await cluster.worker("b", standbys=1)
    await until(lambda: ready(b) == ALL, "the second follows them")
    await until(lambda: all(cluster.head_tick(shard) > 30 for shard in ALL), "there is much to replay")
    looks = cluster.shelf.looks
    await a.kill()
    await until(lambda: running(b) == ALL, "the second runs all shards")
    assert cluster.shelf.looks == looks, "no manifest was read on the way"
    for shard, host in b._hosts.items():
        assert "replay" in host.took_s, shard
        assert host.epoch == 2
        assert one_lineage(cluster.redis.primary.journal_of("test", shard))
        await replayed(cluster, shard)


async def test_the_standby_takes_a_dead_workers_shard_whatever_the_balance(cluster: Cluster) -> None:
    workers = [await cluster.worker(name, standbys=1) for name in "abc"]
    await until(lambda: sorted(s for w in workers for s in running(w)) == ALL, "all shards run")
    await until(lambda: sorted(s for w in workers for s in ready(w)) == ALL, "each has one standby")
    victim = next(w for w in workers if running(w))
    lost = running(victim)
    heirs = {shard: w for w in workers for shard in ready(w) if shard in lost}
    await victim.kill()
    left = [w for w in workers if w is not victim]
    await until(lambda: sorted(s for w in left for s in running(w)) == ALL, "all shards run again")
    for shard in lost:
        assert shard in running(heirs[shard])


async def test_a_standby_that_went_wrong_is_passed_over(cluster: Cluster) -> None:
    a = await cluster.worker("a", standbys=1)
    await until(lambda: running(a) == ALL, "the first runs all shards")
    b = await cluster.worker("b", standbys=1)
    await until(lambda: ready(b) == ALL, "the second follows them")
    assert b._followings is not None
    follower = b._followings._all[1]._follower
    assert follower is not None
    await a.kill()
    follower.chain = b"another" + follower.chain
    await until(lambda: running(b) == ALL, "the second runs all shards")
    await replayed(cluster, 1)


def ready(worker: Worker) -> list[int]:
    """Shards that a worker could take over from a state it has."""
    return sorted(int(shard) for shard, lag in worker.status()["standbys"].items() if lag is not None)


# ---------------------------------------------------------------- drain


async def test_a_drain_moves_every_shard_and_saves_none(cluster: Cluster) -> None:
    workers = [await cluster.worker(name) for name in "abc"]
    await until(lambda: sorted(s for w in workers for s in running(w)) == ALL, "all shards run")
    await until(lambda: all(linked(v, w) for v in workers for w in workers if v is not w), "they know each other")
    leaving, *others = sorted(workers, key=lambda w: -len(running(w)))
    shards = running(leaving)

    def knows_who_has_how_many() -> bool:
        assert leaving._keeper is not None
        counts = leaving._keeper.counts([w.address for w in others])
        return all(counts[w.address] == len(running(w)) for w in others)

    await until(knows_who_has_how_many, "the one who leaves has seen what the others run")
    gateway: Gateway = await playing(cluster, leaving, shards[0])
    saved = {shard: len(cluster.shelf.kept[shard]) for shard in shards}
    assert await leaving.stop()
    assert sorted(s for w in others for s in running(w)) == ALL
    assert gateway.moved[shards[0]] in {w.address for w in others}
    for shard in shards:
        entries = cluster.redis.primary.journal_of("test", shard)
        assert one_lineage(entries)
        # Not by the one who left.
        assert all(start.epoch == 2 for start in cluster.shelf.kept[shard][saved[shard] :])
    counts = sorted(len(running(w)) for w in others)
    assert counts == [2, 2], "those with the fewest shards were asked"


async def test_the_last_worker_saves_and_gives_back(cluster: Cluster) -> None:
    a = await cluster.worker("a")
    await until(lambda: running(a) == ALL, "all shards run")
    assert await a.stop()
    for shard in ALL:
        head = cluster.redis.primary.head(("test", shard))
        assert head is not None
        assert head.released
        assert cluster.shelf.kept[shard][-1].tick == head.tick
