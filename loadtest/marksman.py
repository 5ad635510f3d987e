"""A player of frontier who aims: what is on target on his own screen, as drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from overworld.client.beat import PARTS
from overworld.client.interpolation import Interpolator, Sight
from overworld.client.steering import Steering


class Marksman:
    """Turns until the other, as drawn, is where its beam, as drawn, would go."""

    def __init__(self, others: Interpolator, steering: Steering) -> None:
        self.steering = steering
        self.others = others
        self.turn = 0

    def off(self, other: int, now: float) -> tuple[float, float, float] | None:
        """(256ths of a turn to go, distance along and across the beam in position units); None where one is unseen."""
        own, seen = self.steering.shown(now), self.others.interpolated(other, now)
        if own is None or seen is None:
            return None
        heading = math.floor(own["heading"] + 0.5) / 256 * math.tau
        dx, dy = seen.x - own["x"], seen.y - own["y"]
        turn = (math.atan2(dy, dx) - heading + math.pi) % math.tau - math.pi
        along = dx * math.cos(heading) + dy * math.sin(heading)
        return turn / math.tau * 256, along, dx * math.sin(heading) - dy * math.cos(heading)

    def aim(self, other: int, now: float) -> int:
        """Which way to turn now: -1, 0, 1."""
        off = self.off(other, now)
        if off is not None:
            self.turn = 0 if abs(off[0]) < 3 else 1 if off[0] > 0 else -1
        return self.turn

    def loose(self, now: float) -> Shot | None:
        """Fire at what is seen now; None where the input was refused."""
        own, seen = self.steering.moment(now), self.others.sight(self.steering.shard, now)
        if seen is None:
            return None
        fields = {"seen_part": seen.part, "seen_span": seen.span, "own_part": own % PARTS}
        seq = self.steering.send("Lance", fields, now, seen.tick, aimed=True)
        return Shot(seq, own // PARTS + 1 - seen.tick, seen) if seq is not None else None


@dataclass(frozen=True)
class Shot:
    """An input's number, how many ticks back the server has to look for it, and what it said of the others."""

    seq: int
    ago_ticks: int
    seen: Sight
