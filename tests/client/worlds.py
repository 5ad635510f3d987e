"""Worlds for the client's tests: a Welcome, and scripts of what happens in them."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as attribute

from hypothesis import strategies as st

from overworld.wire.v1 import client_pb2 as pb
from overworld.world.contract import WorldContract
from overworld.world.fields import Field
from overworld.world.schema import MOTION_COLUMNS, InputKind, Kind
from tests.reference_encoder import Entities, shard_of

CELL_SIZE = 64
SHIP, ROCK, NOTE = range(3)
VALUE_MAX = 2**30 - 1
"""Differences of such values fit the wire's signed 32 bits as well."""


def welcome(cells: tuple[int, int] = (4, 3), shards: tuple[int, int] = (2, 1), *, last_seq: int = 0) -> pb.Welcome:
    """A world of ships (moving, with a heading that wraps), rocks (moving, bare) and notes (not moving)."""

    def columns(*names: str, wraps: str = "") -> list[pb.Column]:
        return [pb.Column(name=n, modulo=256 if n == wraps else 0, units_per_one=1) for n in names]

    kinds = [
        pb.Kind(
            name="Ship",
            moves=True,
            columns=columns("x", "y", "vx", "vy", "heading", "hp", wraps="heading"),
            owner_columns=columns("ammo"),
        ),
        pb.Kind(name="Rock", moves=True, columns=columns("x", "y", "vx", "vy")),
        pb.Kind(name="Note", columns=columns("colour", "score")),
    ]
    steer = pb.InputKind(
        name="Steer",
        fields=[pb.InputField(name="thrust", min=-1, max=1), pb.InputField(name="turn", min=-1, max=1)],
    )
    chat = pb.InputKind(name="Fire", fields=[pb.InputField(name="power", min=1, max=9)])
    return pb.Welcome(
        protocol=1, world="main", title="demo", title_version=1, contract="c0ffee", session=7, resume=b"resume-1",
        grid=pb.Grid(
            cells_x=cells[0], cells_y=cells[1], cell_size=CELL_SIZE, shards_x=shards[0], shards_y=shards[1], view=2
        ),
        tick_interval_us=50_000, kinds=kinds, inputs=[steer, chat], commit_level=1, last_seq=last_seq,
        limits=pb.Limits(message_bytes_max=1024, messages_per_second_max=60, idle_seconds_max=20),
    )  # fmt: skip


def welcome_of(contract: WorldContract) -> pb.Welcome:
    """The Welcome to a title's world."""

    def column(name: str, field: Field) -> pb.Column:
        return pb.Column(name=name, modulo=field.modulo, units_per_one=field.units_per_one)

    def kind(k: Kind) -> pb.Kind:
        motion = [column(n, Field(units_per_one=k.motion.units_per_one)) for n in MOTION_COLUMNS] if k.motion else []
        near, owner = ([column(c.name, c.field) for c in group] for group in (k.near, k.owner))
        return pb.Kind(name=k.name, moves=k.motion is not None, columns=motion + near, owner_columns=owner)

    def input_kind(i: InputKind) -> pb.InputKind:
        fields = [pb.InputField(name=c.name, min=c.field.minimum, max=c.field.maximum) for c in i.fields]
        return pb.InputKind(name=i.name, fields=fields)

    grid = contract.grid
    return pb.Welcome(
        protocol=1, world=contract.world, title=contract.title, title_version=contract.title_version,
        contract=contract.fingerprint, session=1, resume=b"resume", commit_level=contract.commit_level,
        grid=pb.Grid(
            cells_x=grid.cells_x, cells_y=grid.cells_y, cell_size=grid.cell_size, shards_x=grid.shards[0],
            shards_y=grid.shards[1], view=grid.view * grid.units_per_one,
        ),
        tick_interval_us=grid.tick_interval_us, kinds=[kind(k) for k in contract.kinds],
        inputs=[input_kind(i) for i in contract.inputs],
    )  # fmt: skip


@dataclass
class Truth:
    """The state of a whole world, shard by shard, and how it changes."""

    welcome: pb.Welcome
    shards: list[dict[int, dict[int, list[int]]]] = attribute(default_factory=list)
    next_id: int = 1

    def __post_init__(self) -> None:
        grid = self.welcome.grid
        for _ in range(grid.shards_x * grid.shards_y):
            self.shards.append({kind: {} for kind in range(len(self.welcome.kinds))})

    def of(self, shard: int) -> Entities:
        """A shard's state as a ReferenceShard takes it."""
        return self.shards[shard]

    def step(self, shard: int, deeds: list[Deed]) -> None:
        """One tick of a shard: everything moves, then each deed happens, then what left the shard goes over."""
        for kind, rows in self.shards[shard].items():
            if self.welcome.kinds[kind].moves:
                for row in rows.values():
                    row[0] += row[2]
                    row[1] += row[3]
        for deed in deeds:
            deed.happen(self, shard)
        self._cross(shard)

    def pick(self, shard: int, kind: int, choice: int) -> list[int] | None:
        """Some row of a kind."""
        rows = self.shards[shard][kind]
        return rows[sorted(rows)[choice % len(rows)]] if rows else None

    def _cross(self, shard: int) -> None:
        grid = self.welcome.grid
        for kind, rows in self.shards[shard].items():
            if not self.welcome.kinds[kind].moves:
                continue
            for entity, row in list(rows.items()):
                cx = min(max(row[0] // grid.cell_size, 0), grid.cells_x - 1)
                cy = min(max(row[1] // grid.cell_size, 0), grid.cells_y - 1)
                other = shard_of(grid, cy * grid.cells_x + cx)
                if other != shard:
                    self.shards[other][kind][entity] = rows.pop(entity)


@dataclass(frozen=True)
class Deed:
    """One thing that happens to one entity: `what` is spawn, remove, turn, teleport, nudge or set."""

    what: str
    kind: int
    choice: int
    place: tuple[int, int]
    velocity: tuple[int, int]
    values: tuple[int, ...]

    def happen(self, truth: Truth, shard: int) -> None:
        """Change the truth."""
        columns = truth.welcome.kinds[self.kind].columns
        moves = truth.welcome.kinds[self.kind].moves
        others = [
            v % c.modulo if c.modulo else v for v, c in zip(self.values, columns[4 if moves else 0 :], strict=False)
        ]
        if self.what == "spawn":
            motion = [*self.place, *self.velocity] if moves else []
            truth.shards[shard][self.kind][truth.next_id] = motion + others
            truth.next_id += 1 + self.choice % 200
            return
        row = truth.pick(shard, self.kind, self.choice)
        if row is None:
            return
        if self.what == "remove":
            rows = truth.shards[shard][self.kind]
            del rows[sorted(rows)[self.choice % len(rows)]]
        elif self.what == "set":
            row[4 if moves else 0 :] = others
        elif moves and self.what == "turn":
            # As a title does it: the new velocity holds for the whole tick.
            row[0] += self.velocity[0] - row[2]
            row[1] += self.velocity[1] - row[3]
            row[2:4] = self.velocity
        elif moves and self.what == "nudge":
            row[0] += self.velocity[0]
            row[3] = self.velocity[1]
        elif moves:
            row[0:2] = self.place


places = st.tuples(st.integers(-40, 4 * CELL_SIZE + 40), st.integers(-40, 3 * CELL_SIZE + 40))
velocities = st.tuples(st.integers(-30, 30), st.integers(-30, 30))
deeds = st.builds(
    Deed,
    what=st.sampled_from(["spawn", "spawn", "remove", "turn", "turn", "teleport", "nudge", "set"]),
    kind=st.sampled_from([SHIP, SHIP, ROCK, NOTE]),
    choice=st.integers(0, 1000),
    place=places,
    velocity=velocities,
    values=st.tuples(*[st.integers(-VALUE_MAX, VALUE_MAX)] * 2),
)


@dataclass(frozen=True)
class Turn:
    """One tick of one shard in a script. `view`: the cells the player sees from then on; None where they stay."""

    shard: int
    deeds: list[Deed]
    view: frozenset[int] | None
    takeover: bool


turns = st.builds(
    Turn,
    shard=st.integers(0, 1),
    deeds=st.lists(deeds, max_size=6),
    view=st.none() | st.frozensets(st.integers(0, 11), max_size=12),
    takeover=st.sampled_from([False] * 9 + [True]),
)
scripts = st.lists(turns, min_size=1, max_size=30)
