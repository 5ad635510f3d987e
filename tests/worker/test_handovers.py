"""Entities and players that cross from shard to shard on real workers: none is lost and none is there twice, whatever
carries the mail and whoever dies.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from overworld.link import Link
from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.store.memory import MemoryOwnership, NoFaults
from overworld.store.ports import CommitLevel, CommitPolicy
from overworld.wire.v1 import link_pb2
from overworld.worker.post import Post
from overworld.worker.sweeps import Sweeper
from tests.worker.cluster import Cluster, Gateway, running, until
from tests.worker.ferry import Ferry
from tests.worker.harbour import NAMES, check_journals, cores, grown, sent, settled_names, two_workers

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster(Ferry())
    yield made
    await made.close()


# ---------------------------------------------------------------- who carries the mail


async def test_on_one_worker_mail_goes_straight_into_the_mailbox(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == [0, 1], "both shards run")
    await grown(cluster, 10)
    await check_journals(cluster)
    assert await settled_names(cluster) == NAMES


async def test_between_workers_mail_goes_over_their_link(cluster: Cluster) -> None:
    await two_workers(cluster)
    await grown(cluster, 10)
    await check_journals(cluster)
    assert await settled_names(cluster) == NAMES


async def test_without_any_handing_over_the_sweeps_bring_all_of_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Post, "send", lambda *_: None)
    await two_workers(cluster)
    await grown(cluster, 3)
    await check_journals(cluster)
    assert await settled_names(cluster) == NAMES


async def test_mail_that_is_lost_now_and_then_leaves_no_hole(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    send, calls = Post.send, Counter[str]()

    def lossy(post: Post, messages: object, bodies: object) -> None:
        calls["n"] += 1
        if calls["n"] % 3:
            send(post, messages, bodies)  # type: ignore[arg-type]

    monkeypatch.setattr(Post, "send", lossy)
    await two_workers(cluster)
    await grown(cluster, 10)
    await check_journals(cluster)
    assert await settled_names(cluster) == NAMES


class Stuck(NoFaults):
    """Appends of shard 0 are not answered while `stuck`."""

    stuck = False

    async def before(self, call: str, subject: int | str | None) -> None:
        while self.stuck and (call, subject) == ("append", 0):
            await asyncio.sleep(0.01)


async def test_mail_never_runs_ahead_of_the_store_even_where_results_do(cluster: Cluster) -> None:
    weather = Stuck()
    ownership = MemoryOwnership(cluster.redis, "test", CommitPolicy(CommitLevel.L0), weather)
    worker = await cluster.worker("w", ownership=ownership, ticks_held_max=1000, ticks_kept_max=1000)
    await until(lambda: running(worker) == [0, 1], "both shards run")
    await grown(cluster)
    weather.stuck = True
    # An append that was on its way when it got stuck may still be answered.
    await until(lambda: worker._hosts[0].held == 0, "results of shard 0 are out")
    core = cores(cluster)[0]
    tick, before = core.tick, sent(core, 1)
    await until(lambda: core.tick > tick + 20 and sent(core, 1) > before + 3, "it runs on and sends")
    assert worker._hosts[0].held == 0, "results are released at once"
    assert cores(cluster)[1].received(0) <= before
    weather.stuck = False
    await grown(cluster)
    assert await settled_names(cluster) == NAMES


# ---------------------------------------------------------------- who dies


@pytest.mark.parametrize("dies", [0, 1])
async def test_a_receiver_that_is_killed_gets_its_mail_when_it_is_taken_over(cluster: Cluster, dies: int) -> None:
    workers = await two_workers(cluster)
    await grown(cluster)
    lost, left = workers[dies], workers[1 - dies]
    await lost.kill()
    cluster.workers.remove(lost)
    await until(lambda: running(left) == [0, 1], "the other worker took it over")
    await grown(cluster)
    await check_journals(cluster)
    assert await settled_names(cluster) == NAMES


async def test_a_receiver_that_is_away_for_long_finds_all_its_mail_waiting(cluster: Cluster) -> None:
    workers = await two_workers(cluster, shards_max=1)
    await grown(cluster)
    await workers[1].kill()
    cluster.workers.remove(workers[1])
    core = cores(cluster)[0]
    there = sent(core, 1)
    await until(lambda: sent(core, 1) >= there + 3, "mail for a shard that nobody runs")
    heir = await cluster.worker("heir")
    await until(lambda: running(heir) == [1], "an heir")
    await grown(cluster)
    assert await settled_names(cluster) == NAMES


async def test_after_an_orderly_stop_of_everything_nothing_is_missing(cluster: Cluster) -> None:
    first = await cluster.worker("first")
    await until(lambda: running(first) == [0, 1], "both shards run")
    await grown(cluster)
    await first.stop()
    cluster.workers.clear()
    second = await cluster.worker("second")
    await until(lambda: running(second) == [0, 1], "both shards run again")
    await grown(cluster)
    assert await settled_names(cluster) == NAMES


@pytest.mark.parametrize("handed_over", [True, False], ids=["handed over", "only swept"])
async def test_a_wiped_redis_costs_no_boat_while_the_workers_live(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, handed_over: bool
) -> None:
    if not handed_over:
        monkeypatch.setattr(Post, "send", lambda *_: None)
    workers = await two_workers(cluster)
    await grown(cluster, 3)
    epochs = [w._hosts[s].epoch for s, w in enumerate(workers)]
    assert epochs == [1, 1]
    here = cores(cluster)
    if not handed_over:
        await until(lambda: sent(here[0], 1) >= here[1].received(0) + 3, "mail that only the outbox has")
    cluster.redis.wipe()
    await until(
        lambda: all(w._hosts[s].epoch == 2 for s, w in enumerate(workers) if s in w._hosts), "journals begun anew"
    )
    await grown(cluster)
    await check_journals(cluster)
    assert await settled_names(cluster) == NAMES


async def test_a_redis_wiped_while_all_are_stopped_costs_no_boat_either(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was on its way is in the senders' last snapshots."""
    first, second = await two_workers(cluster)
    await grown(cluster, 3)
    monkeypatch.setattr(Post, "send", lambda *_: None)
    monkeypatch.setattr(Sweeper, "after_tick", lambda *_: None)
    here = cores(cluster)
    await until(lambda: sent(here[0], 1) > here[1].received(0), "mail that only the outbox has")
    cluster.workers.clear()
    assert await first.stop()
    assert await second.stop()
    monkeypatch.undo()
    cluster.redis.wipe()
    await two_workers(cluster)
    await grown(cluster)
    assert await settled_names(cluster) == NAMES


async def test_where_redis_and_a_sender_are_lost_at_once_mail_goes_on_all_the_same(cluster: Cluster) -> None:
    """What was in the lost ticks is lost or there twice; nothing waits for it for ever."""
    workers = await two_workers(cluster)
    await grown(cluster)
    await until(lambda: all(len(cluster.shelf.kept[shard]) > 1 for shard in (0, 1)), "snapshots")
    await workers[0].kill()
    cluster.workers.remove(workers[0])
    cluster.redis.wipe()
    await until(lambda: running(workers[1]) == [0, 1], "the other worker took it over")
    await grown(cluster, 10)
    await check_journals(cluster)
    await settled_names(cluster)


# ---------------------------------------------------------------- what need not be kept


async def test_outboxes_are_trimmed_to_what_the_receivers_older_snapshot_covers(cluster: Cluster) -> None:
    worker = await cluster.worker("w", snapshot_interval_s=0.3)
    await until(lambda: running(worker) == [0, 1], "both shards run")
    ownership = MemoryOwnership(cluster.redis, "test")

    async def first_waiting(a: int, b: int) -> int:
        found = await ownership.read_outbox(a, b, 0, 1)
        return found[0].number if found else 0

    for a, b in ((0, 1), (1, 0)):
        acked = 0
        while acked < 3:
            await asyncio.sleep(0.05)
            acked = (await ownership.outbox_acks(a, [b]))[b]
        older = {}
        for start in cluster.shelf.kept[b]:
            core = ShardCore(cluster.contract, cluster.title, b)
            snapshot.restore(core, start.data)
            older[start.tick] = core.received(a)
        assert acked <= max(older.values())
        await trimmed(cluster, a, b)
        first = await first_waiting(a, b)
        assert first <= (await ownership.outbox_acks(a, [b]))[b] + 1, "nothing that is not acked is trimmed"
    assert await settled_names(cluster) == NAMES


async def trimmed(cluster: Cluster, a: int, b: int) -> None:
    outboxes = cluster.redis.primary._shards["test", a].outboxes
    await until(lambda: outboxes[b][0].number > 1, "the outbox was trimmed")


# ---------------------------------------------------------------- players


class Sailors(Gateway):
    """A gateway that goes where its player goes, as a real one does."""

    async def sail(self, cluster: Cluster, session: int, player: int, shard: int) -> None:
        self.session, self.player, self.shard, self.crossings, self.seq = session, player, shard, 0, 0
        self.cluster = cluster
        self.attach(await self.link_to(shard), shard, session, player)

    async def link_to(self, shard: int) -> Link:
        head = self.cluster.redis.primary.head(("test", shard))
        assert head is not None
        link = self.links.get(head.address)
        return link if link is not None and not link.closed else await self.dial(head.address)

    async def follow(self) -> None:
        """Wait for the player to move, and go after him."""
        await until(self.moves, "the player's boat crossed the border")
        to_shard, number = self.moves()[0]
        came_from, self.shard = self.shard, to_shard
        link = await self.link_to(to_shard)
        attach = link_pb2.Attach(
            shard=to_shard,
            session=self.session,
            player=self.player,
            resume=True,
            after_shard=came_from,
            after_number=number,
        )
        self.outputs.clear()
        link.send(link_pb2.LinkMessage(attach=attach))
        await until(lambda: self.joined(to_shard, self.session), "the session joined where its player is")
        self.crossings += 1

    def moves(self) -> list[tuple[int, int]]:
        found = []
        for output in self.of(self.shard):
            sessions = np.frombuffer(output.message.moved_sessions_i64, "<i8").tolist()
            shards = np.frombuffer(output.message.moved_shards_u32, "<u4").tolist()
            numbers = np.frombuffer(output.message.moved_numbers_i64, "<i8").tolist()
            found += [(s, n) for who, s, n in zip(sessions, shards, numbers, strict=True) if who == self.session]
        return found

    async def steer(self, vx: int) -> None:
        self.seq += 1
        batch = link_pb2.InputBatch(
            shard=self.shard,
            sessions_i64=np.array([self.session], "<i8").tobytes(),
            seqs_u32=np.array([self.seq], "<u4").tobytes(),
            kinds_u32=np.array([0], "<u4").tobytes(),
            seen_ticks_u32=np.array([0], "<u4").tobytes(),
            counts_u32=np.array([1], "<u4").tobytes(),
            values_i32=np.array([vx], "<i4").tobytes(),
        )
        (await self.link_to(self.shard)).send(link_pb2.LinkMessage(inputs=batch))
        await until(lambda: self.acked(self.shard, self.session) == self.seq, "the input was acked")


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_player_sails_from_shard_to_shard_in_one_session(cluster: Cluster, workers: int) -> None:
    if workers == 1:
        worker = await cluster.worker("w")
        await until(lambda: running(worker) == [0, 1], "both shards run")
    else:
        await two_workers(cluster)
    sailors = Sailors(cluster.contract)
    cluster.gateways.append(sailors)
    await sailors.sail(cluster, session=7, player=70, shard=0)
    await until(lambda: sailors.joined(0, 7), "the session joined")
    for vx in (120, -120, 120):
        await sailors.steer(vx)
        await sailors.follow()
    await sailors.steer(1)
    assert (sailors.crossings, sailors.shard, sailors.refused) == (3, 1, [])
    here = cores(cluster)[1].shard.players
    row = int(here.rows_of(np.array([70]))[0])
    assert (int(here.session[row]), int(here.online[row]), int(here.last_seq[row])) == (7, 1, 4)
