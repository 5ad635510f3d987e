"""Vectorised varints against the official protobuf library."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from overworld.wire import varint
from overworld.wire.v1 import client_pb2


@given(st.lists(st.integers(0, 2**62)))
def test_varints_are_those_of_protobuf(numbers: list[int]) -> None:
    packed = varint.encode(np.array(numbers, np.int64)).tobytes()
    official = client_pb2.Cell(added=numbers).SerializeToString()
    assert official.endswith(packed)
    assert int(varint.sizes(np.array(numbers, np.int64)).sum()) == len(packed)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
def test_zigzag_is_that_of_protobuf(numbers: list[int]) -> None:
    packed = varint.encode(varint.zigzag(np.array(numbers, np.int64))).tobytes()
    assert client_pb2.Cell(changed=numbers).SerializeToString().endswith(packed)


def test_no_numbers_are_no_bytes() -> None:
    assert len(varint.encode(np.zeros(0, np.int64))) == 0
