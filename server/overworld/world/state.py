"""The state of one shard: its tables, its players, its tick. Titles see it as `overworld.game.Shard`.

Everything a step may depend on is here or in its arguments; nothing here reads a clock, a random source or the outside.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from overworld.world import near, random
from overworld.world.contract import WorldContract
from overworld.world.fields import Audience, Field
from overworld.world.grid import Grid
from overworld.world.schema import Column, Entity, Kind, motion_name
from overworld.world.table import MotionColumns, Table

Ints = npt.NDArray[np.int64]

PLAYER_COLUMNS = (
    "session",
    "online",
    "inside",
    "last_seq",
    "avatar_kind",
    "avatar",
    "lost_tick",
    "view_cell",
    "kick_code",
)
"""What the server keeps for each player, before the title's own columns. `avatar_kind` is -1 without an avatar."""


def player_kind(contract: WorldContract) -> Kind:
    """The kind of a shard's player table: the server's columns, then the title's. Row ids are player ids."""
    server = Field(audience=Audience.SERVER)
    own = tuple(Column(name, server) for name in PLAYER_COLUMNS)
    return Kind("Player", None, (), (), own + contract.player_columns)


class Shard:
    """One shard's state, and the only thing a title's verbs may touch.

    `shard[Ship]` is the table of ships, `shard.players` the table of players (ids are player ids), `shard.tick` the
    only time, `shard.random` the only chance, `shard.near` the spatial query.
    """

    def __init__(self, contract: WorldContract, index: int, entities: tuple[type[Entity], ...]) -> None:
        assert len(entities) == len(contract.kinds)
        self.contract = contract
        self.grid: Grid = contract.grid
        self.index = index
        self.tick = 0
        self.bounds = contract.grid.bounds(index)
        shards = contract.grid.shard_count
        # Ids are interleaved by shard, so that they stay small numbers, which are short on the wire.
        step = shards * len(entities)
        self.tables: list[Table] = [
            Table(kind, motion_name(cls), first_id=step + index * len(entities) + i, id_step=step)
            for i, (kind, cls) in enumerate(zip(contract.kinds, entities, strict=True))
        ]
        self.players = Table(player_kind(contract), None, 0, 1)
        self._by_class = dict(zip(entities, self.tables, strict=True))
        self._kind_of = {id(table): i for i, table in enumerate(self.tables)}
        self._drawn: dict[str, int] = {}

    # ------------------------------------------------------------ for titles

    def __getitem__(self, entity: type[Entity]) -> Table:
        return self._by_class[entity]

    def units(self, length: float) -> int:
        """A length of the title's own measure in position units, rounded to the nearest."""
        return round(length * self.grid.units_per_one)

    def random(self, stream: str, count: int, low: int, high: int) -> Ints:
        """`count` whole numbers, low <= v < high, int64[count]. Each call of a tick goes on where the stream's last
        one stopped.
        """
        first = self._drawn.get(stream, 0)
        self._drawn[stream] = first + count
        numbers = random.draw(self.contract.seed, self.index, self.tick, stream, first, count)
        return random.below(numbers, low, high)

    def near(self, a: MotionColumns, b: MotionColumns, radius: int) -> tuple[Ints, Ints]:
        """Index pairs (i, j) with a[i] within `radius` position units of b[j]: int64[m] twice, sorted by i, then j."""
        return near.pairs(a.x, a.y, b.x, b.y, radius)

    def near_points(self, x: Ints, y: Ints, b: MotionColumns, radius: int) -> tuple[Ints, Ints]:
        """As `near`, for points that are no entities: x and y int64[n], position units."""
        return near.pairs(x, y, b.x, b.y, radius)

    def near_swept(self, a: MotionColumns, b: MotionColumns, radius: int) -> tuple[Ints, Ints]:
        """As `near`, for pairs that came within `radius` at any moment of the tick that ended here, both having moved
        straight at their velocities. Call after `advance`: what moves further in a tick than its target is wide does
        not fly through it.
        """
        return near.swept_pairs((a.x, a.y, a.vx, a.vy), (b.x, b.y, b.vx, b.vy), radius)

    def give_avatar(self, players: Ints, table: Table, rows: Ints) -> None:
        """Make the entities at `rows` the avatars of the players at rows `players` of `shard.players`, int64[n]
        each.
        """
        self.players.avatar_kind[players] = self._kind_of[id(table)]
        self.players.avatar[players] = table.ids[rows]

    def take_avatar(self, players: Ints) -> None:
        """Leave the players at these rows of `shard.players` without an avatar. The entities stay until removed."""
        self.players.avatar_kind[players] = -1
        self.players.avatar[players] = 0

    def avatar_rows(self, players: Ints, entity: type[Entity]) -> Ints:
        """Rows of these players' avatars in a table, int64 like `players`; -1 where the avatar is of another kind,
        gone or none.
        """
        table = self[entity]
        kinds = self.players.avatar_kind[players]
        return np.where(kinds == self._kind_of[id(table)], table.rows_of(self.players.avatar[players]), -1)

    def player_rows(self, table: Table, rows: Ints) -> Ints:
        """Rows of `shard.players` whose avatar is at each of `rows` of a table, int64 like `rows`; -1 where
        nobody's.
        """
        mine = np.flatnonzero(self.players.avatar_kind == self._kind_of[id(table)])
        if not len(mine) or not len(rows):
            return np.full(len(rows), -1, np.int64)
        avatars = self.players.avatar[mine]
        order = np.argsort(avatars, kind="stable")
        ids = table.ids[rows]
        at = np.minimum(np.searchsorted(avatars[order], ids), len(mine) - 1)
        found = order[at]
        return np.where(avatars[found] == ids, mine[found], -1)

    def kick(self, players: Ints, code: int = 4012) -> None:
        """End these players' sessions at the end of the tick; their sockets close with `code`."""
        self.players.kick_code[players] = code

    # ------------------------------------------------------------ for the tick

    def begin_tick(self, tick: int) -> None:
        """Set the time of the step that follows, and start every random stream anew."""
        self.tick = tick
        self._drawn.clear()
