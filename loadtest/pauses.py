"""What players noticed of a fault: the longest time without a tick, and what they were told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from loadtest.history import BotHistory, Event
from overworld.client.mirror import LightMirror
from overworld.wire.v1.client_pb2 import Notice


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
    told_stalled_s: list[float] = field(default_factory=list)
    """For each bot that was told so, from the fault to the notice that the world stands still."""
    told_resumed: int = 0
    """Bots that were told that it goes on, after being told that it stood still."""


def noticed(histories: Iterable[BotHistory], faults: Sequence[Fault]) -> list[Noticed]:
    """Read each bot's frames around each fault; the faults must not overlap."""
    found = [Noticed(fault) for fault in faults]
    for history in histories:
        frames = [(e.time_us / 1e6, e.body) for e in history.of(Event.FRAME)]
        at = 0
        for part in found:
            while at < len(frames) and frames[at][0] < part.fault.began_s - 0.5:
                at += 1
            end = at
            while end < len(frames) and frames[end][0] < part.fault.over_s + 3.0:
                end += 1
            _one(frames[at:end], part)
            at = end
    return found


def _one(frames: list[tuple[float, bytes]], part: Noticed) -> None:
    light = LightMirror()
    last_s, longest_s = 0.0, 0.0
    stalled, resumed = False, False
    for time_s, body in frames:
        frame = light.parse(body)
        if frame.heads:
            longest_s = max(longest_s, time_s - last_s) if last_s else 0.0
            last_s = time_s
        for notice in frame.notices:
            if notice.code == Notice.CODE_STALLED and not stalled:
                stalled = True
                part.told_stalled_s.append(time_s - part.fault.began_s)
            resumed |= stalled and notice.code == Notice.CODE_RESUMED
    part.pauses_s.append(longest_s)
    part.told_resumed += resumed
