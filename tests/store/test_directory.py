"""Who is there and who owns what. The same suite for the in-memory twin and real Redis."""

from __future__ import annotations

import asyncio

import pytest

from overworld.errors import TooBig
from overworld.store.members import SilenceWatch, decode_member
from overworld.store.ports import Owner, Role
from tests.store.conftest import Deployment
from tests.store.writer import take

pytestmark = pytest.mark.asyncio


async def test_members_are_told_with_address_and_load(deployment: Deployment) -> None:
    directory = deployment.directory()
    await directory.announce(Role.WORKER, "worker-b", "10.0.0.2:7000", {"shards": 3, "cpu": 0.5})
    await directory.announce(Role.WORKER, "worker-a", "10.0.0.1:7000", {})
    await directory.announce(Role.GATEWAY, "gateway-a", "10.0.1.1:8000", {"sockets": 12})
    workers = await directory.workers(0.0)
    assert [(m.role, m.name, m.address, m.load, m.count) for m in workers] == [
        (Role.WORKER, "worker-a", "10.0.0.1:7000", {}, 1),
        (Role.WORKER, "worker-b", "10.0.0.2:7000", {"shards": 3.0, "cpu": 0.5}, 1),
    ]
    assert [m.name for m in await directory.gateways(0.0)] == ["gateway-a"]
    await directory.withdraw(Role.WORKER, "worker-a")
    await directory.withdraw(Role.WORKER, "never-there")
    assert [m.name for m in await directory.workers(0.0)] == ["worker-b"]


async def test_members_say_where_their_internal_port_is(deployment: Deployment) -> None:
    directory = deployment.directory()
    await directory.announce(Role.GATEWAY, "gateway-a", "wss://play.example/play", {}, http="10.0.1.1:9100")
    await directory.announce(Role.GATEWAY, "gateway-b", "wss://play.example/play", {})
    assert [m.http for m in await deployment.directory().gateways(0.0)] == ["10.0.1.1:9100", ""]


async def test_a_worker_can_tell_the_load_of_a_thousand_shards(deployment: Deployment) -> None:
    load = {"shards": 1024.0} | {f"c{shard}": shard / 8 for shard in range(1024)}
    await deployment.directory().announce(Role.WORKER, "worker-a", "10.0.0.1:7000", load)
    [member] = await deployment.directory().workers(0.0)
    assert member.load == load


async def test_one_leads_until_it_resigns_or_falls_silent(deployment: Deployment) -> None:
    a, b = deployment.directory(), deployment.directory()
    task = f"balance-{deployment.world}"
    said = await asyncio.gather(*(deployment.directory().lead(task, f"worker-{n}", 60.0) for n in range(10)))
    assert len(set(said)) == 1, "all hear the same name"
    leader = said[0]
    assert await a.lead(task, "late", 60.0) == leader
    await a.resign(task, "late")
    assert await b.lead(task, "late", 60.0) == leader, "only who leads can resign"
    await a.resign(task, leader)
    assert await b.lead(task, "late", 0.05) == "late"
    async with asyncio.timeout(10):
        while await a.lead(task, "later", 60.0) != "later":
            await asyncio.sleep(0.01)
    assert await b.lead(f"{task}-other", "late", 60.0) == "late", "another task has another leader"


async def test_flags_stay_until_they_are_taken_back(deployment: Deployment) -> None:
    directory, world = deployment.directory(), deployment.world
    assert await directory.flags(world) == {}
    await directory.set_flag(world, "paused", "by anna")
    await directory.set_flag(world, "paused", "by bert")
    await directory.set_flag(world, "closed", "yes")
    assert await deployment.directory().flags(world) == {"paused": "by bert", "closed": "yes"}
    assert await directory.flags(f"{world}-other") == {}
    await directory.set_flag(world, "paused", "")
    await directory.set_flag(world, "never-set", "")
    assert await directory.flags(world) == {"closed": "yes"}
    with pytest.raises(TooBig):
        await directory.set_flag(world, "paused", "x" * 5000)


async def test_silence_is_counted_by_the_readers_own_clock(deployment: Deployment) -> None:
    announcer, reader, late_reader = deployment.directory(), deployment.directory(), deployment.directory()
    await announcer.announce(Role.WORKER, "worker-a", "10.0.0.1:7000", {})
    assert [m.silent_s for m in await reader.workers(1000.0)] == [0.0]
    assert [m.silent_s for m in await reader.workers(1002.5)] == [2.5]
    assert [m.silent_s for m in await late_reader.workers(5.0)] == [0.0], "who has just started suspects nobody"
    await announcer.announce(Role.WORKER, "worker-a", "10.0.0.1:7000", {})
    assert [m.silent_s for m in await reader.workers(1003.0)] == [0.0]
    assert [m.silent_s for m in await late_reader.workers(6.0)] == [0.0]
    assert [m.silent_s for m in await late_reader.workers(7.0)] == [1.0]


async def test_the_dead_can_be_removed_but_not_who_came_back(deployment: Deployment) -> None:
    directory = deployment.directory()
    await directory.announce(Role.WORKER, "worker-a", "10.0.0.1:7000", {})
    [dead] = await directory.workers(0.0)
    await directory.announce(Role.WORKER, "worker-a", "10.0.0.1:7000", {})
    assert not await directory.forget(dead)
    [alive] = await directory.workers(0.0)
    assert await directory.forget(alive)
    assert await directory.workers(0.0) == []
    assert not await directory.forget(alive)


async def test_owners_of_many_shards_come_in_one_answer(deployment: Deployment) -> None:
    directory = deployment.directory()
    await take(deployment.ownership, 1, "10.0.0.1:7000")
    await take(deployment.ownership, 2, "10.0.0.2:7000")
    await take(deployment.ownership, 2, "10.0.0.3:7000")
    gone = await take(deployment.ownership, 3)
    await deployment.ownership.release(gone.grant)
    owners = await directory.owners(deployment.world, [0, 1, 2, 3])
    assert owners == {1: Owner("10.0.0.1:7000", 1), 2: Owner("10.0.0.3:7000", 2)}
    assert await directory.owners(deployment.world, []) == {}
    assert await directory.owners("another-world", [1]) == {}


async def test_a_token_can_be_used_once(deployment: Deployment) -> None:
    directory = deployment.directory()
    uses = await asyncio.gather(*(deployment.directory().use_once("ticket-1", 60) for _ in range(10)))
    assert sorted(uses) == [False] * 9 + [True]
    assert await directory.use_once("ticket-2", 60)


async def test_what_is_over_the_limits_is_refused(deployment: Deployment) -> None:
    directory = deployment.directory()
    with pytest.raises(TooBig):
        await directory.announce(Role.WORKER, "w" * 1000, "", {})
    with pytest.raises(TooBig):
        await directory.announce(Role.WORKER, "w", "", {f"load-{n}": 1.0 for n in range(2000)})
    with pytest.raises(TooBig):
        await directory.use_once("t" * 1000, 60)
    with pytest.raises(TooBig):
        await directory.use_once("", 60)
    with pytest.raises(TooBig):
        await directory.owners(deployment.world, range(2000))


async def test_a_count_that_went_back_is_a_sign_of_life() -> None:
    watch = SilenceWatch()
    watch.look([("worker-a", 50)], 0.0)
    assert watch.look([("worker-a", 50)], 3.0) == {"worker-a": 3.0}
    assert watch.look([("worker-a", 2)], 4.0) == {"worker-a": 0.0}, "Redis failed over to an older state"
    assert watch.look([], 5.0) == {}
    assert watch.look([("worker-a", 2)], 6.0) == {"worker-a": 0.0}


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b'{"address": 1}', b'{"address": "a", "load": {"x": "y"}}', b"\xff"]
)
async def test_an_unreadable_entry_has_no_address_and_disturbs_nobody(value: bytes) -> None:
    assert decode_member(value) == ("", {}, "")
