"""The observer of journals: it finds the lineage that counts, and replaying it gives what bots saw."""

from __future__ import annotations

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from loadtest.compare import compare
from loadtest.inputs import audit_inputs
from loadtest.journal import JournalCollector, Lineage, applied_inputs, replay
from overworld.shard import record as records
from overworld.store import keys
from overworld.store.local_redis import LocalRedis
from tests.loadtest.watcher import SESSION, Watched, watch
from tests.shard.meadow import Meadow

WORLD = "main"


def never(session: int, shard: int, tick: int) -> int:
    """No player came from another shard."""
    return 0


@pytest.fixture
def watched() -> Watched:
    return watch(30, seed=4)


@pytest_asyncio.fixture
async def collected(redis_server: LocalRedis, watched: Watched) -> Lineage:
    """The journal as the observer finds it in a real Redis, with a side branch that a failover cut off."""
    redis = Redis.from_url(redis_server.url)
    lost = records.encode(
        records.Record(
            0, 3, 16, 0, "lost", records.decode(watched.journal[15][0]).inputs, b"", b"", watched.journal[14][1]
        )
    )
    async with JournalCollector(redis_server.url, WORLD, 1, pause_s=30) as collector:
        for tick, (data, chain) in enumerate(watched.journal[:15], 1):
            await redis.xadd(keys.journal(WORLD, 0), {"e": 3, "c": chain, "p": data}, id=f"{tick}-0")
        branch = records.chain(watched.journal[14][1], lost)
        await redis.xadd(keys.journal(WORLD, 0), {"e": 3, "c": branch, "p": lost}, id="16-0")
        await collector.finish()
        await redis.xdel(keys.journal(WORLD, 0), "16-0")
        await redis.delete(keys.journal(WORLD, 0))
        for tick, (data, chain) in enumerate(watched.journal[10:], 11):
            await redis.xadd(keys.journal(WORLD, 0), {"e": 3, "c": chain, "p": data}, id=f"{tick}-0")
        await redis.hset(keys.own(WORLD, 0), mapping={"tick": 30, "chain": watched.journal[-1][1]})
        await collector.finish()
        found = collector.lineage(0)
    await redis.aclose()
    return found


@pytest.mark.asyncio
async def test_the_lineage_is_whole_and_leaves_out_what_was_lost(collected: Lineage) -> None:
    assert collected.faults == []
    assert [r.tick for r in collected.records] == list(range(1, 31))
    assert collected.side_branches == 1


@pytest.mark.asyncio
async def test_the_replay_is_what_the_bot_saw(collected: Lineage, watched: Watched) -> None:
    result = replay(watched.core.contract, Meadow(sheep=40), collected)
    assert result.faults == []
    assert result.digests_compared == 6
    found = compare([watched.history], {0: result.truth})
    assert found.clean, found.examples
    assert found.comparisons == 30


@pytest.mark.asyncio
async def test_every_acked_input_was_applied_once(collected: Lineage, watched: Watched) -> None:
    applied, doubles = applied_inputs([collected])
    assert doubles == []
    audit = audit_inputs([watched.history], applied, never)
    assert audit.clean, audit.examples
    assert audit.acked == audit.applied == 10


@pytest.mark.asyncio
async def test_an_input_lost_after_its_ack_is_found(collected: Lineage, watched: Watched) -> None:
    applied, _ = applied_inputs([collected])
    del applied[SESSION][7]
    audit = audit_inputs([watched.history], applied, never)
    assert (audit.lost_after_ack, audit.gaps) == (1, 1)


@pytest.mark.asyncio
async def test_an_input_applied_twice_is_found(collected: Lineage) -> None:
    _, doubles = applied_inputs([collected, collected])
    assert len(doubles) == 10


@pytest.mark.asyncio
async def test_an_input_applied_after_a_later_one_is_found(collected: Lineage) -> None:
    collected.records.reverse()
    _, disorder = applied_inputs([collected])
    assert len(disorder) == 9
    assert "after 10" in disorder[0]


@pytest.mark.asyncio
async def test_an_ack_of_the_shard_that_the_player_went_to_is_no_early_one(
    collected: Lineage, watched: Watched
) -> None:
    result = replay(watched.core.contract, Meadow(sheep=40), collected)
    applied, _ = applied_inputs([collected])
    for at in applied[SESSION].values():
        at.shard = 9
    audit = audit_inputs([watched.history], applied, lambda session, _, tick: result.applied(session, tick))
    assert audit.clean, audit.examples
    assert audit_inputs([watched.history], applied, never).early_acks == 10


@pytest.mark.asyncio
async def test_a_record_that_is_not_there_is_found(collected: Lineage, watched: Watched) -> None:
    del collected.records[12]
    result = replay(watched.core.contract, Meadow(sheep=40), collected)
    assert "record 14 comes after tick 12" in result.faults[0]


@pytest.mark.asyncio
async def test_another_state_than_the_journals_is_found(collected: Lineage, watched: Watched) -> None:
    result = replay(watched.core.contract, Meadow(sheep=41), collected)
    assert "gives another state" in result.faults[0]
