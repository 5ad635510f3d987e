"""A player of frontier who aims: what is on target on his own screen, as drawn."""

from __future__ import annotations

import math

from overworld.client.interpolation import Interpolation
from overworld.client.mirror import Mirror
from overworld.client.steering import Steering
from overworld.titles.frontier.lance import PARTS


class Marksman:
    """Turns until the other, as drawn, is where its beam, as drawn, would go."""

    def __init__(self, mirror: Mirror, steering: Steering) -> None:
        self.steering = steering
        self.others = Interpolation(mirror, "Ship", steering.beats)
        """Give it every frame."""
        self.turn = 0

    def off(self, other: int, now: float) -> tuple[float, float, float] | None:
        """(256ths of a turn to go, distance along and across the beam in position units); None where one is unseen."""
        own, seen = self.steering.shown(now), self.others.placed(other, now)
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

    def loose(self, now: float) -> float | None:
        """Returns how many ticks ago the server will find what is seen now; None where the input was refused."""
        tick, seen = self.steering.tick(now), self.others.tick(self.steering.shard, now)
        fields = {"seen_part": int(seen % 1 * PARTS), "own_part": int(tick % 1 * PARTS)}
        sent = self.steering.send("Lance", fields, now, max(0, math.floor(seen)))
        return math.floor(tick) + 1 - seen if sent is not None else None
