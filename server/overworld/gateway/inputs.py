"""Players' inputs on their way to workers: checked against the contract, gathered in columns."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from itertools import chain, islice, repeat
from typing import NamedTuple

from overworld.errors import WireError
from overworld.gateway.codes import CloseCode
from overworld.wire.v1.link_pb2 import InputBatch, LinkMessage
from overworld.world.contract import WorldContract

assert sys.byteorder == "little", "link columns are little-endian and copied as they are"


class Forward(NamedTuple):
    """One input as a worker gets it. (A tuple is made in half the time of a dataclass, and one is made for each.)"""

    seq: int
    kind: int
    seen_tick: int
    values: tuple[int, ...]
    due_tick: int = 0


class InputRules:
    """What inputs of a contract may look like."""

    def __init__(self, contract: WorldContract) -> None:
        self._bounds = [
            tuple((column.field.minimum, column.field.maximum) for column in kind.fields) for kind in contract.inputs
        ]
        self._names = [kind.name for kind in contract.inputs]

    def check(self, kind: int, values: Sequence[int]) -> tuple[int, ...]:
        """The values of an input, within bounds. Raises WireError 4006."""
        if kind >= len(self._bounds):
            raise WireError(CloseCode.BAD_INPUT, f"input kind {kind}, and this world has {len(self._bounds)}")
        bounds = self._bounds[kind]
        if len(values) != len(bounds):
            counts = f"{len(values)} values, {len(bounds)} are needed"
            raise WireError(CloseCode.BAD_INPUT, f"input {self._names[kind]}: {counts}"[:120])
        # The slice of a protobuf column is a list; going through the column itself costs three times that.
        checked = tuple(values[:])
        for value, (low, high) in zip(checked, bounds, strict=False):
            if not low <= value <= high:
                text = f"input {self._names[kind]}: {value} is not within {low}..{high}"
                raise WireError(CloseCode.BAD_INPUT, text[:120])
        return checked


class InputColumns:
    """Inputs gathered for one shard. What bounds it: the message rate of each socket, and that it is emptied every few
    milliseconds.
    """

    __slots__ = ("_items", "_sessions", "_shard")

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._sessions: list[int] = []
        self._items: list[Forward] = []

    def __len__(self) -> int:
        return len(self._sessions)

    def append(self, session: int, item: Forward) -> None:
        """One more input."""
        self._sessions.append(session)
        self._items.append(item)

    def take(self) -> LinkMessage:
        """All of them as one message; empties the columns."""
        columns = zip(*self._items, strict=True) if self._items else repeat(())
        seqs, kinds, seen_ticks, values, due_ticks = islice(columns, len(Forward._fields))
        batch = InputBatch(
            shard=self._shard,
            sessions_i64=array("q", self._sessions).tobytes(),
            seqs_u32=array("I", seqs).tobytes(),
            kinds_u32=array("I", kinds).tobytes(),
            seen_ticks_u32=array("I", seen_ticks).tobytes(),
            counts_u32=array("I", map(len, values)).tobytes(),
            values_i32=array("i", chain.from_iterable(values)).tobytes(),
            due_ticks_u32=array("I", due_ticks).tobytes() if any(due_ticks) else b"",
        )
        self._sessions, self._items = [], []
        return LinkMessage(inputs=batch)
