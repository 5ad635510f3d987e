"""The compiled lane beside what it stands for: the same inputs, closes and frames, however the bytes are cut."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.errors import WireError
from overworld.game import contract_of
from overworld.gateway import lane_library
from overworld.gateway.codes import CloseCode
from overworld.gateway.inputs import Forward
from overworld.gateway.lane import Lane, LaneLimits, LaneLine
from overworld.gateway.lane_library import Track
from overworld.gateway.limits import TokenBucket
from overworld.gateway.line import InputLine
from overworld.gateway.message import MessageLimits, MessageReader
from overworld.gateway.session import Session
from overworld.wire.v1 import client_pb2 as pb
from overworld.wire.v1.link_pb2 import InputBatch
from tests.gateway.raw_client import BINARY, CONTINUATION, PING, PONG, TEXT, frame_bytes
from tests.gateway.test_fanout import GRID, SHARDS, Deployment, Seat
from tests.gateway.test_session import FRESH, RULES, playing
from tests.shard.meadow import Meadow

CONTRACT = contract_of(Meadow(), "main")
RATE, BURST = 40.0, 20.0
LIMITS = LaneLimits(RULES.inputs_waiting_max, 1024, RATE, BURST)
LIBRARY = os.environ.get("LANE_LIBRARY")
"""A build of lane.c to test in place of the installed one: `make sanitize`."""


@pytest.fixture(scope="module")
def lane() -> Iterator[Lane]:
    """An open lane. Not built is a failure: these machines have a compiler."""
    library = lane_library.load(Path(LIBRARY) if LIBRARY else None)
    assert library is not None, "lane.c was not built: make setup does it"
    made = Lane(library, CONTRACT, LIMITS)
    yield made
    made.close()


class Player:
    """A session that plays, fed with a client's bytes; `said` is all that came of them."""

    def __init__(self) -> None:
        self.session: Session = playing()
        self.bucket: TokenBucket | LaneLine = TokenBucket(RATE, BURST, 0.0)
        self.reader = MessageReader(MessageLimits(1024, 8, 2.0))
        self.said: list[object] = []
        self.closed = False
        self._bytes = bytearray()

    def feed(self, data: bytes, now_s: float) -> None:
        """What the socket library and the connection do with bytes."""
        self._bytes += data
        while not self.closed and (frame := self._frame()) is not None:
            try:
                message = self.reader.frame(*frame, now_s)
                if message is not None:
                    self._message(message, now_s)
                elif frame[0] >= 8:
                    self.said.append(frame[3])
            except WireError as error:
                self.closed = True
                self.said.append(error.close_code)

    def _frame(self) -> tuple[int, bool, bool, bytes] | None:
        data = self._bytes
        if len(data) < 2:
            return None
        size, at = data[1] & 0x7F, 2
        for flag, form in ((126, ">H"), (127, ">Q")):
            if data[1] & 0x7F == flag:
                if len(data) < 2 + struct.calcsize(form):
                    return None
                size, at = struct.unpack_from(form, data, 2)[0], 2 + struct.calcsize(form)
        if len(data) < at + 4 + size:
            return None
        mask, masked = data[at : at + 4], data[at + 4 : at + 4 + size]
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))
        first = data[0]
        del data[: at + 4 + size]
        return first & 15, bool(first & 128), bool(first & 112), payload

    def _message(self, message: bytes, now_s: float) -> None:
        if not self.bucket.take(now_s):
            raise WireError(CloseCode.POLICY, "too many")
        try:
            parsed = pb.ClientMessage.FromString(message)
        except DecodeError:
            raise WireError(CloseCode.BAD_MESSAGE, "not a message") from None
        self.said += self.session.received(parsed, now_s, 0.0)


class LanedPlayer(Player):
    """The same in a lane, behind a socket."""

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self._lane = lane
        self.client, self.server = socket.socketpair()
        assert isinstance(self.bucket, TokenBucket)
        line = lane.enter(self, self.server.fileno(), FRESH, self.session.line, self.bucket, Track(), 0.0)
        assert line is not None
        self.line = self.session.line = self.bucket = line
        line.serve(self.session.shard)
        self._now_s = 0.0

    def come(self, data: bytes, now_s: float) -> None:
        """Bytes of the client, read by the lane."""
        self._now_s = now_s
        self.client.sendall(data)
        while True:
            ready, raws = self._lane.read(now_s)
            if not ready:
                return
            for shard, count, message in self._lane.inputs():
                assert shard == self.session.shard
                taken = forwards(message.inputs)
                assert len(taken) == count
                self.said += taken
            for line, raw in raws:
                line.holder.on_raw(line, raw)

    def on_raw(self, line: LaneLine, data: bytes) -> None:
        assert line is self.line
        assert data
        self.feed(data, self._now_s)

    def on_left(self, line: LaneLine, data: bytes) -> None:
        raise AssertionError("nothing is sent")

    def leave(self) -> Track:
        line, bucket, track = self.line.leave()
        self.session.line, self.bucket = line, bucket
        self.client.close()
        self.server.close()
        return track


def forwards(batch: InputBatch) -> list[Forward]:
    """What a worker reads in a batch."""
    count = len(batch.sessions_i64) // 8
    assert set(struct.unpack(f"<{count}q", batch.sessions_i64)) == {FRESH}
    columns = [
        struct.unpack(f"<{count}I", column) if column else (0,) * count
        for column in (batch.seqs_u32, batch.kinds_u32, batch.seen_ticks_u32, batch.counts_u32, batch.due_ticks_u32)
    ]
    flat = iter(struct.unpack(f"<{len(batch.values_i32) // 4}i", batch.values_i32))
    return [
        Forward(seq, kind, seen, tuple(next(flat) for _ in range(size)), due)
        for seq, kind, seen, size, due in zip(*columns, strict=True)
    ]


def scribble(chance: random.Random, seq: int) -> tuple[list[bytes], int]:
    """Frames of a client that is mostly honest, and the number of its last input then."""
    values = chance.choice(((1, 0), (-1, 1), (0, 1)))
    message = pb.ClientMessage(input=pb.Input(
        seq=seq + 1, kind=0, values=values, seen_tick=chance.choice((0, 1, 300, 2**32 - 1)),
        due_tick=chance.choice((0, 0, 5, 2**31)),
    ))  # fmt: skip
    body, plain = message.input.SerializeToString(), message.SerializeToString()
    match chance.randrange(120):
        case 0:  # once more, or one left out
            message.input.seq = chance.choice((seq, seq + 2, 0, 2**32 - 1))
            return [frame_bytes(BINARY, message.SerializeToString())], seq
        case 1 | 2 | 3:  # not what the contract says
            message.input.kind = chance.choice((0, 0, 0, 1, 7, 2**31))
            del message.input.values[:]
            wrong = ((), (1,), (-2, 0), (2, 0), (0, 2), (0, -1), (1, 0, 0), (2**31 - 1, -(2**31)))
            message.input.values.extend(chance.choice(wrong))
            return [frame_bytes(BINARY, message.SerializeToString())], seq
        case 4 | 5 | 6 | 7 | 8 | 9:  # the same in other words: a field twice, unknown ones, another order, wide numbers
            number = bytes(((seq + 1) & 0x7F | 0x80, (seq + 1) >> 7))
            body = chance.choice((
                body + b"\x20\x07", body + b"\x98\x06\x01", b"\x28\x03" + body, body + b"\x1a\x02\x02\x00",
                b"\x08" + number + b"\x1a\x02\x02\x00", b"\x08" + number + b"\x18\x02\x18\x00",
                b"\x08" + number + b"\x1a\x02\x02\x00\x20\x85\x80\x80\x80\x10", body + b"\x20", body[:-1],
            ))  # fmt: skip
            return [frame_bytes(BINARY, b"\x12" + bytes((len(body),)) + body)], seq + 1
        case 10 | 11 | 12 | 13:  # in parts, perhaps with a ping in between
            cut = chance.randrange(len(plain))
            between = [frame_bytes(PING, b"between")] if chance.random() < 0.5 else []
            first = frame_bytes(BINARY, plain[:cut], fin=False)
            return [first, *between, frame_bytes(CONTINUATION, plain[cut:])], seq + 1
        case 14 | 15:
            return [frame_bytes(chance.choice((PING, PONG)), bytes(chance.randrange(125)))], seq
        case 16 | 17:
            return [frame_bytes(BINARY, pb.ClientMessage(ping=pb.Ping(nonce=3)).SerializeToString())], seq
        case 18:
            other = ((BINARY, b"\xff"), (TEXT, plain), (BINARY, bytes(300)), (BINARY, b""), (CONTINUATION, plain))
            return [frame_bytes(*chance.choice(other))], seq
        case 19:
            return [frame_bytes(BINARY, plain, rsv=4)], seq
        case 20 | 21:  # a message begins within another
            return [frame_bytes(BINARY, plain, fin=False), frame_bytes(BINARY, plain)], seq
        case _:
            return [frame_bytes(BINARY, plain)], seq + 1


def chunks(chance: random.Random, frames: list[bytes]) -> list[bytes]:
    """How the network cuts them: not at all, between them, or anywhere."""
    stream = b"".join(frames)
    match chance.randrange(4):
        case 0:
            return frames
        case 1:
            cuts = sorted(chance.randrange(len(stream) + 1) for _ in range(chance.randrange(4)))
            ends = zip([0, *cuts], [*cuts, len(stream)], strict=True)
            return [stream[begin:end] for begin, end in ends if end > begin]
        case _:
            return [stream]


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_a_client_sends_comes_to_the_same(lane: Lane, seed: int) -> None:
    chance = random.Random(seed)
    plain, laned = Player(), LanedPlayer(lane)
    players = plain, laned
    now_s, seq = 0.0, 0
    pauses = chance.choice(((0.0, 0.001, 0.05, 0.3), (0.0, 0.001, 0.01)))
    acks = chance.choice((0.5, 0.98))
    for _ in range(chance.choice((5, 40, 200))):
        frames = []
        for _ in range(chance.randint(1, 3)):
            more, seq = scribble(chance, seq)
            frames += more
        for chunk in chunks(chance, frames):
            now_s += chance.choice(pauses)
            plain.feed(chunk, now_s)
            laned.come(chunk, now_s)
            same(*players)
            if plain.closed:
                break
        if plain.closed:
            break
        if chance.random() < acks:
            last_sent = plain.session.line.last_sent
            acked = max(0, last_sent - chance.choice((0, 0, 1, 5)))
            for player in players:
                player.session.acked(acked)
        if chance.random() < 0.05:
            # Its worker is lost; when there is one again, what waits is sent again.
            for player in players:
                if player.session.serving:
                    player.session.lost(now_s)
                else:
                    player.session.attach()
                    player.said += player.session.joined(player.session.line.applied)
    same(*players)
    laned.leave()
    same(*players)


def same(plain: Player, laned: Player) -> None:
    """Nothing tells them apart."""
    assert laned.said == plain.said
    one, other = plain.session.line, laned.session.line
    assert (other.last_sent, other.applied, other.waiting) == (one.last_sent, one.applied, one.waiting)
    assert list(other.kept()) == list(one.kept())
    assert plain.session.duplicates == laned.session.duplicates
    # To the last bit, so that the same message is one too many.
    if isinstance(laned.bucket, TokenBucket) and isinstance(plain.bucket, TokenBucket):
        assert (laned.bucket.tokens, laned.bucket.taken_s) == (plain.bucket.tokens, plain.bucket.taken_s)


def test_inputs_that_wait_come_along_into_the_lane_and_out_of_it(lane: Lane) -> None:
    server, client = socket.socketpair()
    items = [Forward(seq, 0, seq, (1, 0), 0) for seq in range(4, 8)]
    before = InputLine(3)
    for item in items:
        before.push(item)
    player = Player()
    line = lane.enter(player, server.fileno(), 1, before, TokenBucket(RATE, BURST, 0.0), Track(), 0.0)  # type: ignore[arg-type]
    assert line is not None
    line.acked(5)
    line.acked(2)
    after, _, _ = line.leave()
    assert (after.applied, after.last_sent, list(after.kept())) == (5, 7, items[2:])
    server.close()
    client.close()


def test_nobody_comes_in_in_the_middle_of_a_message(lane: Lane) -> None:
    server, client = socket.socketpair()
    track, whole, entered = Track(), frame_bytes(BINARY, bytes(200)), None
    for at in range(len(whole)):
        assert (at == 0) == track.between_messages
        lane.follow(track, whole[at : at + 1])
        entered = lane.enter(Player(), server.fileno(), 1, InputLine(), TokenBucket(1, 1, 0.0), track, 0.0)  # type: ignore[arg-type]
        assert (entered is None) == (at < len(whole) - 1)
    assert entered is not None, f"{len(whole)} bytes are not a whole frame"
    entered.leave()
    server.close()
    client.close()


def test_a_client_that_is_gone_is_said_to_be(lane: Lane) -> None:
    player = LanedPlayer(lane)
    player.client.close()
    ready, raws = lane.read(0.0)
    assert (ready, raws) == (1, [(player.line, b"")])
    player.leave()


# ---------------------------------------------------------------- frames


class LanedSeat(Seat):
    """A seat whose frames come through a lane, from a kernel's buffer that may be short."""

    def __init__(self, session: int, lane: Lane, buffer_bytes: int) -> None:
        super().__init__(session)
        self.client_end, self.server_end = socket.socketpair()
        self.client_end.setblocking(False)
        if buffer_bytes:
            self.server_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        line = lane.enter(
            self,
            self.server_end.fileno(),
            session,
            InputLine(),
            TokenBucket(1, 1, 0.0),
            Track(),
            0.0,
        )
        assert line is not None
        self.line = line
        self.viewer.slot = line.slot
        self.left = bytearray()
        self.left_often = 0
        self._bytes = bytearray()

    def on_raw(self, line: LaneLine, data: bytes) -> None:
        raise AssertionError("nothing is read")

    def on_left(self, line: LaneLine, data: bytes) -> None:
        self.left += data
        self.left_often += 1

    def read(self) -> None:
        """All that was sent, then what was left over; frames are whole and in order."""
        while self.read_kernel(1 << 16):
            pass
        self._bytes += self.left
        self.left.clear()
        self.line.block(False)
        while self._bytes:
            assert self._bytes[0] == 0x82
            size, at = self._bytes[1], 2
            if size == 126:
                size, at = struct.unpack_from(">H", self._bytes, 2)[0], 4
            elif size == 127:
                size, at = struct.unpack_from(">Q", self._bytes, 2)[0], 10
            assert len(self._bytes) >= at + size
            self.client.take(bytes(self._bytes[at : at + size]))
            del self._bytes[: at + size]

    def read_kernel(self, most: int) -> bool:
        """Take some of what the kernel has."""
        try:
            self._bytes += self.client_end.recv(most)
        except BlockingIOError:
            return False
        return True

    def leave(self) -> None:
        self.line.leave()
        self.client_end.close()
        self.server_end.close()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_frames_through_the_lane_make_the_same_pictures(lane: Lane, seed: int) -> None:
    chance = random.Random(seed)
    worlds = Deployment(), Deployment(lane)
    plain = [Seat(session) for session in range(1, 7)]
    # The last two of the other world are not in the lane.
    laned = [LanedSeat(session, lane, 0) for session in range(1, 5)]
    others = [Seat(session) for session in (5, 6)]
    for world, seats in zip(worlds, (plain, [*laned, *others]), strict=True):
        for number in SHARDS:
            world.find(number)
        for seat in seats:
            world.fanout.viewers[seat.viewer.session] = seat.viewer
    for turn in range(20):
        told = [[chance.random() for _ in range(3)] for _ in plain]
        cells = [chance.randrange(GRID.cells_x * GRID.cells_y) for _ in plain]
        for world in worlds:
            for session, (moves, acks, owns) in enumerate(told, 1):
                shard = world.shards[GRID.shard_of_cell(cells[session - 1])]
                if moves < 0.3 or turn == 0:
                    shard.views.append((session, cells[session - 1]))
                if acks < 0.7:
                    shard.acks.append((session, turn * 40 + 1))
                if owns < 0.3:
                    shard.owns.append((session, turn))
            for shard_number in SHARDS:
                world.turn(shard_number)
        for seat in laned:
            seat.read()
        for one, other in zip(plain, [*laned, *others], strict=True):
            assert (other.client.held, other.client.marks) == (one.client.held, one.client.marks)
            assert (other.client.acked, other.client.own, other.client.frames) == (
                one.client.acked, one.client.own, one.client.frames,
            )  # fmt: skip
            if isinstance(other, LanedSeat):
                assert other.line.applied == max(one.acked, default=0)
    for seat in laned:
        seat.leave()


def test_what_the_kernel_does_not_take_is_handed_back_and_nothing_overtakes_it(lane: Lane) -> None:
    world = Deployment(lane)
    seat = LanedSeat(1, lane, 4096)
    for number in SHARDS:
        world.find(number)
    world.fanout.viewers[1] = seat.viewer
    world.shards[0].views.append((1, 9))
    world.turn(0)
    world.turn(0)
    seat.read()
    for _ in range(4000):
        world.turn(0)
        if seat.left_often >= 5:
            break
        if seat.left_often:
            # The kernel has room again, but older bytes wait.
            seat.read_kernel(512)
    assert seat.left_often >= 5, "the kernel took everything"
    seat.read()
    world.turn(0)
    seat.read()
    assert seat.client.marks[0][1] == world.shards[0].tick
    seat.leave()
