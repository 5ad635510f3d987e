"""Whole workers on in-memory stores, spoken to over real links."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from overworld.errors import LinkError, SettingsError, StoreUnavailable
from overworld.link import LinkCredentials, connect
from overworld.shard.core import ShardCore
from overworld.store.memory import MemoryOwnership, NoFaults
from overworld.store.ports import CommitLevel, CommitPolicy
from overworld.wire.v1 import client_pb2, link_pb2
from overworld.worker.recovery import recover
from overworld.worker.service import Worker
from tests.worker.cluster import KEY, Cluster, Gateway, running, until

pytestmark = pytest.mark.asyncio

ALL = [0, 1, 2, 3]


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    yield made
    await made.close()


async def playing(cluster: Cluster, worker: Worker, shard: int, session: int = 5) -> Gateway:
    """A gateway with one session that has joined a shard of the worker."""
    gateway = await cluster.gateway()
    link = await gateway.dial(worker.address)
    gateway.attach(link, shard, session, player=50)
    await until(lambda: gateway.joined(shard, session), "the session joined")
    return gateway


async def replayed(cluster: Cluster, shard: int) -> ShardCore:
    """What snapshot and journal say the shard is."""
    head = cluster.redis.primary.head(("test", shard))
    assert head is not None

    def new_core() -> ShardCore:
        return ShardCore(cluster.contract, cluster.title, shard)

    found = await recover(new_core, shard, head, MemoryOwnership(cluster.redis, "test"), cluster.shelf)
    return found.core


# ---------------------------------------------------------------- play


async def test_a_lone_worker_runs_every_shard_and_a_player_can_play(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    gateway = await playing(cluster, worker, 2)
    gateway.walk(gateway.links[worker.address], 2, session=5, seq=1)
    await until(lambda: gateway.acked(2, 5) == 1, "the input was acked")
    ticks = [o.tick for o in gateway.of(2)]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))


async def test_watched_cells_get_a_keyframe_first_and_updates_of_every_tick_after(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: 0 in running(worker), "shard 0 runs")
    gateway = await cluster.gateway()
    link = await gateway.dial(worker.address)
    gateway.watch(link, 0, [0, 1, 8, 9])
    await until(lambda: len(gateway.of(0)) > 10, "ten ticks came")
    first, *others = gateway.of(0)
    assert first.message.keyframes
    assert not first.message.updates
    assert not any(o.message.keyframes for o in others)
    frame = client_pb2.Frame.FromString(first.message.keyframes + b"".join(o.message.updates for o in others))
    assert {c.cell for c in frame.keyframes} | {c.cell for c in frame.updates} <= {0, 1, 8, 9}
    assert any(o.message.updates for o in others)


async def test_a_bye_ends_the_session_and_an_input_in_the_same_tick_does_no_harm(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    gateway = await playing(cluster, worker, 1)
    link = gateway.links[worker.address]
    gateway.walk(link, 1, session=5, seq=1)
    gateway.detach(link, 1, 5, leaving=True)
    before = len(gateway.of(1))
    gateway.watch(link, 1, [4])
    await until(lambda: len(gateway.of(1)) > before + 5, "the shard ticks on")
    core = await replayed(cluster, 1)
    assert int(core.shard.players.online.sum()) == 0


async def test_a_bad_input_closes_the_session_and_its_player_counts_as_lost(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    gateway = await playing(cluster, worker, 1)
    gateway.walk(gateway.links[worker.address], 1, session=5, seq=1, turn=77)
    await until(lambda: any(o.sessions("closed", "codes") == {5: 4006} for o in gateway.of(1)), "it was closed")
    gateway.watch(gateway.links[worker.address], 1, [4])
    seen = len(gateway.of(1))
    await until(lambda: len(gateway.of(1)) > seen + 3, "the shard ticks on")
    core = await replayed(cluster, 1)
    assert int(core.shard.players.online.sum()) == 0


async def test_a_shard_that_is_not_here_is_told_as_gone(cluster: Cluster) -> None:
    worker = await cluster.worker("w", start_wait_s=30.0)
    gateway = await cluster.gateway()
    link = await gateway.dial(worker.address)
    gateway.attach(link, 3, 5, 50)
    gateway.watch(link, 2, [1])
    gateway.watch(link, 2, [1])
    gateway.attach(link, 3, 6, 60)
    await until(lambda: len(gateway.gone) >= 3, "gone was told")
    assert sorted(gateway.gone) == [(2, 0), (3, 0), (3, 0)]


async def test_a_gateway_that_breaks_the_rules_loses_its_link_and_nobody_else_does(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    good, bad = await playing(cluster, worker, 0), await cluster.gateway("bad")
    link = await bad.dial(worker.address)
    link.send(link_pb2.LinkMessage(inputs=link_pb2.InputBatch(shard=0, sessions_i64=b"\1" * 16, seqs_u32=b"\1" * 4)))
    await until(lambda: bad.lost, "the bad gateway was cut off")
    seen = len(good.of(0))
    await until(lambda: len(good.of(0)) > seen, "the good one plays on")
    assert not good.lost


# ---------------------------------------------------------------- links that break


async def test_sessions_of_a_lost_link_stay_online_when_another_gateway_attaches_them(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    first = await playing(cluster, worker, 1)
    first.close()
    second = await cluster.gateway("second")
    link = await second.dial(worker.address)
    second.attach(link, 1, 5, 50, resume=True)
    await until(lambda: second.joined(1, 5), "the session is on the other gateway")
    seen = len(second.of(1))
    await until(lambda: len(second.of(1)) > seen + 20, "the wait passed")
    core = await replayed(cluster, 1)
    assert core.shard.players.online.tolist() == [1]


async def test_sessions_that_nobody_attaches_again_count_as_lost_after_the_wait(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    (await playing(cluster, worker, 1)).close()
    watcher = await cluster.gateway("watcher")
    watcher.watch(await watcher.dial(worker.address), 1, [4])

    def offline() -> bool:
        host = worker._hosts[1]
        return host.core is not None and host.core.shard.players.online.tolist() == [0]

    await until(offline, "the player is offline")


# ---------------------------------------------------------------- ownership


async def test_two_workers_share_the_shards(cluster: Cluster) -> None:
    a, b = await asyncio.gather(cluster.worker("a"), cluster.worker("b"))
    await until(lambda: sorted(running(a) + running(b)) == ALL, "all shards run")
    assert len(running(a)) == len(running(b)) == 2


async def test_a_killed_workers_shards_are_taken_over_and_the_state_is_the_replays(cluster: Cluster) -> None:
    a, b = await asyncio.gather(cluster.worker("a"), cluster.worker("b"))
    await until(lambda: sorted(running(a) + running(b)) == ALL, "all shards run")
    shard = running(a)[0]
    gateway = await playing(cluster, a, shard)
    link = gateway.links[a.address]
    for seq in range(1, 6):
        gateway.walk(link, shard, 5, seq)
    await until(lambda: gateway.acked(shard, 5) == 5, "inputs were acked")
    seen = {(o.epoch, o.tick) for o in gateway.of(shard)}
    await a.kill()
    await until(lambda: running(b) == ALL, "the other worker runs everything")
    link = await gateway.dial(b.address)
    gateway.attach(link, shard, 5, 50, resume=True)
    await until(lambda: any(o.epoch == 2 for o in gateway.of(shard)), "ticks of the new epoch came")
    new = [o for o in gateway.of(shard) if o.epoch == 2]
    assert min(o.tick for o in new) > max(tick for _, tick in seen), "no released tick was run again"
    assert any(o.sessions("joined", "seqs") == {5: 5} for o in new), "the session goes on after its last input"
    await b.stop()
    head = cluster.redis.primary.head(("test", shard))
    assert head is not None
    assert head.released
    core = await replayed(cluster, shard)
    assert core.tick == head.tick
    # Once more, from the first snapshot's time on where that is kept: the same state.
    cluster.shelf.kept[shard].pop()
    again = await replayed(cluster, shard)
    assert again.digest() == core.digest()


async def test_players_that_were_online_and_do_not_come_back_count_as_lost_after_a_takeover(cluster: Cluster) -> None:
    a, b = await asyncio.gather(cluster.worker("a"), cluster.worker("b"))
    await until(lambda: sorted(running(a) + running(b)) == ALL, "all shards run")
    shard = running(a)[0]
    await playing(cluster, a, shard)
    await a.kill()
    await until(lambda: shard in running(b), "the other worker runs it")
    core = b._hosts[shard].core
    assert core is not None
    assert core.shard.players.online.tolist() == [1]
    await until(lambda: core.shard.players.online.tolist() == [0], "the player counts as lost")


async def test_a_stopped_worker_hands_its_shards_back_at_once(cluster: Cluster) -> None:
    a = await cluster.worker("a", lease_ttl_s=30.0, start_wait_s=0.0)
    await until(lambda: running(a) == ALL, "all shards run")
    assert await a.stop()
    for shard in ALL:
        head = cluster.redis.primary.head(("test", shard))
        assert head is not None
        assert head.released
        assert cluster.shelf.kept[shard][-1].tick == head.tick, "the last tick is in a snapshot"
    b = await cluster.worker("b", lease_ttl_s=30.0, start_wait_s=0.0)
    await until(lambda: running(b) == ALL, "the next worker has them, long before any lease ends")


async def test_a_fenced_owner_sends_nothing_more(cluster: Cluster) -> None:
    """Somebody takes the shard on suspicion while the owner lives: the owner's next append is refused."""
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    gateway = await playing(cluster, worker, 1)
    thief = MemoryOwnership(cluster.redis, "test")
    seen = await thief.look(1)
    taken = await thief.acquire(1, seen, "thief:1", 0, b"t" * 16)
    assert taken.head is not None
    await until(lambda: (1, 1) in gateway.gone, "the gateway was told")
    released = max(o.tick for o in gateway.of(1))
    assert released <= taken.head.tick, "nothing of the old epoch after the thief's head"
    assert 1 not in worker._hosts


# ---------------------------------------------------------------- stores in trouble


class Outage(NoFaults):
    """Writes fail while `down`; `lost_answers` act and then fail."""

    def __init__(self) -> None:
        self.down = False
        self.lost_answers = 0

    async def before(self, call: str, subject: int | str | None) -> None:
        if self.down and call in ("append", "beat", "look"):
            raise StoreUnavailable("no answer")

    async def after(self, call: str, subject: int | str | None) -> None:
        if call == "append" and self.lost_answers:
            self.lost_answers -= 1
            raise StoreUnavailable("the answer was lost")


async def test_an_outage_holds_results_back_then_the_shard_pauses_tells_and_resumes_by_itself(
    cluster: Cluster,
) -> None:
    outage = Outage()
    ownership = MemoryOwnership(cluster.redis, "test", faults=outage)
    worker = await cluster.worker("w", ownership=ownership, ticks_held_max=8)
    await until(lambda: running(worker) == ALL, "all shards run")
    gateway = await playing(cluster, worker, 1)
    link = gateway.links[worker.address]
    outage.down = True
    await until(lambda: worker._hosts[1].phase.value == "stalled", "the shard pauses")
    await until(lambda: (1, client_pb2.Notice.CODE_STALLED) in gateway.notices, "players are told")
    released = max(o.tick for o in gateway.of(1))
    assert released <= cluster.head_tick(1), "nothing was released that is not in the journal"
    held_at = worker._hosts[1].core
    assert held_at is not None
    assert held_at.tick - released <= 8
    gateway.attach(link, 1, 6, 60)
    await until(lambda: (6, 1013) in gateway.refused, "a new session is told to try later")
    outage.down = False
    await until(lambda: (1, client_pb2.Notice.CODE_RESUMED) in gateway.notices, "the shard goes on")
    await until(lambda: max(o.tick for o in gateway.of(1)) > held_at.tick - 1, "and ticks")
    ticks = [o.tick for o in gateway.of(1)]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks))), "every held tick came, in order, once"


async def test_lost_answers_are_asked_for_again_and_nothing_is_written_twice(cluster: Cluster) -> None:
    outage = Outage()
    worker = await cluster.worker("w", ownership=MemoryOwnership(cluster.redis, "test", faults=outage))
    await until(lambda: running(worker) == ALL, "all shards run")
    gateway = await playing(cluster, worker, 1)
    outage.lost_answers = 25
    await until(lambda: outage.lost_answers == 0, "answers were lost")
    seen = len(gateway.of(1))
    await until(lambda: len(gateway.of(1)) > seen + 3, "it goes on")
    ticks = [o.tick for o in gateway.of(1)]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))


@pytest.mark.parametrize("level", [CommitLevel.L0, CommitLevel.L1])
async def test_a_failover_that_loses_records_is_repaired_by_the_owner(cluster: Cluster, level: CommitLevel) -> None:
    ownership = MemoryOwnership(cluster.redis, "test", CommitPolicy(level))
    worker = await cluster.worker("w", ownership=ownership)
    await until(lambda: running(worker) == ALL, "all shards run")
    gateway = await playing(cluster, worker, 1)
    await until(lambda: len(gateway.of(1)) > 20, "some ticks are released")
    cluster.redis.fail_over(lose_newest=40)
    released = max(o.tick for o in gateway.of(1))
    assert cluster.head_tick(1) < released
    await until(lambda: cluster.head_tick(1) > released + 5, "the journal is whole again")
    head = cluster.redis.primary.head(("test", 1))
    assert head is not None
    ticks = [e.tick for e in await ownership.read(1, head.floor)]
    assert ticks == list(range(head.floor + 1, head.tick + 1))
    ticks = [o.tick for o in gateway.of(1)]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))


async def test_a_wiped_redis_costs_a_living_owner_nothing(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    gateway = await playing(cluster, worker, 1)
    cluster.redis.wipe()
    await until(lambda: any(o.epoch == 2 for o in gateway.of(1)), "it goes on under a new epoch")
    ticks = [o.tick for o in gateway.of(1)]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks))), "no tick is missing, none came twice"
    seen = max(ticks)
    await until(lambda: cluster.head_tick(1) > seen, "the journal goes on")
    await worker.kill()
    core = await replayed(cluster, 1)
    assert core.tick == cluster.head_tick(1)


async def test_a_slow_new_beginning_is_not_taken_for_death(cluster: Cluster) -> None:
    """Saving the state takes longer than the lease: the owner beats meanwhile, and the other worker keeps off."""
    a, b = await asyncio.gather(cluster.worker("a"), cluster.worker("b"))
    await until(lambda: sorted(running(a) + running(b)) == ALL, "all shards run")
    shard = running(a)[0]
    gateway = await playing(cluster, a, shard)
    cluster.shelf.save_s = 1.2
    cluster.redis.wipe()
    await until(lambda: any(o.epoch == 2 for o in gateway.of(shard)), "it goes on under a new epoch")
    ticks = [o.tick for o in gateway.of(shard)]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    assert shard in running(a)


async def test_a_slow_last_snapshot_is_not_taken_for_death(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = await asyncio.gather(cluster.worker("a"), cluster.worker("b"))
    monkeypatch.setattr(a, "_targets", list)  # as where nobody takes a shard that is moved
    await until(lambda: sorted(running(a) + running(b)) == ALL, "all shards run")
    shard = running(a)[0]
    cluster.shelf.save_s = 1.2
    assert await a.stop()
    await until(lambda: running(b) == ALL, "then the other runs it")
    last = max(start.tick for start in cluster.shelf.kept[shard] if start.epoch == 1)
    await until(lambda: cluster.head_tick(shard) > last, "and ticks")
    entries = await MemoryOwnership(cluster.redis, "test").read(shard, last)
    assert entries[0].epoch == 2, "the snapshot holds everything: nobody had taken the shard before"


async def test_a_wiped_redis_with_a_dead_owner_is_left_alone_for_a_lease_and_no_manifest_is_read_in_a_hurry(
    cluster: Cluster,
) -> None:
    a = await cluster.worker("a")
    await until(lambda: all(cluster.shelf.kept[shard] for shard in ALL), "snapshots are taken")
    await a.kill()
    cluster.redis.wipe()
    cluster.shelf.looks = 0
    b = await cluster.worker("b", lease_ttl_s=1.0)
    await until(lambda: running(b) == ALL, "the other goes on from the snapshots")
    assert cluster.shelf.looks <= 4 * 12
    for shard, host in b._hosts.items():
        assert host.epoch == 2
        assert host.core is not None
        assert host.core.tick >= cluster.shelf.kept[shard][0].tick


async def test_blob_storage_down_play_goes_on_and_nothing_is_trimmed(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    await until(lambda: len(cluster.shelf.kept[1]) >= 2, "snapshots are taken")
    cluster.shelf.down = True
    head = cluster.redis.primary.head(("test", 1))
    assert head is not None
    await until(lambda: cluster.head_tick(1) > head.tick + 30, "the world goes on")
    now = cluster.redis.primary.head(("test", 1))
    assert now is not None
    assert now.floor <= cluster.shelf.kept[1][-2].tick
    kept = len(cluster.shelf.kept[1])
    cluster.shelf.down = False
    newest = cluster.shelf.kept[1][-1].tick
    await until(lambda: cluster.shelf.kept[1][-1].tick > newest, "snapshots come again")
    assert kept >= 2


async def test_a_title_that_fails_does_not_take_the_others_down(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    await until(lambda: running(worker) == ALL, "all shards run")
    core = worker._hosts[1].core
    assert core is not None

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a title's mistake")

    vars(core)["step"] = fail
    await until(lambda: 1 not in worker._hosts, "the shard stops")
    tick = cluster.head_tick(0)
    await until(lambda: cluster.head_tick(0) > tick + 3, "the others go on")


# ---------------------------------------------------------------- ports


async def test_the_internal_port_tells_how_it_is(cluster: Cluster) -> None:
    worker = await cluster.worker("w", audit_ticks=50)
    url = f"http://127.0.0.1:{worker.http_port}"
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{url}/livez") as answer:
            assert answer.status == 200
        await until(lambda: running(worker) == ALL, "all shards run")
        async with http.get(f"{url}/readyz") as answer:
            assert answer.status == 200
        async with http.get(f"{url}/metrics") as answer:
            text = await answer.text()
        async with http.get(f"{url}/audit/state?shard=1") as answer:
            state = await answer.json()
        async with http.get(f"{url}/audit/state?shard=1&tick={state['tick']}") as answer:
            assert (await answer.json())["tick"] == state["tick"]
        async with http.get(f"{url}/audit/state?shard=1&tick=999999") as answer:
            assert answer.status == 404
        async with http.get(f"{url}/audit/state?shard=x") as answer:
            assert answer.status == 400
    assert 'overworld_shards_owned{phase="running"} 4.0' in text
    assert "overworld_tick_seconds_bucket" in text
    assert [k["name"] for k in state["kinds"]] == ["Sheep", "Cloud", "Weather"]
    assert state["epoch"] == 1
    sheep = state["kinds"][0]
    assert len(sheep["ids"]) == len(sheep["cells"]) == len(sheep["columns"]["x"])


async def test_without_the_setting_there_is_no_audit(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{worker.http_port}/audit/state?shard=1") as answer,
    ):
        assert answer.status == 404


async def test_a_taken_port_is_one_line(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    port = int(worker.address.rpartition(":")[2])
    with pytest.raises(SettingsError, match=r"cannot listen on 127\.0\.0\.1") as caught:
        await cluster.worker("x", port=port)
    assert "\n" not in str(caught.value)


async def test_an_encrypted_worker_is_played_on_as_any_other(cluster: Cluster) -> None:
    """Who connects is not told beforehand: a gateway that knows a plain worker goes on to an encrypted one."""
    secret = await cluster.worker("w", link_tls=True)
    await until(lambda: running(secret) == ALL, "all shards run")
    gateway = await playing(cluster, secret, 1)
    plain = await cluster.worker("x")
    links = [gateway.links[secret.address], await gateway.dial(plain.address)]
    assert [link.encrypted for link in links] == [True, False]
    before = len(gateway.of(1))
    await until(lambda: len(gateway.of(1)) > before + 3, "ticks come")


async def test_a_gateway_of_another_world_is_refused(cluster: Cluster) -> None:
    worker = await cluster.worker("w")
    host, _, port = worker.address.rpartition(":")
    gateway = await cluster.gateway()
    with pytest.raises(LinkError, match="contract"):
        await connect(host, int(port), LinkCredentials(KEY, "0" * 32, "g"), gateway, 5.0)
