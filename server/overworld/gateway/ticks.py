"""A worker's `TickOutput`, taken apart and checked: all of it before any of it has an effect."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from overworld.errors import LinkError
from overworld.wire.cells import Streams
from overworld.wire.v1.link_pb2 import TickOutput
from overworld.world.grid import Grid
from overworld.world.interest import Populations

U32 = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]

NO_ACKS = np.zeros(0, np.int64), np.zeros(0, np.uint32)


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick of one shard, for one gateway.

    Pieces are ready `Frame` bytes. Piece i of the updates is of cell `update_cells[i]` (uint32[m], ascending). It is
    `updates[update_offsets[i]:update_offsets[i + 1]]` (int64[m + 1]).
    """

    shard: int
    epoch: int
    tick: int
    tick_interval_us: int
    update_cells: U32
    update_offsets: Ints
    updates: bytes
    keyframes: list[tuple[int, bytes]]
    """(cell, piece)"""
    acks: tuple[Ints, U32]
    """sessions int64[n], last inputs applied uint32[n]"""
    views: list[tuple[int, int]]
    """(session, cell it looks from)"""
    owns: list[tuple[int, bytes]]
    """(session, piece)"""
    closed: list[tuple[int, int]]
    """(session, close code)"""
    joined: list[tuple[int, int]]
    """(session, last input applied before)"""
    moved: list[tuple[int, int, int]]
    """(session, shard its player lives in now, number of the message that carried it there)"""
    streams: Streams | None = None
    """What changed in split cells; None where there is nothing."""
    focuses: list[tuple[int, int]] = field(default_factory=list)
    """(session, place it looks from)"""
    populations: Populations | None = None
    """How many rows stand in split cells' plots; None where the worker does not say."""


def decode(output: TickOutput, grid: Grid) -> Tick:
    """Raises LinkError where the worker's columns do not fit together."""
    updates = output.updates
    sizes = _u32(output.update_sizes_u32)
    cells = _u32(output.update_cells_u32)
    tick = Tick(
        shard=output.shard,
        epoch=output.epoch,
        tick=output.tick,
        tick_interval_us=output.tick_interval_us,
        update_cells=cells,
        update_offsets=_offsets(sizes, len(cells), len(updates)),
        updates=updates,
        keyframes=_cut(_u32(output.keyframe_cells_u32).tolist(), output.keyframe_sizes_u32, output.keyframes),
        acks=_columns(output.ack_sessions_i64, output.ack_seqs_u32),
        views=_pairs(output.view_sessions_i64, output.view_cells_u32),
        owns=_cut(_i64(output.own_sessions_i64), output.own_sizes_u32, output.owns),
        closed=_pairs(output.closed_sessions_i64, output.closed_codes_u32),
        joined=_pairs(output.joined_sessions_i64, output.joined_seqs_u32),
        moved=_moved(output, grid.shard_count),
        streams=_streams(output),
        focuses=_focuses(output),
        populations=_populations(output),
    )
    if bool((cells[1:] < cells[:-1]).any()):
        raise LinkError("update cells do not ascend")
    cells_max = grid.cells_x * grid.cells_y
    if any(cell >= cells_max for _, cell in tick.views) or any(cell >= cells_max for cell, _ in tick.keyframes):
        raise LinkError(f"a cell number in a world of {cells_max} cells is too large")
    return tick


def _moved(output: TickOutput, shard_count: int) -> list[tuple[int, int, int]]:
    if not output.moved_sessions_i64 and not output.moved_shards_u32 and not output.moved_numbers_i64:
        return []
    places = _pairs(output.moved_sessions_i64, output.moved_shards_u32)
    numbers = _i64(output.moved_numbers_i64)
    if len(numbers) != len(places):
        raise LinkError(f"{len(numbers)} message numbers and {len(places)} moves do not belong together")
    moved = [(session, shard, number) for (session, shard), number in zip(places, numbers, strict=True)]
    for _, shard, number in moved:
        if shard >= shard_count or shard == output.shard or number < 1:
            raise LinkError(f"a move from shard {output.shard} to {shard} of {shard_count} by message {number}")
    return moved


def _streams(output: TickOutput) -> Streams | None:
    if not output.stream_places_i64 and not output.stream_sizes_u32 and not output.streams:
        return None
    places = np.array(_i64(output.stream_places_i64), np.int64)
    offsets = _offsets(_u32(output.stream_sizes_u32), len(places), len(output.streams))
    if bool((places[1:] <= places[:-1]).any()) or (len(places) and int(places[0]) < 0):
        raise LinkError("places of streams do not ascend")
    return Streams(places, offsets, output.streams)


def _focuses(output: TickOutput) -> list[tuple[int, int]]:
    sessions, places = _i64(output.focus_sessions_i64), _i64(output.focus_places_i64)
    if len(sessions) != len(places) or min(places, default=0) < 0:
        raise LinkError(f"{len(places)} places of {len(sessions)} sessions")
    return list(zip(sessions, places, strict=True))


def _populations(output: TickOutput) -> Populations | None:
    if not output.plot_cells_u32 and not output.plot_rows_u8:
        return None
    cells = _u32(output.plot_cells_u32).astype(np.int64)
    rows = np.frombuffer(output.plot_rows_u8, np.uint8)
    if not len(cells) or not len(rows) or len(rows) % len(cells):
        raise LinkError(f"{len(rows)} numbers of rows in {len(cells)} cells")
    return Populations(cells, rows)


def _u32(column: bytes) -> U32:
    if len(column) % 4:
        raise LinkError("a column ends in the middle of a number")
    return np.frombuffer(column, "<u4")


def _i64(column: bytes) -> list[int]:
    if len(column) % 8:
        raise LinkError("a column ends in the middle of a number")
    return np.frombuffer(column, "<i8").tolist()  # type: ignore[no-any-return]


def _offsets(sizes: U32, pieces: int, data_bytes: int) -> Ints:
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    if len(sizes) != pieces or int(offsets[-1]) != data_bytes:
        raise LinkError(f"{pieces} pieces, {len(sizes)} sizes and {data_bytes} bytes do not belong together")
    return offsets


def _cut(keys: list[int], sizes: bytes, data: bytes) -> list[tuple[int, bytes]]:
    if not keys and not sizes and not data:
        return []
    offsets = _offsets(_u32(sizes), len(keys), len(data)).tolist()
    return [(key, data[begin:end]) for key, (begin, end) in zip(keys, pairwise(offsets), strict=True)]


def _columns(keys: bytes, values: bytes) -> tuple[Ints, U32]:
    if len(keys) != 2 * len(values) or len(keys) % 8:
        raise LinkError(f"columns of {len(keys)} and {len(values)} bytes do not belong together")
    return np.frombuffer(keys, "<i8"), np.frombuffer(values, "<u4")


def _pairs(keys: bytes, values: bytes) -> list[tuple[int, int]]:
    if not keys and not values:
        return []
    sessions, numbers = _columns(keys, values)
    return list(zip(sessions.tolist(), numbers.tolist(), strict=True))
