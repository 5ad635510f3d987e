"""What happens to appends when Redis, or the way to it, fails. Real servers, real signals, a proxy that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from overworld.errors import NotReplicated, SettingsError, StoreRefused, StoreUnavailable
from overworld.store import keys
from overworld.store.group_commit import GroupCommit
from overworld.store.lane import LaneLimits
from overworld.store.local_redis import LocalRedis
from overworld.store.ports import CommitLevel, CommitPolicy, Grant, OutboxMessage, Role, Verdict
from overworld.store.redis_client import open_redis
from overworld.store.redis_directory import RedisDirectory
from overworld.store.redis_ownership import RedisOwnership
from tests.parts.redis import RedisFactory, command
from tests.store.proxy import FaultProxy
from tests.store.writer import Writer, fresh_nonce, head_of, take

pytestmark = pytest.mark.asyncio
WORLD = "faulty"
ALWAYS = ("--appendfsync", "always")


@asynccontextmanager
async def opened(
    url: str,
    commit: CommitPolicy | None = None,
    write_timeout_s: float = 5.0,
    limits: LaneLimits | None = None,
) -> AsyncIterator[tuple[RedisOwnership, Redis]]:
    """A process's stores on one server."""
    client = await open_redis(url)
    assert isinstance(client, Redis)
    group = GroupCommit(client, limits)
    try:
        yield RedisOwnership(client, group, WORLD, commit, write_timeout_s, read_timeout_s=1.0), client
    finally:
        await group.close()
        await client.aclose()


async def journal_ticks(ownership: RedisOwnership, shard: int = 0) -> list[int]:
    ticks: list[int] = []
    while page := await ownership.read(shard, ticks[-1] if ticks else 0):
        ticks += [entry.tick for entry in page]
    return ticks


async def following(factory: RedisFactory, primary: LocalRedis, through: FaultProxy | None = None) -> LocalRedis:
    """A new replica that has confirmed a write; with `through`, its link can be made to fail."""
    replica = await factory.start_replica(primary)
    if through is not None:
        assert await command(replica.port, "REPLICAOF", "127.0.0.1", str(through.port)) == b"+OK"
    async with Redis(port=primary.port) as client:
        _ = await client.set("followed", 1)
        assert await client.wait(1, 10_000) == 1
    return replica


@asynccontextmanager
async def followed(factory: RedisFactory, primary: LocalRedis, through: FaultProxy) -> AsyncIterator[LocalRedis]:
    """`following`, for use among other contexts; the factory ends it."""
    yield await following(factory, primary, through)


# ---------------------------------------------------------------- scripts and types


async def test_a_server_that_forgot_the_scripts_is_sent_their_source(redis_client: Redis, group: GroupCommit) -> None:
    ownership = RedisOwnership(redis_client, group, WORLD)
    owner = await take(ownership)
    for _ in range(5):
        _ = await redis_client.script_flush()
        assert (await owner.write(outbox=[OutboxMessage(1, owner.tick + 1, b"hello")])).verdict is Verdict.APPENDED
    _ = await redis_client.script_flush()
    assert len(await ownership.read_outbox(0, 1, 0)) == 4


async def test_many_shards_travel_on_together_when_scripts_are_flushed(redis_client: Redis, group: GroupCommit) -> None:
    ownership = RedisOwnership(redis_client, group, WORLD)
    owners = [await take(ownership, shard) for shard in range(30)]
    for _ in range(10):
        writing = asyncio.gather(*(owner.write() for owner in owners))
        _ = await redis_client.script_flush()
        assert {answer.verdict for answer in await writing} == {Verdict.APPENDED}


@pytest.mark.parametrize("wrong", ["own", "jrnl", "out"])
async def test_a_key_of_the_wrong_type_refuses_the_append_before_anything_is_written(
    redis_client: Redis, group: GroupCommit, wrong: str
) -> None:
    ownership = RedisOwnership(redis_client, group, WORLD)
    owner = await take(ownership)
    names = {
        "own": keys.own(WORLD, 0),
        "jrnl": keys.journal(WORLD, 0),
        "out": keys.outbox(WORLD, 0, 2),
    }
    _ = await redis_client.set(names[wrong], "not what it should be")
    before = {name: await redis_client.dump(name) for name in names.values()}
    with pytest.raises(StoreRefused, match=r"WRONGTYPE|not a stream"):
        await owner.write(outbox=[OutboxMessage(1, 1, b"a"), OutboxMessage(2, 1, b"b")])
    assert {name: await redis_client.dump(name) for name in names.values()} == before
    assert not await redis_client.exists(keys.outbox(WORLD, 0, 1))


async def test_no_key_of_a_shard_ever_expires(redis_client: Redis, group: GroupCommit) -> None:
    ownership = RedisOwnership(redis_client, group, WORLD)
    owner = await take(ownership)
    await owner.write(outbox=[OutboxMessage(1, 1, b"a")])
    await ownership.ack_outbox(owner.grant, 3, 1)
    names = await redis_client.keys(f"{{{WORLD}/*")
    assert len(names) == 3
    assert [await redis_client.ttl(name) for name in names] == [-1, -1, -1]


# ---------------------------------------------------------------- connections


@pytest.mark.parametrize("cut_after_bytes", [0, 1, 3])
async def test_an_append_whose_answer_is_lost_is_sent_again_and_found_there(
    redis_factory: RedisFactory, cut_after_bytes: int
) -> None:
    server = await redis_factory.start()
    async with FaultProxy(server.port) as proxy, opened(proxy.url) as (ownership, _):
        owner = await take(ownership)
        await owner.write()
        proxy.cut_after_bytes, proxy.lose_answers = cut_after_bytes, 1
        answer = await owner.write(outbox=[OutboxMessage(1, 1, b"once")])
        assert answer.verdict is Verdict.ALREADY
        await owner.write()
        assert await journal_ticks(ownership) == [1, 2, 3]
        assert [m.number for m in await ownership.read_outbox(0, 1, 0)] == [1]


async def test_an_acquire_whose_answer_is_lost_is_still_granted(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start()
    async with FaultProxy(server.port) as proxy, opened(proxy.url) as (ownership, _):
        owner = await take(ownership)
        await owner.write()
        seen = await ownership.look(0)
        proxy.lose_answers = 1
        grant = await ownership.acquire(0, seen, "10.0.0.2:7000", 0, fresh_nonce())
        assert isinstance(grant, Grant)
        assert grant.epoch == head_of(await ownership.look(0)).epoch == 2


async def test_answers_lost_again_and_again_under_many_writers_leave_whole_journals(
    redis_factory: RedisFactory,
) -> None:
    server = await redis_factory.start()
    async with FaultProxy(server.port) as proxy, opened(proxy.url, write_timeout_s=20) as (ownership, _):
        owners = [await take(ownership, shard) for shard in range(20)]

        proxy.lose_every = 4
        await asyncio.gather(*(owner.write_many(30) for owner in owners))
        proxy.lose_every = 0
        for owner in owners:
            assert await journal_ticks(ownership, owner.grant.shard) == list(range(1, 31))
        assert proxy.connections > 3


async def test_a_black_hole_ends_in_unavailable_by_the_deadline_and_is_survived(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start()
    async with FaultProxy(server.port) as proxy, opened(proxy.url, write_timeout_s=1.5) as (ownership, client):
        owner = await take(ownership)
        proxy.black_hole = True
        request = owner.next_request()
        with pytest.raises(StoreUnavailable, match="append of"):
            await ownership.append(owner.grant, request)
        with pytest.raises(StoreUnavailable, match="look"):
            await ownership.look(0)
        directory = RedisDirectory(client, timeout_s=0.5)
        with pytest.raises(StoreUnavailable, match="announce"):
            await directory.announce(Role.WORKER, "worker-a", "10.0.0.1:7000", {})
        proxy.black_hole = False
        proxy.cut_all()
        assert (await ownership.append(owner.grant, request)).appended
        owner.advance(request)
        assert (await owner.write()).verdict is Verdict.APPENDED
        await directory.announce(Role.WORKER, "worker-a", "10.0.0.1:7000", {})


async def test_a_token_whose_answer_is_lost_still_counts_as_the_first_use(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start()
    async with FaultProxy(server.port) as proxy, opened(proxy.url) as (_, client):
        directory = RedisDirectory(client)
        proxy.lose_answers = 1
        assert await directory.use_once("ticket", 60)
        assert not await directory.use_once("ticket", 60)
        assert 0 < await client.ttl(keys.used_token("ticket")) <= 60


async def test_a_full_queue_refuses_at_once(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start()
    limits = LaneLimits(queue_commands_max=10)
    async with FaultProxy(server.port) as proxy, opened(proxy.url, None, 2.0, limits) as (ownership, _):
        owners = [await take(ownership, shard) for shard in range(30)]
        proxy.black_hole = True
        answers = await asyncio.gather(*(owner.write() for owner in owners), return_exceptions=True)
        full = [answer for answer in answers if "commands are waiting already" in str(answer)]
        assert len(full) >= 10
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)


async def test_closing_lets_nobody_wait(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start()
    async with FaultProxy(server.port) as proxy:
        client = await open_redis(proxy.url)
        group = GroupCommit(client)
        ownership = RedisOwnership(client, group, WORLD)
        owner = await take(ownership)
        proxy.black_hole = True
        waiting = asyncio.create_task(owner.write())
        await asyncio.sleep(0)
        await group.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await waiting
        with pytest.raises(StoreUnavailable, match="closed"):
            await owner.write()
        await client.aclose()


# ---------------------------------------------------------------- crashes


@pytest.mark.parametrize("trial", range(3))
async def test_nothing_acknowledged_is_lost_when_redis_is_killed_under_appends(
    redis_factory: RedisFactory, trial: int
) -> None:
    """`kill -9` and restart with `appendfsync always`; every owner goes on by sending the same bytes again."""
    server = await redis_factory.start(appendonly=True, options=ALWAYS)
    async with opened(server.url, write_timeout_s=30) as (ownership, _):
        owners = [await take(ownership, shard) for shard in range(10)]
        rounds = asyncio.gather(*(owner.write_many(150, b"x" * 500) for owner in owners))
        while min(owner.tick for owner in owners) < 20 + 15 * trial:
            await asyncio.sleep(0.001)
        server.kill()
        acknowledged = {owner.grant.shard: owner.tick for owner in owners}
        await server.start(server.folder, server.port, appendonly=True, options=ALWAYS)
        for shard, tick in acknowledged.items():
            assert head_of(await ownership.look(shard)).tick >= tick
        await rounds
        for owner in owners:
            entries = await ownership.read(owner.grant.shard, 0)
            assert [entry.chain for entry in entries] == [request.chain for request in owner.written]
            assert len(entries) == 150


async def test_an_owner_repairs_a_journal_that_lost_its_newest_records(redis_factory: RedisFactory) -> None:
    """A replica that lacks the newest records is promoted; the owner appends them again from its ring."""
    primary = await redis_factory.start()
    async with FaultProxy(primary.port) as link, FaultProxy(primary.port) as proxy, opened(proxy.url) as (ownership, _):
        replica = await following(redis_factory, primary, link)
        owner = await take(ownership)
        await owner.write_many(5)
        async with opened(replica.url) as (on_replica, _):
            while (seen := await on_replica.look(0)) is None or seen.tick < 5:
                await asyncio.sleep(0.005)
        link.black_hole = True
        await owner.write_many(7)
        assert await command(replica.port, "REPLICAOF", "NO", "ONE") == b"+OK"
        proxy.target_port = replica.port
        proxy.cut_all()

        answer = await owner.write()
        assert (answer.verdict, answer.epoch) == (Verdict.OTHER_HEAD, 1)
        ring = {(request.tick, request.chain): place for place, request in enumerate(owner.written)}
        found = ring[answer.tick, answer.chain]
        for request in owner.written[found + 1 :]:
            assert (await ownership.append(owner.grant, request)).verdict is Verdict.APPENDED
        assert (await owner.write()).verdict is Verdict.APPENDED
        assert await journal_ticks(ownership) == list(range(1, 14))


async def test_a_demoted_primary_is_not_written_to(redis_factory: RedisFactory) -> None:
    primary = await redis_factory.start()
    replica = await following(redis_factory, primary)
    async with FaultProxy(primary.port) as proxy, opened(proxy.url) as (ownership, client):
        owner = await take(ownership)
        await owner.write_many(3)
        _ = await client.wait(1, 5000)
        assert await command(replica.port, "REPLICAOF", "NO", "ONE") == b"+OK"
        assert await command(primary.port, "REPLICAOF", "127.0.0.1", str(replica.port)) == b"+OK"
        proxy.target_port = replica.port  # as an endpoint does that now leads to the new primary
        assert (await owner.write()).verdict is Verdict.APPENDED
        assert await journal_ticks(ownership) == [1, 2, 3, 4]


async def test_a_server_that_lost_everything_fences_with_epoch_0_and_can_be_restarted_on(
    redis_factory: RedisFactory,
) -> None:
    server = await redis_factory.start()
    async with opened(server.url) as (ownership, client):
        owner = await take(ownership, min_epoch=8)
        await owner.write_many(5)
        _ = await client.flushall()
        answer = await owner.write()
        assert (answer.verdict, answer.epoch) == (Verdict.FENCED, 0)
        again = await take(ownership, min_epoch=owner.grant.epoch)
        assert again.grant.epoch == 10
        await ownership.restart(again.grant, 0, b"", owner.tick, owner.chain)
        again.tick, again.chain, again.committed = owner.tick, owner.chain, owner.tick
        assert (await again.write()).verdict is Verdict.APPENDED
        assert [entry.tick for entry in await ownership.read(0, 5)] == [6]


# ---------------------------------------------------------------- replicas


async def test_without_a_replica_l2_says_so(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start()
    l2 = CommitPolicy(CommitLevel.L2, replica_wait_ms_max=50)
    async with (
        opened(server.url) as (l1, _),
        opened(server.url, l2, write_timeout_s=0.6) as (ownership, _),
    ):
        owner = await take(l1)
        guarded = Writer(ownership, owner.grant)
        with pytest.raises(NotReplicated, match=r"written, but WAIT 1 50 \(that many replicas\) answered 0"):
            await guarded.write()
        assert head_of(await l1.look(0)).tick == 1, "the primary has it, only nobody else"
        with pytest.raises(NotReplicated):
            await take(ownership, shard=5)


async def test_at_l2_an_append_waits_for_a_replica_that_comes_back(redis_factory: RedisFactory) -> None:
    primary = await redis_factory.start()
    replica = await following(redis_factory, primary)
    l2 = CommitPolicy(CommitLevel.L2, replica_wait_ms_max=100)
    async with opened(primary.url, l2, write_timeout_s=20) as (ownership, _):
        owner = await take(ownership)
        assert (await owner.write()).verdict is Verdict.APPENDED
        replica.pause()
        waiting = asyncio.create_task(owner.write())
        while head_of(await ownership.look(0)).tick < 2:
            await asyncio.sleep(0.005)
        assert not waiting.done()
        replica.resume()
        assert (await waiting).appended
        assert (await owner.write()).verdict is Verdict.APPENDED


async def test_l3_waits_for_the_disk_and_says_when_there_is_none(
    redis_factory: RedisFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # WAITAOF came with Redis 7.2; the server on PATH may be older, the one in the wheel is not.
    monkeypatch.setenv("PATH", str(tmp_path))
    on_disk = await redis_factory.start(appendonly=True)
    in_memory = await redis_factory.start()
    l3 = CommitPolicy(CommitLevel.L3, replicas=0, replica_wait_ms_max=2000)
    async with opened(on_disk.url, l3) as (ownership, _):
        owner = await take(ownership)
        assert (await owner.write()).verdict is Verdict.APPENDED
    async with opened(in_memory.url) as (l1, _), opened(in_memory.url, l3, write_timeout_s=0.5) as (ownership, _):
        owner = await take(l1)
        with pytest.raises(NotReplicated, match="WAITAOF"):
            await Writer(ownership, owner.grant).write()


async def test_an_owner_on_the_old_primary_releases_nothing_after_a_failover(redis_factory: RedisFactory) -> None:
    """Split brain: the old primary still takes appends, but no replica confirms them; the new owner is another one.

    The former owner's acquire had not reached the replica: both hold the same epoch, and only the nonce differs.
    """
    primary = await redis_factory.start()
    l2 = CommitPolicy(CommitLevel.L2, replica_wait_ms_max=50)
    async with (
        FaultProxy(primary.port) as link,
        followed(redis_factory, primary, link) as replica,
        opened(primary.url, l2, write_timeout_s=0.5) as (old_side, _),
        opened(primary.url) as (unguarded, _),
        opened(replica.url) as (new_side, _),
    ):
        first = await take(old_side)
        await first.write_many(3)
        link.black_hole = True
        late = await take(unguarded, address="10.0.0.9:7000")
        for _ in range(2):
            with pytest.raises(NotReplicated):
                await Writer(old_side, late.grant).write()
        assert await command(replica.port, "REPLICAOF", "NO", "ONE") == b"+OK"

        successor = await take(new_side, address="10.0.0.2:7000")
        assert successor.grant.epoch == late.grant.epoch == 2
        assert successor.tick == 3
        assert (await successor.write()).verdict is Verdict.APPENDED
        on_new = Writer(new_side, late.grant)
        assert (await on_new.write()).verdict is Verdict.FENCED


# ---------------------------------------------------------------- limits of the server


async def test_a_full_redis_refuses_an_append_whole_and_lets_the_owner_beat_and_trim(
    redis_factory: RedisFactory,
) -> None:
    server = await redis_factory.start()
    async with opened(server.url, write_timeout_s=0.4) as (ownership, client):
        owner = await take(ownership)
        await owner.write_many(50, b"x" * 10_000)
        _ = await client.config_set("maxmemory", "1")
        before = await client.dump(keys.journal(WORLD, 0))
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await owner.write(b"x" * 10_000, outbox=[OutboxMessage(1, 1, b"a")])
        assert await client.dump(keys.journal(WORLD, 0)) == before
        assert not await client.exists(keys.outbox(WORLD, 0, 1))
        head = head_of(await ownership.look(0))
        assert (head.tick, head.chain) == (owner.tick, owner.chain)

        await ownership.beat(owner.grant, committed=50)
        assert await ownership.trim(owner.grant, 40) == 40
        await ownership.release(owner.grant)
        successor = await take(ownership)
        _ = await client.config_set("maxmemory", "0")
        assert (await successor.write()).verdict is Verdict.APPENDED
        assert [entry.tick for entry in await ownership.read(0, 40)] == list(range(41, 52))


async def test_a_server_that_would_evict_journals_is_refused_at_start(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start(options=("--maxmemory-policy", "allkeys-lru"))
    with pytest.raises(SettingsError, match="set maxmemory-policy noeviction"):
        await open_redis(server.url)


async def test_a_missing_server_is_one_line_that_says_what_to_do(free_port: int) -> None:
    url = f"redis://user:secret@127.0.0.1:{free_port}/0"
    with pytest.raises(StoreUnavailable) as caught:
        await open_redis(url)
    text = str(caught.value)
    assert f"no Redis at redis://127.0.0.1:{free_port}/0" in text
    assert "start one there" in text
    assert "secret" not in text
    assert "\n" not in text


async def test_a_wrong_password_is_said_without_showing_it(redis_factory: RedisFactory) -> None:
    server = await redis_factory.start()
    assert await command(server.port, "CONFIG", "SET", "requirepass", "right") == b"+OK"
    with pytest.raises(StoreUnavailable, match="refuses the user name or password") as caught:
        await open_redis(f"redis://:wrong-one@127.0.0.1:{server.port}/0")
    assert "wrong-one" not in str(caught.value)
    client = await open_redis(f"redis://:right@127.0.0.1:{server.port}/0")
    group = GroupCommit(client)
    owner = await take(RedisOwnership(client, group, WORLD))
    assert (await owner.write()).verdict is Verdict.APPENDED
    await group.close()
    await client.aclose()


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", ""])
async def test_an_address_that_is_none_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="Redis address"):
        await open_redis(url)
