"""Counting what one client or one address may do. Times are arguments; nothing here reads a clock."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass


class TokenBucket:
    """Admits `per_second` on average and `burst` at once."""

    __slots__ = ("_burst", "_per_second", "taken_s", "tokens")

    def __init__(self, per_second: float, burst: float, now_s: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self.tokens = burst
        self.taken_s = now_s

    def take(self, now_s: float) -> bool:
        """True where one more is within the limit."""
        tokens = self.tokens + max(0.0, now_s - self.taken_s) * self._per_second
        if tokens > self._burst:
            tokens = self._burst
        self.taken_s = now_s
        if tokens < 1.0:
            self.tokens = tokens
            return False
        self.tokens = tokens - 1.0
        return True


class BucketTable:
    """A bucket for each key, for at most `keys_max` of them. Beyond that the key not seen for longest starts afresh:
    memory stays bounded, and a flood from many addresses is for the limits in front of this process.
    """

    def __init__(self, per_second: float, burst: float, keys_max: int = 10_000) -> None:
        self._per_second = per_second
        self._burst = burst
        self._keys_max = keys_max
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now_s: float) -> bool:
        """True where one more of this key is within the limit."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._keys_max:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = TokenBucket(self._per_second, self._burst, now_s)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now_s)


class AddressCounts:
    """How many sockets each address holds."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.total = 0

    def __getitem__(self, address: str) -> int:
        return self._counts.get(address, 0)

    def add(self, address: str) -> None:
        """One more socket."""
        self._counts[address] += 1
        self.total += 1

    def remove(self, address: str) -> None:
        """One socket less."""
        assert self._counts[address] > 0
        self._counts[address] -= 1
        self.total -= 1
        if not self._counts[address]:
            del self._counts[address]


@dataclass(frozen=True)
class SocketLimits:
    """See GatewaySettings."""

    frame_bytes_max: int
    upgrade_s: float
    handshakes_max: int
    backlog_bytes_max: int
    backlog_bytes_low: int
    kernel_buffer_bytes: int
