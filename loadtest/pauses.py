"""What players noticed of a fault: the longest time without a tick, and what they were told."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from loadtest.history import BotHistory, Entry, Event
from overworld.client.mirror import LightMirror
from overworld.wire.v1.client_pb2 import Notice

TOLD_AFTER_S = 2.5
"""The world runs on alone for two seconds (40 ticks), players are told at half of it; the rest is for slow machines."""
AFTER_S = 5.0
BEFORE_FRAMES = 5


@dataclass(frozen=True)
class Fault:
    """Something was done to the cluster. Times of the machine's monotonic clock, in seconds."""

    name: str
    began_s: float
    over_s: float
    """The world ticks again, by the store's word."""


@dataclass
class Noticed:
    """What one fault came to, for all bots. Seconds."""

    fault: Fault
    pauses_s: list[float] = field(default_factory=list)
    """For each bot, its longest time without a tick of any shard."""
    told_s: list[float] = field(default_factory=list)
    """For each bot that was told why nothing moves, from the fault to that notice."""
    told_resumed: int = 0
    """Bots that were told that it goes on, after being told why it did not."""
    untold: int = 0
    """Bots that saw nothing for `TOLD_AFTER_S` or longer and were not told why."""


def noticed(histories: Iterable[BotHistory], faults: Sequence[Fault]) -> list[Noticed]:
    """Read each bot's frames from each fault on; the faults must not overlap."""
    found = [Noticed(fault) for fault in faults]
    # From each fault to the next, but not for long after it was over.
    begins = [fault.began_s for fault in faults]
    ends = [min(f.over_s + AFTER_S, b) for f, b in zip(faults, [*begins[1:], math.inf], strict=True)]
    for history in histories:
        frames = history.of(Event.FRAME)
        times_s = [entry.time_us / 1e6 for entry in frames]
        for part, begin_s, end_s in zip(found, begins, ends, strict=True):
            first = max(0, bisect.bisect_left(times_s, begin_s) - BEFORE_FRAMES)
            _one(frames[first : bisect.bisect_left(times_s, end_s)], part)
    return found


def _one(frames: Sequence[Entry], part: Noticed) -> None:
    light = LightMirror()
    last_s, longest_s = 0.0, 0.0
    told, resumed = False, False
    for entry in frames:
        time_s, frame = entry.time_us / 1e6, light.parse(entry.body)
        if frame.heads:
            longest_s = max(longest_s, time_s - last_s) if last_s else 0.0
            last_s = time_s
        for notice in frame.notices:
            if notice.code in (Notice.CODE_STALLED, Notice.CODE_SEARCHING) and not told:
                told = True
                part.told_s.append(time_s - part.fault.began_s)
            resumed |= told and notice.code == Notice.CODE_RESUMED
    part.pauses_s.append(longest_s)
    part.told_resumed += resumed
    part.untold += longest_s > TOLD_AFTER_S and not told
