"""The state of one shard: its tables, its players, its tick. Titles see it as `overworld.game.Shard`.

Everything a step may depend on is here or in its arguments; nothing here reads a clock, a random source or the outside.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from overworld.world import near, random
from overworld.world.contract import WorldContract
from overworld.world.fields import SERVER, Field
from overworld.world.grid import Grid
from overworld.world.messages import MessageColumns, Outgoing
from overworld.world.rewind import PastRows, Ring, Slot, present
from overworld.world.schema import MOTION_COLUMNS, Column, Entity, Kind, Message, motion_name
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
    "away",
    "away_number",
)
"""What the server keeps for each player, before the title's own columns. `avatar_kind` is -1 without an avatar. `away`
is 0 for a player who is here; one who left for another shard leaves a row with that shard's number plus 1, and the
number of the message that took him there.
"""
NEIGHBOUR_COLUMNS = ("sent", "received")
"""What a shard keeps for each shard it has to do with (the row's id): number of the last message sent to it, and of the
last one of its own applied here. Counters that are state make delivery exactly once: they are saved, replayed and
recovered with what the messages did.
"""
TRAIL_COLUMNS = ("shard", "tick")
"""Where an entity (the row's id) went that left this shard, and when."""


def player_kind(contract: WorldContract) -> Kind:
    """The kind of a shard's player table: the server's columns, then the title's. Row ids are player ids."""
    own = tuple(Column(n, Field(audience=SERVER, moment=n == "lost_tick")) for n in PLAYER_COLUMNS)
    return Kind("Player", None, (), (), own + contract.player_columns)


def ledger_kind(name: str, columns: tuple[str, ...]) -> Kind:
    """The kind of a table that only the server itself reads."""
    return Kind(name, None, (), (), tuple(Column(column, Field(audience=SERVER)) for column in columns))


def past_kinds(kind: Kind, ticks: int) -> list[Kind]:
    """The kinds of the slots that keep the motion of a kind: one a tick."""
    return [ledger_kind(f"{kind.name}.{slot}", MOTION_COLUMNS) for slot in range(ticks)]


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
        self.neighbours = Table(ledger_kind("Neighbour", NEIGHBOUR_COLUMNS), None, 0, 1)
        self.trail = Table(ledger_kind("Trail", TRAIL_COLUMNS), None, 0, 1)
        self._rings = {
            table.kind.name: Ring(table, past_kinds(table.kind, contract.rewind_ticks))
            for table in self.tables
            if table.kind.rewind and contract.rewind_ticks
        }
        self._by_class = dict(zip(entities, self.tables, strict=True))
        self._kind_of = {id(table): i for i, table in enumerate(self.tables)}
        self._drawn: dict[str, int] = {}
        self._messages: dict[str, MessageColumns] = {}
        self.outgoing = Outgoing()

    @property
    def state_tables(self) -> list[Table | Slot]:
        """Every table that is state, in the order of digests and snapshots."""
        past = (slot for ring in self._rings.values() for slot in ring.slots)
        return [*self.tables, self.players, self.neighbours, self.trail, *past]

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

    def seen(self, ticks: Ints) -> Ints:
        """The ticks nearest to these that `rewind` knows, int64 like `ticks`: no further back than `Title.rewind_ms`,
        and no later than the last whole tick, which also stands for 0 (not known). For `inputs[...].seen_tick`.
        """
        last = self.tick - 1
        return np.where(ticks == 0, last, np.clip(ticks, last - max(self.contract.rewind_ticks - 1, 0), last))

    def rewind(self, tick: int, entity: type[Entity]) -> PastRows:
        """Where the entities of a kind that declares `rewind = True` were at the end of a tick, and where they are in
        their table now. A tick beyond what `seen` gives counts as the nearest one. With `Title.rewind_ms = 0` it is
        always the present. Raises ValueError for a kind without `rewind`.
        """
        table = self[entity]
        if not table.kind.rewind:
            raise ValueError(f"{table.kind.name} does not declare rewind = True")
        ring = self._rings.get(table.kind.name)
        if ring is None:
            return present(table)
        return ring.at(int(self.seen(np.array([tick], np.int64))[0]), self.tick)

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

    def messages(self, kind: type[Message]) -> MessageColumns:
        """What shards sent here with `send_to_place` and `send_to_entity` that arrived for this tick, in order."""
        arrived = self._messages.get(kind.__name__)
        if arrived is None:
            arrived = self._messages[kind.__name__] = MessageColumns.none(self._message_fields(kind))
        return arrived

    def send_to_place(self, kind: type[Message], x: Ints, y: Ints, /, **fields: Ints | int) -> None:
        """Tell the shards that own the places (x, y), int64[n] position units; it arrives there in a tick or two.

        `fields`: every field of the message, int64[n] or one number. A place of this very shard is served as well.
        """
        x, y = np.asarray(x, np.int64), np.asarray(y, np.int64)
        self.outgoing.add(kind.__name__, self.grid.shards_of(x, y), None, self._values(kind, len(x), fields))

    def send_to_entity(self, kind: type[Message], ids: Ints, shards: Ints | int, /, **fields: Ints | int) -> None:
        """Tell whichever shard has these entities, int64[n]. `shards`: where they were last known to be, int64[n] or
        one number; a shard they left passes the message on after them, for a minute.
        """
        ids = np.asarray(ids, np.int64)
        shards = np.broadcast_to(np.asarray(shards, np.int64), ids.shape)
        self.outgoing.add(kind.__name__, shards, ids, self._values(kind, len(ids), fields))

    def kick(self, players: Ints, code: int = 4012) -> None:
        """End these players' sessions at the end of the tick; their sockets close with `code`."""
        self.players.kick_code[players] = code

    # ------------------------------------------------------------ for the tick

    def begin_tick(self, tick: int) -> None:
        """Set the time of the step that follows, and start every random stream anew."""
        self.tick = tick
        self._drawn.clear()
        self._messages.clear()

    def keep_past(self) -> None:
        """The tick ends: note where things are that may be rewound."""
        for ring in self._rings.values():
            ring.keep(self.tick)

    def offer(self, messages: dict[str, MessageColumns]) -> None:
        """What arrived for this tick, by the message kind's name."""
        self._messages = messages

    def _values(self, kind: type[Message], count: int, fields: dict[str, Ints | int]) -> Ints:
        names = self._message_fields(kind)
        if set(fields) != set(names):
            raise ValueError(f"{kind.__name__} has the fields {sorted(names)}, not {sorted(fields)}")
        values = np.zeros((len(names), count), np.int64)
        for i, name in enumerate(names):
            values[i] = fields[name]
        return values

    def _message_fields(self, kind: type[Message]) -> tuple[str, ...]:
        for declared in self.contract.messages:
            if declared.name == kind.__name__:
                return tuple(c.name for c in declared.fields)
        raise ValueError(f"the title does not list {kind.__name__} among its messages")
