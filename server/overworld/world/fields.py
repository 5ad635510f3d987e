"""The fields a title declares on its entities and inputs.

A field becomes one int64 column of a table (a `Motion` becomes four). Values are whole numbers; a unit says how many
steps make one of the title's own measure. Only the range below fits the wire, so it is checked when a shard starts a
tick's encoding.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, overload

WIRE_MAX = 2**30 - 1
"""Largest magnitude of a replicated value: the wire carries signed 32-bit numbers, differences of values too."""


class Audience(enum.Enum):
    """Who is told a field's value."""

    NEAR = "near"
    """Everyone whose view holds the entity's cell."""
    OWNER = "owner"
    """Only the player whose avatar the entity is."""
    SERVER = "server"
    """Nobody: simulation state."""


NEAR, OWNER, SERVER = Audience.NEAR, Audience.OWNER, Audience.SERVER


@dataclass(frozen=True)
class Field:
    """One whole-number column.

    `minimum` and `maximum` bound input values (checked on arrival) and document entity values. Values of a field with
    `modulo` wrap at it. `units_per_one` is the number of steps in one of the title's measure. A `moment` is a tick
    number of its shard: it is translated when its entity moves to another shard, whose ticks are counted otherwise.
    """

    minimum: int = -WIRE_MAX
    maximum: int = WIRE_MAX
    audience: Audience = NEAR
    modulo: int = 0
    units_per_one: int = 1
    default: int = 0
    moment: bool = False

    @overload
    def __get__(self, instance: None, owner: type) -> Any: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Any: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        return self


def Bool(audience: Audience = NEAR, default: bool = False) -> Any:
    """0 or 1."""
    return Field(0, 1, audience, default=int(default))


def Int8(minimum: int = -128, maximum: int = 127, audience: Audience = NEAR, default: int = 0) -> Any:
    """A small signed number."""
    return _bounded(-128, 127, minimum, maximum, audience, default)


def UInt8(minimum: int = 0, maximum: int = 255, audience: Audience = NEAR, default: int = 0) -> Any:
    """0 to 255."""
    return _bounded(0, 255, minimum, maximum, audience, default)


def Int16(minimum: int = -32768, maximum: int = 32767, audience: Audience = NEAR, default: int = 0) -> Any:
    """A signed 16-bit number."""
    return _bounded(-32768, 32767, minimum, maximum, audience, default)


def UInt16(minimum: int = 0, maximum: int = 65535, audience: Audience = NEAR, default: int = 0) -> Any:
    """0 to 65,535."""
    return _bounded(0, 65535, minimum, maximum, audience, default)


def Int32(minimum: int = -WIRE_MAX, maximum: int = WIRE_MAX, audience: Audience = NEAR, default: int = 0) -> Any:
    """Any number the wire carries."""
    return _bounded(-WIRE_MAX, WIRE_MAX, minimum, maximum, audience, default)


def Int64(audience: Audience = SERVER, default: int = 0) -> Any:
    """A 64-bit number. Simulation state only: the wire does not carry it."""
    if audience is not SERVER:
        raise ValueError("an Int64 field does not fit the wire; its audience must be SERVER")
    return Field(-(2**63), 2**63 - 1, SERVER, default=default)


def Moment() -> Any:
    """A tick number of the shard. Simulation state only. Compare it with `shard.tick` and with nothing else: shards
    count their ticks apart, and an entity that crosses a border takes its moments along as so many ticks from now.
    """
    return Field(-(2**63), 2**63 - 1, SERVER, moment=True)


def Angle(steps: int = 256, audience: Audience = NEAR, default: int = 0) -> Any:
    """An angle in `steps` whole steps of a turn; differences take the short way round."""
    if not 2 <= steps <= WIRE_MAX:
        raise ValueError(f"an angle of {steps} steps does not lie within 2..{WIRE_MAX}")
    if not 0 <= default < steps:
        raise ValueError(f"default {default} does not lie within 0..{steps - 1}")
    return Field(0, steps - 1, audience, modulo=steps, default=default)


def _bounded(low: int, high: int, minimum: int, maximum: int, audience: Audience, default: int) -> Field:
    if not low <= minimum <= maximum <= high:
        raise ValueError(f"bounds {minimum}..{maximum} do not lie within {low}..{high}")
    if not minimum <= default <= maximum:
        raise ValueError(f"default {default} does not lie within {minimum}..{maximum}")
    return Field(minimum, maximum, audience, default=default)


@dataclass(frozen=True)
class Motion:
    """Position and velocity: the columns x, y (position units) and vx, vy (position units per tick).

    Watchers advance x by vx and y by vy each tick by themselves; they are told only when the truth leaves that
    prediction by more than `tolerance` position units (0: whenever it differs at all, so what they show is exact).
    """

    units_per_one: int = 256
    tolerance: int = 0

    def __get__(self, instance: object | None, owner: type) -> Any:
        return self
