"""Two clients, one picture: the JavaScript mirror and the Python one see the same in the same frames."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import struct
import subprocess
from pathlib import Path

from overworld.client.mirror import Mirror
from overworld.wire.v1 import client_pb2 as pb
from tests.browser.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
REPLAY = ROOT / "clients" / "js" / "tools" / "replay.js"
TICKS = 250


class Recorder:
    """A socket that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def send_bytes(self, data: bytes) -> None:
        self.messages.append(data)

    async def close(self, *, code: int, message: bytes) -> None:
        raise AssertionError(f"closed with {code} {message!r}")


def node() -> str:
    """The Node that set-up chose, else the one on PATH."""
    chosen = ROOT / ".venv" / "bin" / "node"
    found = str(chosen) if chosen.exists() else shutil.which("node")
    assert found, "no Node found; run `make setup`"
    return found


async def recorded(seed: int) -> list[bytes]:
    """What a player receives who flies about in a small crowded world of two shards, and resumes now and then."""
    chance = random.Random(seed)
    stage = Stage(size=256, shards=(2, 1), bots=40, seed=seed)
    recorder = Recorder()
    seat = stage.seat(recorder)
    for tick in range(TICKS):
        if tick % 5 == 0 and seat.welcomed:
            seat.seq += 1
            values = [chance.randint(-1, 1), chance.choice((1, 1, 0, -1)), chance.randint(0, 1)]
            stage.input(seat, pb.Input(seq=seat.seq, kind=0, values=values))
        if tick % 83 == 82:
            stage.seat(recorder, seat)
        await stage.tick()
    return recorder.messages


def is_newest(mirror: Mirror, kind: int, entity: int, cell: int) -> bool:
    """Whether an entity that two shards tell of is taken to be in this cell."""
    seen = mirror.entity(kind, entity)
    return seen is not None and seen.cell == cell


def test_both_mirrors_show_the_same() -> None:
    seed = random.SystemRandom().randrange(2**31)
    messages = asyncio.run(recorded(seed))
    assert len(messages) >= TICKS
    stream = b"".join(struct.pack(">I", len(m)) + m for m in messages)
    played = subprocess.run([node(), str(REPLAY)], input=stream, capture_output=True, timeout=60, check=False)
    assert played.returncode == 0, played.stderr.decode()
    theirs = [json.loads(line) for line in played.stdout.splitlines()]
    mirror = Mirror()
    most = 0
    for i, (message, picture) in enumerate(zip(messages, theirs, strict=True)):
        assert mirror.apply(mirror.parse(message)), "nothing here is old"
        ours = [list(row) for row in mirror.picture() if is_newest(mirror, *row[:3])]
        assert picture == ours, f"message {i} of {len(messages)}, seed {seed}"
        most = max(most, len(ours))
    assert most > 20, f"the player saw next to nothing, seed {seed}"
