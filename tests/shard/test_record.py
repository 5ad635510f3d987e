"""Journal records: what went in comes out, and nothing else is taken for a record."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.errors import RecordCorrupt
from overworld.shard import record
from overworld.shard.inputs import SessionEvent, ShardMessage, TickInputs
from overworld.shard.record import GENESIS, Record

inputs_strategy = st.builds(
    lambda events, rows, messages: TickInputs(
        events=tuple(events),
        sessions=np.array([r[0] for r in rows], np.int64),
        seqs=np.array([r[1] for r in rows], np.int64),
        kinds=np.array([r[2] for r in rows], np.int64),
        seen_ticks=np.array([r[1] for r in rows], np.int64),
        counts=np.array([len(r[3]) for r in rows], np.int64),
        values=np.array([v for r in rows for v in r[3]], np.int64),
        messages=tuple(messages),
    ),
    st.lists(
        st.tuples(st.sampled_from(SessionEvent), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)), max_size=5
    ),
    st.lists(
        st.tuples(
            st.integers(0, 2**63 - 1),
            st.integers(0, 2**32 - 1),
            st.integers(0, 9),
            st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
        ),
        max_size=8,
    ),
    st.lists(
        st.builds(
            ShardMessage,
            st.integers(0, 99),
            st.integers(0, 99),
            st.integers(1, 2**60),
            st.integers(0, 9),
            st.binary(max_size=9),
        ),
        max_size=3,
    ),
)


def a_record(inputs: TickInputs = TickInputs()) -> Record:  # noqa: B008 (frozen)
    return Record(3, 2, 77, 1_700_000_000_000, "1", inputs, b"", b"d" * 16, GENESIS)


@given(inputs_strategy)
def test_a_record_comes_back_as_it_went(inputs: TickInputs) -> None:
    data = record.encode(a_record(inputs))
    back = record.decode(data)
    assert record.encode(back) == data
    assert back.inputs.events == inputs.events
    assert back.inputs.messages == inputs.messages
    for name in ("sessions", "seqs", "kinds", "seen_ticks", "counts", "values"):
        assert getattr(back.inputs, name).tolist() == getattr(inputs, name).tolist()


@given(inputs_strategy, st.data())
def test_a_flipped_or_missing_byte_is_found(inputs: TickInputs, data: st.DataObject) -> None:
    good = record.encode(a_record(inputs))
    at = data.draw(st.integers(0, len(good) - 1))
    flipped = bytearray(good)
    flipped[at] ^= data.draw(st.integers(1, 255))
    for bad in (bytes(flipped), good[:at], good + b"\0"):
        with pytest.raises(RecordCorrupt):
            record.decode(bad)


@given(st.binary(max_size=200))
def test_anything_else_is_no_record(data: bytes) -> None:
    with pytest.raises(RecordCorrupt):
        record.decode(data)


def test_the_chain_depends_on_all_that_came_before() -> None:
    one = record.encode(a_record())
    assert record.chain(GENESIS, one) != record.chain(b"x" * 16, one)
    assert len(record.chain(GENESIS, one)) == record.CHAIN_BYTES
