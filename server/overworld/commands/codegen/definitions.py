"""What is to be written: a title's declarations as its clients see them, in wire order.

Fields for the server alone are left out, and so are messages: they go from shard to shard and never reach a client.
"""

from __future__ import annotations

from dataclasses import dataclass

from overworld.world.contract import WorldContract
from overworld.world.schema import MOTION_COLUMNS, Column


@dataclass(frozen=True)
class Value:
    """A column or an input's field. `modulo` is 0 for what does not wrap. `position`: in world coordinates."""

    name: str
    minimum: int
    maximum: int
    modulo: int = 0
    units_per_one: int = 1
    position: bool = False
    velocity: bool = False

    @property
    def told(self) -> str:
        """Unit and range in words."""
        if self.position or self.velocity:
            return f"1/{self.units_per_one} of the title's measure{' a tick' if self.velocity else ''}"
        if self.modulo:
            return f"{self.modulo} steps to a turn"
        unit = f", 1/{self.units_per_one} of the title's measure" if self.units_per_one != 1 else ""
        return f"{self.minimum}..{self.maximum}{unit}"


@dataclass(frozen=True)
class KindDefinition:
    """A kind of entity: what everybody near is told, and what its owner is told besides."""

    number: int
    name: str
    columns: tuple[Value, ...]
    owner: tuple[Value, ...]


@dataclass(frozen=True)
class InputDefinition:
    """A kind of input."""

    number: int
    name: str
    fields: tuple[Value, ...]


@dataclass(frozen=True)
class Definitions:
    """A title. `digest` is `Welcome.definitions` of every server that plays this version of it."""

    title: str
    version: int
    digest: str
    kinds: tuple[KindDefinition, ...]
    inputs: tuple[InputDefinition, ...]


def definitions_of(contract: WorldContract) -> Definitions:
    """The definitions that a world's clients are told."""
    kinds = []
    for number, kind in enumerate(contract.kinds):
        motion: list[Value] = []
        if kind.motion is not None:
            one = kind.motion.units_per_one
            motion = [Value(name, 0, 0, 0, one, name in ("x", "y"), name in ("vx", "vy")) for name in MOTION_COLUMNS]
        near = (*motion, *map(_value, kind.near))
        kinds.append(KindDefinition(number, kind.name, near, tuple(map(_value, kind.owner))))
    inputs = [InputDefinition(n, kind.name, tuple(map(_value, kind.fields))) for n, kind in enumerate(contract.inputs)]
    return Definitions(contract.title, contract.title_version, contract.definitions, tuple(kinds), tuple(inputs))


def _value(column: Column) -> Value:
    field = column.field
    return Value(column.name, field.minimum, field.maximum, field.modulo, field.units_per_one)
