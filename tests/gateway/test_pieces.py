"""Small pieces of frames, the Welcome and input columns, read back by the official library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.errors import WireError
from overworld.game import contract_of
from overworld.gateway import pieces
from overworld.gateway.codes import CloseCode, reason_bytes, worker_reason
from overworld.gateway.inputs import Forward, InputColumns, InputRules
from overworld.gateway.welcome import Welcomes
from overworld.settings import GatewaySettings
from overworld.wire.v1 import client_pb2 as pb
from tests.shard.meadow import Meadow

CONTRACT = contract_of(Meadow(), "main")
U32 = st.integers(0, 2**32 - 1)


def frame(*parts: bytes) -> pb.Frame:
    return pb.Frame.FromString(b"".join(parts))


@given(U32, U32, st.lists(U32, max_size=20))
def test_acks(shard: int, tick: int, seqs: list[int]) -> None:
    acks = pieces.AckPieces(shard, tick)
    read = frame(*(acks.piece(seq) for seq in seqs)).acks
    assert [(ack.seq, ack.shard, ack.tick) for ack in read] == [(seq, shard, tick) for seq in seqs]


@given(st.lists(U32, max_size=50), U32)
def test_views(left: list[int], entered: int) -> None:
    views = frame(pieces.left(left), pieces.entered(entered)).views
    assert [list(view.left) for view in views] == [left, []]
    assert [list(view.entered) for view in views] == [[], [entered]]


def test_the_rest() -> None:
    read = frame(pieces.head(1, 2, 3, 0), pieces.pong(5, 6), pieces.notice(pb.Notice.CODE_STALLED, "wait"))
    assert (read.heads[0].shard, read.heads[0].epoch, read.heads[0].tick) == (1, 2, 3)
    assert (read.pongs[0].nonce, read.pongs[0].server_time_us) == (5, 6)
    assert (read.notices[0].code, read.notices[0].text) == (pb.Notice.CODE_STALLED, "wait")


class TestWelcome:
    def test_it_tells_the_world_and_the_session(self) -> None:
        given: dict[str, Any] = {"message_bytes_max": 2048, "messages_per_second_max": 9, "idle_s": 7}
        settings = GatewaySettings(**given)
        (welcome,) = frame(Welcomes(CONTRACT, settings).piece(2**53 - 1, b"again", 41)).welcomes
        assert (welcome.session, welcome.resume, welcome.last_seq) == (2**53 - 1, b"again", 41)
        assert (welcome.protocol, welcome.contract) == (1, CONTRACT.fingerprint)
        assert welcome.limits == pb.Limits(message_bytes_max=2048, messages_per_second_max=9, idle_seconds_max=7)
        assert (welcome.grid.cell_size, welcome.tick_interval_us) == (32 * 256, 50_000)
        sheep = welcome.kinds[0]
        assert [column.name for column in sheep.columns] == ["x", "y", "vx", "vy", "heading", "wool"]
        assert [column.modulo for column in sheep.columns] == [0, 0, 0, 0, 256, 0]
        assert [column.units_per_one for column in sheep.columns][:4] == [256] * 4
        assert [column.name for column in sheep.owner_columns] == ["hunger"]
        assert [kind.moves for kind in welcome.kinds] == [True, True, False]
        assert [(f.name, f.min, f.max) for f in welcome.inputs[0].fields] == [("turn", -1, 1), ("eat", 0, 1)]


class TestInputs:
    rules = InputRules(CONTRACT)

    def test_within_bounds(self) -> None:
        assert self.rules.check(0, [-1, 1]) == (-1, 1)

    @given(st.integers(0, 2**32 - 1), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4))
    def test_anything_else_is_refused_in_few_words(self, kind: int, values: list[int]) -> None:
        good = kind == 0 and len(values) == 2 and -1 <= values[0] <= 1 and 0 <= values[1] <= 1
        if good:
            assert self.rules.check(kind, values) == tuple(values)
            return
        with pytest.raises(WireError) as caught:
            self.rules.check(kind, values)
        assert caught.value.close_code == 4006
        assert reason_bytes(caught.value.reason) == caught.value.reason.encode()

    @given(
        st.lists(
            st.tuples(
                st.integers(1, 2**63 - 1), U32, U32, U32, U32, st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)
            ),
            max_size=20,
        )
    )
    def test_columns_hold_what_went_in(self, rows: list[tuple[int, int, int, int, int, list[int]]]) -> None:
        columns = InputColumns(3)
        for session, seq, kind, seen_tick, due_tick, values in rows:
            columns.append(session, Forward(seq, kind, seen_tick, tuple(values), due_tick))
        assert len(columns) == len(rows)
        batch = columns.take().inputs
        assert len(columns) == 0
        assert batch.shard == 3
        assert np.frombuffer(batch.sessions_i64, "<i8").tolist() == [row[0] for row in rows]
        for column, i in ((batch.seqs_u32, 1), (batch.kinds_u32, 2), (batch.seen_ticks_u32, 3)):
            assert np.frombuffer(column, "<u4").tolist() == [row[i] for row in rows]
        due = [row[4] for row in rows]
        assert np.frombuffer(batch.due_ticks_u32, "<u4").tolist() == (due if any(due) else [])
        assert np.frombuffer(batch.counts_u32, "<u4").tolist() == [len(row[5]) for row in rows]
        assert np.frombuffer(batch.values_i32, "<i4").tolist() == [value for row in rows for value in row[5]]


class TestReasons:
    @given(st.text(max_size=300))
    def test_fit_a_close_frame(self, text: str) -> None:
        cut = reason_bytes(text.encode(errors="ignore").decode())
        assert len(cut) <= 123
        cut.decode()

    def test_every_code_of_a_worker_has_one(self) -> None:
        assert all(worker_reason(code) for code in (*CloseCode, 4999))
