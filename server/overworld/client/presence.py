"""Who is in the player's picture, told one by one: entities that came, changed and went.

    client.presence.on_add(lambda seen: print("there is", seen))
    client.presence.on_remove(lambda seen, reason: print("there was", seen, reason))

An entity that crosses into another cell, or whose cell is sent anew, stays the same entity: it is neither removed nor
added. So does one that goes to another shard, though for a moment it may be in no cell (see `overworld.client.bridge`)
or in two (then it is where it was added last), and one that is still there after a resume. It tells exactly what the
`add`, `change`, `remove` and `own` of the JavaScript client tell.

A presence follows a mirror from the moment it is made, and only then: it keeps a reference to each row, and per touched
cell it compares the rows before and after. A mirror that nobody follows pays for none of that. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, ParamSpec

import numpy as np
import numpy.typing as npt
import structlog

from overworld.client.bridge import Bridge, Last, cell_at, may_cross
from overworld.client.contract import ClientContract, KindLayout
from overworld.client.mirror import Avatar, Mirror, Seen
from overworld.client.rows import Rows
from overworld.wire.v1 import client_pb2 as pb

Ints = npt.NDArray[np.int64]
log = structlog.get_logger(__name__)

CARRIED_FRAMES_MAX = 40
"""An entity kept from before a resume is given up after so many frames with ticks in them."""

WHOLE = -1
"""The mask of a change in which an entity was sent whole."""

Reason = Literal["gone", "unseen"]
"""`gone`: it ceased to exist where we could see it. `unseen`: we no longer see it; it may well go on."""

P = ParamSpec("P")


class Listeners(Generic[P]):
    """Callbacks of one event. One that raises is logged; the others hear all the same, and the picture goes on."""

    def __init__(self) -> None:
        self._all: list[Callable[P, object]] = []

    def add(self, listener: Callable[P, object]) -> Callable[[], None]:
        """Returns what takes the listener off again."""
        self._all.append(listener)

        def off() -> None:
            if listener in self._all:
                self._all.remove(listener)

        return off

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call all of them."""
        for listener in tuple(self._all):
            try:
                listener(*args, **kwargs)
            except Exception:
                log.exception("client_listener_failed")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an entity stands. `kept`: the mirror's own row, which stays readable after it left the mirror."""

    cell: int
    shard: int
    kind: int
    layout: KindLayout
    kept: list[int]

    def values(self, tick: int) -> tuple[int, ...]:
        """The columns at a tick of its shard."""
        kept = self.kept
        if not self.layout.moves:
            return tuple(kept)
        return (kept[0] + kept[2] * tick, kept[1] + kept[3] * tick, *kept[2:])


class Presence:
    """See the module. Listeners are called once a frame was applied whole: removals, then additions, then changes."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self._added: Listeners[[Seen]] = Listeners()
        self._changed: Listeners[[int, int, int]] = Listeners()
        self._removed: Listeners[[Seen, Reason]] = Listeners()
        self._owned: Listeners[[Avatar | None]] = Listeners()
        self._rows: dict[int, dict[int, dict[int, _Place]]] = {}
        """The rows last seen, by cell, kind and entity."""
        self._where: dict[int, _Place] = {}
        self._older: dict[int, list[_Place]] = {}
        """Of entities in more than one cell, the older places, newest last."""
        self._bridge = Bridge()
        self._carried: dict[int, Last] = {}
        """Entities seen before a resume and not yet again."""
        self._carried_frames = 0
        self._session: int | None = None
        self._own: Avatar | None = mirror.avatar
        self._marks = dict(mirror.ticks)
        self._entered: set[int] = set()
        # What the frame being applied did, by entity.
        self._came: dict[int, None] = {}
        self._went: dict[int, Last] = {}
        self._masks: dict[int, int] = {}
        self._look_around()

    # ------------------------------------------------------------ for the player

    def on_add(self, listener: Callable[[Seen], object]) -> Callable[[], None]:
        """Called with each entity that came into the picture. What is there already is not told: see `every`.

        Returns what takes the listener off again; so do all of these.
        """
        return self._added.add(listener)

    def on_change(self, listener: Callable[[int, int, int], object]) -> Callable[[], None]:
        """Called with (entity, kind, mask) for each one that was told anew: the bits of its change groups
        (proto/README.md), or `WHOLE`. Going on by its velocity is no change.
        """
        return self._changed.add(listener)

    def on_remove(self, listener: Callable[[Seen, Reason], object]) -> Callable[[], None]:
        """Called with each entity that went, as it was last, and why."""
        return self._removed.add(listener)

    def on_own(self, listener: Callable[[Avatar | None], object]) -> Callable[[], None]:
        """Called when the player's avatar or its private values are others than before."""
        return self._owned.add(listener)

    def __len__(self) -> int:
        return len(self._where) + len(self._bridge)

    def __contains__(self, entity: int) -> bool:
        return entity in self._where or entity in self._bridge

    def stands(self, entity: int) -> bool:
        """Whether it stands in a cell, and is not between two shards."""
        return entity in self._where

    def get(self, entity: int) -> Seen | None:
        """An entity as it is now, between two shards as it must be; None where it is not in the picture."""
        place = self._where.get(entity)
        if place is not None:
            return self._last(entity, place).seen
        last = self._bridge.get(entity)
        return last.seen if last is not None else None

    def every(self, kind: int | None = None) -> Iterator[Seen]:
        """All entities (of a kind), each once, those between two shards last."""
        for entity, place in self._where.items():
            if kind is None or place.kind == kind:
                yield self._last(entity, place).seen
        for last in self._bridge.all():
            if kind is None or last.seen.kind == kind:
                yield last.seen

    def rows(self, shards: Collection[int]) -> Iterator[tuple[int, int, KindLayout, tuple[int, ...]]]:
        """(shard, entity, its kind, its columns now) of all that stand in cells of these shards."""
        ticks = {shard: self.mirror.ticks.get(shard, (0, 0))[1] for shard in shards}
        for entity, place in self._where.items():
            if place.shard in ticks:
                yield place.shard, entity, place.layout, place.values(ticks[place.shard])

    def table(self, kind: int) -> tuple[Ints, Ints]:
        """A kind, now, each entity once, those between two shards last: ids, int64[rows], and columns,
        int64[columns, rows]. Raises OverflowError where the server's differences left 64 bits.
        """
        contract = self.mirror.contract
        width = contract.kinds[kind].width if contract is not None else 0
        seen = list(self.every(kind))
        columns = np.array([each.values for each in seen], np.int64).reshape(len(seen), width).T
        return np.array([each.entity for each in seen], np.int64), columns

    # ------------------------------------------------------------ called by the mirror

    def welcomed(self, welcome: pb.Welcome) -> None:
        """A Welcome is about to start the mirror anew."""
        contract = self.mirror.contract
        # What a broken frame brought was never told, and what it took was not either.
        for entity in self._came:
            self._where.pop(entity, None)
        self._carried.update(self._went)
        for entity, place in self._where.items():
            self._carried[entity] = self._last(entity, place)
        for last in self._bridge.all():
            self._carried[last.seen.entity] = last
        self._came, self._went, self._masks = {}, {}, {}
        self._bridge.clear()
        if contract is None or contract.fingerprint != welcome.contract:
            self._went, self._carried = self._carried, {}
            self._own = None
        elif self._session not in (None, welcome.session):
            self._own = None
        self._session = welcome.session
        self._carried_frames = 0
        for kept in (self._rows, self._where, self._older, self._marks):
            kept.clear()

    def begun(self, heads: Mapping[int, tuple[int, int]]) -> None:
        """A frame completes a tick of these shards: (epoch, tick)."""
        self._entered.clear()
        ticks = {s: max(0, at[1] - self._marks[s][1]) if s in self._marks else 0 for s, at in heads.items()}
        self._bridge.advance(ticks)
        self._marks.update(heads)

    def took(self, piece: pb.Cell, shard: int, rows: Rows) -> None:
        """The mirror took a piece into these rows of a shard."""
        if piece.removed or piece.added:
            self._compare(piece.cell, piece.kind, shard, rows)
        for index, mask in _masks(piece, rows.kind):
            entity = rows.ids[index]
            self._masks[entity] = self._masks.get(entity, 0) | mask

    def forgot(self, cell: int) -> None:
        """The mirror lets go of a cell, if it holds it."""
        for _, places in sorted(self._rows.pop(cell, {}).items()):
            for entity, place in places.items():
                self._leaves(entity, place)

    def entered(self, cell: int) -> None:
        """The mirror begins to hold a cell."""
        self._entered.add(cell)

    def settled(self, frame: Any) -> None:
        """A frame was applied whole: tell what it changed."""
        mirror = self.mirror
        own_is_news = bool(frame.owns) and mirror.avatar != self._own
        if frame.owns:
            self._own = mirror.avatar
        self._settle_carried(bool(frame.heads))
        came, went, masks = self._came, self._went, self._masks
        self._came, self._went, self._masks = {}, {}, {}
        contract = mirror.contract
        assert contract is not None
        ended = [last for last in went.values() if not self._kept(last, contract)] + self._bridge.expire()
        for last in ended:
            self._removed.tell(last.seen, self._reason(last, contract))
        for entity in came:
            self._added.tell(self._last(entity, self._where[entity]).seen)
        for entity, mask in masks.items():
            if entity in self._where and entity not in came:
                self._changed.tell(entity, self._where[entity].kind, mask)
        if own_is_news:
            self._owned.tell(mirror.avatar)

    # ------------------------------------------------------------ coming and going

    def _look_around(self) -> None:
        """Take what is in the mirror already, and tell nobody."""
        found = []
        for cell, kind, shard, rows in self.mirror.follow(self):
            places = self._rows.setdefault(cell, {}).setdefault(kind, {})
            for entity, kept, since in zip(rows.ids, rows.kept, rows.since, strict=True):
                places[entity] = _Place(cell, shard, kind, rows.kind, kept)
                found.append((since, entity, places[entity]))
        for _, entity, place in sorted(found, key=lambda at: at[0]):
            self._comes(entity, place)
        self._came, self._masks = {}, {}

    def _compare(self, cell: int, kind: int, shard: int, rows: Rows) -> None:
        """What came and went between the rows last seen and these. Who went and came again is another row."""
        kinds = self._rows.setdefault(cell, {})
        before, now = kinds.get(kind, {}), {}
        came = []
        for entity, kept in zip(rows.ids, rows.kept, strict=True):
            place = before.get(entity)
            if place is None or place.kept is not kept:
                place = _Place(cell, shard, kind, rows.kind, kept)
                came.append((entity, place))
            now[entity] = place
        kinds[kind] = now
        for entity, place in before.items():
            if now.get(entity) is not place:
                self._leaves(entity, place)
        for entity, place in came:
            self._comes(entity, place)

    def _comes(self, entity: int, place: _Place) -> None:
        before = self._where.get(entity)
        if before is not None:
            self._older.setdefault(entity, []).append(before)
        known = before is not None or self._went.pop(entity, None) is not None or self._bridge.take(entity)
        if known or self._carried.pop(entity, None) is not None:
            self._masks[entity] = WHOLE
        else:
            self._came[entity] = None
        self._where[entity] = place

    def _leaves(self, entity: int, place: _Place) -> None:
        older = self._older.get(entity)
        if older:
            # It came into another cell first (two shards' frames, in either order) and lives on there.
            if self._where[entity].cell == place.cell:
                self._where[entity] = older.pop()
                self._masks[entity] = WHOLE
            left = [other for other in older if other.cell != place.cell]
            if left:
                self._older[entity] = left
            else:
                del self._older[entity]
            return
        last = self._last(entity, place)
        self._where.pop(entity, None)
        self._masks.pop(entity, None)
        if entity in self._came:
            del self._came[entity]
        else:
            self._went[entity] = last

    def _settle_carried(self, has_ticks: bool) -> None:
        """Give up entities from before a resume whose cell has come anew without them."""
        if not self._carried:
            return
        self._carried_frames += has_ticks
        patience = self._carried_frames <= CARRIED_FRAMES_MAX
        for entity, last in list(self._carried.items()):
            if not patience or self.mirror.holds(last.seen.cell):
                self._went[entity] = self._carried.pop(entity)

    def _kept(self, last: Last, contract: ClientContract) -> bool:
        """Keep an entity that left its cell on the bridge, if it is likely to be in another shard's soon."""
        seen, holds = last.seen, self.mirror.holds
        # A cell that was left or sent anew says nothing of where its entities went.
        if not holds(seen.cell) or seen.cell in self._entered:
            return False
        is_own = self._own is not None and seen.entity == self._own.entity
        if not is_own and not may_cross(last, contract, holds):
            return False
        self._bridge.keep(last)
        return True

    def _reason(self, last: Last, contract: ClientContract) -> Reason:
        """A row that left a cell we hold, at a place we still hold, can only have ended."""
        if not self.mirror.holds(last.seen.cell):
            return "unseen"
        if not last.moves:
            return "gone"
        x, y = last.seen.values[:2]
        return "gone" if self.mirror.holds(cell_at(x, y, contract)) else "unseen"

    def _last(self, entity: int, place: _Place) -> Last:
        """As it is at its shard's newest tick."""
        values = place.values(self.mirror.ticks.get(place.shard, (0, 0))[1])
        return Last(Seen(entity, place.kind, place.cell, values), place.shard, place.layout.moves)


def _masks(piece: pb.Cell, layout: KindLayout) -> Iterator[tuple[int, int]]:
    """(row, change mask) of each record of a piece that the mirror found to be right."""
    for values, place_values in ((piece.changed, 2), (piece.restated, 4)):
        at, i, end = -1, 0, len(values)
        while i < end:
            at += values[i] + 1
            mask = values[i + 1]
            yield at, mask
            plan = layout.plan(mask)
            i += 2 + place_values * plan.velocity + 2 * plan.position + len(plan.columns)
