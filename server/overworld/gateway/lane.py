"""The lane: sessions that play have their inputs read, and their frames written, by compiled code (`lane.c`).

What it does is what the event loop, the socket library and the session do for everybody else, for the one case that is
nearly all of the traffic; whatever else a client sends is handed back to them as it came. Where the compiled half was
not built there is no lane, and everything goes the other way. Not thread-safe: the event loop's thread calls it.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from overworld.gateway import lane_library
from overworld.gateway.inputs import Forward
from overworld.gateway.lane_library import CHUNK_BYTES, Found, Track
from overworld.gateway.limits import TokenBucket
from overworld.gateway.line import InputLine, Line
from overworld.wire.v1.link_pb2 import InputBatch, LinkMessage
from overworld.world.contract import WorldContract

Ints = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]


class Holder(Protocol):
    """Whose session is in the lane."""

    def on_raw(self, line: LaneLine, data: bytes) -> None:
        """Bytes of its client that are not for the lane. Empty: nothing more can be read."""

    def on_left(self, line: LaneLine, data: bytes) -> None:
        """Bytes for its client that the kernel did not take."""


class LaneLimits(NamedTuple):
    """See GatewaySettings. `rate`, `burst`: of the bucket of messages."""

    waiting_max: int
    message_bytes_max: int
    rate: float
    burst: float


class LaneLine:
    """One session's place in the lane: the twin of `InputLine`, and of its connection's `TokenBucket`."""

    __slots__ = ("_lane", "holder", "session", "slot")

    def __init__(self, lane: Lane, holder: Holder, session: int, slot: int) -> None:
        self._lane = lane
        self.holder = holder
        self.session = session
        self.slot = slot

    @property
    def last_sent(self) -> int:
        """Number of the last input taken."""
        return self._lane.look(self.slot)[0][0]

    @property
    def applied(self) -> int:
        """Number of the last input that a worker has applied, as far as is known."""
        return self._lane.look(self.slot)[0][1]

    @property
    def waiting(self) -> int:
        """How many inputs were taken and are not yet applied."""
        last_sent, applied = self._lane.look(self.slot)[0]
        return max(0, last_sent - applied)

    @property
    def heard_s(self) -> float:
        """When its client was last heard, monotonic."""
        return self._lane.look(self.slot)[1][2]

    def push(self, item: Forward) -> None:
        """Take the input of the next number."""
        self._lane.push(self.slot, item)

    def acked(self, seq: int) -> None:
        """The inputs up to `seq` are applied."""
        self._lane.applied(self.slot, seq)

    def kept(self) -> Sequence[Forward]:
        """The inputs that wait, in order."""
        last_sent, applied = self._lane.look(self.slot)[0]
        return [self._lane.kept(self.slot, seq) for seq in range(applied + 1, last_sent + 1)]

    def serve(self, shard: int) -> None:
        """The shard whose worker serves the session; -1: nobody does, and its inputs are not for the lane."""
        self._lane.serve(self.slot, shard)

    def take(self, now_s: float) -> bool:
        """As `TokenBucket.take`."""
        return self._lane.take(self.slot, now_s)

    def block(self, blocked: bool) -> None:
        """Whether bytes wait elsewhere, which all others must go behind."""
        self._lane.block(self.slot, blocked)

    def leave(self) -> tuple[InputLine, TokenBucket, Track]:
        """Out of the lane: what goes on in its place, and where the client's bytes stand. The line is void then."""
        return self._lane.leave(self)


class Lane:
    """All sessions in it. `open_lane` makes one."""

    def __init__(self, library: ctypes.CDLL, contract: WorldContract, limits: LaneLimits) -> None:
        self._c = library
        self._limits = limits
        kinds = [kind.fields for kind in contract.inputs]
        fields = [column.field for column in chain.from_iterable(kinds)]
        # The compiled half keeps these by address.
        self._counts = np.array([len(columns) for columns in kinds], np.int32)
        self._low = np.array([field.minimum for field in fields], np.int32)
        self._high = np.array([field.maximum for field in fields], np.int32)
        self._values = (ctypes.c_int32 * max([1, *self._counts.tolist()]))()
        made = library.lane_new(
            len(kinds), self._counts.ctypes.data, self._low.ctypes.data, self._high.ctypes.data, *limits
        )
        if not made:
            raise OSError("the lane cannot be opened: the system has no epoll left")
        self._at = ctypes.c_void_p(made)
        self._found = Found.from_address(made)
        self._columns = {name: np.ctypeslib.as_array(getattr(self._found, name)) for name in _COLUMNS}
        self._numbers, self._seconds = (ctypes.c_uint32 * 3)(), (ctypes.c_double * 3)()
        self._lines: dict[int, LaneLine] = {}
        self._sessions, self._slots = np.zeros(0, np.int64), np.zeros(0, np.int32)
        self._sorted = True
        self._acking = np.zeros(0, np.int32)
        self._extra_slots = array("i")
        self._extras = b""
        """The compiled half has its address."""

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def descriptor(self) -> int:
        """Readable while something is to be read."""
        return int(self._c.lane_epoll(self._at))

    @property
    def waiting_most(self) -> int:
        """Inputs taken and not yet applied, of the session that has most."""
        return int(self._c.lane_waiting_most(self._at))

    def close(self) -> None:
        """Everybody has left before."""
        assert not self._lines
        self._c.lane_free(self._at)

    # ------------------------------------------------------------ sessions

    def enter(
        self, holder: Holder, descriptor: int, session: int, line: Line, bucket: TokenBucket, track: Track, now_s: float
    ) -> LaneLine | None:
        """A session comes in. None where it cannot: a message is half read, or the system has no descriptor left."""
        slot = self._c.lane_enter(
            self._at, descriptor, session, track, line.last_sent, line.applied, bucket.tokens, bucket.taken_s, now_s
        )
        if slot < 0:
            return None
        made = self._lines[slot] = LaneLine(self, holder, session, slot)
        self._sorted = False
        for item in line.kept():
            self.push(slot, item)
        return made

    def leave(self, line: LaneLine) -> tuple[InputLine, TokenBucket, Track]:
        """See `LaneLine.leave`."""
        (last_sent, applied), (tokens, taken_s, _) = self.look(line.slot)
        after, track = InputLine(applied), Track()
        for item in line.kept():
            after.push(item)
        after.last_sent = last_sent
        self._c.lane_leave(self._at, line.slot, track)
        del self._lines[line.slot]
        self._sorted = False
        bucket = TokenBucket(self._limits.rate, self._limits.burst, taken_s)
        bucket.tokens = tokens
        return after, bucket, track

    def look(self, slot: int) -> tuple[tuple[int, int], tuple[float, float, float]]:
        """(last sent, applied), (tokens, when they were counted, when the client was heard)."""
        self._c.lane_look(self._at, slot, self._numbers, self._seconds)
        last_sent, applied, _ = self._numbers
        tokens, taken_s, heard_s = self._seconds
        return (last_sent, applied), (tokens, taken_s, heard_s)

    def push(self, slot: int, item: Forward) -> None:
        """See `LaneLine`."""
        values = self._values
        values[: len(item.values)] = item.values
        self._c.lane_push(self._at, slot, item.seq, item.kind, item.seen_tick, item.due_tick, values)

    def kept(self, slot: int, seq: int) -> Forward:
        """One of the inputs that wait."""
        self._c.lane_kept(self._at, slot, seq, self._numbers, self._values)
        kind, seen_tick, due_tick = self._numbers
        return Forward(seq, kind, seen_tick, tuple(self._values[: int(self._counts[kind])]), due_tick)

    def applied(self, slot: int, seq: int) -> None:
        """See `LaneLine`."""
        self._c.lane_applied(self._at, slot, seq)

    def serve(self, slot: int, shard: int) -> None:
        """See `LaneLine`."""
        self._c.lane_serve(self._at, slot, shard)

    def take(self, slot: int, now_s: float) -> bool:
        """See `LaneLine`."""
        return bool(self._c.lane_take(self._at, slot, now_s))

    def block(self, slot: int, blocked: bool) -> None:
        """See `LaneLine`."""
        self._c.lane_block(self._at, slot, blocked)

    def follow(self, track: Track, data: bytes) -> None:
        """Keep a track of a client's bytes that are read elsewhere."""
        self._c.lane_follow(track, data, len(data))

    # ------------------------------------------------------------ reading

    def read(self, now_s: float) -> tuple[int, list[tuple[LaneLine, bytes]]]:
        """Read once from each of EVENTS_MAX sockets at most. Returns how many had something, and what is not for the
        lane; `inputs` has the rest, which came before it.
        """
        ready = int(self._c.lane_read(self._at, now_s))
        found, raws = self._found, []
        raw = self._columns["raw"]
        for i in range(found.raws):
            data = raw[i * CHUNK_BYTES : i * CHUNK_BYTES + found.raw_bytes[i]].tobytes()
            raws.append((self._lines[found.raw_slots[i]], data))
        return ready, raws

    def inputs(self) -> Iterator[tuple[int, int, LinkMessage]]:
        """What the last `read` took: (shard, how many, message), one for each shard."""
        count = int(self._found.inputs)
        if not count:
            return
        shards = self._columns["shards"][:count]
        values = self._columns["values"][: int(self._found.values_count)]
        if bool((shards == shards[0]).all()):
            yield int(shards[0]), count, self._batch(slice(count), values, int(shards[0]))
            return
        of_value = np.repeat(shards, self._columns["counts"][:count])
        for shard in np.unique(shards).tolist():
            which = np.flatnonzero(shards == shard)
            yield shard, len(which), self._batch(which, values[of_value == shard], shard)

    def _batch(self, which: slice | Ints, values: npt.NDArray[np.int32], shard: int) -> LinkMessage:
        columns = self._columns
        due_ticks = columns["due_ticks"][which]
        batch = InputBatch(
            shard=shard,
            sessions_i64=columns["sessions"][which].tobytes(),
            seqs_u32=columns["seqs"][which].tobytes(),
            kinds_u32=columns["kinds"][which].tobytes(),
            seen_ticks_u32=columns["seen_ticks"][which].tobytes(),
            counts_u32=columns["counts"][which].tobytes(),
            values_i32=values.tobytes(),
            due_ticks_u32=due_ticks.tobytes() if due_ticks.any() else b"",
        )
        return LinkMessage(inputs=batch)

    # ------------------------------------------------------------ sending

    def acks(self, sessions: Ints, seqs: U32) -> list[tuple[int, int]]:
        """Inputs are applied, of sessions int64[n] up to numbers uint32[n]; their next frames say so. Returns those of
        sessions that are not in the lane.
        """
        if not self._sorted:
            self._sort()
        if not len(self._sessions):
            return list(zip(sessions.tolist(), seqs.tolist(), strict=True))
        places = np.minimum(np.searchsorted(self._sessions, sessions), len(self._sessions) - 1)
        here = self._sessions[places] == sessions
        self._acking = slots = np.ascontiguousarray(self._slots[places[here]])
        numbers = np.ascontiguousarray(seqs[here])
        self._c.lane_acks(self._at, len(slots), slots.ctypes.data, numbers.ctypes.data)
        if len(slots) == len(sessions):
            return []
        return list(zip(sessions[~here].tolist(), seqs[~here].tolist(), strict=True))

    def own(self, own: Mapping[int, bytes]) -> None:
        """What is one session's own, by slot: it goes behind its next frame."""
        ends, slots = array("q", accumulate(map(len, own.values()))), array("i", own)
        self._extras = b"".join(own.values())
        self._c.lane_extras(self._at, len(own), _address(slots), self._extras, _address(ends))
        self._extra_slots += slots

    def send(self, frames: Sequence[bytes], counts: Sequence[int], slots: Sequence[int], tail: bytes) -> int:
        """Send each frame to the next `counts[i]` of `slots` (-1: somebody else's affair), with what is their own
        behind it. `tail`: the end of acks. Returns the bytes of own pieces.
        """
        ends, each, to = array("q", accumulate(map(len, frames))), array("i", counts), array("i", slots)
        sent = self._c.lane_send(
            self._at, len(frames), b"".join(frames), _address(ends), _address(each), _address(to), tail, len(tail)
        )
        self._hand_back()
        return int(sent)

    def send_runs(
        self, head: bytes, data: bytes, cuts: Ints, run_counts: I32, counts: array[int], slots: array[int], tail: bytes
    ) -> tuple[int, Ints]:
        """The same with frames yet to be made: frame i is `head` and the next `run_counts[i]` (int32[frames]) runs
        data[begin:end] of `cuts`, int64[2 * runs]. Returns the bytes of own pieces, and int64[frames] bytes of frames.
        """
        sizes = np.empty(len(run_counts), np.int64)
        sent = self._c.lane_send_runs(
            self._at, len(run_counts), head, len(head), data, cuts.ctypes.data, run_counts.ctypes.data,
            _address(counts), _address(slots), tail, len(tail), sizes.ctypes.data,
        )  # fmt: skip
        self._hand_back()
        return int(sent), sizes

    def send_rest(self, tail: bytes) -> int:
        """What is anybody's own and had no frame to go with. Returns its bytes."""
        slots = array("i", self._acking.tobytes()) + self._extra_slots
        self._acking, self._extra_slots = self._acking[:0], array("i")
        return self.send((b"",), (len(slots),), slots, tail) if slots else 0

    def _hand_back(self) -> None:
        found, begin, left = self._found, 0, []
        if not found.lefts:
            return
        for i in range(found.lefts):
            end = found.left_ends[i]
            left.append((self._lines[found.left_slots[i]], bytes(found.left[begin:end])))
            begin = end
        for line, data in left:
            line.holder.on_left(line, data)

    def _sort(self) -> None:
        count = len(self._lines)
        sessions = np.fromiter((line.session for line in self._lines.values()), np.int64, count)
        order = np.argsort(sessions, kind="stable")
        self._sessions, self._slots = sessions[order], np.fromiter(self._lines, np.int32, count)[order]
        self._sorted = True


_COLUMNS = ("sessions", "shards", "seqs", "kinds", "seen_ticks", "counts", "due_ticks", "values", "raw")


def open_lane(contract: WorldContract, limits: LaneLimits) -> Lane | None:
    """A lane; None where its compiled half was not built, or the system will not have it."""
    library = lane_library.load()
    if library is None:
        return None
    try:
        return Lane(library, contract, limits)
    except OSError:
        return None


def _address(column: array[int]) -> int:
    return column.buffer_info()[0]
