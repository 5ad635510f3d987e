"""Ownership, journals and outboxes of one world in Redis. The rules are in the Lua scripts; here are their callers.

Every write goes through the group commit, so that `WAIT` follows on the connection that wrote. Reads are ordinary calls
to the primary.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoScriptError

from overworld import telemetry
from overworld.errors import Fenced, NotReplicated, OtherHead, StoreRefused, StoreUnavailable
from overworld.store import keys, scripts
from overworld.store.group_commit import GroupCommit
from overworld.store.limits import check_append, check_contiguous, check_outbox
from overworld.store.ports import (
    CHAIN_BYTES_MAX,
    NONCE_BYTES,
    READ_RECORDS_MAX,
    TRIM_STEP_RECORDS,
    AppendAnswer,
    AppendRequest,
    CommitPolicy,
    Grant,
    Head,
    JournalEntry,
    OutboxMessage,
    Refused,
    Verdict,
)
from overworld.store.redis_client import ASK_TIMEOUT_S, ask
from overworld.store.scripts import Script

log = structlog.get_logger(__name__)

PUT_STEP_MESSAGES = 64
_HEAD_FIELDS = ("epoch", "nonce", "addr", "tick", "chain", "committed", "floor", "beat", "ver")
_VERDICTS = {1: Verdict.APPENDED, 2: Verdict.ALREADY, -1: Verdict.FENCED, -2: Verdict.OTHER_HEAD}


class RedisOwnership:
    """`overworld.store.ports.Ownership` on Redis or a Redis cluster."""

    def __init__(
        self,
        client: Redis | RedisCluster,
        group: GroupCommit,
        world: str,
        commit: CommitPolicy | None = None,
        write_timeout_s: float = 5.0,
        read_timeout_s: float = ASK_TIMEOUT_S,
    ) -> None:
        """client, group: shared with other worlds and closed by whoever opened them.

        write_timeout_s, read_timeout_s: for how long one call is tried again before StoreUnavailable.
        """
        self._client = client
        self._group = group
        self._world = keys.check_world(world)
        self._commit = commit or CommitPolicy()
        self._write_timeout_s = write_timeout_s
        self._read_timeout_s = read_timeout_s
        self._append_seconds = telemetry.journal_append_seconds.labels(self._commit.level.name)

    @property
    def commit(self) -> CommitPolicy:
        return self._commit

    @property
    def fill(self) -> Mapping[str, float]:
        return self._group.fill

    # ------------------------------------------------------------ ownership

    async def look(self, shard: int) -> Head | None:
        fields = await ask(
            "look", lambda: self._client.hmget(keys.own(self._world, shard), list(_HEAD_FIELDS)), self._read_timeout_s
        )
        return _head(fields) if fields[0] is not None else None

    async def acquire(
        self, shard: int, seen: Head | None, address: str, min_epoch: int, nonce: bytes, version: int = 0
    ) -> Grant | Refused:
        assert len(nonce) == NONCE_BYTES, "a nonce is 16 bytes"
        assert address, "an owner needs an address"
        if seen is None:
            saw = [b"", b"", b"", b""]
        else:
            saw = [b"%d" % seen.epoch, seen.nonce, b"%d" % seen.tick, b"%d" % seen.beat]
        args = [*saw, address.encode(), b"%d" % min_epoch, nonce, b"%d" % version]
        reply = await self._write(scripts.ACQUIRE, shard, [], args)
        head = _head(reply[1:]) if len(reply) > 1 else None
        if reply[0] == 0 or head is None:
            return Refused(head)
        return Grant(shard, head.epoch, nonce, head)

    async def beat(self, grant: Grant, committed: int | None = None) -> None:
        await self._beat(grant, committed, release=False)

    async def release(self, grant: Grant, committed: int | None = None) -> None:
        await self._beat(grant, committed, release=True)

    async def _beat(self, grant: Grant, committed: int | None, release: bool) -> None:
        declared = b"" if committed is None else b"%d" % committed
        reply = await self._write(scripts.BEAT, grant.shard, [], [*_token(grant), declared, b"1" if release else b"0"])
        _raise_unless_done(grant, reply)

    # ------------------------------------------------------------ journal

    async def append(self, grant: Grant, request: AppendRequest) -> AppendAnswer:
        size = check_append(request)
        outboxes, messages = self._pack_outbox(grant.shard, request.outbox)
        args = [
            *_token(grant),
            b"%d" % request.previous_tick,
            request.previous_chain,
            b"%d" % request.tick,
            request.chain,
            b"%d" % request.committed,
            request.payload,
            *messages,
        ]
        began_s = time.perf_counter()
        journal = keys.journal(self._world, grant.shard).encode()
        reply = await self._write(scripts.APPEND, grant.shard, [journal, *outboxes], args)
        answer = _append_answer(grant, request, reply)
        if answer.appended:
            self._append_seconds.observe(time.perf_counter() - began_s)
            telemetry.journal_append_bytes.inc(size)
        return answer

    def _pack_outbox(self, shard: int, outbox: Sequence[OutboxMessage]) -> tuple[list[bytes], list[bytes]]:
        """Keys of the outboxes, and the script arguments of the messages."""
        if not outbox:
            return [], []
        places: dict[int, int] = {}
        args: list[bytes] = []
        for message in outbox:
            place = places.setdefault(message.to_shard, 3 + len(places))
            args += (b"%d" % place, b"%d" % message.number, message.body)
        return [keys.outbox(self._world, shard, to_shard).encode() for to_shard in places], args

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
        args = [*_token(grant), b"%d" % seen_tick, seen_chain, b"%d" % tick, chain]
        names = [keys.journal(self._world, grant.shard)]
        names += [keys.outbox(self._world, grant.shard, to_shard) for to_shard in outboxes]
        reply = await self._write(scripts.RESTART, grant.shard, [name.encode() for name in names], args)
        if reply[0] == -2:
            raise OtherHead(f"shard {grant.shard}: the journal ends at tick {int(reply[2])}, not at {seen_tick}")
        _raise_unless_done(grant, reply)

    async def read(self, shard: int, after_tick: int, count: int = READ_RECORDS_MAX) -> list[JournalEntry]:
        assert 0 < count <= READ_RECORDS_MAX
        journal = keys.journal(self._world, shard)

        async def attempt() -> Any:
            return await self._client.xrange(journal, f"{after_tick + 1}-0", "+", count=count)

        rows = await ask("read", attempt, self._read_timeout_s)
        entries = [
            JournalEntry(int(row_id.partition(b"-")[0]), int(row[b"e"]), row[b"c"], row[b"p"]) for row_id, row in rows
        ]
        check_contiguous(shard, after_tick, entries)
        return entries

    async def trim(self, grant: Grant, up_to_tick: int) -> int:
        journal = keys.journal(self._world, grant.shard).encode()
        floor = -1
        while True:
            args = [*_token(grant), b"%d" % up_to_tick, b"%d" % TRIM_STEP_RECORDS]
            reply = await self._write(scripts.TRIM, grant.shard, [journal], args)
            _raise_unless_done(grant, reply)
            stood, floor = floor, int(reply[1])
            if floor >= up_to_tick or floor == stood:
                return floor

    # ------------------------------------------------------------ outboxes

    async def read_outbox(
        self, from_shard: int, to_shard: int, after_number: int, count: int = READ_RECORDS_MAX
    ) -> list[OutboxMessage]:
        assert 0 < count <= READ_RECORDS_MAX
        names = [keys.own(self._world, from_shard), keys.outbox(self._world, from_shard, to_shard)]
        committed, rows = await self._read_script(scripts.READ_OUTBOX, names, [after_number, count])
        messages = []
        for entry_id, fields in rows:
            number, _, tick = bytes(entry_id).partition(b"-")
            if int(tick) > int(committed):
                break
            messages.append(OutboxMessage(to_shard, int(number), bytes(fields[1]), int(tick)))
        return messages

    async def ack_outbox(self, grant: Grant, from_shard: int, number: int) -> None:
        args = [*_token(grant), keys.ack_field(from_shard).encode(), b"%d" % number]
        _raise_unless_done(grant, await self._write(scripts.ACK_OUTBOX, grant.shard, [], args))

    async def outbox_acks(self, from_shard: int, to_shards: Iterable[int]) -> dict[int, int]:
        shards = list(to_shards)
        field = keys.ack_field(from_shard)

        async def attempt() -> list[Any]:
            pipeline: Any = self._client.pipeline(transaction=False)
            for to_shard in shards:
                pipeline.hget(keys.own(self._world, to_shard), field)
            return list(await pipeline.execute())

        numbers = await ask("outbox_acks", attempt, self._read_timeout_s) if shards else []
        return {shard: int(number or 0) for shard, number in zip(shards, numbers, strict=True)}

    async def trim_outbox(self, grant: Grant, to_shard: int, up_to_number: int) -> None:
        outbox = keys.outbox(self._world, grant.shard, to_shard).encode()
        while True:
            args = [*_token(grant), b"%d" % up_to_number, b"%d" % TRIM_STEP_RECORDS]
            reply = await self._write(scripts.TRIM_OUTBOX, grant.shard, [outbox], args)
            _raise_unless_done(grant, reply)
            if reply[1]:
                return

    async def put_outbox(self, grant: Grant, to_shard: int, messages: Sequence[OutboxMessage]) -> None:
        check_outbox(to_shard, messages)
        outbox = keys.outbox(self._world, grant.shard, to_shard).encode()
        for first in range(0, max(1, len(messages)), PUT_STEP_MESSAGES):
            args = [*_token(grant), b"0" if first else b"1"]
            for message in messages[first : first + PUT_STEP_MESSAGES]:
                args += (b"%d" % message.number, b"%d" % message.tick, message.body)
            _raise_unless_done(grant, await self._write(scripts.PUT_OUTBOX, grant.shard, [outbox], args))

    async def close(self) -> None:
        """Nothing of its own to close: client and group belong to whoever opened them."""

    # ------------------------------------------------------------ calling scripts

    async def _write(self, script: Script, shard: int, more_keys: list[bytes], args: list[bytes]) -> Any:
        own = keys.own(self._world, shard).encode()
        try:
            return await self._group.run(script, [own, *more_keys], args, self._commit, self._write_timeout_s)
        except NotReplicated:
            telemetry.journal_refused_total.labels("not_replicated").inc()
            raise
        except StoreUnavailable:
            telemetry.journal_refused_total.labels("unavailable").inc()
            raise
        except StoreRefused:
            telemetry.journal_refused_total.labels("refused").inc()
            raise

    async def _read_script(self, script: Script, names: list[str], args: list[int]) -> Any:
        async def attempt() -> Any:
            try:
                return await self._client.evalsha(script.sha.decode(), len(names), *names, *args)
            except NoScriptError:
                return await self._client.eval(script.source.decode(), len(names), *names, *args)

        return await ask(script.name, attempt, self._read_timeout_s)


def _token(grant: Grant) -> tuple[bytes, bytes]:
    return b"%d" % grant.epoch, grant.nonce


def _head(fields: Sequence[Any]) -> Head:
    epoch, nonce, address, tick, chain, committed, floor, beat, version = (
        b"" if field is None else bytes(field) for field in fields
    )
    return Head(
        epoch=int(epoch),
        nonce=nonce,
        address=address.decode(),
        tick=int(tick or 0),
        chain=chain,
        committed=int(committed or 0),
        floor=int(floor or 0),
        beat=int(beat or 0),
        version=int(version or 0),
    )


def _append_answer(grant: Grant, request: AppendRequest, reply: Any) -> AppendAnswer:
    code = reply[0]
    if code == -3:
        raise StoreRefused(f"shard {grant.shard} tick {request.tick}: {bytes(reply[1]).decode()}")
    verdict = _VERDICTS[code]
    if verdict in (Verdict.APPENDED, Verdict.ALREADY):
        if verdict is Verdict.ALREADY:
            telemetry.journal_already_total.inc()
        return AppendAnswer(verdict, grant.epoch, request.tick, request.chain)
    (telemetry.journal_fenced_total if verdict is Verdict.FENCED else telemetry.journal_other_head_total).inc()
    return AppendAnswer(verdict, int(reply[1]), int(reply[2]), bytes(reply[3]))


def _raise_unless_done(grant: Grant, reply: Any) -> None:
    """For all scripts but append: Fenced or StoreRefused by the first number of the reply."""
    if reply[0] == -1:
        telemetry.journal_fenced_total.inc()
        raise Fenced(f"shard {grant.shard}: epoch {grant.epoch} is over, the head shows epoch {int(reply[1])}")
    if reply[0] == -3:
        raise StoreRefused(f"shard {grant.shard}: {bytes(reply[1]).decode()}")
