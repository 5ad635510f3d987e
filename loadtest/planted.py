"""Faults planted into a worker, so that a load test can be seen to find them: `python -m loadtest.planted FAULT worker`
is `overworld worker` with one rule of the product broken. The product itself knows nothing of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from loadtest.cluster import Cluster, Shape
from loadtest.processes import Process
from overworld.shard.borders import Borders
from overworld.shard.core import ShardCore
from overworld.shard.inbox import Inbox
from overworld.shard.inputs import TickInputs

EVERY = 7
"""Every so-manieth input, entity or tick is touched."""


@contextmanager
def dropped_input() -> Iterator[None]:
    """An input is acknowledged, and the title never gets it."""
    whole = ShardCore._inputs

    def forgetful(self: ShardCore, inputs: TickInputs) -> Any:
        kept = np.flatnonzero(inputs.seqs % EVERY != 0)
        columns, _ = whole(self, _chosen(inputs, kept))
        _, acks = whole(self, inputs)
        return columns, acks

    with patch.object(ShardCore, "_inputs", forgetful):
        yield


@contextmanager
def doubled_input() -> Iterator[None]:
    """An input enters two ticks."""
    take = Inbox.take
    again: dict[int, TickInputs] = {}

    def generous(self: Inbox, shard: Any, sessions: Any) -> Any:
        taken, refused = take(self, shard, sessions)
        before = again.pop(shard.index, None)
        if before is not None and not len(taken) and not taken.events:
            return replace(before, events=()), refused
        if len(taken) and shard.tick % EVERY == 0:
            again[shard.index] = taken
        return taken, refused

    with patch.object(Inbox, "take", generous):
        yield


@contextmanager
def doubled_entity() -> Iterator[None]:
    """What crosses a border stays where it was, too."""
    cross = Borders._cross

    def lingering(self: Borders, kind: int, table: Any, departures: Any) -> None:
        ids, columns = table.ids.copy(), table.columns.copy()
        cross(self, kind, table, departures)
        gone = np.flatnonzero(table.rows_of(ids) < 0)
        gone = gone[ids[gone] % 2 == 0]
        if len(gone):
            x0, y0, x1, y1 = self._shard.bounds
            columns[0] = np.clip(columns[0], x0, x1 - 1)
            columns[1] = np.clip(columns[1], y0, y1 - 1)
            columns[2:4] = 0
            table.admit(ids[gone], columns[:, gone])

    with patch.object(Borders, "_cross", lingering):
        yield


@contextmanager
def wrong_field() -> Iterator[None]:
    """Players are told a place that is not the entity's."""
    encode = ShardCore.encode

    def careless(self: ShardCore) -> Any:
        tables = [table for table in self.shard.tables if table.kind.motion is not None]
        liars = [table.ids % EVERY == 0 for table in tables]
        for table, lies in zip(tables, liars, strict=True):
            table.public[1, lies] += 1
        try:
            return encode(self)
        finally:
            for table, lies in zip(tables, liars, strict=True):
                table.public[1, lies] -= 1

    with patch.object(ShardCore, "encode", careless):
        yield


@contextmanager
def wrong_ack() -> Iterator[None]:
    """An input is acknowledged that was never sent."""
    whole = ShardCore._inputs

    def hasty(self: ShardCore, inputs: TickInputs) -> Any:
        columns, (sessions, seqs) = whole(self, inputs)
        return columns, (sessions, np.where(seqs % EVERY == 0, seqs + 1, seqs))

    with patch.object(ShardCore, "_inputs", hasty):
        yield


FAULTS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "dropped-input": dropped_input,
    "doubled-input": doubled_input,
    "doubled-entity": doubled_entity,
    "wrong-field": wrong_field,
    "wrong-ack": wrong_ack,
}


def cluster_with(fault: str) -> Callable[[Path, Shape], Cluster]:
    """Makes clusters whose workers have a fault."""
    assert fault in FAULTS

    class Planted(Cluster):
        def _process(self, role: str, name: str, own: Mapping[str, str]) -> Process:
            process = super()._process(role, name, own)
            if role == "worker":
                process.argv = [sys.executable, "-m", "loadtest.planted", fault, role]
            return process

    return Planted


def _chosen(inputs: TickInputs, which: Any) -> TickInputs:
    """Some of a tick's inputs."""
    ends = np.cumsum(inputs.counts)
    values = [inputs.values[end - count : end] for end, count in zip(ends[which], inputs.counts[which], strict=True)]
    columns = ("sessions", "seqs", "kinds", "seen_ticks", "counts")
    chosen: dict[str, Any] = {name: getattr(inputs, name)[which] for name in columns}
    return replace(inputs, **chosen, values=np.concatenate(values) if values else inputs.values[:0])


if __name__ == "__main__":
    from overworld.__main__ import main

    with FAULTS[sys.argv[1]]():
        main(args=sys.argv[2:], prog_name="overworld")
