"""The API that titles are written against. Titles import this module and numpy, and nothing else of Overworld.

A title is a class with four verbs over columns::

    class Ship(Entity):
        at = Motion()
        hp = UInt8(default=100)

    class Steer(Input):
        thrust = Int8(-1, 1)

    class Demo(Title):
        name, version = "demo", 1
        world = Grid(width=512, height=512, cell=32)
        entities, inputs = (Ship,), (Steer,)

        def join(self, shard, players):
            ships = shard[Ship]
            rows = ships.spawn(len(players))
            shard.give_avatar(players, ships, rows)

        def step(self, shard, inputs):
            steer, ships = inputs[Steer], shard[Ship]
            ships.at.vx[steer.row] = steer.thrust * 64
            ships.at.advance()

A step must be a pure function of the shard and its inputs: whole numbers only, no clocks, no numpy.random, no floats
from transcendental functions (use `cosines` and `sines`), no `argsort` without kind="stable". Journals are replayed
on other machines, and every replay must give the same bits.

API_VERSION grows with every change that an existing title could notice.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from overworld.errors import TitleError
from overworld.world.angles import ANGLE_SCALE, cosines, octant_angle, sines
from overworld.world.contract import WorldContract
from overworld.world.fields import (
    NEAR,
    OWNER,
    SERVER,
    Angle,
    Audience,
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Moment,
    Motion,
    UInt8,
    UInt16,
)
from overworld.world.grid import Grid
from overworld.world.interest import Interest
from overworld.world.messages import MessageColumns
from overworld.world.rewind import PastRows
from overworld.world.schema import (
    Entity,
    Input,
    Message,
    Player,
    compile_entity,
    compile_input,
    compile_message,
    compile_player,
)
from overworld.world.state import PLAYER_COLUMNS, Shard
from overworld.world.table import MotionColumns, Table

API_VERSION = 2
REWIND_MS_MAX = 1000

Ints = npt.NDArray[np.int64]
_SERVER_TABLES = ("Player", "Neighbour", "Trail")

__all__ = [
    "ANGLE_SCALE",
    "API_VERSION",
    "NEAR",
    "OWNER",
    "SERVER",
    "Angle",
    "Audience",
    "Bool",
    "Entity",
    "Grid",
    "Input",
    "InputColumns",
    "Inputs",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "Interest",
    "Ints",
    "Message",
    "MessageColumns",
    "Moment",
    "Motion",
    "MotionColumns",
    "PastRows",
    "Player",
    "Shard",
    "Table",
    "Title",
    "UInt8",
    "UInt16",
    "contract_of",
    "cosines",
    "octant_angle",
    "sines",
]


class InputColumns:
    """Inputs of one kind that a tick applies, in order: one entry an input in every column, int64[n].

    `player`: rows of `shard.players`; `row`: rows of the players' avatars in the table of the kind that most titles
    have only one of (the avatar's own table); `seen_tick`: the tick the player was looking at; and one attribute a
    declared field. A player may have several inputs in one tick, one after another: `last()` keeps each one's last.
    """

    player: Ints
    row: Ints
    seen_tick: Ints

    def __init__(self, player: Ints, row: Ints, seen_tick: Ints, values: dict[str, Ints]) -> None:
        self.player = player
        self.row = row
        self.seen_tick = seen_tick
        self.__dict__.update(values)

    def __len__(self) -> int:
        return len(self.player)

    def last(self) -> InputColumns:
        """The same with each player's last input only, for titles that hold it: then no row comes twice, and
        assignments by row are well defined (numpy does not say which of two values for one element wins).
        """
        differs = self.player[1:] != self.player[:-1]
        if bool(differs.all()):
            return self
        return self._only(np.append(differs, True))

    def _only(self, kept: npt.NDArray[np.bool_]) -> InputColumns:
        fields = {k: v[kept] for k, v in vars(self).items() if k not in ("player", "row", "seen_tick")}
        return InputColumns(self.player[kept], self.row[kept], self.seen_tick[kept], fields)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this input has no field {name!r}")


class Inputs:
    """The inputs of one tick. `inputs[Steer]` holds those whose player has an avatar (so `.row` is always a real row);
    `inputs.all(Steer)` holds everybody's, with `row` -1 where there is no avatar."""

    def __init__(self, columns: dict[type[Input], InputColumns]) -> None:
        self._columns = columns

    def all(self, kind: type[Input]) -> InputColumns:
        """Inputs of a kind from all players; `row` is -1 for a player without an avatar: never index with that."""
        return self._columns[kind]

    def __getitem__(self, kind: type[Input]) -> InputColumns:
        everyone = self._columns[kind]
        here = everyone.row >= 0
        if bool(here.all()):
            return everyone
        return everyone._only(here)


class Title:
    """A game. Subclass it, declare the class attributes, and implement the verbs. One instance serves all shards of a
    process: keep no state on it."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    world: ClassVar[Grid]
    entities: ClassVar[tuple[type[Entity], ...]]
    inputs: ClassVar[tuple[type[Input], ...]] = ()
    messages: ClassVar[tuple[type[Message], ...]] = ()
    """What its shards tell each other: `shard.send_to_place`, `shard.send_to_entity`, `shard.messages`."""
    player: ClassVar[type[Player]] = Player
    grace_seconds: ClassVar[int] = 30
    """How long an avatar waits for a player whose socket was lost."""
    inputs_per_tick_max: ClassVar[int] = 4
    """Inputs of one player that one tick applies; more wait for the next."""
    rewind_ms: ClassVar[int] = 250
    """How far back `Shard.rewind` looks, for kinds that declare `rewind = True`. 0: nothing is kept; it gives the
    present.
    """
    interest: ClassVar[Interest] = Interest()
    """What clients are told first where their budget does not cover all they see."""
    commit_level: ClassVar[int] = 1
    """What must have happened before players see a tick: 0 nothing, 1 journaled, 2 and on a replica, 3 and on disk."""

    def setup(self, shard: Shard) -> None:
        """Fill a new shard. Called once in its life, at tick 0."""

    def join(self, shard: Shard, players: Ints) -> None:
        """Players came: rows of `shard.players`, int64[n]. Spawn their avatars and `shard.give_avatar`."""

    def leave(self, shard: Shard, players: Ints) -> None:
        """Players are gone for good (their rows stay, for their next join). Remove their avatars."""

    def step(self, shard: Shard, inputs: Inputs) -> None:
        """One tick."""

    def awake(self, shard: Shard) -> bool:  # noqa: ARG002 (a verb)
        """True where the shard must tick although nobody looks: asked each tick that nobody does. A shard that sleeps
        goes on where it stopped when somebody comes: for it, no time has passed.
        """
        return False

    def migrate(self, table: str, from_version: int, columns: dict[str, Ints]) -> dict[str, Ints]:  # noqa: ARG002 (a verb)
        """Change a table's columns from an older version's snapshot. Fields that are new get their default without
        this.
        """
        return columns


def _rewind_ticks(kind: type[Title], tick_hz: int) -> int:
    if not 0 <= kind.rewind_ms <= REWIND_MS_MAX:
        raise ValueError(f"rewind_ms {kind.rewind_ms} does not lie within 0..{REWIND_MS_MAX}")
    return -(-kind.rewind_ms * tick_hz // 1000) if any(entity.rewind for entity in kind.entities) else 0


def contract_of(title: Title, world: str, seed: int = 0, grid: Grid | None = None) -> WorldContract:
    """The contract of a world of this title. Raises TitleError where the declarations cannot work."""
    kind = type(title)
    try:
        columns = compile_player(kind.player)
        names = [entity.__name__ for entity in kind.entities]
        if len({*names, *_SERVER_TABLES}) != len(names) + len(_SERVER_TABLES):
            raise ValueError(f"entities {names} must differ in name from each other and from {_SERVER_TABLES}")
        position_units = (grid or kind.world).units_per_one
        for entity in kind.entities:
            motion = compile_entity(entity).motion
            if motion is not None and motion.units_per_one != position_units:
                raise ValueError(
                    f"{entity.__name__}: its Motion has {motion.units_per_one} units to one, its grid {position_units}"
                )
        reserved = {c.name for c in columns} & set(PLAYER_COLUMNS)
        if reserved:
            raise ValueError(f"{kind.player.__name__}: reserved field names {sorted(reserved)}")
        return WorldContract(
            world=world,
            title=kind.name,
            title_version=kind.version,
            grid=grid or kind.world,
            kinds=tuple(compile_entity(e) for e in kind.entities),
            player_columns=columns,
            inputs=tuple(compile_input(i) for i in kind.inputs),
            seed=seed,
            grace_ticks=kind.grace_seconds * (grid or kind.world).tick_hz,
            inputs_per_tick_max=kind.inputs_per_tick_max,
            commit_level=kind.commit_level,
            messages=tuple(compile_message(m) for m in kind.messages),
            rewind_ticks=_rewind_ticks(kind, (grid or kind.world).tick_hz),
            interest=kind.interest,
        )
    except (AttributeError, ValueError, TypeError) as error:
        raise TitleError(f"title {kind.__name__} cannot be used: {error}") from error
