"""Bad networks as data: what happens to bytes on their way, and networks that players really have. Pure: time and
chance are arguments.

Everything is as one TCP connection feels it: what a radio loses is sent again by its own layers or by TCP, so loss is
no hole but a stall, and all that follows waits behind it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """One way takes `delay_s`, and up to `jitter_s` more. The `every_s` are means of exponential waits, for each
    connection (stalls: for each direction of it); 0 is never.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    """Of each direction; 0: as fast as may be."""
    stall_every_s: float = 0.0
    stall_s: float = 0.0
    """How long nothing gets through then."""
    reset_every_s: float = 0.0
    half_open_every_s: float = 0.0
    """From then on nothing gets through either way, and neither side is told."""


def round_trip(seconds: float, jitter_share: float = 0.25) -> Network:
    """A network whose round trip takes this on average, each way varying by `jitter_share` of the way."""
    way = seconds / 2
    return Network(way * (1 - jitter_share / 2), way * jitter_share)


NETWORKS: Mapping[str, Network] = {
    "good": round_trip(0.02, 0.1),
    "wifi": Network(0.010, 0.015, 3e6),
    "bad-wifi": Network(0.020, 0.060, 250e3, stall_every_s=4.0, stall_s=0.25),
    "mobile": Network(0.035, 0.030, 400e3, stall_every_s=15.0, stall_s=0.4, reset_every_s=180.0),
    "satellite": Network(0.290, 0.030, 500e3),
    "lossy": Network(0.030, 0.020, 500e3, stall_every_s=0.7, stall_s=0.12),
    "train": Network(0.040, 0.080, 150e3, stall_every_s=6.0, stall_s=1.5, reset_every_s=40.0, half_open_every_s=90.0),
}
"""By name. `lossy` loses a packet in a hundred or two, each of which TCP sends again after a round trip or so."""


def network_of(name: str) -> Network:
    """A network by name. Raises ValueError, saying which there are."""
    if name not in NETWORKS:
        raise ValueError(f"no network {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]


class Way:
    """One direction of a connection that begins at `now`: when bytes that leave then arrive. In order."""

    def __init__(self, network: Network, chance: random.Random, now: float) -> None:
        self.network = network
        """May be changed on the way."""
        self._chance = chance
        self._sent = now
        """When the line is free again."""
        self._last = now
        self._stall = after(network.stall_every_s, chance, now)

    def arrival(self, size: int, now: float) -> float:
        """When the last of `size` bytes arrives."""
        network = self.network
        self._sent = max(self._sent, now) + (size / network.bytes_per_s if network.bytes_per_s else 0.0)
        at = self._sent + network.delay_s + self._chance.random() * network.jitter_s
        while self._stall <= at:
            # What would arrive within a stall arrives at its end, and the line's clock stands as long.
            at = max(at, self._stall + network.stall_s)
            self._stall = after(network.stall_every_s, self._chance, self._stall + network.stall_s)
        self._last = max(self._last, at)
        return self._last


def after(mean_s: float, chance: random.Random, now: float) -> float:
    """When something next happens that does so every `mean_s` seconds on average; never where that is 0."""
    return now + chance.expovariate(1 / mean_s) if mean_s else math.inf
