"""Players' inputs on their way to workers: checked against the contract, gathered in columns."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from overworld.errors import WireError
from overworld.gateway.codes import CloseCode
from overworld.wire.v1.link_pb2 import InputBatch, LinkMessage
from overworld.world.contract import WorldContract

assert sys.byteorder == "little", "link columns are little-endian and copied as they are"


@dataclass(frozen=True, slots=True)
class Forward:
    """One input as a worker gets it."""

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
        checked = tuple(values)
        for value, (low, high) in zip(checked, bounds, strict=True):
            if not low <= value <= high:
                text = f"input {self._names[kind]}: {value} is not within {low}..{high}"
                raise WireError(CloseCode.BAD_INPUT, text[:120])
        return checked


class InputColumns:
    """Inputs gathered for one shard. What bounds it: the message rate of each socket, and that it is emptied every few
    milliseconds.
    """

    __slots__ = ("_counts", "_due_ticks", "_kinds", "_seen_ticks", "_seqs", "_sessions", "_shard", "_values")

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._clear()

    def __len__(self) -> int:
        return len(self._sessions)

    def append(self, session: int, item: Forward) -> None:
        """One more input."""
        self._sessions.append(session)
        self._seqs.append(item.seq)
        self._kinds.append(item.kind)
        self._seen_ticks.append(item.seen_tick)
        self._due_ticks.append(item.due_tick)
        self._counts.append(len(item.values))
        self._values.extend(item.values)

    def take(self) -> LinkMessage:
        """All of them as one message; empties the columns."""
        batch = InputBatch(
            shard=self._shard,
            sessions_i64=self._sessions.tobytes(),
            seqs_u32=self._seqs.tobytes(),
            kinds_u32=self._kinds.tobytes(),
            seen_ticks_u32=self._seen_ticks.tobytes(),
            counts_u32=self._counts.tobytes(),
            values_i32=self._values.tobytes(),
            due_ticks_u32=self._due_ticks.tobytes() if any(self._due_ticks) else b"",
        )
        self._clear()
        return LinkMessage(inputs=batch)

    def _clear(self) -> None:
        self._sessions = array("q")
        self._seqs = array("I")
        self._kinds = array("I")
        self._seen_ticks = array("I")
        self._counts = array("I")
        self._values = array("i")
        self._due_ticks = array("I")
