"""The shard loop, leases and snapshots."""
