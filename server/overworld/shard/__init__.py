"""One shard without I/O: inbox, tick, interest, replication, digest, record and snapshot formats. Pure."""
