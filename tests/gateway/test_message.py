"""The message layer: every sequence of frames either makes the message it should, or breaks with the right code."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overworld.errors import WireError
from overworld.gateway.message import MessageLimits, MessageReader, Opcode

LIMITS = MessageLimits(bytes_max=64, fragments_max=4, assembly_s=2.0)
CONTINUATION, TEXT, BINARY = Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY


def reader() -> MessageReader:
    return MessageReader(LIMITS)


def code_of(*frames: tuple[int, bool, bytes], reserved: bool = False) -> int:
    """The close code that a sequence of frames ends in."""
    layer = reader()
    *before, (opcode, fin, payload) = frames
    for each in before:
        assert layer.frame(each[0], each[1], reserved, each[2], 0.0) is None or each[1]
    with pytest.raises(WireError) as caught:
        layer.frame(opcode, fin, reserved, payload, 0.0)
    assert caught.value.reason
    return caught.value.close_code


class TestMessages:
    def test_one_frame(self) -> None:
        assert reader().frame(BINARY, True, False, b"hi", 0.0) == b"hi"

    def test_an_empty_message(self) -> None:
        assert reader().frame(BINARY, True, False, b"", 0.0) == b""

    def test_fragments_with_control_frames_between(self) -> None:
        layer = reader()
        assert layer.frame(BINARY, False, False, b"a", 0.0) is None
        assert layer.frame(Opcode.PING, True, False, b"x", 0.1) is None
        assert layer.frame(CONTINUATION, False, False, b"", 0.2) is None
        assert layer.frame(CONTINUATION, True, False, b"b", 0.3) == b"ab"
        assert layer.deadline_s == math.inf
        assert layer.frame(BINARY, True, False, b"next", 0.4) == b"next"

    def test_the_largest_message(self) -> None:
        assert reader().frame(BINARY, True, False, bytes(64), 0.0) == bytes(64)
        layer = reader()
        for _ in range(3):
            layer.frame(BINARY if layer.deadline_s == math.inf else CONTINUATION, False, False, bytes(16), 0.0)
        assert layer.frame(CONTINUATION, True, False, bytes(16), 0.0) == bytes(64)


class TestRules:
    @pytest.mark.parametrize("opcode", list(Opcode))
    def test_reserved_bits(self, opcode: Opcode) -> None:
        assert code_of((opcode, True, b""), reserved=True) == 1002

    def test_text(self) -> None:
        assert code_of((TEXT, True, b"hi")) == 1003
        assert code_of((TEXT, False, b"hi")) == 1003

    def test_a_continuation_of_nothing(self) -> None:
        assert code_of((CONTINUATION, True, b"x")) == 1002
        assert code_of((BINARY, True, b"x"), (CONTINUATION, True, b"x")) == 1002

    def test_a_message_inside_a_message(self) -> None:
        assert code_of((BINARY, False, b"x"), (BINARY, True, b"y")) == 1002
        assert code_of((BINARY, False, b"x"), (TEXT, True, b"y")) == 1003

    def test_too_big(self) -> None:
        assert code_of((BINARY, True, bytes(65))) == 1009
        assert code_of((BINARY, False, bytes(40)), (CONTINUATION, True, bytes(25))) == 1009

    def test_too_many_fragments(self) -> None:
        assert code_of((BINARY, False, b""), *[(CONTINUATION, False, b"")] * 4) == 1008

    def test_too_slow(self) -> None:
        layer = reader()
        layer.frame(BINARY, False, False, b"a", 10.0)
        assert layer.deadline_s == 12.0
        layer.check(12.0)
        with pytest.raises(WireError, match="1008"):
            layer.check(12.1)
        with pytest.raises(WireError, match="1008"):
            layer.frame(CONTINUATION, True, False, b"b", 12.1)


frames = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 2, 2, 2, 8, 9, 10]), st.booleans(), st.binary(max_size=40), st.floats(0.0, 0.7)
    ),
    max_size=30,
)


@given(frames)
def test_any_frames_follow_the_rules_written_plainly(sequence: list[tuple[int, bool, bytes, float]]) -> None:
    layer, parts, began_s, now_s = reader(), None, 0.0, 0.0
    for opcode, fin, payload, pause_s in sequence:
        now_s += pause_s
        expected: bytes | int | None
        if opcode >= 8:
            expected = None
        elif opcode == TEXT:
            expected = 1003
        elif (opcode == CONTINUATION) == (parts is None):
            expected = 1002
        else:
            began_s = now_s if parts is None else began_s
            parts = [*(parts or []), payload]
            if now_s > began_s + 2.0:
                expected = 1008
            elif sum(map(len, parts)) > 64:
                expected = 1009
            elif len(parts) > 4:
                expected = 1008
            else:
                expected = b"".join(parts) if fin else None
                parts = None if fin else parts
        if isinstance(expected, int):
            with pytest.raises(WireError) as caught:
                layer.frame(opcode, fin, False, payload, now_s)
            assert caught.value.close_code == expected
            return
        assert layer.frame(opcode, fin, False, payload, now_s) == expected
