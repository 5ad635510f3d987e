"""The bodies of messages between shards: entities and players that move, and what titles tell each other.

A table travels by the names of its columns, so that versions of a title with other columns still understand each
other. Moments (tick numbers) travel as so many ticks from now: shards count their ticks apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overworld.wire.v1 import record_pb2
from overworld.world.messages import Batch
from overworld.world.table import Table

Ints = npt.NDArray[np.int64]

HANDOVER = 0
"""`ShardMessage.kind` of a Handover; a title's message kind i is i + 1."""
BODY_BYTES_MAX = 48 << 10
"""A message's body stays below this: the store takes 64 KiB."""
HOPS_MAX = 8
"""A message to an entity is passed on after it so often at most."""


@dataclass(frozen=True)
class TableRows:
    """Rows of one table on their way: `values` int64[columns, n]."""

    name: str
    columns: tuple[str, ...]
    ids: Ints
    values: Ints


def rows_of(table: Table, rows: Ints, tick: int) -> TableRows:
    """Copies of these rows, moments counted from `tick`."""
    values = table.columns[:, rows].copy()
    values[_moments(table)] -= tick
    return TableRows(table.kind.name, table.kind.names, table.ids[rows].copy(), values)


def fitted(table: Table, rows: TableRows, tick: int) -> Ints:
    """The rows as columns of `table`, int64[len(table.kind.names), n]: columns it lacks are dropped, columns they lack
    get their defaults, moments count from the receiver's `tick`.
    """
    kind = table.kind
    defaults = {c.name: c.field.default for c in kind.near + kind.owner + kind.server}
    place = {name: i for i, name in enumerate(rows.columns)}
    values = np.zeros((len(kind.names), len(rows.ids)), np.int64)
    for i, name in enumerate(kind.names):
        values[i] = rows.values[place[name]] if name in place else defaults.get(name, 0)
    values[_moments(table)] += tick
    return values


def rows_per_message(*tables: Table) -> int:
    """How many rows, each with a row of every one of these tables, fit a message."""
    return max(1, BODY_BYTES_MAX // (8 * sum(len(table.kind.names) + 1 for table in tables)))


def encode(version: int, tables: list[TableRows]) -> bytes:
    """A Handover."""
    handover = record_pb2.Handover(title_version=version)
    for table in tables:
        handover.tables.add(
            name=table.name,
            columns=table.columns,
            ids_i64=table.ids.astype("<i8").tobytes(),
            values_i64=table.values.astype("<i8").tobytes(),
        )
    return handover.SerializeToString(deterministic=True)


def decode(body: bytes) -> tuple[int, list[TableRows]]:
    """(title version, tables) of a Handover. It comes from our own journal: what does not fit is a mistake of ours."""
    handover = record_pb2.Handover.FromString(body)
    tables = []
    for table in handover.tables:
        ids = np.frombuffer(table.ids_i64, "<i8").astype(np.int64)
        values = np.frombuffer(table.values_i64, "<i8").astype(np.int64).reshape(len(table.columns), len(ids))
        tables.append(TableRows(table.name, tuple(table.columns), ids, values))
    return handover.title_version, tables


# ---------------------------------------------------------------- titles' messages


def encode_batch(batch: Batch, chosen: Ints, own_shard: int) -> Iterator[bytes]:
    """The messages at places `chosen` int64[m] of a batch, as few bodies as their size allows."""
    per_body = max(1, BODY_BYTES_MAX // (8 * (len(batch.values) + 3)))
    for first in range(0, len(chosen), per_body):
        rows = chosen[first : first + per_body]
        senders = batch.senders[rows] if batch.senders is not None else np.full(len(rows), own_shard, np.int64)
        yield record_pb2.TitleMessages(
            count=len(rows),
            entities_i64=b"" if batch.entities is None else batch.entities[rows].astype("<i8").tobytes(),
            hops_u32=b"" if batch.hops is None else batch.hops[rows].astype("<u4").tobytes(),
            senders_u32=senders.astype("<u4").tobytes(),
            values_i64=batch.values[:, rows].astype("<i8").tobytes(),
        ).SerializeToString(deterministic=True)


def decode_batch(kind: str, own_shard: int, fields: int, body: bytes) -> Batch:
    """What arrived, addressed to this very shard."""
    message = record_pb2.TitleMessages.FromString(body)
    count = message.count
    entities = np.frombuffer(message.entities_i64, "<i8").astype(np.int64) if message.entities_i64 else None
    hops = np.frombuffer(message.hops_u32, "<u4").astype(np.int64) if message.hops_u32 else np.zeros(count, np.int64)
    senders = np.frombuffer(message.senders_u32, "<u4").astype(np.int64)
    # Of another version of the title: fields that both have, by place; the rest 0.
    sent = np.frombuffer(message.values_i64, "<i8").astype(np.int64).reshape(-1, count)
    values = np.zeros((fields, count), np.int64)
    values[: len(sent)] = sent[:fields]
    return Batch(kind, np.full(count, own_shard, np.int64), entities, values, senders, hops)


def _moments(table: Table) -> list[int]:
    """Places of the columns that hold tick numbers."""
    kind = table.kind
    moments = [c.name for c in kind.near + kind.owner + kind.server if c.field.moment]
    return [kind.names.index(name) for name in moments]
