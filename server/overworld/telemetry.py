"""Every metric, in one file. Names are `overworld_*`, units last; counters get `_total` from the library.

Labels have few values, known beforehand: never a player, a shard, an address or a text from outside.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_FAST_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

# ---------------------------------------------------------------- stores: Redis

journal_append_seconds = Histogram(
    "overworld_journal_append_seconds",
    "From the call to the commit level reached, of appends that succeeded",
    ["level"],
    buckets=_FAST_S,
)
journal_append_bytes = Counter("overworld_journal_append_bytes", "Payload and outbox bytes appended")
journal_batch_commands = Histogram(
    "overworld_journal_batch_commands",
    "Commands that travelled together",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
journal_retries_total = Counter("overworld_journal_retries", "Commands sent again, by reason", ["reason"])
journal_refused_total = Counter("overworld_journal_refused", "Commands refused or given up, by reason", ["reason"])
journal_already_total = Counter("overworld_journal_already", "Appends answered: an earlier try had worked")
journal_fenced_total = Counter("overworld_journal_fenced", "Writes refused because another owner has the shard")
journal_other_head_total = Counter("overworld_journal_other_head", "Appends answered: the journal ends elsewhere")
journal_gap_total = Counter("overworld_journal_gap", "Journal reads that missed a record")
redis_retries_total = Counter("overworld_redis_retries", "Ordinary Redis calls sent again", ["call"])
redis_unavailable_total = Counter("overworld_redis_unavailable", "Ordinary Redis calls given up", ["call"])

# ---------------------------------------------------------------- stores: blobs and snapshots

blob_seconds = Histogram("overworld_blob_seconds", "Blob storage calls that succeeded", ["operation"], buckets=_SLOW_S)
blob_failures_total = Counter("overworld_blob_failures", "Blob storage calls that failed", ["operation", "error"])
blob_recognised_total = Counter(
    "overworld_blob_recognised", "Puts refused as already there that turned out to be their own earlier try"
)
snapshot_bytes = Gauge("overworld_snapshot_bytes", "Size of the newest snapshot written by this process")
snapshot_saved_total = Counter("overworld_snapshot_saved", "Snapshots written, read back and put into a manifest")
snapshot_corrupt_total = Counter("overworld_snapshot_corrupt", "Snapshots or manifests found corrupt", ["what"])
snapshot_fenced_total = Counter("overworld_snapshot_fenced", "Manifest writes refused: a newer owner has claimed it")

# ---------------------------------------------------------------- link

links = Gauge("overworld_links", "Links open and authenticated, seen from this process")
link_lost_total = Counter("overworld_link_lost", "Links and attempts that ended, by cause", ["cause"])
link_bytes_total = Counter("overworld_link_bytes", "Bytes over links", ["direction"])
link_dropped_total = Counter("overworld_link_dropped", "Messages not sent because their link was closed or overflowed")
