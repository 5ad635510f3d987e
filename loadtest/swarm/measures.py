"""Times as HDR histograms, and windows of a run as figures.

Bots count in buckets that are cheap to fill (`overworld.client.statistics.Histogram`, which has the HDR layout); here
they become HdrHistogram's own, with its correction for coordinated omission: a wait of a second, where one would have
asked ten times a second, stands for ten waits, each a tenth shorter (Tene 2012, `recordValueWithExpectedInterval`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hdrh.histogram import HdrHistogram

from overworld.client.statistics import Histogram

HIGHEST_US = 120_000_000
DIGITS = 3
SHARES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
_SUB_BITS = 6


def hdr(times: Histogram, expected_us: float = 0.0) -> HdrHistogram:
    """As HdrHistogram, microseconds. `expected_us`: how often one would have asked; 0: as it was counted."""
    made = HdrHistogram(1, HIGHEST_US, DIGITS)
    for bucket, count in times.counts.items():
        value = min(max(1, middle_us(bucket)), HIGHEST_US)
        made.record_value(value, count)
        # As in Tene's own library. The Python port goes on to waits shorter than the interval, which flatters.
        missing = value - round(expected_us) if expected_us else 0
        while expected_us and missing >= expected_us:
            made.record_value(missing, count)
            missing -= round(expected_us)
    return made


def middle_us(bucket: int) -> int:
    """The middle of a bucket's values, microseconds."""
    if bucket < 2 << _SUB_BITS:
        return bucket
    shift = (bucket >> _SUB_BITS) - 1
    return ((bucket - (shift << _SUB_BITS)) << shift) + (1 << shift) // 2


def summary(made: HdrHistogram) -> dict[str, float]:
    """Count, quantiles and maximum, milliseconds."""
    count = made.get_total_count()
    quantiles = {name: made.get_value_at_percentile(share) / 1000 if count else 0.0 for name, share in SHARES.items()}
    return {"count": count, **quantiles, "max": made.get_max_value() / 1000 if count else 0.0}


def since(now: Histogram, before: Histogram) -> Histogram:
    """What was counted after `before`, of the same histogram. The maximum is of the highest bucket."""
    grown = Histogram()
    for bucket, count in now.counts.items():
        more = count - before.counts.get(bucket, 0)
        if more > 0:
            grown.counts[bucket] = more
            grown.total_us += more * middle_us(bucket)
            grown.maximum_us = max(grown.maximum_us, middle_us(bucket))
    return grown


def on_time(gaps: Histogram, player_seconds: float, tick_s: float) -> float:
    """Part of the frames due that came no later than one and a half ticks after the one before."""
    due = player_seconds / tick_s
    came = sum(count for bucket, count in gaps.counts.items() if middle_us(bucket) <= 1.5e6 * tick_s)
    return min(1.0, came / due) if due else 0.0


def jitter_ms(gaps: Histogram, tick_s: float) -> float:
    """Mean distance of frame intervals from a tick's, milliseconds."""
    count = gaps.counts.total()
    away = sum(abs(middle_us(bucket) - 1e6 * tick_s) * n for bucket, n in gaps.counts.items())
    return away / count / 1000 if count else 0.0


def cores_used(rows: Sequence[Sequence[float]]) -> float:
    """CPU of a process over rows of (second, CPU seconds so far, ...). One that was started anew counts from 0."""
    seconds = rows[-1][0] - rows[0][0] if rows else 0.0
    used = sum(max(0.0, after[1] - before[1]) for before, after in pairwise(rows))
    return used / seconds if seconds > 0 else 0.0
