"""In-memory twins of Ownership and Directory: same promises, same tests, no chance of their own, and no clock but the
event loop's.

What may go wrong is decided by whoever drives them (tests, the simulator):

* `Faults` is asked before and after each call: sleep there to delay, raise StoreUnavailable before to refuse the call,
  or after to lose its answer (the store has acted).
* `MemoryRedis.fail_over(n)` promotes a replica that lacks the newest n writes, but never one that a WAIT confirmed. The
  old node is returned: hand it to `MemoryOwnership.stay_on` to play an owner still connected to it (split brain).
* `MemoryRedis.primary.replicas = 0` cuts the replica off: L2 and L3 raise NotReplicated. `.full = True`: appends are
  refused. `.wipe()`: everything is gone.

Differences to the real ones: one call is one try (the real ones try again until their deadline), and a used token is
remembered for ever.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from overworld.errors import Fenced, NotReplicated, StoreRefused
from overworld.store import keys
from overworld.store.limits import check_append, check_contiguous, check_outbox
from overworld.store.members import (
    SilenceWatch,
    check_flag,
    check_shards,
    check_token,
    decode_member,
    encode_member,
)
from overworld.store.memory_node import MemoryNode, ShardKey
from overworld.store.ports import (
    CHAIN_BYTES_MAX,
    NONCE_BYTES,
    READ_RECORDS_MAX,
    AppendAnswer,
    AppendRequest,
    CommitLevel,
    CommitPolicy,
    Grant,
    Head,
    JournalEntry,
    Member,
    OutboxMessage,
    Owner,
    Refused,
    Role,
)

T = TypeVar("T")


class Faults(Protocol):
    """call: the method's name. subject: the shard, or the object's name; None for the directory."""

    async def before(self, call: str, subject: int | str | None) -> None: ...

    async def after(self, call: str, subject: int | str | None) -> None: ...


class NoFaults:
    async def before(self, call: str, subject: int | str | None) -> None: ...

    async def after(self, call: str, subject: int | str | None) -> None: ...


class MemoryRedis:
    """What all processes of a simulated deployment share."""

    def __init__(self) -> None:
        self.primary = MemoryNode()

    def fail_over(self, lose_newest: int) -> MemoryNode:
        """Promote a replica without the newest unconfirmed writes. Returns the old primary, now without replicas."""
        old = self.primary
        self.primary = old.promoted(lose_newest)
        old.replicas = 0
        return old

    def wipe(self) -> None:
        self.primary.wipe()


class MemoryOwnership:
    """`overworld.store.ports.Ownership` in memory, as one process sees it."""

    def __init__(
        self, redis: MemoryRedis, world: str, commit: CommitPolicy | None = None, faults: Faults | None = None
    ) -> None:
        self._redis = redis
        self._world = keys.check_world(world)
        self._commit = commit or CommitPolicy()
        self._faults: Faults = faults or NoFaults()
        self._stuck: MemoryNode | None = None
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def commit(self) -> CommitPolicy:
        return self._commit

    @property
    def fill(self) -> Mapping[str, float]:
        """Nothing queues here."""
        return {}

    def stay_on(self, node: MemoryNode | None) -> None:
        """Keep talking to this node whatever is promoted; None: to the primary again."""
        self._stuck = node

    @property
    def _node(self) -> MemoryNode:
        return self._stuck or self._redis.primary

    # ------------------------------------------------------------ ownership

    async def look(self, shard: int) -> Head | None:
        return await self._read("look", shard, lambda: self._node.head(self._key(shard)))

    async def acquire(
        self, shard: int, seen: Head | None, address: str, min_epoch: int, nonce: bytes, version: int = 0
    ) -> Grant | Refused:
        assert len(nonce) == NONCE_BYTES, "a nonce is 16 bytes"
        assert address, "an owner needs an address"
        return await self._write(
            "acquire", shard, lambda: self._node.acquire(self._key(shard), seen, address, min_epoch, nonce, version)
        )

    async def beat(self, grant: Grant, committed: int | None = None) -> None:
        await self._write(
            "beat", grant.shard, lambda: self._node.beat(self._key(grant.shard), grant, committed, release=False)
        )

    async def release(self, grant: Grant, committed: int | None = None) -> None:
        await self._write(
            "release", grant.shard, lambda: self._node.beat(self._key(grant.shard), grant, committed, release=True)
        )

    # ------------------------------------------------------------ journal

    async def append(self, grant: Grant, request: AppendRequest) -> AppendAnswer:
        check_append(request)
        return await self._write(
            "append", grant.shard, lambda: self._node.append(self._key(grant.shard), grant, request)
        )

    async def restart(
        self,
        grant: Grant,
        seen_tick: int,
        seen_chain: bytes,
        tick: int,
        chain: bytes,
        outboxes: Iterable[int] = (),
    ) -> None:
        assert len(chain) <= CHAIN_BYTES_MAX
        key, emptied = self._key(grant.shard), tuple(outboxes)
        await self._write(
            "restart", grant.shard, lambda: self._node.restart(key, grant, seen_tick, seen_chain, tick, chain, emptied)
        )

    async def read(self, shard: int, after_tick: int, count: int = READ_RECORDS_MAX) -> list[JournalEntry]:
        assert 0 < count <= READ_RECORDS_MAX
        entries = await self._read("read", shard, lambda: self._node.read(self._key(shard), after_tick, count))
        check_contiguous(shard, after_tick, entries)
        return entries

    async def trim(self, grant: Grant, up_to_tick: int) -> int:
        floor = -1
        while True:
            stood = floor
            floor = await self._write(
                "trim", grant.shard, lambda: self._node.trim_step(self._key(grant.shard), grant, up_to_tick)
            )
            if floor >= up_to_tick or floor == stood:
                return floor

    # ------------------------------------------------------------ outboxes

    async def read_outbox(
        self, from_shard: int, to_shard: int, after_number: int, count: int = READ_RECORDS_MAX
    ) -> list[OutboxMessage]:
        assert 0 < count <= READ_RECORDS_MAX
        key = self._key(from_shard)
        return await self._read(
            "read_outbox", from_shard, lambda: self._node.read_outbox(key, to_shard, after_number, count)
        )

    async def ack_outbox(self, grant: Grant, from_shard: int, number: int) -> None:
        key = self._key(grant.shard)
        await self._write("ack_outbox", grant.shard, lambda: self._node.ack_outbox(key, grant, from_shard, number))

    async def outbox_acks(self, from_shard: int, to_shards: Iterable[int]) -> dict[int, int]:
        shards = list(to_shards)
        return await self._read(
            "outbox_acks",
            from_shard,
            lambda: {to_shard: self._node.acked(self._key(to_shard), from_shard) for to_shard in shards},
        )

    async def trim_outbox(self, grant: Grant, to_shard: int, up_to_number: int) -> None:
        key = self._key(grant.shard)
        await self._write(
            "trim_outbox", grant.shard, lambda: self._node.trim_outbox(key, grant, to_shard, up_to_number)
        )

    async def put_outbox(self, grant: Grant, to_shard: int, messages: Sequence[OutboxMessage]) -> None:
        check_outbox(to_shard, messages)
        key = self._key(grant.shard)
        await self._write("put_outbox", grant.shard, lambda: self._node.put_outbox(key, grant, to_shard, messages))

    async def close(self) -> None:
        """Nothing to close."""

    # ------------------------------------------------------------ how a call runs

    def _key(self, shard: int) -> ShardKey:
        return self._world, shard

    async def _read(self, call: str, shard: int, act: Callable[[], T]) -> T:
        await self._faults.before(call, shard)
        result = act()
        await self._faults.after(call, shard)
        return result

    async def _write(self, call: str, shard: int, act: Callable[[], T]) -> T:
        """One at a time for each shard, in the order of the calls; confirmed as the commit level asks."""
        async with self._turns[shard]:
            await self._faults.before(call, shard)
            node = self._node
            result: T | None = None
            refused: Fenced | StoreRefused | None = None
            try:
                result = act()
            except (Fenced, StoreRefused) as error:
                refused = error
            wrote = refused is None and not _declined(result)
            position = node.writes
            await self._faults.after(call, shard)
            if refused is not None:
                raise refused
            if wrote and self._commit.level >= CommitLevel.L2:
                if node.replicas < self._commit.replicas:
                    raise NotReplicated(f"{call} of shard {shard}: written, but {node.replicas} replicas have it")
                node.confirm(position)
            return result  # type: ignore[return-value]


def _declined(result: object) -> bool:
    return isinstance(result, Refused) or (isinstance(result, AppendAnswer) and not result.appended)


class MemoryDirectory:
    """`overworld.store.ports.Directory` in memory, as one process sees it."""

    def __init__(self, redis: MemoryRedis, faults: Faults | None = None) -> None:
        self._redis = redis
        self._faults: Faults = faults or NoFaults()
        self._watches = {role: SilenceWatch() for role in Role}

    async def announce(self, role: Role, name: str, address: str, load: Mapping[str, float], http: str = "") -> None:
        shown_address, shown_load, shown_http = decode_member(encode_member(name, address, load, http))
        await self._faults.before("announce", None)
        members = self._redis.primary.members[role]
        count = members[name][2] if name in members else 0
        members[name] = (shown_address, shown_load, count + 1, shown_http)
        await self._faults.after("announce", None)

    async def withdraw(self, role: Role, name: str) -> None:
        await self._faults.before("withdraw", None)
        self._redis.primary.members[role].pop(name, None)
        await self._faults.after("withdraw", None)

    async def workers(self, now_s: float) -> list[Member]:
        return await self._members(Role.WORKER, now_s)

    async def gateways(self, now_s: float) -> list[Member]:
        return await self._members(Role.GATEWAY, now_s)

    async def _members(self, role: Role, now_s: float) -> list[Member]:
        await self._faults.before("members", None)
        members = dict(self._redis.primary.members[role])
        await self._faults.after("members", None)
        silences = self._watches[role].look([(name, count) for name, (_, _, count, _) in members.items()], now_s)
        return [
            Member(role, name, address, dict(load), count, silences[name], http)
            for name, (address, load, count, http) in sorted(members.items())
        ]

    async def forget(self, member: Member) -> bool:
        await self._faults.before("forget", None)
        members = self._redis.primary.members[member.role]
        removed = member.name in members and members[member.name][2] == member.count
        if removed:
            del members[member.name]
        await self._faults.after("forget", None)
        return removed

    async def owners(self, world: str, shards: Iterable[int]) -> dict[int, Owner]:
        asked = check_shards(shards)
        await self._faults.before("owners", None)
        heads = {shard: self._redis.primary.head((world, shard)) for shard in asked}
        await self._faults.after("owners", None)
        return {shard: Owner(head.address, head.epoch) for shard, head in heads.items() if head and head.address}

    async def use_once(self, token_id: str, ttl_s: int) -> bool:
        check_token(token_id, ttl_s)
        await self._faults.before("use_once", None)
        first = token_id not in self._redis.primary.used_tokens
        self._redis.primary.used_tokens.add(token_id)
        await self._faults.after("use_once", None)
        return first

    async def lead(self, task: str, name: str, ttl_s: float) -> str:
        await self._faults.before("lead", None)
        leads, now_s = self._redis.primary.leads, asyncio.get_running_loop().time()
        leader, until_s = leads.get(task, ("", now_s))
        if leader == name or now_s >= until_s:
            leader = name
            leads[task] = (name, now_s + ttl_s)
        await self._faults.after("lead", None)
        return leader

    async def resign(self, task: str, name: str) -> None:
        await self._faults.before("resign", None)
        leads = self._redis.primary.leads
        if task in leads and leads[task][0] == name:
            del leads[task]
        await self._faults.after("resign", None)

    async def set_flag(self, world: str, flag: str, value: str) -> None:
        check_flag(flag, value)
        await self._faults.before("set_flag", None)
        flags = self._redis.primary.flags.setdefault(world, {})
        flags.pop(flag, None)
        if value:
            flags[flag] = value
        await self._faults.after("set_flag", None)

    async def flags(self, world: str) -> dict[str, str]:
        await self._faults.before("flags", None)
        flags = dict(self._redis.primary.flags.get(world, {}))
        await self._faults.after("flags", None)
        return flags

    async def close(self) -> None:
        """Nothing to close."""
