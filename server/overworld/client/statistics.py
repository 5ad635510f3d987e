"""What a client counts, as plain data that adds up over clients and processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

_SUB_BITS = 6
_SUB = 1 << _SUB_BITS
"""Buckets to each doubling: a value is known to within 1/64 of itself."""
_BUCKETS = 64 * _SUB


class Histogram:
    """Times in whole microseconds, in buckets that grow with the value (the layout of HDR histograms, Tene 2012).

    Constant memory, exact count and extremes, quantiles to within 1.6 %.
    """

    __slots__ = ("counts", "maximum_us", "total_us")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.total_us = 0
        self.maximum_us = 0

    def __len__(self) -> int:
        return self.counts.total()

    def record(self, seconds: float) -> None:
        """Count one time. Negative ones count as 0."""
        value = int(seconds * 1_000_000)
        if value < _SUB:
            value = max(value, 0)
            bucket = value
        else:
            shift = value.bit_length() - _SUB_BITS - 1
            bucket = min((shift << _SUB_BITS) + (value >> shift), _BUCKETS)
        self.counts[bucket] += 1
        self.total_us += value
        if value > self.maximum_us:
            self.maximum_us = value

    def quantile_us(self, share: float) -> int:
        """The upper edge of the bucket below or in which this share (0..1) of all times lies; 0 without any."""
        wanted = share * len(self)
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return min(_upper_edge(bucket), self.maximum_us)
        return 0

    def add(self, other: Histogram) -> None:
        """Add another one's times."""
        self.counts.update(other.counts)
        self.total_us += other.total_us
        self.maximum_us = max(self.maximum_us, other.maximum_us)

    def summary(self) -> dict[str, float]:
        """Count, and mean, p50, p95, p99 and maximum in milliseconds."""
        count = len(self)
        quantiles = {f"p{round(q * 100)}_ms": self.quantile_us(q) / 1000 for q in (0.5, 0.95, 0.99)}
        mean = self.total_us / count / 1000 if count else 0.0
        return {"count": count, "mean_ms": round(mean, 3), **quantiles, "max_ms": self.maximum_us / 1000}

    def to_plain(self) -> dict[str, Any]:
        """Plain data for JSON; `from_plain` reads it."""
        counts = {str(k): v for k, v in self.counts.items()}
        return {"counts": counts, "total_us": self.total_us, "maximum_us": self.maximum_us}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Histogram:
        """The histogram that `to_plain` wrote."""
        histogram = cls()
        histogram.counts.update({int(k): int(v) for k, v in plain["counts"].items()})
        histogram.total_us, histogram.maximum_us = int(plain["total_us"]), int(plain["maximum_us"])
        return histogram


def _upper_edge(bucket: int) -> int:
    if bucket < 2 * _SUB:
        return bucket
    shift = (bucket >> _SUB_BITS) - 1
    return ((bucket - (shift << _SUB_BITS) + 1) << shift) - 1


@dataclass
class Statistics:
    """Counters and times of one client, or of many added up."""

    frames: int = 0
    frame_bytes: int = 0
    dropped: int = 0
    """Bags dropped because their tick was not above one seen before."""
    broken: int = 0
    """Messages from the server that broke the protocol. Must be 0."""
    welcomes: int = 0
    resumes: int = 0
    """Welcomes that took the same session up again."""
    connects: int = 0
    """Sockets opened, whatever came of them."""
    connects_failed: int = 0
    inputs: int = 0
    """Inputs taken from the player, each counted once."""
    inputs_sent: int = 0
    """Input messages sent, repeats after a resume included."""
    inputs_acked: int = 0
    inputs_refused: int = 0
    """Inputs not taken because too many were unacknowledged."""
    inputs_abandoned: int = 0
    """Inputs of a session that ended before they were acknowledged; their fate is unknown."""
    acks_rolled_back: int = 0
    """Acknowledged inputs that the server forgot. Must be 0 from commit level 1 on, unless a backup was restored."""
    sent_bytes: int = 0
    closes: Counter[int] = field(default_factory=Counter)
    """Closed sockets by close code; 1006 where there was none."""
    notices: Counter[int] = field(default_factory=Counter)
    gap: Histogram = field(default_factory=Histogram)
    """Time from a shard's tick to its next one, as they arrived."""
    ack: Histogram = field(default_factory=Histogram)
    """Time from an input's first sending to its ack."""
    round_trip: Histogram = field(default_factory=Histogram)
    """Time from a ping to its pong."""
    lost: Histogram = field(default_factory=Histogram)
    """Time from a lost socket to the next Welcome."""

    def add(self, other: Statistics) -> None:
        """Add another one's figures."""
        for f in fields(self):
            mine, theirs = getattr(self, f.name), getattr(other, f.name)
            if isinstance(mine, int):
                setattr(self, f.name, mine + theirs)
            elif isinstance(mine, Counter):
                mine.update(theirs)
            else:
                mine.add(theirs)

    def summary(self) -> dict[str, Any]:
        """Figures for people: counters as they are, histograms as quantiles."""
        return {f.name: _shown(getattr(self, f.name)) for f in fields(self)}

    def to_plain(self) -> dict[str, Any]:
        """Plain data for JSON that loses nothing; `from_plain` reads it."""
        plain: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            plain[f.name] = value.to_plain() if isinstance(value, Histogram) else _shown(value)
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Statistics:
        """The statistics that `to_plain` wrote."""
        new = cls()
        for f in fields(new):
            mine, value = getattr(new, f.name), plain[f.name]
            if isinstance(mine, Histogram):
                setattr(new, f.name, Histogram.from_plain(value))
            elif isinstance(mine, Counter):
                setattr(new, f.name, Counter({int(k): int(v) for k, v in value.items()}))
            else:
                setattr(new, f.name, int(value))
        return new


def _shown(value: Any) -> Any:
    if isinstance(value, Histogram):
        return value.summary()
    if isinstance(value, Counter):
        return {str(k): v for k, v in sorted(value.items())}
    return value
