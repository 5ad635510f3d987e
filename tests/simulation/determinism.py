"""Puts the virtual clock and the seed where the shells read time and chance."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from overworld.link import busy
from tests.simulation.loop import SimulatedLoop

WALL_START_S = 1_700_000_000
WORK_NS_MAX = 2_000_000
"""What a weighed tick may be said to cost: the balancer is to have something to even out."""


@contextmanager
def determined(loop: SimulatedLoop, seed: int) -> Iterator[None]:
    """Within it, `time` and `secrets` are functions of the loop and the seed, for the whole process."""
    chance = random.Random(f"secrets {seed}")
    plain_random = random.Random
    work = random.Random(f"work {seed}")
    worked_ns = 0

    def work_ns() -> int:
        nonlocal worked_ns
        worked_ns += work.randrange(WORK_NS_MAX)
        return worked_ns

    def seeded_random(x: object = None) -> random.Random:
        return plain_random(chance.getrandbits(64) if x is None else x)  # type: ignore[arg-type]

    replacements = {
        (time, "monotonic"): loop.time,
        (time, "monotonic_ns"): lambda: int(loop.time() * 1e9),
        (time, "thread_time_ns"): work_ns,
        (time, "process_time"): lambda: loop.time() / 2,
        (busy, "waits_of"): lambda _thread: lambda: 0.0,
        (time, "time"): lambda: WALL_START_S + loop.time(),
        (time, "time_ns"): lambda: int((WALL_START_S + loop.time()) * 1e9),
        (secrets, "token_bytes"): lambda n=32: chance.randbytes(n),
        (secrets, "token_hex"): lambda n=32: chance.randbytes(n).hex(),
        (secrets, "token_urlsafe"): lambda n=32: chance.randbytes(n).hex(),
        (secrets, "randbits"): chance.getrandbits,
        (random, "Random"): seeded_random,
    }
    with ExitStack() as stack:
        for (module, name), replacement in replacements.items():
            stack.enter_context(patch.object(module, name, replacement))
        yield
