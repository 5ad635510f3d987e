"""Commands as bytes, and error replies sorted by what helps."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis._parsers.base import BaseParser
from redis.exceptions import RedisError

from overworld.store.resp import Trouble, pack, trouble_of


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=20))
def test_a_packed_command_reads_back_as_its_parts(parts: list[bytes]) -> None:
    reader = hiredis.Reader()
    reader.feed(pack(*parts))
    assert reader.gets() == parts
    assert reader.gets() is False


@pytest.mark.parametrize(
    ("reply", "trouble"),
    [
        ("NOSCRIPT No matching script. Please use EVAL.", Trouble.UNKNOWN_SCRIPT),
        ("MOVED 9 127.0.0.1:7001", Trouble.MOVED),
        ("ASK 9 127.0.0.1:7001", Trouble.LATER),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Trouble.LATER),
        ("CLUSTERDOWN The cluster is down", Trouble.LATER),
        ("OOM command not allowed when used memory > 'maxmemory'.", Trouble.LATER),
        ("MISCONF Errors writing to the AOF file: No space left on device", Trouble.LATER),
        ("NOREPLICAS Not enough good replicas to write.", Trouble.LATER),
        ("BUSY Redis is busy running a script.", Trouble.LATER),
        ("MASTERDOWN Link with MASTER is down", Trouble.LATER),
        ("READONLY You can't write against a read only replica.", Trouble.RECONNECT),
        ("UNBLOCKED force unblock from blocking operation", Trouble.RECONNECT),
        ("NOAUTH Authentication required.", Trouble.RECONNECT),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Trouble.REFUSED),
        ("ERR The ID specified in XADD is equal or smaller than the target stream top item", Trouble.REFUSED),
        ("NOPERM No permissions to access a key", Trouble.REFUSED),
        ("SOMETHING new", Trouble.REFUSED),
    ],
)
def test_an_error_reply_says_whether_another_try_can_help(reply: str, trouble: Trouble) -> None:
    error: RedisError = BaseParser.parse_error(reply)  # type: ignore[no-untyped-call]
    assert trouble_of(error) is trouble
