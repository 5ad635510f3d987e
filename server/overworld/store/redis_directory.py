"""The directory in Redis: members as two hashes a role, owners from the shards' heads, flags as a hash a world, used
tokens and who leads as expiring keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from redis.asyncio import Redis, RedisCluster

from overworld.store import keys, scripts
from overworld.store.members import (
    SilenceWatch,
    check_flag,
    check_shards,
    check_token,
    decode_member,
    encode_member,
)
from overworld.store.ports import Member, Owner, Role
from overworld.store.redis_client import ASK_TIMEOUT_S, ask


class RedisDirectory:
    """`overworld.store.ports.Directory` on Redis or a Redis cluster."""

    def __init__(self, client: Redis | RedisCluster, timeout_s: float = ASK_TIMEOUT_S) -> None:
        """timeout_s: for how long one call is tried again before StoreUnavailable."""
        self._client = client
        self._timeout_s = timeout_s
        self._watches = {role: SilenceWatch() for role in Role}

    async def announce(self, role: Role, name: str, address: str, load: Mapping[str, float], http: str = "") -> None:
        value = encode_member(name, address, load, http)

        async def attempt() -> None:
            pipeline: Any = self._client.pipeline(transaction=False)
            pipeline.hset(keys.members(role), name, value)
            pipeline.hincrby(keys.member_counts(role), name, 1)
            await pipeline.execute()

        await ask("announce", attempt, self._timeout_s)

    async def withdraw(self, role: Role, name: str) -> None:
        async def attempt() -> None:
            pipeline: Any = self._client.pipeline(transaction=False)
            pipeline.hdel(keys.members(role), name)
            pipeline.hdel(keys.member_counts(role), name)
            await pipeline.execute()

        await ask("withdraw", attempt, self._timeout_s)

    async def workers(self, now_s: float) -> list[Member]:
        return await self._members(Role.WORKER, now_s)

    async def gateways(self, now_s: float) -> list[Member]:
        return await self._members(Role.GATEWAY, now_s)

    async def _members(self, role: Role, now_s: float) -> list[Member]:
        async def attempt() -> list[Any]:
            pipeline: Any = self._client.pipeline(transaction=False)
            pipeline.hgetall(keys.members(role))
            pipeline.hgetall(keys.member_counts(role))
            return list(await pipeline.execute())

        values, counts = await ask("members", attempt, self._timeout_s)
        counted = {bytes(name).decode(): int(count) for name, count in counts.items()}
        present = {bytes(name).decode(): value for name, value in values.items()}
        silences = self._watches[role].look([(name, counted.get(name, 0)) for name in present], now_s)
        members = []
        for name in sorted(present):
            address, load, http = decode_member(present[name])
            members.append(Member(role, name, address, load, counted.get(name, 0), silences[name], http))
        return members

    async def forget(self, member: Member) -> bool:
        members, counts = keys.members(member.role), keys.member_counts(member.role)

        async def attempt() -> Any:
            return await self._client.eval(
                scripts.FORGET.source.decode(), 2, members, counts, member.name, member.count
            )

        return bool(await ask("forget", attempt, self._timeout_s))

    async def owners(self, world: str, shards: Iterable[int]) -> dict[int, Owner]:
        asked = check_shards(shards)

        async def attempt() -> list[Any]:
            pipeline: Any = self._client.pipeline(transaction=False)
            for shard in asked:
                pipeline.hmget(keys.own(world, shard), ["addr", "epoch"])
            return list(await pipeline.execute())

        rows = await ask("owners", attempt, self._timeout_s) if asked else []
        return {
            shard: Owner(bytes(address).decode(), int(epoch))
            for shard, (address, epoch) in zip(asked, rows, strict=True)
            if address and epoch
        }

    async def use_once(self, token_id: str, ttl_s: int) -> bool:
        check_token(token_id, ttl_s)
        mine = secrets.token_bytes(16)

        async def attempt() -> Any:
            return await self._client.set(keys.used_token(token_id), mine, nx=True, get=True, ex=ttl_s)

        # Where an answer was lost and the call sent again, the value there is this call's own: still the first use.
        before = await ask("use_once", attempt, self._timeout_s)
        return before is None or bytes(before) == mine

    async def lead(self, task: str, name: str, ttl_s: float) -> str:
        async def attempt() -> Any:
            ttl_ms = max(1, round(ttl_s * 1000))
            return await self._client.eval(scripts.LEAD.source.decode(), 1, keys.lead(task), name, ttl_ms)

        return bytes(await ask("lead", attempt, self._timeout_s)).decode()

    async def resign(self, task: str, name: str) -> None:
        async def attempt() -> Any:
            return await self._client.eval(scripts.RESIGN.source.decode(), 1, keys.lead(task), name)

        await ask("resign", attempt, self._timeout_s)

    async def set_flag(self, world: str, flag: str, value: str) -> None:
        check_flag(flag, value)

        async def attempt() -> Any:
            client: Any = self._client
            if value:
                return await client.hset(keys.flags(world), flag, value)
            return await client.hdel(keys.flags(world), flag)

        await ask("set_flag", attempt, self._timeout_s)

    async def flags(self, world: str) -> dict[str, str]:
        async def attempt() -> Any:
            client: Any = self._client
            return await client.hgetall(keys.flags(world))

        found = await ask("flags", attempt, self._timeout_s)
        return {bytes(flag).decode(): bytes(value).decode(errors="replace") for flag, value in found.items()}

    async def close(self) -> None:
        """Nothing of its own to close: the client belongs to whoever opened it."""
