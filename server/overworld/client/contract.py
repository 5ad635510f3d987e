"""What a `Welcome` tells of the world: its shape, kinds and inputs, checked once and compiled for fast use.

Everything here is plain immutable data. A `Welcome` that makes no sense raises WireError.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from overworld.errors import WireError
from overworld.wire.v1 import client_pb2 as pb

PROTOCOL_VERSION = 1

KINDS_MAX = 256
COLUMNS_MAX = 64
CELLS_MAX = 2**32
_MOTION_COLUMNS = 4
_MOTION_GROUPS = 2
_PLANS_MAX = 1024
"""Compiled change masks kept for one kind: few occur, but a hostile server must not grow the table."""


def broken(reason: str) -> WireError:
    """The error for a server's message that breaks a rule (close code 1007)."""
    return WireError(1007, reason)


@dataclass(frozen=True)
class Plan:
    """What one change mask says: whether velocity and position differences come, then (column, modulo) of the rest."""

    velocity: bool
    position: bool
    columns: tuple[tuple[int, int], ...]


class KindLayout:
    """One kind of entity: `columns` and `owner_columns` are names in wire order.

    `moves` where the first four are x, y, vx, vy.
    """

    __slots__ = ("_plans", "columns", "index", "modulos", "moves", "name", "owner_columns", "units", "width")

    def __init__(self, kind: pb.Kind) -> None:
        self.name: str = kind.name
        self.moves: bool = kind.moves
        self.columns: tuple[str, ...] = tuple(c.name for c in kind.columns)
        self.owner_columns: tuple[str, ...] = tuple(c.name for c in kind.owner_columns)
        self.modulos: tuple[int, ...] = tuple(c.modulo for c in kind.columns)
        self.units: tuple[int, ...] = tuple(c.units_per_one for c in kind.columns)
        self.width: int = len(self.columns)
        self.index: dict[str, int] = {name: i for i, name in enumerate(self.columns)}
        self._plans: dict[int, Plan] = {}
        if self.width > COLUMNS_MAX or len(self.owner_columns) > COLUMNS_MAX:
            raise broken(f"kind {self.name!r} has more than {COLUMNS_MAX} columns")
        if self.moves and self.width < _MOTION_COLUMNS:
            raise broken(f"kind {self.name!r} moves but has {self.width} columns")

    @property
    def groups(self) -> int:
        """How many change groups the kind has: bits at and above this one must be clear in a mask."""
        return self.width - _MOTION_COLUMNS + _MOTION_GROUPS if self.moves else self.width

    def plan(self, mask: int) -> Plan:
        """What a change mask says. Raises WireError for a mask with no bit or an unknown one."""
        plan = self._plans.get(mask)
        if plan is not None:
            return plan
        if mask <= 0 or mask >> self.groups:
            raise broken(f"change mask {mask} of kind {self.name!r}, which has {self.groups} groups")
        first, skipped = (_MOTION_COLUMNS, _MOTION_GROUPS) if self.moves else (0, 0)
        columns = tuple(
            (first + bit, self.modulos[first + bit])
            for bit in range(self.groups - skipped)
            if mask >> (bit + skipped) & 1
        )
        plan = Plan(self.moves and bool(mask & 1), self.moves and bool(mask & 2), columns)
        if len(self._plans) < _PLANS_MAX:
            self._plans[mask] = plan
        return plan


@dataclass(frozen=True)
class InputLayout:
    """One kind of input: its number on the wire, and (name, min, max) of each field in wire order."""

    number: int
    name: str
    fields: tuple[tuple[str, int, int], ...]

    def values(self, fields: dict[str, int]) -> list[int]:
        """Values in wire order; a field that is not given is 0, or its nearest bound.

        Raises ValueError for unknown fields and values out of bounds.
        """
        unknown = fields.keys() - {name for name, _, _ in self.fields}
        if unknown:
            raise ValueError(f"input {self.name} has no field {sorted(unknown)}; it has {[f[0] for f in self.fields]}")
        values = [int(fields.get(name, min(max(0, low), high))) for name, low, high in self.fields]
        self.check(values)
        return values

    def check(self, values: list[int]) -> None:
        """Raises ValueError unless there is one value a field, each within its bounds."""
        if len(values) != len(self.fields):
            raise ValueError(f"input {self.name} has {len(self.fields)} fields, not {len(values)}")
        for (name, low, high), value in zip(self.fields, values, strict=True):
            if not low <= value <= high:
                raise ValueError(f"{self.name}.{name} is {value}, must lie within {low}..{high}")


@dataclass(frozen=True)
class ClientContract:
    """The world as a client must know it. Lengths in position units, `tick_interval_us` in microseconds."""

    world: str
    title: str
    title_version: int
    fingerprint: str
    definitions: str
    """Digest of the title's declarations, as generated code carries it; empty from a server that does not tell it."""
    cells_x: int
    cells_y: int
    cell_size: int
    shards_x: int
    shards_y: int
    view: int
    tick_interval_us: int
    kinds: tuple[KindLayout, ...]
    inputs: tuple[InputLayout, ...]

    @cached_property
    def cell_count(self) -> int:
        """Cells of the world: cell numbers lie below it."""
        return self.cells_x * self.cells_y

    @cached_property
    def shard_count(self) -> int:
        """Shards of the world: shard numbers lie below it."""
        return self.shards_x * self.shards_y

    def shard_of(self, cell: int) -> int:
        """The shard that holds a cell."""
        cy, cx = divmod(cell, self.cells_x)
        return (cy // (self.cells_y // self.shards_y)) * self.shards_x + cx // (self.cells_x // self.shards_x)

    def corner_of(self, cell: int) -> tuple[int, int]:
        """The lower corner (x, y) of a cell, position units."""
        cy, cx = divmod(cell, self.cells_x)
        return cx * self.cell_size, cy * self.cell_size

    def kind(self, name: str) -> int:
        """The number of the kind of that name. Raises KeyError."""
        for number, kind in enumerate(self.kinds):
            if kind.name == name:
                return number
        raise KeyError(name)

    def input(self, name: str) -> InputLayout:
        """The input kind of that name. Raises ValueError."""
        for kind in self.inputs:
            if kind.name == name:
                return kind
        raise ValueError(f"title {self.title} has no input {name!r}; it has {[i.name for i in self.inputs]}")


def read_welcome(welcome: pb.Welcome) -> ClientContract:
    """The contract a `Welcome` tells. Raises WireError where it cannot be true."""
    if welcome.protocol != PROTOCOL_VERSION:
        raise WireError(4005, f"the server speaks protocol {welcome.protocol}, this client {PROTOCOL_VERSION}")
    if len(welcome.kinds) > KINDS_MAX or len(welcome.inputs) > KINDS_MAX:
        raise broken(f"more than {KINDS_MAX} kinds or inputs")
    grid = welcome.grid
    contract = ClientContract(
        world=welcome.world,
        title=welcome.title,
        title_version=welcome.title_version,
        fingerprint=welcome.contract,
        definitions=welcome.definitions,
        cells_x=grid.cells_x,
        cells_y=grid.cells_y,
        cell_size=grid.cell_size,
        shards_x=grid.shards_x,
        shards_y=grid.shards_y,
        view=grid.view,
        tick_interval_us=welcome.tick_interval_us,
        kinds=tuple(KindLayout(k) for k in welcome.kinds),
        inputs=tuple(_input(number, kind) for number, kind in enumerate(welcome.inputs)),
    )
    _check_grid(contract)
    return contract


def _input(number: int, kind: pb.InputKind) -> InputLayout:
    fields = tuple((f.name, f.min, f.max) for f in kind.fields)
    if any(low > high for _, low, high in fields):
        raise broken(f"input {kind.name!r} has a field without values")
    return InputLayout(number, kind.name, fields)


def _check_grid(contract: ClientContract) -> None:
    counts = (contract.cells_x, contract.cells_y, contract.shards_x, contract.shards_y, contract.cell_size)
    if min(counts) < 1 or contract.cell_count > CELLS_MAX:
        raise broken("a grid needs cells, shards and a cell size")
    if contract.cells_x % contract.shards_x or contract.cells_y % contract.shards_y:
        raise broken("shards do not divide the grid")
    if contract.tick_interval_us < 1:
        raise broken("a tick needs a length")
