"""What one tick of a shard has for each gateway, as ready link messages.

Cells' bytes are not touched here, only chosen: a gateway that watches every changed cell gets the tick's one buffer,
shared with all others that do. A message is put together from two serialised halves of a `TickOutput` (protobuf
messages concatenate): the updates, and what is this link's own.

    keyframes wanted since the last tick  -> keyframes of this tick, and updates from the next one on
    cells watched                         -> updates
    sessions on the link                  -> acks, views, owns, joined, moved, closed
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from overworld.shard.inputs import TickOutcome
from overworld.wire.cells import NOTHING, CellUpdates, Streams
from overworld.wire.v1 import link_pb2
from overworld.worker.routes import Routes
from overworld.world.grid import Grid
from overworld.world.interest import Populations

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
L = TypeVar("L")

_OUTPUT_TAG = b"\xa2\x01"
"""Field 20 (`LinkMessage.output`), length-delimited."""
_NO_CELLS: Ints = np.zeros(0, np.int64)


@dataclass(slots=True)
class _Watch:
    """What one link looks at: bool[cells of the shard]; the world cells it wants keyframes of, and those it wants
    split; whether it asks from which plots its sessions look.
    """

    cells: Bools
    count: int = 0
    wanted: set[int] = field(default_factory=set)
    split: set[int] = field(default_factory=set)
    focus: bool = False


class Watches(Generic[L]):
    """The cells of one shard that each gateway link looks at."""

    def __init__(self, grid: Grid, shard: int) -> None:
        self._grid = grid
        x0, y0, _, _ = grid.bounds(shard)
        self._origin_x, self._origin_y = x0 // grid.cell_size, y0 // grid.cell_size
        self._by_link: dict[L, _Watch] = {}
        self._split_changed = False

    @property
    def links(self) -> list[L]:
        """Links that look at any cell."""
        return [link for link, watch in self._by_link.items() if watch.count or watch.wanted]

    @property
    def watched(self) -> int:
        """Cells that links look at, once for each link."""
        return sum(watch.count for watch in self._by_link.values())

    def change(self, link: L, begin: Ints, end: Ints) -> int:
        """A `Watch` message: world cells, int64. Returns how many of them are not of this shard (they are
        ignored).
        """
        watch = self._of(link)
        begin_here, end_here = self._here(begin), self._here(end)
        ended = end[end_here]
        watch.cells[self._local(ended)] = False
        watch.count = int(watch.cells.sum())
        watch.wanted.difference_update(ended.tolist())
        self._split(watch, set(), set(ended.tolist()))
        watch.wanted.update(begin[begin_here].tolist())
        return int((~begin_here).sum() + (~end_here).sum())

    def crowd(self, link: L, split: Ints, unsplit: Ints, focus: int) -> int:
        """The rest of a `Watch` message: world cells to be split or not, int64, and whether to tell the focus. Returns
        how many of the cells are not of this shard (they are ignored).
        """
        watch = self._of(link)
        split_here, unsplit_here = self._here(split), self._here(unsplit)
        self._split(watch, set(split[split_here].tolist()), set(unsplit[unsplit_here].tolist()))
        watch.focus = focus == 1 or (watch.focus and focus != 2)
        return int((~split_here).sum() + (~unsplit_here).sum())

    def take_split(self) -> Ints | None:
        """World cells that any link wants split, ascending, int64; None where they are as when last taken."""
        if not self._split_changed:
            return None
        self._split_changed = False
        return np.array(sorted(set[int]().union(*(watch.split for watch in self._by_link.values()))), np.int64)

    def retell_split(self) -> None:
        """A new owner of the shard knows nothing of it."""
        self._split_changed = any(watch.split for watch in self._by_link.values())

    def focused(self, link: L) -> bool:
        """Whether the link asks from which plots its sessions look."""
        watch = self._by_link.get(link)
        return watch is not None and watch.focus

    @property
    def any_focused(self) -> bool:
        """Whether any link does."""
        return any(watch.focus for watch in self._by_link.values())

    def drop(self, link: L) -> None:
        """The link is gone."""
        watch = self._by_link.pop(link, None)
        self._split_changed |= bool(watch is not None and watch.split)

    @property
    def wanted(self) -> Ints:
        """World cells that any link wants a keyframe of, ascending, int64."""
        cells = set[int]().union(*(watch.wanted for watch in self._by_link.values() if watch.wanted))
        return np.array(sorted(cells), np.int64) if cells else _NO_CELLS

    def take_wanted(self, link: L) -> Ints:
        """World cells this link wants keyframes of, ascending, int64. From now on it watches them."""
        watch = self._by_link.get(link)
        if watch is None or not watch.wanted:
            return _NO_CELLS
        cells = np.array(sorted(watch.wanted), np.int64)
        watch.wanted.clear()
        watch.cells[self._local(cells)] = True
        watch.count = int(watch.cells.sum())
        return cells

    def mask(self, link: L, cells: Ints) -> Bools:
        """Which of these world cells (all of this shard) the link watches, bool like `cells`."""
        watch = self._by_link.get(link)
        if watch is None or not watch.count:
            return np.zeros(len(cells), np.bool_)
        return watch.cells[self._local(cells)]

    def _of(self, link: L) -> _Watch:
        watch = self._by_link.get(link)
        if watch is None:
            cells = self._grid.shard_cells_x * self._grid.shard_cells_y
            watch = self._by_link[link] = _Watch(np.zeros(cells, np.bool_))
        return watch

    def _split(self, watch: _Watch, begin: set[int], end: set[int]) -> None:
        before = len(watch.split)
        watch.split -= end
        after = len(watch.split)
        watch.split |= begin
        self._split_changed |= after != before or len(watch.split) != after

    def _local(self, cells: Ints) -> Ints:
        cy, cx = np.divmod(cells, self._grid.cells_x)
        return (cy - self._origin_y) * self._grid.shard_cells_x + cx - self._origin_x

    def _here(self, cells: Ints) -> Bools:
        cy, cx = np.divmod(cells, self._grid.cells_x)
        cy, cx = cy - self._origin_y, cx - self._origin_x
        return (cy >= 0) & (cy < self._grid.shard_cells_y) & (cx >= 0) & (cx < self._grid.shard_cells_x)


@dataclass(frozen=True, slots=True)
class Crowding:
    """What a tick has for clients that cannot be told everything. `cells`: the world cell of each piece of `streams`,
    int64; `focus`: (sessions, places) that look from another plot now; `populations`: of split cells' plots.
    """

    streams: Streams | None
    cells: Ints
    focus: tuple[Ints, Ints]
    populations: Populations | None = None


@dataclass(frozen=True, slots=True)
class TickStamp:
    """What every output of a tick begins with. `interval_us` is 0 where the tick has its usual length."""

    shard: int
    epoch: int
    tick: int
    interval_us: int = 0


def outputs(
    stamp: TickStamp,
    outcome: TickOutcome,
    refused: Ints,
    updates: CellUpdates,
    keyframes: CellUpdates,
    watches: Watches[L],
    routes: Routes[L],
    crowding: Crowding | None = None,
) -> list[tuple[L, bytes]]:
    """The serialised `LinkMessage` of this tick for every link that has a session here or watches a cell.

    `refused`: int64[2, n] sessions and close codes, beside those of the outcome. `keyframes` holds at least the cells
    of `watches.wanted`; empty ones are missing from it. Sessions that close or have moved are dropped from `routes`.
    """
    session_links = routes.links
    links = list({id(link): link for link in [*session_links, *watches.links]}.values())
    if not links:
        routes.drop([*outcome.closed[0].tolist(), *refused[0].tolist(), *outcome.moved[0].tolist()])
        return []
    closed = np.concatenate((np.stack(outcome.closed), refused), axis=1)
    single = _Singles(outcome, closed, routes)
    whole: bytes | None = None
    slot_of = {id(link): slot for slot, link in enumerate(session_links)}
    cells = updates.cells.astype(np.int64)
    messages = []
    for link in links:
        mask = watches.mask(link, cells)
        if len(mask) and bool(mask.all()):
            whole = whole if whole is not None else _updates_bytes(updates)
            shared = whole
        else:
            shared = _updates_bytes(_chosen(updates, np.flatnonzero(mask)))
        out = link_pb2.TickOutput(
            shard=stamp.shard, epoch=stamp.epoch, tick=stamp.tick, tick_interval_us=stamp.interval_us
        )
        if crowding is not None:
            _add_crowding(out, link, crowding, watches, routes)
        _add_keyframes(out, watches.take_wanted(link), keyframes)
        single.add(out, slot_of.get(id(link)))
        own = out.SerializeToString()
        messages.append((link, b"".join((_OUTPUT_TAG, _varint(len(own) + len(shared)), own, shared))))
    routes.drop(closed[0].tolist())
    routes.drop(outcome.moved[0].tolist())
    return messages


class _Singles:
    """The parts of a tick that are for single sessions, dealt out to links."""

    def __init__(self, outcome: TickOutcome, closed: Ints, routes: Routes[L]) -> None:
        self._pairs = []
        for name, (sessions, values) in (
            ("ack", outcome.acks),
            ("view", outcome.views),
            ("joined", outcome.joined),
            ("closed", (closed[0], closed[1])),
        ):
            if len(sessions):
                self._pairs.append((name, sessions, values, routes.slots(sessions)))
        sessions, shards, numbers = outcome.moved
        self._moved = (sessions, shards, numbers, routes.slots(sessions)) if len(sessions) else None
        sessions, sizes, self._own_bytes = outcome.owns
        self._owns = (sessions, sizes, routes.slots(sessions)) if len(sessions) else None

    def add(self, out: link_pb2.TickOutput, slot: int | None) -> None:
        if slot is None:
            return
        for name, sessions, values, slots in self._pairs:
            mine = slots == slot
            sessions_bytes = sessions[mine].astype("<i8").tobytes()
            values_bytes = values[mine].astype("<u4").tobytes()
            match name:
                case "ack":
                    out.ack_sessions_i64, out.ack_seqs_u32 = sessions_bytes, values_bytes
                case "view":
                    out.view_sessions_i64, out.view_cells_u32 = sessions_bytes, values_bytes
                case "joined":
                    out.joined_sessions_i64, out.joined_seqs_u32 = sessions_bytes, values_bytes
                case _:
                    out.closed_sessions_i64, out.closed_codes_u32 = sessions_bytes, values_bytes
        if self._moved is not None:
            sessions, shards, numbers, slots = self._moved
            mine = slots == slot
            out.moved_sessions_i64 = sessions[mine].astype("<i8").tobytes()
            out.moved_shards_u32 = shards[mine].astype("<u4").tobytes()
            out.moved_numbers_i64 = numbers[mine].astype("<i8").tobytes()
        if self._owns is not None:
            sessions, sizes, slots = self._owns
            rows = np.flatnonzero(slots == slot)
            offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
            out.own_sessions_i64 = sessions[rows].astype("<i8").tobytes()
            out.own_sizes_u32 = sizes[rows].astype("<u4").tobytes()
            out.owns = _pieces(self._own_bytes, offsets, rows)


def _add_keyframes(out: link_pb2.TickOutput, wanted: Ints, keyframes: CellUpdates) -> None:
    """Pieces of the wanted cells, with size 0 for those that `keyframes` lacks."""
    if not len(wanted):
        return
    found = np.flatnonzero(np.isin(keyframes.cells, wanted))
    chosen = _chosen(keyframes, found)
    sizes = np.zeros(len(wanted), np.int64)
    sizes[np.searchsorted(wanted, chosen.cells)] = np.diff(chosen.offsets)
    out.keyframe_cells_u32 = wanted.astype("<u4").tobytes()
    out.keyframe_sizes_u32 = sizes.astype("<u4").tobytes()
    out.keyframes = chosen.data


def _add_crowding(
    out: link_pb2.TickOutput, link: L, crowding: Crowding, watches: Watches[L], routes: Routes[L]
) -> None:
    streams = crowding.streams
    if streams is not None:
        rows = np.flatnonzero(watches.mask(link, crowding.cells))
        out.stream_places_i64 = streams.places[rows].astype("<i8").tobytes()
        out.stream_sizes_u32 = np.diff(streams.offsets)[rows].astype("<u4").tobytes()
        out.streams = _pieces(streams.data, streams.offsets, rows)
    crowd = crowding.populations
    if crowd is not None and watches.focused(link):
        mine = watches.mask(link, crowd.cells)
        out.plot_cells_u32 = crowd.cells[mine].astype("<u4").tobytes()
        out.plot_rows_u8 = crowd.rows.reshape(len(mine), -1)[mine].tobytes()
    sessions, places = crowding.focus
    if len(sessions) and watches.focused(link):
        links = routes.links
        mine = np.array([slot >= 0 and links[slot] is link for slot in routes.slots(sessions).tolist()], np.bool_)
        out.focus_sessions_i64 = sessions[mine].astype("<i8").tobytes()
        out.focus_places_i64 = places[mine].astype("<i8").tobytes()


def _chosen(updates: CellUpdates, rows: Ints) -> CellUpdates:
    """Some of the pieces, in order."""
    if len(rows) == len(updates):
        return updates
    if not len(rows):
        return NOTHING
    sizes = np.diff(updates.offsets)[rows]
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    return CellUpdates(updates.cells[rows], offsets, _pieces(updates.data, updates.offsets, rows))


def _pieces(data: bytes, offsets: Ints, rows: Ints) -> bytes:
    """The bytes of some pieces, joined; neighbours are copied as one run."""
    if not len(rows):
        return b""
    breaks = np.flatnonzero(np.diff(rows) != 1)
    firsts = rows[np.concatenate((np.zeros(1, np.int64), breaks + 1))]
    lasts = rows[np.concatenate((breaks, np.array([len(rows) - 1])))]
    view = memoryview(data)
    runs: Iterable[tuple[int, int]] = zip(offsets[firsts].tolist(), offsets[lasts + 1].tolist(), strict=True)
    return b"".join([view[start:stop] for start, stop in runs])


def _updates_bytes(updates: CellUpdates) -> bytes:
    if not len(updates):
        return b""
    return link_pb2.TickOutput(
        update_cells_u32=updates.cells.astype("<u4").tobytes(),
        update_sizes_u32=np.diff(updates.offsets).astype("<u4").tobytes(),
        updates=updates.data,
    ).SerializeToString()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
