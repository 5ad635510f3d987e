"""Reads a process's /metrics."""

from __future__ import annotations

import math
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Metrics:
    """Samples of one scrape: (name, label pairs) to value."""

    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float]

    def total(self, name: str, **labels: str) -> float:
        """Sum of all samples of a name whose labels include these; 0 where there is none."""
        return sum(value for value, found in self.each(name) if labels.items() <= found.items())

    def has(self, name: str) -> bool:
        """Whether a metric of that name was there at all."""
        return any(found == name for found, _ in self.samples)

    def each(self, name: str) -> Iterator[tuple[float, dict[str, str]]]:
        """Every sample of a name: its value and labels."""
        for (found, labels), value in self.samples.items():
            if found == name:
                yield value, dict(labels)

    def mean(self, name: str, **labels: str) -> float | None:
        """Mean of a histogram or summary; None without observations."""
        count = self.total(f"{name}_count", **labels)
        return self.total(f"{name}_sum", **labels) / count if count else None

    def quantile(self, name: str, share: float, **labels: str) -> float | None:
        """The value below which this share (0 to 1) of a histogram's observations lies, by straight lines within its
        buckets; its last finite bound where it is beyond; None without observations.
        """
        count = self.total(f"{name}_count", **labels)
        buckets = sorted({float(found["le"]) for _, found in self.each(f"{name}_bucket")})
        if not count:
            return None
        below, low = 0.0, 0.0
        for high in buckets:
            # Labels of buckets are texts: compare numbers.
            upto = sum(
                value
                for value, found in self.each(f"{name}_bucket")
                if float(found["le"]) == high and labels.items() <= found.items()
            )
            if upto >= share * count:
                if math.isinf(high):
                    return low
                return low + (high - low) * (share * count - below) / max(upto - below, 1.0)
            below, low = upto, high
        return low

    def plus(self, other: Metrics) -> Metrics:
        """Both together: for what was gained in several runs, or by several processes."""
        keys = self.samples.keys() | other.samples.keys()
        return Metrics({key: self.samples.get(key, 0.0) + other.samples.get(key, 0.0) for key in keys})

    def since(self, before: Metrics) -> Metrics:
        """What counters and histograms gained since an earlier scrape."""
        return Metrics({key: value - before.samples.get(key, 0.0) for key, value in self.samples.items()})


def parse(text: str) -> Metrics:
    """Metrics from the Prometheus text format."""
    return Metrics(
        {
            (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def scrape(url: str, timeout_s: float = 5.0) -> Metrics:
    """Metrics of a process. Raises OSError."""
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        return parse(answer.read().decode())
