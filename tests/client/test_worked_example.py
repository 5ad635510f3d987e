"""The worked example of proto/README.md: exactly its bytes are decoded, and lead to the pictures it tells of."""

from __future__ import annotations

import re

import pytest

from overworld.client.mirror import Mirror
from overworld.client.protocol import ClientSession
from overworld.wire.v1 import client_pb2 as pb

BLOCK = re.compile(r"^```hex (\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="session")
def example(specification: str) -> dict[str, bytes]:
    """The messages of the example by name: what stands left of the bars."""
    found: dict[str, bytes] = {}
    for name, body in BLOCK.findall(specification):
        found[name] = bytes.fromhex("".join(line.split("|", 1)[0] for line in body.splitlines()))
    assert list(found) == ["hello", "welcome", "first", "input", "second"]
    return found


@pytest.fixture
def session() -> ClientSession:
    return ClientSession("demo", "eyJ.e30.c2ln", Mirror(), now=0.0, software="example")


def test_a_client_writes_the_examples_bytes(example: dict[str, bytes], session: ClientSession) -> None:
    session.opened(0.0)
    assert session.outgoing(0.0) == [example["hello"]]
    session.received(example["welcome"], 0.0)
    session.received(example["first"], 0.0)
    contract = session.mirror.contract
    assert contract is not None
    steer = contract.input("Steer")
    assert session.submit(steer, steer.values({"thrust": 1, "turn": -1}), 0.0, seen_tick=100) == 1
    assert session.outgoing(0.0) == [example["input"]]


def test_a_client_reads_the_examples_bytes(example: dict[str, bytes], session: ClientSession) -> None:
    session.opened(0.0)
    session.received(example["welcome"], 0.0)
    mirror = session.mirror
    assert isinstance(mirror, Mirror)
    assert mirror.contract is not None
    assert [mirror.contract.shard_of(cell) for cell in range(8)] == [0, 0, 1, 1, 0, 0, 1, 1]
    session.received(example["first"], 0.0)
    assert mirror.picture() == [(0, 5, 0, 1000, 2000, 16, 0, 250), (0, 9, 0, 8190, 4096, 5, 0, 0)]
    assert mirror.cells == {0, 1}
    assert mirror.avatar is not None
    assert (mirror.avatar.entity, mirror.avatar.values) == (5, (30,))
    steer = mirror.contract.input("Steer")
    session.submit(steer, [1, -1], 0.0)
    session.received(example["second"], 0.0)
    assert mirror.picture() == [
        (0, 5, 0, 1020, 1996, 20, -4, 2),
        (0, 9, 1, 8195, 4096, 5, 0, 0),
        (0, 12, 4, 100, 8392, 0, 0, 64),
    ]
    assert mirror.cells == {0, 1, 4}
    assert (mirror.acked, session.unacked, mirror.ticks) == (1, 0, {0: (1, 101)})


def test_the_examples_bytes_are_canonical(example: dict[str, bytes]) -> None:
    for name, data in example.items():
        message = pb.ClientMessage if name in ("hello", "input") else pb.Frame
        assert message.FromString(data).SerializeToString(deterministic=True) == data, name
