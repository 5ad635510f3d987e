"""What a title declares, compiled: kinds of entity and of input as plain data.

A `Kind` fixes the order of columns everywhere: in tables, on the wire, in snapshots and in digests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from overworld.world.fields import NEAR, OWNER, WIRE_MAX, Field, Motion

MOTION_COLUMNS = ("x", "y", "vx", "vy")
FIELDS_MAX = 24
"""Replicated fields of one kind: the change mask must fit a signed 32-bit number."""
_TABLE_NAMES = "admit columns ids kind load next_id pace private public remove rewind rows rows_of shadow spawn"
_CLIENT_NAMES = "cell id shard"
_RESERVED = frozenset((*MOTION_COLUMNS, *_TABLE_NAMES.split(), *_CLIENT_NAMES.split()))
"""What columns may not be called: attributes of tables, and what clients say of every entity beside its columns."""
_RESERVED_INPUT = frozenset({"last", "player", "row", "seen_tick"})
_RESERVED_MESSAGE = frozenset({"entity", "sender"})


class Entity:
    """Base class of a title's entities. Class attributes made with `Motion`, `UInt8`, ... are its columns.

    With `rewind = True`, `Shard.rewind` knows where entities of the class were during the last `Title.rewind_ms`.
    `pace`: in a crowd, where not everything can be told at every tick, entities of the class are told every `pace`
    ticks at most.
    """

    rewind: ClassVar[bool] = False
    pace: ClassVar[int] = 1


class Player:
    """Base class of what a title keeps for each player, avatar or not. Its fields are simulation state (never
    replicated).
    """


class Input:
    """Base class of a title's inputs. Class attributes made with `Int8`, `Bool`, ... are what a client sends."""


class Message:
    """Base class of what a title's shards tell each other. Class attributes made with `Int32`, ... are its content."""


@dataclass(frozen=True)
class Column:
    """One int64 column of a kind."""

    name: str
    field: Field


@dataclass(frozen=True)
class Kind:
    """One kind of entity: `near` columns are replicated to everyone in view, `owner` columns to the owner, `server`
    to nobody.

    Where `motion` is set, x, y, vx, vy stand before the `near` columns. `rewind`: the shard remembers where they were.
    `pace`: ticks between two updates in a crowd, at least.
    """

    name: str
    motion: Motion | None
    near: tuple[Column, ...]
    owner: tuple[Column, ...]
    server: tuple[Column, ...]
    rewind: bool = False
    pace: int = 1

    @cached_property
    def replicated(self) -> tuple[str, ...]:
        """Names of the replicated columns in wire order."""
        return (MOTION_COLUMNS if self.motion else ()) + tuple(c.name for c in self.near)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all columns: replicated, owner, server."""
        return self.replicated + tuple(c.name for c in self.owner) + tuple(c.name for c in self.server)


@dataclass(frozen=True)
class InputKind:
    """One kind of input: its fields in wire order."""

    name: str
    fields: tuple[Column, ...]


def _declared(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update({k: v for k, v in vars(base).items() if isinstance(v, Field | Motion)})
    return found


def compile_entity(cls: type[Entity]) -> Kind:
    """The kind of an `Entity` subclass. Raises ValueError where the declaration cannot work."""
    declared = _declared(cls)
    motions = [v for v in declared.values() if isinstance(v, Motion)]
    if len(motions) > 1:
        raise ValueError(f"{cls.__name__}: at most one Motion field, found {len(motions)}")
    _check_names(cls, declared, _RESERVED)
    columns = [Column(name, field) for name, field in declared.items() if isinstance(field, Field)]
    near = tuple(c for c in columns if c.field.audience is NEAR)
    if len(near) > FIELDS_MAX:
        raise ValueError(f"{cls.__name__}: {len(near)} replicated fields, at most {FIELDS_MAX}")
    owner = tuple(c for c in columns if c.field.audience is OWNER)
    rest = tuple(c for c in columns if c.field.audience not in (NEAR, OWNER))
    if cls.rewind and not motions:
        raise ValueError(f"{cls.__name__}: what has no Motion field cannot rewind it")
    if isinstance(cls.pace, Field) or cls.pace < 1:
        raise ValueError(f"{cls.__name__}: pace {cls.pace!r} is not a number of ticks")
    return Kind(cls.__name__, motions[0] if motions else None, near, owner, rest, cls.rewind, cls.pace)


def motion_name(cls: type[Entity]) -> str | None:
    """The attribute under which an entity class declared its Motion."""
    return next((name for name, value in _declared(cls).items() if isinstance(value, Motion)), None)


def compile_player(cls: type[Player]) -> tuple[Column, ...]:
    """The columns of a `Player` subclass. Raises ValueError for a Motion field or a reserved name."""
    declared = _declared(cls)
    _check_names(cls, declared, _RESERVED)
    if any(isinstance(v, Motion) for v in declared.values()):
        raise ValueError(f"{cls.__name__}: a player has no Motion field")
    return tuple(Column(name, field) for name, field in declared.items())


def compile_input(cls: type[Input]) -> InputKind:
    """The kind of an `Input` subclass. Raises ValueError for a Motion field or a 64-bit one."""
    declared = _declared(cls)
    if any(isinstance(v, Motion) for v in declared.values()):
        raise ValueError(f"{cls.__name__}: an input has no Motion field")
    _check_names(cls, declared, _RESERVED_INPUT)
    wide = [name for name, field in declared.items() if field.minimum < -WIRE_MAX or field.maximum > WIRE_MAX]
    if wide:
        raise ValueError(f"{cls.__name__}: fields {wide} do not fit the wire")
    return InputKind(cls.__name__, tuple(Column(name, field) for name, field in declared.items()))


def compile_message(cls: type[Message]) -> InputKind:
    """The kind of a `Message` subclass. Raises ValueError for a Motion field or a moment."""
    declared = _declared(cls)
    if any(isinstance(v, Motion) or v.moment for v in declared.values()):
        raise ValueError(f"{cls.__name__}: a message has no Motion field and no Moment")
    _check_names(cls, declared, _RESERVED_MESSAGE)
    return InputKind(cls.__name__, tuple(Column(name, field) for name, field in declared.items()))


def _check_names(cls: type, declared: dict[str, Any], reserved: frozenset[str]) -> None:
    wrong = sorted(name for name in declared if name in reserved or name.startswith("_"))
    if wrong:
        raise ValueError(f"{cls.__name__}: reserved field names {wrong}")
