"""From a tick that ran to the record that journals it. Pure: the wall clock comes in as an argument."""

from __future__ import annotations

import xxhash

from overworld.shard import record
from overworld.shard.core import ShardCore
from overworld.shard.digest import column_marks
from overworld.shard.inputs import ShardMessage, TickInputs, TickOutcome
from overworld.store.ports import OutboxMessage
from overworld.wire.v1 import record_pb2
from overworld.worker.ring import Pending


def pending(
    core: ShardCore, inputs: TickInputs, outcome: TickOutcome, *, epoch: int, chain: bytes, wall_ms: int, digest: bool
) -> Pending:
    """The record of the tick that `core` has just stepped. `chain`: the journal's chain value before it; empty before
    the first. `digest`: put the state's digest in.
    """
    messages = outbox_messages(outcome)
    payload = record.encode(
        record.Record(
            shard=core.index,
            epoch=epoch,
            tick=core.tick,
            wall_ms=wall_ms,
            title_version=str(core.contract.title_version),
            inputs=inputs,
            outbox_digest=outbox_digest(messages),
            state_digest=core.digest() if digest else b"",
            column_digests=column_marks(core.shard) if digest else b"",
            previous=chain or record.GENESIS,
        )
    )
    return Pending(core.tick, chain, record.chain(chain or record.GENESIS, payload), payload, messages)


def outbox_messages(outcome: TickOutcome) -> tuple[OutboxMessage, ...]:
    """The tick's messages to other shards as the store takes them."""
    return tuple(OutboxMessage(m.to_shard, m.number, _body(m)) for m in outcome.outbox)


def outbox_digest(messages: tuple[OutboxMessage, ...]) -> bytes:
    """xxh3-128 of a tick's messages, 16 bytes; empty where there are none."""
    if not messages:
        return b""
    hasher = xxhash.xxh3_128()
    for message in messages:
        hasher.update(b"%d %d %d " % (message.to_shard, message.number, len(message.body)))
        hasher.update(message.body)
    return hasher.digest()


def _body(message: ShardMessage) -> bytes:
    return record_pb2.ShardMessage(
        from_shard=message.from_shard,
        to_shard=message.to_shard,
        number=message.number,
        kind=message.kind,
        body=message.body,
    ).SerializeToString(deterministic=True)
