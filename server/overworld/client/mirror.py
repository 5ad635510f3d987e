"""The client's picture of the world, made of nothing but Frames. Pure: no I/O, no clock.

`Mirror` keeps everything a player may see. `LightMirror` keeps only ticks, acks and the avatar, for load generators
that must not spend their CPU on pictures nobody looks at. Both drop old bags by the same rule and raise WireError for a
bag that breaks a rule of proto/README.md; after a WireError the picture is worthless, and a new `Welcome` (which starts
it anew) is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from overworld.client.contract import ClientContract, broken, read_welcome
from overworld.client.rows import Rows
from overworld.wire.v1 import client_pb2 as pb

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Avatar:
    """The player's own entity. `values` holds its owner columns, in the kind's order."""

    entity: int
    kind: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class Seen:
    """One entity as the picture has it now. `values` holds its columns in the kind's order, x and y as in the world."""

    entity: int
    kind: int
    cell: int
    values: tuple[int, ...]


class LightMirror:
    """Ticks, acks and the avatar; cells and views are not even parsed."""

    def __init__(self) -> None:
        self.contract: ClientContract | None = None
        self.ticks: dict[int, tuple[int, int]] = {}
        """Highest (epoch, tick) seen, by shard."""
        self.tick_intervals_us: dict[int, int] = {}
        """How long a shard's tick lasts now, where it differs from the contract's (time dilation)."""
        self.avatar: Avatar | None = None
        self.acked = 0
        """The highest input number applied."""
        self.acked_at: tuple[int, int] | None = None
        """(shard, tick) of the newest ack."""
        self.dropped = 0
        """Bags dropped because their tick was not above one seen before."""
        self.welcomes = 0
        """How many there were: each begins another socket."""
        self._fresh: dict[int, tuple[int, int]] = {}
        """The heads of the bag being taken: what its updates belong to."""

    def parse(self, data: bytes) -> Any:
        """The Frame in a message from the server. Raises WireError."""
        return _parsed(_LIGHT_FRAME, data)

    def apply(self, frame: Any) -> bool:
        """Take one Frame. False where it was dropped as old. Raises WireError."""
        for welcome in frame.welcomes:
            self._begin(welcome)
        if self.contract is None:
            if self._of_the_world(frame):
                raise broken("a frame of the world before a Welcome")
            return True
        self._fresh = {}
        if frame.heads and not self._take_heads(frame.heads):
            self.dropped += 1
            return False
        self._take_cells(frame)
        for own in frame.owns:
            self._take_own(own)
        for ack in frame.acks:
            if ack.seq >= self.acked:
                self.acked, self.acked_at = ack.seq, (ack.shard, ack.tick)
        return True

    def home_tick(self) -> int:
        """The newest tick of the shard that answers the player's inputs; 0 where that is not known yet."""
        if self.acked_at is not None and self.acked_at[0] in self.ticks:
            return self.ticks[self.acked_at[0]][1]
        return next(iter(self.ticks.values()))[1] if len(self.ticks) == 1 else 0

    def _of_the_world(self, frame: Any) -> bool:
        return bool(frame.heads or frame.owns or frame.acks)

    def _begin(self, welcome: pb.Welcome) -> None:
        self.contract = read_welcome(welcome)
        self.welcomes += 1
        self.ticks = {}
        self.tick_intervals_us = {}
        self.avatar = None
        self.acked = welcome.last_seq
        self.acked_at = None

    def _take_heads(self, heads: Iterable[pb.TickHead]) -> bool:
        assert self.contract is not None
        new: dict[int, tuple[int, int]] = {}
        old = 0
        for head in heads:
            shard, at = head.shard, (head.epoch, head.tick)
            if shard in new or shard >= self.contract.shard_count:
                raise broken(f"shard {shard} is unknown or has two heads in one bag")
            new[shard] = at
            seen = self.ticks.get(shard)
            if seen is not None and at <= seen:
                old += 1
            elif head.tick_interval_us:
                self.tick_intervals_us[shard] = head.tick_interval_us
            elif self.tick_intervals_us:
                self.tick_intervals_us.pop(shard, None)
        if old:
            if old < len(new):
                raise broken("a bag holds old and new ticks")
            return False
        self.ticks.update(new)
        self._fresh = new
        return True

    def _take_cells(self, frame: Any) -> None:
        """Nothing: a light mirror has no cells."""

    def _take_own(self, own: pb.Own) -> None:
        assert self.contract is not None
        if own.entity == 0:
            self.avatar = None
            return
        if own.kind >= len(self.contract.kinds):
            raise broken(f"an avatar of unknown kind {own.kind}")
        values = tuple(own.values)
        if len(values) != len(self.contract.kinds[own.kind].owner_columns):
            raise broken(f"{len(values)} owner values for kind {self.contract.kinds[own.kind].name!r}")
        self.avatar = Avatar(own.entity, own.kind, values)


class Follower(Protocol):
    """Told of what a mirror does, while it does it: see `overworld.client.presence`."""

    def welcomed(self, welcome: pb.Welcome) -> None:
        """A Welcome is about to start the mirror anew."""

    def begun(self, heads: Mapping[int, tuple[int, int]]) -> None:
        """A frame completes a tick of these shards: (epoch, tick)."""

    def took(self, piece: pb.Cell, shard: int, rows: Rows) -> None:
        """The mirror took a piece into these rows of a shard."""

    def forgot(self, cell: int) -> None:
        """The mirror lets go of a cell, if it holds it."""

    def entered(self, cell: int) -> None:
        """The mirror begins to hold a cell."""

    def settled(self, frame: Any) -> None:
        """A frame was applied whole."""


class _Held:
    """A cell in view."""

    __slots__ = ("corner", "kinds", "shard")

    def __init__(self, contract: ClientContract, cell: int) -> None:
        self.shard = contract.shard_of(cell)
        self.corner = contract.corner_of(cell)
        self.kinds: dict[int, Rows] = {}


class Mirror(LightMirror):
    """Everything in view: ids and columns of each kind in each held cell, exact at every tick.

    While an entity goes from one shard to another, it may be in no cell for a tick or two; or, since the shards' bags
    come in either order, in a cell of each. Queries for one entity then answer with the newer.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[int, _Held] = {}
        self._bag = 0
        self._avatar_cell = -1
        """Where the avatar was added last, as far as that is known."""
        self._follower: Follower | None = None

    def parse(self, data: bytes) -> Any:
        """The Frame in a message from the server. Raises WireError."""
        return _parsed(pb.Frame, data)

    # ------------------------------------------------------------ queries

    @property
    def cells(self) -> set[int]:
        """The cells held."""
        return set(self._held)

    @property
    def size(self) -> int:
        """Rows in the cells held."""
        return sum(len(rows) for held in self._held.values() for rows in held.kinds.values())

    def holds(self, cell: int) -> bool:
        """Whether a cell is held."""
        return cell in self._held

    def follow(self, follower: Follower) -> list[tuple[int, int, int, Rows]]:
        """From now on tell this one, and nobody else, what changes. Returns what is there already: (cell, kind, shard,
        the mirror's own rows).
        """
        self._follower = follower
        return [
            (cell, kind, held.shard, rows) for cell, held in self._held.items() for kind, rows in held.kinds.items()
        ]

    def rows(self, cell: int, kind: int) -> tuple[Ints, Ints]:
        """A kind in a held cell, now: ids, int64[rows] ascending, and columns, int64[columns, rows].

        Raises KeyError for a cell that is not held.
        """
        assert self.contract is not None
        held = self._held[cell]
        rows = held.kinds.get(kind) or Rows(self.contract.kinds[kind])
        return np.array(rows.ids, np.int64), rows.columns(self._tick(held))

    def entity(self, kind: int, entity: int) -> Seen | None:
        """An entity by its id; None where it is not in view."""
        newest, found = -1, None
        for cell, held in self._held.items():
            rows = held.kinds.get(kind)
            if rows is not None and (row := rows.find(entity)) >= 0 and rows.since[row] > newest:
                newest, found = rows.since[row], (cell, held, rows, row)
        if found is None:
            return None
        cell, held, rows, row = found
        return Seen(entity, kind, cell, rows.at(row, self._tick(held)))

    def own(self) -> Seen | None:
        """The player's avatar as everyone sees it; None where there is none in view. Looks first where it was last."""
        if self.avatar is None:
            return None
        kind, entity = self.avatar.kind, self.avatar.entity
        held = self._held.get(self._avatar_cell)
        rows = held.kinds.get(kind) if held is not None else None
        if held is not None and rows is not None and (row := rows.find(entity)) >= 0:
            return Seen(entity, kind, self._avatar_cell, rows.at(row, self._tick(held)))
        found = self.entity(kind, entity)
        self._avatar_cell = found.cell if found is not None else -1
        return found

    def entities(self, kind: int) -> Iterator[Seen]:
        """All entities of a kind in view, now, cell by cell; twice the one that stands in two."""
        for cell, held in self._held.items():
            rows = held.kinds.get(kind)
            if rows is not None:
                tick = self._tick(held)
                for row, entity in enumerate(rows.ids):
                    yield Seen(entity, kind, cell, rows.at(row, tick))

    def picture(self, shard: int | None = None) -> list[tuple[int, ...]]:
        """Everything in view (of one shard) as plain data: sorted (kind, id, cell, column values...)."""
        found = []
        for cell, held in self._held.items():
            if shard is None or held.shard == shard:
                tick = self._tick(held)
                for kind, rows in held.kinds.items():
                    found += [(kind, entity, cell, *rows.at(row, tick)) for row, entity in enumerate(rows.ids)]
        return sorted(found)

    def _tick(self, held: _Held) -> int:
        seen = self.ticks.get(held.shard)
        return seen[1] if seen is not None else 0

    # ------------------------------------------------------------ frames

    def apply(self, frame: Any) -> bool:
        """Take one Frame, then let the follower tell. False where it was dropped as old. Raises WireError."""
        applied = super().apply(frame)
        if applied and self._follower is not None and self.contract is not None:
            self._follower.settled(frame)
        return applied

    def _begin(self, welcome: pb.Welcome) -> None:
        if self._follower is not None:
            self._follower.welcomed(welcome)
        super()._begin(welcome)
        self._held = {}
        self._avatar_cell = -1

    def _of_the_world(self, frame: Any) -> bool:
        return bool(super()._of_the_world(frame) or frame.updates or frame.views or frame.keyframes)

    def _take_cells(self, frame: Any) -> None:
        self._bag += 1
        follower = self._follower
        if follower is not None:
            follower.begun(self._fresh)
        for piece in frame.updates:
            held = self._held.get(piece.cell)
            if held is not None:
                rows = self._rows_of(held, piece)
                rows.update(piece, held.corner, self._contract.cell_size // 2, self._fresh[held.shard][1], self._bag)
                self._look_for_avatar(piece, rows)
                if follower is not None:
                    follower.took(piece, held.shard, rows)
            elif piece.cell >= self._contract.cell_count:
                raise broken(f"cell {piece.cell} does not exist")
        entered: set[int] = set()
        for view in frame.views:
            self._take_view(view, entered)
        for piece in frame.keyframes:
            if piece.cell not in entered:
                raise broken(f"a keyframe of cell {piece.cell}, which this bag does not enter")
            held = self._held.get(piece.cell)
            if held is not None:
                rows = self._rows_of(held, piece)
                rows.fill(piece, held.corner, self._fresh[held.shard][1], self._bag)
                self._look_for_avatar(piece, rows)
                if follower is not None:
                    follower.took(piece, held.shard, rows)

    def _take_own(self, own: pb.Own) -> None:
        before = self.avatar
        super()._take_own(own)
        if before is None or self.avatar is None or before.entity != self.avatar.entity:
            self._avatar_cell = -1

    def _look_for_avatar(self, piece: pb.Cell, rows: Rows) -> None:
        avatar = self.avatar
        if avatar is None or piece.kind != avatar.kind or not piece.added:
            return
        row = rows.find(avatar.entity)
        if row >= 0 and rows.since[row] == self._bag:
            self._avatar_cell = piece.cell

    def _take_view(self, view: pb.View, entered: set[int]) -> None:
        follower = self._follower
        for cell in view.left:
            if follower is not None:
                follower.forgot(cell)
            self._held.pop(cell, None)
        for cell in view.entered:
            if cell >= self._contract.cell_count:
                raise broken(f"cell {cell} does not exist")
            if follower is not None:
                follower.forgot(cell)
                follower.entered(cell)
            self._held[cell] = _Held(self._contract, cell)
            entered.add(cell)

    @property
    def _contract(self) -> ClientContract:
        assert self.contract is not None
        return self.contract

    def _rows_of(self, held: _Held, piece: pb.Cell) -> Rows:
        """The rows a piece is about. Raises WireError for an unknown kind, or a piece of no tick of this bag."""
        if held.shard not in self._fresh:
            raise broken(f"cell {piece.cell} comes without a head of shard {held.shard}")
        kind = piece.kind
        rows = held.kinds.get(kind)
        if rows is None:
            if kind >= len(self._contract.kinds):
                raise broken(f"unknown kind {kind}")
            rows = held.kinds[kind] = Rows(self._contract.kinds[kind])
        return rows


def _parsed(message: type[Message], data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError:
        raise broken("not a Frame") from None


def _light_frame() -> type[Message]:
    """The type of a Frame whose readers do not know cells and views: they are skipped as unknown fields, unparsed."""
    file = descriptor_pb2.FileDescriptorProto(
        name="overworld/client/light_frame.proto", package="overworld.client", syntax="proto3",
        dependency=[pb.DESCRIPTOR.name],
    )  # fmt: skip
    frame = file.message_type.add()
    pb.Frame.DESCRIPTOR.CopyToProto(frame)
    frame.name = "LightFrame"
    for field in [f for f in frame.field if f.name in ("updates", "keyframes", "views")]:
        frame.field.remove(field)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("overworld.client.LightFrame"))


_LIGHT_FRAME = _light_frame()
