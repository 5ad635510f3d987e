"""The in-memory twin and real Redis give the same answers to the same calls, whatever the calls."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from overworld.errors import StoreError
from overworld.store.group_commit import GroupCommit
from overworld.store.local_redis import LocalRedis
from overworld.store.memory import MemoryOwnership, MemoryRedis
from overworld.store.ports import AppendAnswer, AppendRequest, Grant, Head, OutboxMessage, Ownership, Refused
from overworld.store.redis_client import open_redis
from overworld.store.redis_ownership import RedisOwnership
from tests.store.writer import chained

SHARDS = st.integers(0, 1)
SMALL = st.integers(0, 12)
PICK = st.integers(0, 1000)
_WORLDS = itertools.count(1)


class Twins(RuleBasedStateMachine):
    """Each rule makes one call on both and compares. Grants and requests are kept, so that old ones are used again."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = f"twins-{next(_WORLDS)}"
        self.memory_redis = MemoryRedis()
        self.memory: Ownership = MemoryOwnership(self.memory_redis, self.world)
        self.client, self.group = self.runner.run(self._open())
        self.real: Ownership = RedisOwnership(self.client, self.group, self.world)
        self.seen: list[Head | None] = [None]
        self.grants: list[Grant] = []
        self.requests: list[AppendRequest] = []
        self.numbers: dict[tuple[int, int], int] = {}
        self.nonces = 0

    async def _open(self) -> tuple[Redis, GroupCommit]:
        client = await open_redis(self.url)
        assert isinstance(client, Redis)
        return client, GroupCommit(client)

    def both(self, call: Callable[[Ownership], Awaitable[Any]]) -> Any:
        """The answer both gave; an error counts as an answer."""

        async def answer(ownership: Ownership) -> Any:
            try:
                return await call(ownership)
            except StoreError as error:
                return type(error)

        of_memory, of_real = self.runner.run(answer(self.memory)), self.runner.run(answer(self.real))
        assert of_memory == of_real, f"the twin says {of_memory}, Redis says {of_real}"
        return of_memory

    # ------------------------------------------------------------ the calls

    @initialize(shard=SHARDS)
    def first_owner(self, shard: int) -> None:
        self.acquire(shard, 0, 0, False)

    @rule(shard=SHARDS, pick=PICK, min_epoch=SMALL, again=st.booleans())
    def acquire(self, shard: int, pick: int, min_epoch: int, again: bool) -> None:
        self.nonces += 0 if again and self.nonces else 1
        nonce = self.nonces.to_bytes(16, "big")
        seen = self.seen[-1 - pick % min(3, len(self.seen))]
        answer = self.both(lambda ownership: ownership.acquire(shard, seen, f"a{self.nonces}", min_epoch, nonce))
        if isinstance(answer, Refused):
            self.seen.append(answer.head)
        else:
            self.grants.append(answer)
            self.seen.append(answer.head)

    @rule(shard=SHARDS)
    def look(self, shard: int) -> None:
        self.seen.append(self.both(lambda ownership: ownership.look(shard)))

    @rule(pick=PICK, data=st.data(), fork=st.sampled_from([b"", b"", b"", b"another branch"]))
    def append_next(self, pick: int, data: st.DataObject, fork: bytes) -> None:
        grant = self._grant(pick)
        if grant is None:
            return
        head = self.both(lambda ownership: ownership.look(grant.shard))
        if head is None:
            return
        messages = []
        for to_shard in data.draw(st.sets(st.integers(2, 3))):
            first = max(1, self.numbers.get((grant.shard, to_shard), 0) + data.draw(st.sampled_from([1, 1, 1, 0, 2])))
            messages += [OutboxMessage(to_shard, first + n, b"m%d" % n) for n in range(data.draw(st.integers(1, 2)))]
        payload = data.draw(st.binary(max_size=20))
        chain = chained(head.chain + fork, payload)
        committed = data.draw(st.integers(0, head.tick))
        tick = head.tick
        self._append(grant, AppendRequest(tick, head.chain + fork, tick + 1, chain, committed, payload, messages))

    @rule(pick=PICK, old=PICK)
    def append_again(self, pick: int, old: int) -> None:
        grant = self._grant(pick)
        if grant is not None and self.requests:
            self._append(grant, self.requests[-1 - old % min(4, len(self.requests))])

    def _append(self, grant: Grant, request: AppendRequest) -> None:
        answer = self.both(lambda ownership: ownership.append(grant, request))
        if isinstance(answer, AppendAnswer) and answer.appended:
            self.requests.append(request)
            self.numbers.update({(grant.shard, message.to_shard): message.number for message in request.outbox})

    @rule(pick=PICK, committed=st.none() | SMALL)
    def beat(self, pick: int, committed: int | None) -> None:
        grant = self._grant(pick)
        if grant is not None:
            self.both(lambda ownership: ownership.beat(grant, committed))

    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        grant = self._grant(pick)
        if grant is not None:
            self.both(lambda ownership: ownership.release(grant))

    @rule(pick=PICK, up_to=SMALL)
    def trim(self, pick: int, up_to: int) -> None:
        grant = self._grant(pick)
        if grant is not None:
            self.both(lambda ownership: ownership.trim(grant, up_to))

    @rule(pick=PICK, right=st.booleans(), tick=SMALL)
    def restart(self, pick: int, right: bool, tick: int) -> None:
        grant = self._grant(pick)
        if grant is None:
            return
        head = self.both(lambda ownership: ownership.look(grant.shard))
        seen_tick = head.tick if right and head is not None else 3
        seen_chain = head.chain if head is not None else b""
        self.both(lambda ownership: ownership.restart(grant, seen_tick, seen_chain, tick, b"restarted %d" % tick))

    @rule(pick=PICK, from_shard=SHARDS, number=SMALL)
    def ack_outbox(self, pick: int, from_shard: int, number: int) -> None:
        grant = self._grant(pick)
        if grant is not None:
            self.both(lambda ownership: ownership.ack_outbox(grant, from_shard, number))

    @rule(pick=PICK, to_shard=st.integers(2, 3), number=SMALL)
    def trim_outbox(self, pick: int, to_shard: int, number: int) -> None:
        grant = self._grant(pick)
        if grant is not None:
            self.both(lambda ownership: ownership.trim_outbox(grant, to_shard, number))

    @rule(shard=SHARDS, after=SMALL, count=st.integers(1, 5))
    def read(self, shard: int, after: int, count: int) -> None:
        self.both(lambda ownership: ownership.read(shard, after, count))

    @rule()
    def lose_everything(self) -> None:
        self.memory_redis.wipe()
        self.runner.run(self._command("FLUSHALL"))

    @rule()
    def forget_scripts(self) -> None:
        self.runner.run(self._command("SCRIPT", "FLUSH"))

    async def _command(self, *words: str) -> None:
        await self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def _grant(self, pick: int) -> Grant | None:
        """Mostly the newest; sometimes an older one, or one that nobody was given."""
        if not self.grants:
            return None
        if pick % 11 == 0:
            return replace(self.grants[-1], nonce=b"\xff" * 16)
        return self.grants[-1 - min(pick % 5, 2) % len(self.grants)]

    @invariant()
    def same_heads(self) -> None:
        for shard in (0, 1):
            self.both(partial(look_at, shard))

    def teardown(self) -> None:
        for shard in (0, 1):
            self.both(partial(look_into, shard))
        self.runner.run(self.group.close())
        self.runner.run(self.client.aclose())
        self.runner.close()


async def look_at(shard: int, ownership: Ownership) -> Head | None:
    return await ownership.look(shard)


async def look_into(shard: int, ownership: Ownership) -> list[object]:
    """Everything that can be seen of a shard."""
    head = await ownership.look(shard)
    records = await ownership.read(shard, head.floor if head is not None else 0)
    messages = [await ownership.read_outbox(shard, to_shard, 0) for to_shard in (2, 3)]
    return [head, records, messages, await ownership.outbox_acks(shard, [0, 1])]


def test_the_twin_answers_like_redis(redis_server: LocalRedis) -> None:
    Twins.url = redis_server.url
    wanted = settings(max_examples=100, stateful_step_count=50, report_multiple_bugs=False)
    run_state_machine_as_test(Twins, settings=wanted)
