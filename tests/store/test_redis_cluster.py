"""The same promises on a Redis cluster: slots that move, nodes that die."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis, RedisCluster

from overworld.errors import Fenced, StoreUnavailable
from overworld.store import keys
from overworld.store.group_commit import GroupCommit
from overworld.store.local_redis import LocalRedis
from overworld.store.ports import CommitLevel, CommitPolicy, OutboxMessage, Owner, Role, Verdict
from overworld.store.redis_client import open_redis
from overworld.store.redis_directory import RedisDirectory
from overworld.store.redis_ownership import RedisOwnership
from tests.parts.redis import RedisFactory, command
from tests.store.writer import take

pytestmark = pytest.mark.asyncio
WORLD = "spread"
SLOTS = 16384
READY_S_MAX = 30
ENABLED = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0")


async def until_all_agree(nodes: list[LocalRedis], known: int) -> None:
    """Every node sees all slots served and knows so many nodes."""
    deadline = time.monotonic() + READY_S_MAX
    for node in nodes:
        async with Redis(port=node.port) as client:
            while True:
                about: dict[str, str] = await client.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
                if about["cluster_state"] == "ok" and int(about["cluster_known_nodes"]) == known:
                    break
                assert time.monotonic() < deadline, f"no cluster after {READY_S_MAX} s: {about}"
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def nodes(redis_factory: RedisFactory) -> list[LocalRedis]:
    """Three primaries that share the slots."""
    nodes = [await redis_factory.start(options=ENABLED) for _ in range(3)]
    borders = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
    for number, node in enumerate(nodes):
        first, last = str(borders[number]), str(borders[number + 1] - 1)
        assert await command(node.port, "CLUSTER", "ADDSLOTSRANGE", first, last) == b"+OK"
        assert await command(node.port, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1)) == b"+OK"
    for node in nodes[1:]:
        assert await command(nodes[0].port, "CLUSTER", "MEET", "127.0.0.1", str(node.port)) == b"+OK"
    await until_all_agree(nodes, 3)
    return nodes


class Stores:
    """A process's stores on the cluster."""

    def __init__(self, client: RedisCluster, commit: CommitPolicy | None = None) -> None:
        self.client = client
        self.group = GroupCommit(client)
        self.ownership = RedisOwnership(client, self.group, WORLD, commit, write_timeout_s=30)
        self.directory = RedisDirectory(client)

    async def close(self) -> None:
        await self.group.close()
        await self.client.aclose()


@pytest_asyncio.fixture
async def stores(nodes: list[LocalRedis]) -> AsyncIterator[Stores]:
    client = await open_redis(nodes[0].url, cluster=True)
    assert isinstance(client, RedisCluster)
    stores = Stores(client)
    yield stores
    await stores.close()


def node_of(stores: Stores, nodes: list[LocalRedis], shard: int) -> LocalRedis:
    """The server that has a shard's keys, as this process believes."""
    node = stores.client.get_node_from_key(keys.own(WORLD, shard))
    assert node is not None
    return next(server for server in nodes if server.port == node.port)


async def move_slot(shard: int, source: LocalRedis, target: LocalRedis, everyone: list[LocalRedis]) -> None:
    """Move a shard's slot and its keys, key by key, as an operator's rebalancing does."""
    async with Redis(port=source.port) as at_source, Redis(port=target.port) as at_target:
        ids = [
            (await client.execute_command("CLUSTER MYID")).decode()  # type: ignore[no-untyped-call]
            for client in (at_source, at_target)
        ]
    slot = (await command(source.port, "CLUSTER", "KEYSLOT", keys.own(WORLD, shard)))[1:].decode()
    assert await command(target.port, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0]) == b"+OK"
    assert await command(source.port, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1]) == b"+OK"
    async with Redis(port=source.port) as at_source:
        for name in await at_source.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):  # type: ignore[no-untyped-call]
            answer = await command(source.port, "MIGRATE", "127.0.0.1", str(target.port), name, "0", "5000")
            assert answer == b"+OK"
            await asyncio.sleep(0.05)  # half of the shard's keys are on either side for a while
    for server in (target, source, *everyone):
        assert await command(server.port, "CLUSTER", "SETSLOT", slot, "NODE", ids[1]) == b"+OK"


async def test_shards_live_on_all_nodes_and_each_in_one_slot(stores: Stores, nodes: list[LocalRedis]) -> None:
    owners = [await take(stores.ownership, shard, f"10.0.0.{shard}:7000") for shard in range(12)]
    assert len({node_of(stores, nodes, shard).port for shard in range(12)}) == 3
    for number in (1, 2):
        answers = await asyncio.gather(
            *(
                owner.write(outbox=[OutboxMessage(0, number, b"to 0"), OutboxMessage(1, number, b"x")])
                for owner in owners
            )
        )
        assert {answer.verdict for answer in answers} == {Verdict.APPENDED}
    for shard in range(12):
        assert [entry.tick for entry in await stores.ownership.read(shard, 0)] == [1, 2]
        assert [m.number for m in await stores.ownership.read_outbox(shard, 0, 0)] == [1]
        await stores.ownership.ack_outbox(owners[0].grant, shard, 1)
        assert await stores.ownership.outbox_acks(shard, range(3)) == {0: 1, 1: 0, 2: 0}
    assert await stores.ownership.trim(owners[3].grant, 1) == 1


async def test_the_directory_answers_across_nodes(stores: Stores) -> None:
    for shard in range(12):
        await take(stores.ownership, shard, f"10.0.0.{shard}:7000")
    assert await stores.directory.owners(WORLD, range(14)) == {n: Owner(f"10.0.0.{n}:7000", 1) for n in range(12)}
    await stores.directory.announce(Role.WORKER, "worker-a", "10.0.0.1:7000", {"shards": 1})
    [member] = await stores.directory.workers(0.0)
    assert (member.name, member.count) == ("worker-a", 1)
    assert await stores.directory.use_once("ticket", 60)
    assert not await stores.directory.use_once("ticket", 60)
    assert await stores.directory.forget(member)


async def test_a_slot_that_moves_under_appends_costs_no_record(stores: Stores, nodes: list[LocalRedis]) -> None:
    owners = [await take(stores.ownership, shard) for shard in range(6)]
    source = node_of(stores, nodes, 0)
    target = next(node for node in nodes if node is not source)
    others = [node for node in nodes if node not in (source, target)]

    async def write_until(moved: asyncio.Event) -> None:
        while not moved.is_set():
            await asyncio.gather(*(owner.write_many(5, b"x" * 200) for owner in owners))
            await asyncio.sleep(0.002)
        await asyncio.gather(*(owner.write_many(5) for owner in owners))

    moved = asyncio.Event()
    writing = asyncio.create_task(write_until(moved))
    while min(owner.tick for owner in owners) < 20:
        await asyncio.sleep(0.005)
    await move_slot(0, source, target, others)
    moved.set()
    await writing
    assert node_of(stores, nodes, 0) is target
    for owner in owners:
        seen: list[bytes] = []
        while page := await stores.ownership.read(owner.grant.shard, len(seen)):
            seen += [entry.chain for entry in page]
        assert seen == [request.chain for request in owner.written]


async def test_two_records_in_flight_keep_their_order_across_a_move(stores: Stores, nodes: list[LocalRedis]) -> None:
    owner = await take(stores.ownership, 0)
    await owner.write_many(3)
    source = node_of(stores, nodes, 0)
    target = next(node for node in nodes if node is not source)
    await move_slot(0, source, target, [node for node in nodes if node not in (source, target)])
    requests = []
    for _ in range(20):
        requests.append(owner.next_request())
        owner.advance(requests[-1])
    answers = await asyncio.gather(*(stores.ownership.append(owner.grant, request) for request in requests))
    assert {answer.verdict for answer in answers} == {Verdict.APPENDED}


async def test_a_dead_nodes_replica_takes_its_shards_over_and_nothing_committed_is_lost(
    nodes: list[LocalRedis], redis_factory: RedisFactory
) -> None:
    """At L2: kill -9 of a primary under appends; its replica is promoted by the cluster itself."""
    replicas = {}
    for node in nodes:
        replica = await redis_factory.start(options=ENABLED)
        assert await command(replica.port, "CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port)) == b"+OK"
        replicas[node.port] = replica
    await until_all_agree([*nodes, *replicas.values()], 6)
    for node in nodes:
        async with Redis(port=node.port) as client:
            name = (await client.execute_command("CLUSTER MYID")).decode()  # type: ignore[no-untyped-call]
            assert await command(replicas[node.port].port, "CLUSTER", "REPLICATE", name) == b"+OK"
            deadline = time.monotonic() + READY_S_MAX
            while (await client.info("replication"))["connected_slaves"] < 1:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    cluster = await open_redis(nodes[0].url, cluster=True)
    assert isinstance(cluster, RedisCluster)
    stores = Stores(cluster, CommitPolicy(CommitLevel.L2, replica_wait_ms_max=200))
    owners = [await take(stores.ownership, shard) for shard in range(6)]
    await asyncio.gather(*(owner.write_many(10) for owner in owners))
    victim = node_of(stores, nodes, 0)
    writing = [asyncio.create_task(owner.write_many(400)) for owner in owners]
    while min(owner.tick for owner in owners) < 20:
        await asyncio.sleep(0.002)
    victim.kill()
    orphans = [owner for owner in owners if node_of(stores, nodes, owner.grant.shard) is victim]
    committed = {owner.grant.shard: owner.tick for owner in orphans}
    assert 0 in committed
    # The promoted node has no replica of its own, so its appends are written but never confirmed at L2: look at L1.
    async with asyncio.timeout(READY_S_MAX):
        while (seen := await look_or_none(stores, 0)) is None or seen < committed[0]:
            await asyncio.sleep(0.1)
    for shard, tick in committed.items():
        assert (await look_or_none(stores, shard) or 0) >= tick
    for task in writing:
        task.cancel()
    await asyncio.gather(*writing, return_exceptions=True)

    l1 = Stores(cluster)
    successor = await take(l1.ownership, 0, "10.0.0.9:7000")
    assert (await successor.write()).verdict is Verdict.APPENDED
    with pytest.raises(Fenced):
        await l1.ownership.beat(owners[0].grant)
    await l1.group.close()
    await stores.close()


async def look_or_none(stores: Stores, shard: int) -> int | None:
    """The tick of a shard's head, or None while its node is being replaced."""
    try:
        head = await stores.ownership.look(shard)
    except StoreUnavailable:
        return None
    return head.tick if head is not None else None
