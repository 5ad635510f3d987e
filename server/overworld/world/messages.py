"""What a title's shards tell each other, as columns: those that arrived for a tick, and those that wait for its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class MessageColumns:
    """Messages of one kind, one entry a message in every column, int64[n]: `sender`, the shard that sent it; `entity`,
    whom it is for (0: for a place); and one attribute a declared field.
    """

    sender: Ints
    entity: Ints

    def __init__(self, sender: Ints, entity: Ints, values: dict[str, Ints]) -> None:
        self.sender = sender
        self.entity = entity
        self.__dict__.update(values)

    @classmethod
    def none(cls, fields: tuple[str, ...]) -> MessageColumns:
        """No messages, with these fields."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, dict.fromkeys(fields, empty))

    def __len__(self) -> int:
        return len(self.sender)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this message has no field {name!r}")


@dataclass
class Batch:
    """Messages of one kind: `shards` int64[n] to try first, `entities` int64[n] (None: for places), `values`
    int64[fields, n], `senders` and `hops` int64[n] (None: sent by this shard, and never passed on).
    """

    kind: str
    shards: Ints
    entities: Ints | None
    values: Ints
    senders: Ints | None = None
    hops: Ints | None = None


@dataclass
class Outgoing:
    """What a tick sends, until the tick ends. Not state: it is empty between ticks."""

    batches: list[Batch] = field(default_factory=list)

    def add(self, kind: str, shards: Ints, entities: Ints | None, values: Ints) -> None:
        """Queue messages."""
        if len(shards):
            self.batches.append(Batch(kind, shards, entities, values))

    def take(self) -> list[Batch]:
        """Everything, in the order it was sent."""
        taken, self.batches = self.batches, []
        return taken
