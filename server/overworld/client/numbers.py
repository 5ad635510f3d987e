"""What an overlay shows of a client: the numbers that `client.numbers()` of the JavaScript SDK has too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from overworld.client.beat import Beats
from overworld.client.interpolation import Interpolator
from overworld.client.mirror import LightMirror, Mirror
from overworld.client.presence import Presence
from overworld.client.protocol import ClientSession
from overworld.client.rates import Traffic
from overworld.client.steering import Steering


@dataclass(frozen=True)
class Numbers:
    """Rates are over the last two seconds. 0 stands for what is not known, or not done: without `interpolator` or
    `steering` nothing is delayed or leads. `shard` is -1 where nothing was heard of one.
    """

    state: str
    gateway: str
    ping_ms: float
    jitter_ms: float
    delay_ms: float
    shard: int
    epoch: int
    tick: int
    tick_interval_ms: float
    entities: int
    cells: int
    bytes_in_per_second: float
    bytes_out_per_second: float
    frames_per_second: float
    frames_dropped: int
    inputs_sent: int
    inputs_pending: int
    inputs_late: int
    lead_ms: float
    mispredicted: int
    acked: int
    sockets: int
    resumes: int
    errors: int


class Numbered(Protocol):
    """The parts of a client that are counted."""

    session: ClientSession
    steering: Steering | None
    beats: Beats
    traffic: Traffic
    url: str

    def home_shard(self) -> int | None:
        """The own avatar's shard."""

    def drawing(self) -> tuple[Presence | None, Interpolator | None]:
        """The parts that are made when they are asked for, as far as they are."""


def numbers_of(client: Numbered, now: float) -> Numbers:
    """The numbers of a client now, seconds."""
    session, steering, traffic = client.session, client.steering, client.traffic
    mirror, figures = session.mirror, session.statistics
    presence, interpolator = client.drawing()
    home = client.home_shard()
    shard = home if home is not None else next(iter(mirror.ticks), -1)
    epoch, tick = mirror.ticks.get(shard, (0, 0))
    beat = client.beats.get(shard)
    interval_us = mirror.contract.tick_interval_us if mirror.contract is not None else 0
    return Numbers(
        state=session.state.name.lower(),
        gateway=client.url,
        ping_ms=session.clock.round_trip_s * 1000,
        jitter_ms=beat.jitter_s * 1000 if beat is not None else 0.0,
        delay_ms=interpolator.delay_s * 1000 if interpolator is not None else 0.0,
        shard=shard,
        epoch=epoch,
        tick=tick,
        tick_interval_ms=mirror.tick_intervals_us.get(shard, interval_us) / 1000,
        entities=_entities(mirror, presence),
        cells=len(mirror.cells) if isinstance(mirror, Mirror) else 0,
        bytes_in_per_second=traffic.bytes_in.per_second(now),
        bytes_out_per_second=traffic.bytes_out.per_second(now),
        frames_per_second=traffic.frames.per_second(now),
        frames_dropped=figures.dropped,
        inputs_sent=figures.inputs_sent,
        inputs_pending=session.unacked,
        inputs_late=steering.predictor.figures.late if steering is not None else 0,
        lead_ms=steering.lead.seconds * 1000 if steering is not None else 0.0,
        mispredicted=steering.predictor.figures.mispredicted if steering is not None else 0,
        acked=mirror.acked,
        sockets=figures.connects,
        resumes=figures.resumes,
        errors=figures.broken,
    )


def _entities(mirror: LightMirror, presence: Presence | None) -> int:
    if presence is not None:
        return len(presence)
    return mirror.size if isinstance(mirror, Mirror) else 0
